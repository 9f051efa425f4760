"""hostAccess: the node and its containers reach each other, nobody else learns of it, and nothing stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from socket import AF_INET, AF_INET6, SOCK_DGRAM, socket
from typing import Any

import pytest

from conformance.lab.topology import BUSYBOX, Host
from tests.kernel.conftest import Lan
from tests.kernel.plugin import OURS, Plugin, addresses, links

HOST = ("10.1.0.7", "fd00:1::7")
SERVE = f"while true; do {BUSYBOX} nc -l -p 8080 -e {BUSYBOX} echo hello; done"
CHECK_DIFFERS, INVALID_CONFIG, ROUTE_CONFLICT = 107, 7, 110
KINDS = [
    *(("macvlan", mode, "") for mode in ("bridge", "private", "vepa", "passthru")),
    *(("ipvlan", "l2", flag) for flag in ("bridge", "private", "vepa")),
    *(("ipvlan", mode, "bridge") for mode in ("l3", "l3s")),
]


@pytest.fixture
def host(lan: Lan) -> Iterator[Lan]:
    """The node has an address of each family on the parent."""
    lan.node.address("eth0", *(f"{address}/{24 if '.' in address else 64}" for address in HOST))
    yield lan


def network(lan: Lan, **keys: Any) -> dict[str, Any]:
    return lan.config(**{"ipam": lan.dual_stack, "hostAccess": True} | keys)


def plugin(lan: Lan, config: dict[str, Any]) -> Plugin:
    return lan.ipvlan if config["type"] == "ipvlan" else lan.macvlan


def of_ip(host: Host) -> list[str]:
    """The addresses that a host's eth0 has, without their lengths."""
    return [cidr.partition("/")[0] for cidr in addresses(host)]


def speak(one: Host, other: Host, addresses: list[str]) -> None:
    """By TCP, from one host to addresses of the other, which answers with a word."""
    server = other.popen(["/bin/sh", "-c", SERVE])
    try:
        for address in addresses:
            assert one.ping(address)
            for _ in range(20):
                done = one.run([BUSYBOX, "nc", "-w", "5", address, "8080"], input=b"", check=False)
                if b"hello" in done.stdout:
                    break
            assert b"hello" in done.stdout, (address, done.stderr)
    finally:
        server.kill()


def who_has(host: Host) -> dict[str, str]:
    """The hardware addresses that a host knows on its eth0, by IP address; of none that is link-local."""
    table = host.ip_json("neigh show dev eth0")
    return {one["dst"]: one["lladdr"] for one in table if "lladdr" in one and not one["dst"].startswith("fe80:")}


@pytest.mark.parametrize(("kind", "mode", "flag"), KINDS)
def test_both_reach_each_other_and_the_wire_is_silent(host: Lan, kind: str, mode: str, flag: str) -> None:
    config = network(host, type=kind, mode=mode, **({"flag": flag} if flag else {}))
    if mode.startswith("l3"):
        config["ipam"] = host.ipam("10.8.0.0/24", "fd00:8::/64")
    pod, before = host.host("pod"), links(host.node)
    for address in HOST:
        assert host.beyond.ping(address)
    known = who_has(host.beyond)
    result = plugin(host, config).add(pod, config).result
    assert [one["name"] for one in result["interfaces"]][::2] == ["eth0", "host-eth0"]
    # With the questions of IPv6 for an address, which are multicast (ICMPv6 type 135).
    with host.beyond.capture("eth0", "not ip6 multicast or (icmp6 and ip6[40] == 135)") as wire:
        speak(host.node, pod, of_ip(pod))
        speak(pod, host.node, list(HOST))
        silent = [
            line for line in wire.lines if any(text in line for text in (*of_ip(pod), *HOST, "02:00:00:00:00:fe"))
        ]
        assert silent == []
        # What is spoken with others is seen; in l3 they know no way back.
        assert pod.ping("10.1.0.1", expect=not mode.startswith("l3")) != mode.startswith("l3")
        assert [line for line in wire.lines if of_ip(pod)[0] in line]
        assert {address: who_has(host.beyond)[address] for address in HOST} == known
    plugin(host, config).check(pod, config, result).succeeded()
    plugin(host, config).delete(pod, config).succeeded()
    assert (links(host.node), links(pod), host.node.ip_json("route show proto 194")) == (before, [], [])


def test_without_the_key_they_do_not(host: Lan) -> None:
    pod = host.host("pod")
    assert host.macvlan.add(pod, network(host, hostAccess=None)).status == 0
    assert pod.ping("10.1.0.1")
    assert not host.node.ping(of_ip(pod)[0], expect=False)
    assert not pod.ping(HOST[0], expect=False)


@pytest.mark.parametrize(("rp_filter", "arp_ignore"), [("0", "1"), ("1", "0"), ("2", "2"), ("1", "8")])
def test_whatever_the_nodes_filters(host: Lan, rp_filter: str, arp_ignore: str) -> None:
    pod = host.host("pod")
    for one in (pod, host.node):
        one.sysctl("net/ipv4/conf/all/rp_filter", rp_filter)
        one.sysctl("net/ipv4/conf/all/arp_ignore", arp_ignore)
    assert host.macvlan.add(pod, network(host)).status == 0
    for address in of_ip(pod):
        assert host.node.ping(address)
    for address in HOST:
        assert pod.ping(address)


def test_a_name_server_on_the_nodes_address_answers_by_udp(host: Lan) -> None:
    """From the address that was asked: a resolver takes no other's answer."""
    pod = host.host("pod")
    assert host.macvlan.add(pod, network(host)).status == 0
    for family, address in ((AF_INET, HOST[0]), (AF_INET6, HOST[1])):
        with host.node.inside():
            server = socket(family, SOCK_DGRAM)
            server.bind(("::" if family == AF_INET6 else "", 53))
        with pod.inside():
            client = socket(family, SOCK_DGRAM)
        with server, client:
            for one in (server, client):
                one.settimeout(20)
            client.connect((address, 53))
            client.send(b"question")
            question, asker = server.recvfrom(100)
            assert (question, asker[0]) == (b"question", of_ip(pod)[0 if family == AF_INET else 1])
            server.sendto(b"answer", asker)
            assert client.recv(100) == b"answer"


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_on_a_bond(lan: Lan, kind: str) -> None:
    lan.node.ip_batch(
        ["link add bond0 type bond mode active-backup", "link set eth0 down", "link set eth0 master bond0"]
    )
    lan.node.address("bond0", "10.1.0.7/24", "fd00:1::7/64")
    pod, config = lan.host("pod"), network(lan, type=kind, master="bond0")
    assert plugin(lan, config).add(pod, config).status == 0
    speak(lan.node, pod, of_ip(pod))
    speak(pod, lan.node, list(HOST))
    assert pod.ping("10.1.0.1")


def test_doctor_tells_of_an_address_that_changed_and_of_a_route_in_the_way(host: Lan, tmp_path: Path) -> None:
    pod, config = host.host("pod"), network(host)
    plugins = [{key: value for key, value in config.items() if key not in ("cniVersion", "name")}]
    conflist = {"cniVersion": "1.0.0", "name": "lan", "plugins": plugins}
    (tmp_path / "lan.conflist").write_text(json.dumps(conflist))
    command = [str(OURS / "cni-macvlan-py"), "doctor", "--dir", str(tmp_path), "--bin-dir", str(OURS)]

    def told() -> str:
        return host.node.run(command, check=False).stdout.decode()

    assert host.macvlan.add(pod, config).status == 0
    assert "pod/eth0" not in told()
    host.node.ip_batch(["addr del 10.1.0.7/24 dev eth0", "addr add 10.1.0.9/24 dev eth0"])
    assert "the host no longer has the address at which pod/eth0 reaches it" in told()
    host.node.ip_batch(["link add shim type dummy", "link set shim up", "route add 10.1.0.2/32 dev shim"])
    assert "another route to pod/eth0 counts before ours: 10.1.0.2/32 dev shim" in told()


def test_on_a_vlan_without_an_address_it_is_that_of_the_default_route(host: Lan) -> None:
    host.node.ip("route add default via 10.1.0.1")
    pod, config = host.host("pod"), network(host, vlan=50, ipam=host.ipam("10.50.0.0/24"))
    assert host.macvlan.add(pod, config).status == 0
    assert pod.ping(HOST[0])
    assert host.node.ping("10.50.0.2")
    host.macvlan.delete(pod, config).succeeded()
    assert links(host.node) == ["eth0"]


def test_a_container_that_dies_takes_all_with_it(host: Lan) -> None:
    pod = host.host("pod")
    assert host.macvlan.add(pod, network(host)).status == 0
    assert len(links(host.node)) == 2
    pod.remove()
    for _ in range(100):
        if links(host.node) == ["eth0"]:
            break
        host.node.run(["sleep", "0.1"])
    assert links(host.node) == ["eth0"]
    assert host.node.ip_json("route show proto 194") == []


def test_when_the_nodes_address_goes_and_comes_back_both_still_speak(host: Lan) -> None:
    pod = host.host("pod")
    config = network(host)
    result = host.macvlan.add(pod, config).result
    host.node.ip("addr del 10.1.0.7/24 dev eth0")
    host.macvlan.check(pod, config, result).succeeded()
    host.node.ip("addr add 10.1.0.9/24 dev eth0")  # another, meanwhile: from that the node speaks
    assert host.node.ping("fd00:1::2")
    assert not pod.ping("10.1.0.9", expect=False)
    host.node.ip("addr del 10.1.0.9/24 dev eth0")
    host.node.ip("addr add 10.1.0.7/24 dev eth0")
    assert pod.ping(HOST[0])
    assert host.node.ping("10.1.0.2")


@pytest.mark.parametrize("routed", [False, True])
def test_the_node_routes_for_the_container_by_it_only_where_the_network_says_so(host: Lan, routed: bool) -> None:
    """A container's root may set any route; to the node itself the pair leads nevertheless."""
    host.node.forward()
    host.node.ip("link add far type dummy")
    host.node.address("far", "10.77.0.1/24")
    host.node.ip("neigh add 10.77.0.2 lladdr 02:00:00:00:00:77 dev far")
    pod = host.host("pod")
    access = {"addresses": True, "routes": ["10.77.0.0/24"]} if routed else True
    assert host.macvlan.add(pod, network(host, hostAccess=access)).status == 0
    if not routed:
        pod.ip("route add 10.77.0.0/24 dev host-eth0 src 10.1.0.2")
    assert pod.ping("10.77.0.1")
    with host.node.capture("far", "icmp") as far:
        pod.ping("10.77.0.2", expect=False)
        assert bool(far.lines) == routed


def test_check_misses_the_pair_and_its_routes(host: Lan) -> None:
    pod, config = host.host("pod"), network(host)
    result = host.macvlan.add(pod, config).result
    pod.ip("route del 10.1.0.7/32 dev host-eth0")
    error = host.macvlan.check(pod, config, result).error
    assert (error["code"], error["msg"]) == (
        CHECK_DIFFERS,
        "hostAccess: the container lacks the route 10.1.0.7 dev host-eth0",
    )


def test_another_route_to_the_containers_address_is_named(host: Lan) -> None:
    host.node.ip("link add shim type dummy")
    host.node.ip("link set shim up")
    host.node.ip("route add 10.1.0.2/32 dev shim")
    pod = host.host("pod")
    error = host.macvlan.add(pod, network(host)).error
    assert (error["code"], error["msg"]) == (
        ROUTE_CONFLICT,
        "hostAccess: the host already has the route 10.1.0.2/32 dev shim",
    )
    assert (links(host.node), links(pod)) == (["eth0", "shim"], [])


@pytest.mark.parametrize("keys", [{"internal": True, "master": None}, {"linkInContainer": True}])
def test_what_has_no_way_to_the_node_is_refused(host: Lan, keys: dict[str, Any]) -> None:
    pod = host.host("pod")
    pod.ip("link add eth0 type dummy")
    config = network(host, ipam=host.ipam(routes=[]), **keys)
    error = host.macvlan.add(pod, config, CNI_IFNAME="net0").error
    assert (error["code"], error["msg"].partition(":")[0]) == (INVALID_CONFIG, "hostAccess")


def test_an_address_that_is_not_the_nodes_is_refused(host: Lan) -> None:
    error = host.macvlan.add(host.host("pod"), network(host, hostAccess=["10.1.0.9"])).error
    assert (error["code"], error["msg"]) == (INVALID_CONFIG, "hostAccess: 10.1.0.9 is not an address of this host")
