"""podman 5, which has no CNI: Debian 13's, with its netavark, which calls the plugins by its own API."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import Lan
from tests.kernel.debian import overlaid
from tests.kernel.plugin import OURS, RECORDS, REPOSITORY, links
from tests.kernel.podman import Podman

TRIXIE = REPOSITORY / "build" / "debian" / "trixie"
NETWORK = f"""
[network]
network_backend = "netavark"
netavark_plugin_dirs = ["{OURS}"]
"""


@pytest.fixture(scope="module")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Debian 13's root, with our plugins in a directory of netavark's."""
    with overlaid(TRIXIE, tmp_path_factory.mktemp("trixie")) as root:
        ours = root / str(REPOSITORY)[1:]  # where it is here
        ours.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", REPOSITORY, ours], check=True)
        (root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        yield root


class Netavark(Podman):
    def __init__(self, lan: Lan, directory: Path, root: Path) -> None:
        directory.mkdir()
        super().__init__(lan, directory, NETWORK, ("chroot", str(root)))

    def create(self, name: str, *options: str, kind: str = "macvlan") -> None:
        self("network", "create", "-d", f"cni-{kind}-py", *options, name)

    def network(self, name: str) -> dict[str, Any]:
        [found] = json.loads(self("network", "inspect", name))
        return dict(found)

    def told(self, name: str, network: str) -> dict[str, Any]:
        """What `podman inspect` says of a container in a network."""
        [found] = json.loads(self("inspect", name))
        return dict(found["NetworkSettings"]["Networks"][network])


@pytest.fixture
def podman(lan: Lan, tmp_path: Path, trixie: Path) -> Iterator[Netavark]:
    podman = Netavark(lan, tmp_path / "podman", trixie)
    yield podman
    podman("rm", "-f", "-t", "0", "-a")
    assert links(lan.node) == ["eth0"]
    assert list((RECORDS / "attachments").iterdir()) == []


def trunk(lan: Lan) -> None:
    for port in lan.switch.ports.values():
        lan.switch.set_vlans(port, None, (50,))
    lan.beyond.ip("link add link eth0 name eth0.50 type vlan id 50")
    lan.beyond.address("eth0.50", "10.50.0.1/24")


def test_a_vlan_from_create_to_rm(podman: Netavark) -> None:
    trunk(podman.lan)
    podman.create("till", "--subnet", "10.50.0.0/24", "-o", "parent=eth0.50")
    podman.run("web", "--network", "till")
    assert links(podman.lan.node) == ["eth0", "eth0.50"]
    podman.ping("web", "10.50.0.1")
    told = podman.told("web", "till")
    assert podman.addresses("web") == ["10.50.0.2/24"]
    assert (told["IPAddress"], told["Gateway"]) == ("10.50.0.2", "10.50.0.1")
    podman.run("db", "--network", "till", "--ip", "10.50.0.9", "--mac-address", "02:00:00:00:50:09")
    assert podman.addresses("db") == ["10.50.0.9/24"]
    assert podman.told("db", "till")["MacAddress"] == "02:00:00:00:50:09"
    podman.ping("db", "10.50.0.2")
    podman("restart", "-t", "0", "web")
    assert podman.told("web", "till")["MacAddress"] == told["MacAddress"]
    podman.ping("web", "10.50.0.9")
    podman("network", "reload", "-a")
    podman.ping("web", "10.50.0.9")
    podman("rm", "-f", "-t", "0", "web", "db")
    assert links(podman.lan.node) == ["eth0"]
    podman("network", "rm", "till")
