"""A node whose kernel is of lists (tests.unit.kernel), with the records and leases in a directory of the test's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ipam
from cni_core import attach, records, sysctl, uppers
from cni_core.attach import Attachments
from cni_core.errors import CniError
from cni_core.names import Attachment
from cni_core.netns import Place
from cni_core.records import Records
from cni_core.request import Request
from cni_core.result import Result
from cni_ipvlan_py import link as ipvlan
from cni_macvlan_py import link as macvlan
from tests.unit.calls import attachment, config, host_local
from tests.unit.kernel import Kernel, Namespace


class Node:
    """Calls of the two plugins, for containers c1, c2, …, as a runtime makes them."""

    def __init__(self, kernel: Kernel, data_dir: Path) -> None:
        self.kernel = kernel
        self.data_dir = data_dir
        self.plugins = {kind.NAME: Attachments(kind, ipam.choose) for kind in (macvlan, ipvlan)}

    @property
    def host(self) -> Namespace:
        return self.kernel.host

    def container(self, name: str = "c1") -> Namespace:
        return self.kernel.namespace(f"/run/netns/{name}")

    def config(self, *sets: Any, **members: Any) -> dict[str, Any]:
        """Of a macvlan network on eth0 with one IPv4 subnet, where nothing else is said."""
        section = host_local(self.data_dir, *(sets or ("10.1.0.0/24",)))
        return config(**{"master": "eth0", "ipam": section} | members)

    def request(self, command: str, network: dict[str, Any], container: str = "c1", **environ: str) -> Request:
        self.container(container)
        return Request(command, attachment(container) | environ, network)

    def add(self, network: dict[str, Any], container: str = "c1", **environ: str) -> Result:
        return self._plugin(network).add(self.request("ADD", network, container, **environ))

    def delete(self, network: dict[str, Any], container: str = "c1", **environ: str) -> None:
        self._plugin(network).delete(self.request("DEL", network, container, **environ))

    def check(self, network: dict[str, Any], result: Result, container: str = "c1") -> None:
        told = network | {"prevResult": result.to_json("1.1.0")}
        self._plugin(network).check(self.request("CHECK", told, container))

    def gc(self, network: dict[str, Any], *valid: str) -> None:
        listed = [{"containerID": name, "ifname": "eth0"} for name in valid]
        self._plugin(network).gc(Request("GC", {}, network | {"cni.dev/valid-attachments": listed}))

    def status(self, network: dict[str, Any]) -> None:
        self._plugin(network).status(Request("STATUS", {}, network))

    def refused(self, network: dict[str, Any], container: str = "c1", **environ: str) -> CniError:
        """The error of an ADD, which left nothing."""
        before = self.state()
        with pytest.raises(CniError) as error:
            self.add(network, container, **environ)
        assert self.state() == before
        return error.value

    def state(self) -> dict[str, Any]:
        """All that an ADD adds to."""
        spaces = self.kernel.namespaces.values()
        return {
            "links": {space.path: space.names for space in spaces if space.names},
            "routes": [str(route) for space in spaces for route in space.routes],
            "leases": self.leases(),
            "records": sorted(
                path.name for path in Path(records.ROOT).rglob("*") if path.is_file() and path.name != "lock"
            ),
        }

    def leases(self, network: str = "net1") -> dict[str, str]:
        files = [path for path in (self.data_dir / network).glob("*") if path.name[0].isdigit() or ":" in path.name]
        return {path.name: path.read_bytes().decode().replace("\r\n", "/") for path in files}

    def attached(self, network: str = "net1") -> list[Attachment]:
        with Records(create=True) as found:
            return found.of_network(network)

    def _plugin(self, network: dict[str, Any]) -> Attachments:
        return self.plugins[network["type"]]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    kernel = Kernel()
    monkeypatch.setattr(Place, "host", kernel.host_place)
    monkeypatch.setattr(attach, "Place", Place)
    monkeypatch.setattr(sysctl, "write", kernel.write_sysctl)
    monkeypatch.setattr(sysctl, "read", kernel.read_sysctl)
    monkeypatch.setattr(uppers, "paths", lambda: list(kernel.namespaces))
    monkeypatch.setattr(records, "stat", kernel.stat)
    monkeypatch.setattr(records, "ROOT", str(tmp_path / "records"))
    return Node(kernel, tmp_path / "networks")
