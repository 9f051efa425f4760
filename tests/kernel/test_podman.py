"""podman with its CNI backend, from `network create` to `network rm`: what a person types on a home server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import Lan
from tests.kernel.dhcp import RESERVED, RESERVED_MAC, Server, directory_of_the_plugin, wait_for
from tests.kernel.plugin import GO, OURS, RECORDS, leases, links
from tests.kernel.podman import Podman

NETWORKS = Path("/var/lib/cni/networks")  # a lab's own; podman's conflists name no data directory
NETWORK = """
[network]
network_backend = "cni"
cni_plugin_dirs = ["{plugins}", "{directory}/bin"]
network_config_dir = "{directory}/net.d"
"""


class CniPodman(Podman):
    """With storage and networks of its own."""

    def __init__(self, lan: Lan, directory: Path) -> None:
        self.net_d = directory / "net.d"
        self.net_d.mkdir(parents=True)
        super().__init__(lan, directory, NETWORK.format(plugins=OURS, directory=directory))

    def conflist(self, name: str, **plugin: Any) -> None:
        """As a person writes it, where `network create` has no option for it."""
        document = {"cniVersion": "0.4.0", "name": name, "plugins": [{"capabilities": {"ips": True}, **plugin}]}
        (self.net_d / f"{name}.conflist").write_text(json.dumps(document))

    def end(self, network: str, *containers: str) -> None:
        """`rm` and `network rm`: nothing is left."""
        self("rm", "-f", "-t", "0", *containers)
        self("network", "rm", network)
        assert not (self.net_d / f"{network}.conflist").exists()
        assert leases(NETWORKS, network) == {}
        assert links(self.lan.node) == ["eth0"]
        assert list((RECORDS / "attachments").iterdir()) == []


@pytest.fixture
def podman(lan: Lan, tmp_path: Path) -> Iterator[CniPodman]:
    shutil.rmtree(NETWORKS, ignore_errors=True)
    podman = CniPodman(lan, tmp_path / "podman")
    yield podman
    names = podman("ps", "-aq").split()
    if names:
        podman("rm", "-f", "-t", "0", *names)


def test_macvlan_dual_stack_with_a_fixed_address(podman: CniPodman) -> None:
    subnets = (
        "--subnet",
        "10.1.0.0/24",
        "--gateway",
        "10.1.0.1",
        "--ip-range",
        "10.1.0.128/25",
        "--subnet",
        "fd00:1::/64",
    )
    podman("network", "create", "-d", "macvlan", *subnets, "--ipv6", "-o", "parent=eth0", "lan")
    podman.run("db", "--network", "lan")
    podman.run("web", "--network", "lan", "--ip", "10.1.0.200", "--mac-address", "02:00:00:00:00:c8")
    assert podman.addresses("db") == ["10.1.0.129/24", "fd00:1::2/64"]
    assert podman.addresses("web") == ["10.1.0.200/24", "fd00:1::3/64"]
    assert "02:00:00:00:00:c8" in podman("exec", "web", "ip", "link", "show", "dev", "eth0")
    for address in ("10.1.0.1", "fd00:1::1", "10.1.0.129", "fd00:1::2"):
        podman.ping("web", address)
    assert podman.lan.beyond.ping("10.1.0.200")
    podman("restart", "-t", "0", "web")
    assert podman.addresses("web")[0] == "10.1.0.200/24"
    podman.ping("db", "10.1.0.200")
    podman.end("lan", "web", "db")


def test_an_internal_network_has_no_way_out(podman: CniPodman) -> None:
    podman("network", "create", "-d", "macvlan", "--internal", "--subnet", "10.3.0.0/24", "-o", "parent=eth0", "closed")
    podman.run("web", "--network", "closed")
    podman.run("db", "--network", "closed")
    podman.ping("web", podman.addresses("db")[0].partition("/")[0])
    assert "default" not in podman("exec", "web", "ip", "route")
    podman.end("closed", "web", "db")


def test_ipvlan_by_a_conflist(podman: CniPodman) -> None:
    podman.conflist("flat", type="ipvlan", master="eth0", ipam=podman.lan.ipam(dataDir=str(NETWORKS)))
    podman.run("web", "--network", "flat", "--ip", "10.1.0.77")
    podman.run("db", "--network", "flat")
    assert podman.addresses("web") == ["10.1.0.77/24"]
    podman.ping("web", "10.1.0.1")
    podman.ping("web", podman.addresses("db")[0].partition("/")[0])
    podman.end("flat", "web", "db")


def test_a_network_without_a_subnet_has_a_dhcp_servers_addresses(podman: CniPodman, tmp_path: Path) -> None:
    server = Server(podman.lan.beyond, tmp_path / "dnsmasq")
    directory_of_the_plugin(podman.directory)
    daemon = podman.lan.node.popen([str(GO / "dhcp"), "daemon"])
    socket = Path("/run/cni/dhcp.sock")
    wait_for(socket.exists, "the daemon")
    try:
        podman("network", "create", "-d", "macvlan", "-o", "parent=eth0", "lan")
        podman.run("web", "--network", "lan", "--mac-address", RESERVED_MAC)
        assert podman.addresses("web") == [f"{RESERVED}/24"]
        podman.ping("web", "10.1.0.1")
        podman.end("lan", "web")
        wait_for(lambda: server.saw(f"DHCPRELEASE(eth0) {RESERVED}"), "the release")
    finally:
        daemon.kill()
        socket.unlink()


def test_a_trunk_by_a_conflist(podman: CniPodman) -> None:
    lan = podman.lan
    for port in lan.switch.ports.values():
        lan.switch.set_vlans(port, None, (50,))
    lan.beyond.ip("link add link eth0 name eth0.50 type vlan id 50")
    lan.beyond.address("eth0.50", "10.50.0.1/24")
    ipam = lan.ipam("10.50.0.0/24", dataDir=str(NETWORKS))
    podman.conflist("till", type="macvlan", master="eth0", vlan=50, ipam=ipam)
    podman.run("web", "--network", "till")
    assert links(lan.node) == ["eth0", "eth0.50"]
    podman.ping("web", "10.50.0.1")
    podman("stop", "-t", "0", "web")
    assert links(lan.node) == ["eth0"]
    podman("start", "web")
    podman.ping("web", "10.50.0.1")
    podman.end("till", "web")
