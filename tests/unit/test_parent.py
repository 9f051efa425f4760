"""The parent: what is there and what would have to be made (cni_core.parent), over a kernel of lists."""

from __future__ import annotations

from typing import Any

import pytest

from cni_core import errors, parent as parents
from cni_core.errors import CniError
from cni_core.making import make
from cni_core.names import short_name
from cni_core.network import Network
from cni_core.parent import Plan
from cni_core.rtnl.messages import IFF_LOOPBACK, IFF_LOWER_UP, IFF_UP, IFLA_VLAN_ID, Link
from tests.unit.conftest import Node
from tests.unit.kernel import Socket, route

OURS = {"alias": parents.ALIAS}


def socket(node: Node) -> Socket:
    return Socket(node.kernel, node.host)


def plan(node: Node, **config: Any) -> Plan:
    return parents.plan(Network({"name": "net1"} | config), socket(node))  # type: ignore[arg-type]


def refused(node: Node, **config: Any) -> CniError:
    """Of what can be planned, by ADD."""
    with pytest.raises(CniError) as error:
        parents.refuse_unusable(plan(node, **config), socket(node))  # type: ignore[arg-type]
    return error.value


def vlan(node: Node, name: str, below: str, number: int, **attributes: Any) -> Link:
    link = node.host.link(below)
    assert link
    keys = {"kind": "vlan", "parent": link.index, "data": {IFLA_VLAN_ID: number.to_bytes(2, "little")}}
    return node.kernel.add_link(node.host, name, **keys | attributes)


def told(found: Plan) -> tuple[list[str], list[tuple[str, int]]]:
    return [link.name for link in found.there], found.missing


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"master": "eth0"}, (["eth0"], [])),
        ({"master": ["eth9", "eth0"]}, (["eth0"], [])),
        ({"master": "eth0", "vlan": 50}, (["eth0"], [("eth0.50", 50)])),
        ({"master": "eth0.50"}, (["eth0"], [("eth0.50", 50)])),
        ({"master": "eth0:50"}, (["eth0"], [("eth0.50", 50)])),
        ({"master": ["eth9.50", "eth0.50"]}, (["eth0"], [("eth0.50", 50)])),
        ({"master": "eth0.50", "vlan": 7}, (["eth0"], [("eth0.50", 50), ("eth0.50.7", 7)])),
        ({"master": "eth0.60"}, (["eth0", "sixty"], [])),
        ({"master": "eth0", "vlan": 60}, (["eth0", "sixty"], [])),
        ({"master": "eth0", "vlan": 61}, (["eth0"], [("eth0.61", 61)])),  # a link of that name is no VLAN 61
        ({"master": "eth0.60.7"}, (["eth0", "sixty"], [("sixty.7", 7)])),
        ({"internal": True}, ([], [(short_name("cnp", "internal net1"), 0)])),
    ],
)
def test_what_is_there_and_what_would_have_to_be_made(
    node: Node, config: dict[str, Any], expected: tuple[list[str], list[tuple[str, int]]]
) -> None:
    vlan(node, "sixty", "eth0", 60)
    node.kernel.add_link(node.host, "eth0.61", kind="veth")
    before = node.host.names
    assert told(plan(node, **config)) == expected
    assert node.host.names == before


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"master": "eth9"}, "there is no link named eth9"),
        ({"master": ["eth8", "eth9"]}, "there is no link of eth8, eth9"),
        ({"master": "eth9.50"}, "there is no link named eth9.50, nor one named eth9 to make VLAN 50 on"),
        ({"master": "eth0.4095"}, "there is no link named eth0.4095, and 4095 is no VLAN's id: these are 1 to 4094"),
        ({"master": "a-name-of-more-than-15-bytes"}, "there is no link named a-name-of-more-than-15-bytes"),
        ({}, "none is given, and there is no default route whose link could be taken"),
    ],
)
def test_a_parent_that_cannot_be_is_refused(node: Node, config: dict[str, Any], problem: str) -> None:
    error = refused(node, **config)
    assert (error.code, error.path, error.problem) == (errors.INVALID_CONFIG, ("master",), problem)


@pytest.mark.parametrize("config", [{"master": "eth0"}, {"vlan": 5}])
def test_an_internal_network_has_a_parent_of_its_own(node: Node, config: dict[str, Any]) -> None:
    assert refused(node, internal=True, **config).path == ("internal",)


def test_without_a_name_it_is_the_link_of_the_default_route_of_the_least_metric(node: Node) -> None:
    links = [node.kernel.add_link(node.host, name) for name in ("eth1", "eth2", "eth3")]
    node.host.routes = [
        route("::/0", links[2]),
        route("0.0.0.0/0", links[0], priority=200),
        route("0.0.0.0/0", links[1], priority=100),
        route("10.0.0.0/8", links[2]),
        route("0.0.0.0/0", None, type=7),  # unreachable
    ]
    assert told(plan(node)) == (["eth2"], [])
    node.host.routes = node.host.routes[:1]
    assert told(plan(node, vlan=5)) == (["eth3"], [("eth3.5", 5)])
    del node.host.links[links[2].index]
    assert "no default route" in refused(node).problem


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"flags": IFF_UP | IFF_LOWER_UP | IFF_LOOPBACK}, "is a loopback link"),
        ({"type": 512, "kind": "wireguard"}, "is no Ethernet (wireguard)"),
        ({"type": 32}, "is no Ethernet (a link of type 32)"),
        ({"master": 2}, "is a port of the bridge br0, which takes all its frames"),
    ],
)
def test_what_can_carry_nothing_is_refused(node: Node, attributes: dict[str, Any], words: str) -> None:
    bridge = node.kernel.add_link(node.host, "br0", kind="bridge")
    attributes |= {"master": bridge.index} if "master" in attributes else {}
    node.kernel.add_link(node.host, "eth1", **attributes)
    error = refused(node, master="eth1")
    assert (error.code, error.path, words in error.problem) == (errors.PARENT_UNUSABLE, ("master",), True)


def test_a_vlan_of_what_is_no_ethernet_is_refused(node: Node) -> None:
    node.kernel.add_link(node.host, "tun0", kind="tun", type=65534)
    assert "tun0 is no Ethernet (tun)" in refused(node, master="tun0", vlan=5).problem


def test_a_port_of_what_leaves_frames_alone_is_usable(node: Node) -> None:
    vrf = node.kernel.add_link(node.host, "blue", kind="vrf")
    node.kernel.add_link(node.host, "eth1", master=vrf.index)
    parents.refuse_unusable(plan(node, master="eth1"), socket(node))  # type: ignore[arg-type]


@pytest.mark.parametrize("config", [{"master": "eth1"}, {"master": "eth1.50"}, {"internal": True}])
def test_what_is_down_or_to_be_made_is_not(node: Node, config: dict[str, Any]) -> None:
    node.kernel.add_link(node.host, "eth1", flags=0)
    parents.refuse_unusable(plan(node, **config), socket(node))  # type: ignore[arg-type]


# Making


def made(node: Node, **config: Any) -> Link:
    return make(plan(node, **config), node.kernel.host_place())  # type: ignore[arg-type]


def test_vlans_are_made_lowest_first_marked_and_raised(node: Node) -> None:
    link = made(node, master="eth0.50.7")
    assert [(one.name, one.alias, one.up) for one in node.host.links.values()][2:] == [
        ("eth0.50", parents.ALIAS, True),
        ("eth0.50.7", parents.ALIAS, True),
    ]
    assert (link.name, plan(node, master="eth0.50.7").is_unfinished) == ("eth0.50.7", False)
    # By the name that each had then.
    assert [path[-1] for path, value in node.host.sysctls.items() if value == "0"] == ["accept_ra"] * 2
    assert [path[-1] for path, value in node.host.sysctls.items() if value == "1"] == ["addr_gen_mode"] * 2


def test_a_name_that_is_taken_or_too_long_is_not_needed(node: Node) -> None:
    node.kernel.add_link(node.host, "eth0.50", kind="veth")
    node.kernel.add_link(node.host, "a-rather-long-0")
    for config in ({"master": "eth0", "vlan": 50}, {"master": "a-rather-long-0", "vlan": 50}):
        link = made(node, **config)
        assert (link.name[:3], link.alias, link.up) == ("cnp", parents.ALIAS, True)
        assert told(plan(node, **config)) == ([config["master"], link.name], [])


def test_an_internal_networks_parent_is_made_once(node: Node) -> None:
    link = made(node, internal=True)
    assert (link.kind, link.alias, made(node, internal=True).index) == ("dummy", parents.ALIAS, link.index)


@pytest.mark.parametrize("attributes", [{"alias": "", "flags": IFF_UP}, {"alias": parents.ALIAS, "flags": 0}])
def test_what_a_killed_add_left_is_finished(node: Node, attributes: dict[str, Any]) -> None:
    vlan(node, short_name("cnp", "eth0.50"), "eth0", 50, **attributes)
    found = plan(node, master="eth0", vlan=50)
    assert found.is_unfinished
    link = make(found, node.kernel.host_place())  # type: ignore[arg-type]
    assert (link.alias, link.up) == (parents.ALIAS, True)


def test_what_others_took_down_is_theirs_to_bring_up(node: Node) -> None:
    vlan(node, "eth0.50", "eth0", 50, flags=0)
    assert not plan(node, master="eth0.50").is_unfinished
    assert not made(node, master="eth0.50").up


def test_on_a_link_that_is_down_a_vlan_is_made_marked_and_left_down(node: Node) -> None:
    """To raise it is ENETDOWN; it comes up with the link, and the next ADD looks to it."""
    vlan(node, "eth0.50", "eth0", 50, flags=0, **OURS)
    node.host.link("eth0").flags = 0  # type: ignore[union-attr]
    for config in ({"master": "eth0.50"}, {"master": "eth0.50.7"}, {"master": "eth0.60"}):
        link = made(node, **config)
        assert (link.name, link.alias, link.up) == (config["master"], parents.ALIAS, False)
    node.host.link("eth0").flags = IFF_UP  # type: ignore[union-attr]
    assert made(node, master="eth0.50.7").up
    assert node.host.link("eth0.50").up  # type: ignore[union-attr]


def test_only_what_is_ours_is_removed(node: Node) -> None:
    ours, theirs = vlan(node, "eth0.50", "eth0", 50, **OURS), vlan(node, "eth0.60", "eth0", 60)
    eth0 = node.host.link("eth0")
    assert eth0
    removed = [parents.remove(link.index, socket(node)) for link in (ours, theirs)]  # type: ignore[arg-type]
    assert (removed, node.host.names) == ([eth0.index, 0], ["eth0", "eth0.60"])
    assert parents.remove(99, socket(node)) == 0  # type: ignore[arg-type]


def test_a_new_link_that_vanishes_is_told(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    found = plan(node, internal=True)
    monkeypatch.setattr(Socket, "link", lambda *_, **__: None)
    with pytest.raises(CniError, match="vanished"):
        make(found, node.kernel.host_place())  # type: ignore[arg-type]
