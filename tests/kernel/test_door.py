"""cni_cli.kernel, the commands' door to pyroute2, against iproute2's own JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from socket import AF_INET, AF_INET6, AF_NETLINK, SOCK_RAW, socket
from typing import Any

import pytest

from cni_cli.kernel import Kernel, Link, LinkGone
from cni_core.address import Address, Cidr
from cni_core.errors import CniError
from cni_core.netns import Place
from tests.kernel.conftest import Lan


@pytest.fixture
def kernel(lan: Lan) -> Iterator[Kernel]:
    """That of the node, on which there is something of everything."""
    lan.node.ip_batch(
        [
            "link set eth0 up",
            "link add br0 type bridge vlan_filtering 1",
            "link add port0 type veth peer name port1",
            "link set port0 master br0",
            "link add link eth0 name eth0.50 type vlan id 50",
            "link add dummy0 type dummy",
            "link set dummy0 alias cni-vlan mtu 1400 up",
            "link property add dev dummy0 altname a-name-of-more-than-fifteen-bytes",
            "link add mv0 link eth0 type macvlan mode private",
            "link add iv0 link dummy0 type ipvlan mode l3",
            "link set br0 up promisc on",
            "addr add 10.1.0.9/24 dev eth0",
            "addr add fd00:1::9/64 dev eth0 nodad",
            "addr add 192.0.2.1/30 dev dummy0",
            "route add default via 10.1.0.1 metric 7",
            "route add 10.77.0.0/16 dev eth0 proto 193",
            "route add 10.78.0.0/16 nexthop via 10.1.0.2 nexthop via 192.0.2.2",
            "route add 10.79.0.0/16 dev dummy0 table 99 src 192.0.2.1",
            "route add fd00:79::/64 dev dummy0 table 99",
            "rule add to 10.79.0.0/16 lookup 99 priority 500",
        ]
    )
    lan.node.run(["bridge", "vlan", "add", "dev", "br0", "vid", "50-53", "self"])
    lan.node.run(["bridge", "vlan", "add", "dev", "port0", "vid", "60"])
    with lan.node.inside(), Kernel() as opened:
        yield opened


def asked(what: str) -> list[dict[str, Any]]:
    """By iproute2, in the namespace that the test is in."""
    done = subprocess.run(what.split(), check=True, capture_output=True)
    return [dict(one) for one in json.loads(done.stdout) if one]


def told(link: dict[str, Any], names: dict[str, int]) -> Link:
    """What iproute2 tells of a link, as the door should."""
    info = link.get("linkinfo", {})
    data, flags = info.get("info_data", {}), link["flags"]
    kind = info.get("info_kind", "")
    parent = link.get("link_index") or names.get(str(link.get("link")), 0)
    return Link(
        index=link["ifindex"],
        name=link["ifname"],
        kind=kind,
        mac=link["address"],
        mtu=link["mtu"],
        flags=0x1 * ("UP" in flags) | 0x8 * ("LOOPBACK" in flags) | 0x10000 * ("LOWER_UP" in flags),
        alias=link.get("ifalias", ""),
        altnames=tuple(link.get("altnames", ())),
        parent=parent,
        parent_nsid=link.get("link_netnsid"),
        master=names.get(str(link.get("master")), 0),
        vlan=data.get("id", 0) if kind == "vlan" else 0,
        mode=data.get("mode", "") if kind in ("macvlan", "ipvlan") else "",
        filters_vlans=bool(data.get("vlan_filtering")) if kind == "bridge" else False,
    )


def heard(link: Link) -> dict[str, Any]:
    return dict(vars(link), flags=link.flags & 0x10009)


def test_links_as_iproute2_tells_of_them(kernel: Kernel) -> None:
    found = asked("ip -j -d link show")
    names = {link["ifname"]: link["ifindex"] for link in found}
    assert [heard(link) for link in kernel.links()] == [heard(told(link, names)) for link in found]
    for link in kernel.links():
        assert kernel.link(link.name) == kernel.link(index=link.index) == link
    bridge, macvlan = kernel.link("br0"), kernel.link("mv0")
    assert bridge and bridge.promiscuous
    assert bridge.filters_vlans
    assert macvlan and macvlan.mode == "private"
    assert not macvlan.up
    long = kernel.link("a-name-of-more-than-fifteen-bytes")
    assert long and (long.name, long.alias) == ("dummy0", "cni-vlan")
    assert kernel.link("absent") is None
    assert kernel.link(index=4000) is None


def test_a_name_that_is_no_text(lan: Lan) -> None:
    with lan.node.inside(), Kernel() as kernel:
        subprocess.run([b"ip", b"link", b"add", b"\xff\x1b", b"type", b"dummy"], check=True)
        assert [link.name.encode(errors="surrogateescape") for link in kernel.links() if link.kind == "dummy"] == [
            b"\xff\x1b"
        ]


def test_addresses(kernel: Kernel) -> None:
    by_link = {
        one["ifindex"]: {f"{part['local']}/{part['prefixlen']}" for part in one["addr_info"]}
        for one in asked("ip -j addr")
    }
    for link in kernel.links():
        assert {str(one.cidr) for one in kernel.addresses(link)} == by_link[link.index]
    assert len(kernel.addresses()) == sum(map(len, by_link.values()))


def test_the_vlans_of_a_bridge_are_its_own_not_its_ports(kernel: Kernel) -> None:
    bridge, port = kernel.link("br0"), kernel.link("port0")
    assert bridge
    assert port
    [of_bridge] = asked("bridge -j vlan show dev br0")
    runs = [range(one["vlan"], one.get("vlanEnd", one["vlan"]) + 1) for one in of_bridge["vlans"]]
    assert kernel.vlans(bridge) == {vlan for run in runs for vlan in run} >= {50, 51, 52, 53}
    assert 60 in kernel.vlans(port)
    assert 60 not in kernel.vlans(bridge)


@pytest.mark.parametrize(("family", "option"), [(AF_INET, "-4"), (AF_INET6, "-6")])
def test_routes_and_rules(kernel: Kernel, family: int, option: str) -> None:
    names = {link.name: link.index for link in kernel.links()}
    zero = "0.0.0.0/0" if family == AF_INET else "::/0"
    bits = 32 if family == AF_INET else 128
    for table in (254, 99):
        expected = []
        for route in asked(f"ip -j -d -N {option} route show table {table}"):
            dst = zero if route["dst"] == "default" else route["dst"]
            hops = route.get("nexthops", [route])
            expected.append(
                (
                    dst if "/" in dst else f"{dst}/{bits}",
                    [hop["gateway"] for hop in hops if "gateway" in hop],
                    [names[hop["dev"]] for hop in hops],
                    route.get("metric", 0),
                    int(route["protocol"]),
                    route.get("prefsrc"),
                )
            )
        found = [
            (
                str(route.dst),
                [str(gateway) for gateway in route.gateways],
                list(route.links),
                route.priority,
                route.protocol,
                str(route.source) if route.source else None,
            )
            for route in kernel.routes(family, table)
        ]
        assert found == expected
    rules = [(one["priority"], int(one["table"])) for one in asked(f"ip -j -N {option} rule show")]
    assert [(rule.priority, rule.table) for rule in kernel.rules(family)] == rules


def test_the_way_to_an_address_is_by_its_rules(kernel: Kernel) -> None:
    eth0, dummy = kernel.link("eth0"), kernel.link("dummy0")
    assert eth0
    assert dummy
    for text, link in (("10.77.0.5", eth0), ("10.79.0.5", dummy), ("203.0.113.1", eth0)):
        way = kernel.way_to(Address.parse(text))
        assert way is not None
        assert way.links == (link.index,)
        [told] = asked(f"ip -j route get {text}")
        assert told["dev"] == link.name
    assert kernel.way_to(Address.parse("2001:db8::1")) is None


def test_who_has_an_address_is_asked_on_the_wire(lan: Lan, kernel: Kernel) -> None:
    eth0 = kernel.link("eth0")
    assert eth0
    theirs = {text: Address.parse(text) for text in ("10.1.0.1", "fd00:1::1")}
    absent = [Address.parse("10.1.0.77"), Address.parse("fd00:1::77")]
    [beyond] = lan.beyond.ip_json("link show eth0")
    found = kernel.who_has(eth0, [*theirs.values(), *absent])
    assert found == dict.fromkeys(theirs.values(), beyond["address"])
    lan.beyond.ip("addr del 10.1.0.1/24 dev eth0")
    # What was known a moment ago is asked anew, and nothing stays in the table of what was asked for.
    assert Address.parse("10.1.0.1") not in kernel.who_has(eth0, [theirs["10.1.0.1"]])
    assert not {one.address for one in kernel.neighbours(eth0)} & {*theirs.values(), *absent}


def test_what_the_administrator_says_of_a_neighbour_stays(lan: Lan, kernel: Kernel) -> None:
    eth0 = kernel.link("eth0")
    assert eth0
    lan.node.ip("neigh add 10.1.0.66 lladdr 02:00:00:00:00:66 dev eth0 nud permanent")
    address = Address.parse("10.1.0.66")
    assert kernel.who_has(eth0, [address]) == {address: "02:00:00:00:00:66"}
    assert address in [one.address for one in kernel.neighbours(eth0)]


def test_a_link_that_goes_while_it_is_asked_about_is_one_clear_line(kernel: Kernel) -> None:
    dummy = kernel.link("dummy0")
    assert dummy
    kernel.remove_link(dummy)
    for ask in (lambda: kernel.addresses(dummy), lambda: kernel.who_has(dummy, [Address.parse("192.0.2.2")])):
        with pytest.raises(LinkGone) as caught:
            ask()
        assert caught.value.msg == "the link dummy0 went while it was asked about"


def test_what_the_kernel_refuses_is_said_in_its_words(kernel: Kernel) -> None:
    with pytest.raises(CniError, match=r"could not create x: Operation not supported \("):
        kernel.make_link("x", "no-such-kind")


def test_another_namespace(lan: Lan) -> None:
    pod = lan.container("pod")
    lan.macvlan.add(pod, lan.config(ipam=lan.dual_stack))
    with Place.host() as host, host.container(pod.netns) as place, Kernel(place) as inside:
        link = inside.link("eth0")
        assert link
        assert (link.kind, link.mode) == ("macvlan", "bridge")
        assert link.parent_nsid is not None
        assert Cidr.parse("10.1.0.2/24") in [one.cidr for one in inside.addresses(link)]


def test_a_container_cannot_answer_in_the_kernels_place(lan: Lan) -> None:
    """Its root sends to the socket's port; to one that is not tied to the kernel that arrives (the control)."""
    with lan.node.inside(), socket(AF_NETLINK, SOCK_RAW, 0) as other, socket(AF_NETLINK, SOCK_RAW, 0) as free:
        free.bind((0, 0))
        free.settimeout(5)
        other.sendto(b"forged", free.getsockname())
        assert free.recv(100) == b"forged"
        with Kernel() as kernel:
            port = kernel._socket.getsockname()
            with pytest.raises(ConnectionRefusedError):
                other.sendto(b"forged", port)
