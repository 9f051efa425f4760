"""A node on a network with somebody beyond it, made anew for each test."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from conformance.lab import syscalls
from conformance.lab.topology import Container, Host, Topology
from tests.kernel import from_source
from tests.kernel.plugin import CNITOOL, GO, OURS, RECORDS, REPOSITORY, SECOND_TIER, SOURCE, Plugin


def pytest_sessionstart() -> None:
    if OURS == SOURCE:
        from_source.write(SOURCE)
    for path, mend in ((OURS, f"make {SECOND_TIER}"), (CNITOOL, "make build/cnitool"), (GO, "scripts/need test")):
        if not path.exists():
            raise pytest.UsageError(f"{path} is missing: {mend}")


class Lan:
    """node's eth0 and beyond's eth0 (10.1.0.1/24, fd00:1::1/64) on one switch; containers as they are asked for."""

    def __init__(self, net: Topology, data_dir: Path) -> None:
        self.net = net
        self.data_dir = data_dir
        self.node = net.host("node")
        self.beyond = net.host("beyond")
        self.switch = net.switch("switch")
        net.cable(self.node, "eth0", self.switch)
        net.cable(self.beyond, "eth0", self.switch)
        self.beyond.address("eth0", "10.1.0.1/24", "fd00:1::1/64")
        self.macvlan = Plugin(self.node, "macvlan")
        self.ipvlan = Plugin(self.node, "ipvlan")

    def container(self, name: str) -> Container:
        return self.net.container(name)

    def host(self, name: str) -> Host:
        """Cheaper than a container, where no program of its own runs in it."""
        return self.net.host(name)

    def config(self, **keys: Any) -> dict[str, Any]:
        """A network with one IPv4 range and a default route; keys add to it or, None, take away."""
        config = {
            "cniVersion": "1.0.0",
            "name": "lan",
            "type": "macvlan",
            "master": "eth0",
            "ipam": self.ipam(),
            **keys,
        }
        return {key: value for key, value in config.items() if value is not None}

    def ipam(self, *subnets: str, **keys: Any) -> dict[str, Any]:
        subnets = subnets or ("10.1.0.0/24",)
        routes = [{"dst": "::/0" if ":" in subnet else "0.0.0.0/0"} for subnet in subnets]
        ranges = [[{"subnet": subnet}] for subnet in subnets]
        return {"type": "host-local", "dataDir": str(self.data_dir), "ranges": ranges, "routes": routes} | keys

    @property
    def dual_stack(self) -> dict[str, Any]:
        return self.ipam("10.1.0.0/24", "fd00:1::/64")


@pytest.fixture(scope="session", autouse=True)
def machine_id(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The machine that runs the tests may have none, as an image of a container may not."""
    file, etc = tmp_path_factory.mktemp("etc") / "machine-id", Path("/etc/machine-id")
    file.write_text("0123456789abcdef0123456789abcdef\n")
    etc.touch()
    syscalls.mount(str(file), str(etc), flags=syscalls.MS_BIND)
    yield
    syscalls.umount(str(etc))


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Lan]:
    shutil.rmtree(RECORDS, ignore_errors=True)  # each test has a boot of its own
    with Topology() as net:
        yield Lan(net, tmp_path / "networks")


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The release that `make dist` made, unpacked."""
    [archive] = (REPOSITORY / "dist").glob("*.tar.gz")
    digest, name = Path(f"{archive}.sha256").read_text().split()
    assert (digest, name) == (sha256(archive.read_bytes()).hexdigest(), archive.name)
    directory = tmp_path_factory.mktemp("release")
    subprocess.run(["tar", "-xzf", archive, "-C", directory], check=True)
    yield directory / archive.name.removesuffix(".tar.gz")
    shutil.rmtree(directory)
