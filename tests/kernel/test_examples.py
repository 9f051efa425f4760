"""Every conflist of examples/, by the real cnitool: what it promises, from ADD to DEL."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.lab.topology import Container, Host, Topology
from tests.kernel.plugin import CNITOOL, GO, OURS, RECORDS, REPOSITORY, leases, links

EXAMPLES = REPOSITORY / "examples"


class Node:
    """A node whose eth0 leads over a trunk port to a router, which has an address in every network of the examples."""

    def __init__(self, net: Topology, directory: Path) -> None:
        self.net = net
        self.node, self.router, switch = net.host("node"), net.host("router"), net.switch("switch")
        net.cable(self.node, "eth0", switch, trunk=(50,))
        net.cable(self.router, "eth0", switch, trunk=(50,))
        self.node.address("eth0", "192.168.50.7/24", "fd00:50::7/64")
        self.router.address("eth0", "192.168.50.1/24", "fd00:50::1/64")
        self.router.ip("link add link eth0 name eth0.50 type vlan id 50")
        self.router.ip("link set eth0.50 up")
        self.router.address("eth0.50", "10.50.0.1/24")
        self.directory = directory
        self.data_dir = directory / "networks"

    def configure(self, name: str) -> dict[str, Any]:
        """The example is the node's only network, but for where its leases are."""
        conflist: dict[str, Any] = json.loads((EXAMPLES / f"{name}.conflist").read_text())
        conflist["plugins"][0]["ipam"]["dataDir"] = str(self.data_dir)
        (self.directory / f"{name}.conflist").write_text(json.dumps(conflist))
        return conflist

    def call(self, command: str, network: str, container: Container) -> dict[str, Any]:
        """cnitool's answer."""
        environment = {
            "CNI_PATH": f"{OURS}:{GO}",
            "NETCONFPATH": str(self.directory),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        done: subprocess.CompletedProcess[bytes] = self.node.run(
            [str(CNITOOL), command, network, container.netns], env=environment, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout or b"{}")
        return answer

    def end(self, network: str, *containers: Container) -> None:
        """CHECK and DEL of all; nothing may be left."""
        for container in containers:
            self.call("check", network, container)
            self.call("del", network, container)
            assert links(container) == []
        assert (leases(self.data_dir), links(self.node)) == ({}, ["eth0"])
        assert list((RECORDS / "attachments").iterdir()) == []
        assert host_routes(self.node) == []


def host_routes(host: Host) -> list[str]:
    return [route["dst"] for family in (4, 6) for route in host.ip_json(f"-{family} route show proto 193")]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Topology() as net:
        yield Node(net, tmp_path)


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.iterdir()} == {"dual-stack", "l3", "trunk", "tuned"}


def test_dual_stack(node: Node) -> None:
    node.configure("dual-stack")
    web, db = node.net.container("web"), node.net.container("db")
    result = node.call("add", "dual-stack", web)
    assert [ip["address"] for ip in result["ips"]] == ["192.168.50.128/24", "fd00:50::2/64"]
    node.call("add", "dual-stack", db)
    for address in ("192.168.50.1", "fd00:50::1", "192.168.50.129", "fd00:50::3"):
        assert web.ping(address)
    node.end("dual-stack", web, db)


def test_trunk(node: Node) -> None:
    node.configure("trunk")
    web, db = node.net.container("web"), node.net.container("db")
    for container in (web, db):
        node.call("add", "trunk", container)
    assert links(node.node) == ["eth0", "eth0.50"]
    assert web.ping("10.50.0.1")
    assert web.ping("10.50.0.3")
    node.end("trunk", web, db)


def test_l3(node: Node) -> None:
    node.configure("l3")
    web = node.net.container("web")
    node.call("add", "l3", web)
    assert host_routes(node.node) == ["10.8.1.0/24", "fd00:8:1::/64"]
    node.router.ip("route add 10.8.1.0/24 via 192.168.50.7")
    node.router.ip("route add fd00:8:1::/64 via fd00:50::7")
    with node.node.inside():
        for family in ("ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"):
            Path("/proc/sys/net", family).write_text("1")
    assert node.router.ping("10.8.1.2")
    assert node.router.ping("fd00:8:1::2")
    node.end("l3", web)


def test_tuned(node: Node) -> None:
    node.configure("tuned")
    web = node.net.container("web")
    result = node.call("add", "tuned", web)
    assert result["interfaces"][-1]["mac"] == "02:00:00:00:50:01"
    assert web.ip_json("link show dev eth0")[0]["address"] == "02:00:00:00:50:01"
    with web.inside():
        assert Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text() == "80\n"
    assert web.ping("192.168.50.1")
    node.end("tuned", web)
