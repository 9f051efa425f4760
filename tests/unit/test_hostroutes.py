"""Host routes of L3 (cni_core.hostroutes): which are missing, and which routes of the host are in the way."""

from __future__ import annotations

from typing import cast

import pytest

from cni_core import errors, hostroutes
from cni_core.address import Cidr
from cni_core.errors import CniError
from cni_core.rtnl.messages import Link, Route
from cni_core.rtnl.socket import Rtnl
from tests.unit.conftest import Node
from tests.unit.kernel import Socket, route

SUBNETS = [Cidr.parse("10.8.1.0/24"), Cidr.parse("fd00:8:1::/64")]
UNREACHABLE = 7  # linux/rtnetlink.h, RTN_UNREACHABLE


@pytest.fixture
def parent(node: Node) -> Link:
    link = node.host.link("eth0")
    assert link
    return link


@pytest.fixture
def other(node: Node) -> Link:
    return node.kernel.add_link(node.host, "eth1")


def conflict(node: Node, parent: Link, routes: list[Route]) -> str:
    """Why the subnets cannot be behind the parent; empty if they can."""
    try:
        hostroutes.refuse_conflicts(SUBNETS, parent, routes, cast(Rtnl, Socket(node.kernel, node.host)))
    except CniError as error:
        assert (error.code, error.path) == (errors.ROUTE_CONFLICT, ("ipam",))
        return error.problem
    return ""


@pytest.mark.parametrize(
    "dst",
    ["10.8.0.0/16", "10.8.1.0/24", "10.8.1.128/25", "10.8.1.7/32", "10.0.0.0/2", "fd00:8::/32", "fd00:8:1::5/128"],
)
def test_a_route_that_leads_elsewhere_is_in_the_way(node: Node, parent: Link, other: Link, dst: str) -> None:
    assert f"the host has the route {dst} dev eth1" in conflict(node, parent, [route(dst, other)])
    assert conflict(node, parent, [route(dst, parent)]) == ""


@pytest.mark.parametrize("dst", ["0.0.0.0/0", "0.0.0.0/1", "::/0", "10.9.0.0/16", "10.8.0.0/24"])
def test_default_routes_and_those_of_others_are_not(node: Node, parent: Link, other: Link, dst: str) -> None:
    assert conflict(node, parent, [route(dst, other)]) == ""


def test_of_those_around_it_the_longest_counts_and_of_those_alike_the_least_metric(
    node: Node, parent: Link, other: Link
) -> None:
    around = [route("10.8.0.0/16", other), route("10.8.0.0/20", parent)]
    assert conflict(node, parent, around) == conflict(node, parent, around[::-1]) == ""
    alike = [route("10.8.1.0/24", other, priority=100), route("10.8.1.0/24", parent, priority=50)]
    assert conflict(node, parent, alike) == ""
    alike[1].priority = 200
    assert "10.8.1.0/24 dev eth1" in conflict(node, parent, alike)


def test_a_route_by_a_next_hop_leads_elsewhere_though_by_the_parent(node: Node, parent: Link) -> None:
    assert "10.8.0.0/16 via 10.0.0.1 dev eth0" in conflict(node, parent, [route("10.8.0.0/16", parent, "10.0.0.1")])


def test_a_shorter_route_to_nowhere_is_there_to_be_overridden(node: Node, parent: Link) -> None:
    assert conflict(node, parent, [route("10.8.0.0/16", None, type=UNREACHABLE)]) == ""
    assert "10.8.1.0/24" in conflict(node, parent, [route("10.8.1.0/24", None, type=UNREACHABLE)])


def test_the_parents_own_subnet_is_refused(node: Node, parent: Link) -> None:
    node.host.addresses.append((parent.index, Cidr.parse("10.8.1.7/16"), 0))
    assert "eth0 itself has the address 10.8.1.7/16" in conflict(node, parent, [])


def test_what_is_missing_is_what_does_not_lead_to_the_parent(parent: Link, other: Link) -> None:
    assert [one.dst for one in hostroutes.missing(SUBNETS, parent, [])] == SUBNETS
    there = [route("10.8.1.0/24", parent), route("fd00:8:1::/64", other)]
    [missing] = hostroutes.missing(SUBNETS, parent, there)
    assert (missing.dst, missing.links, missing.protocol) == (SUBNETS[1], [parent.index], hostroutes.PROTOCOL)


def test_check_tells_of_the_first_that_is_lost(parent: Link) -> None:
    there = hostroutes.missing(SUBNETS, parent, [])
    hostroutes.verify(SUBNETS, parent, there)
    with pytest.raises(CniError, match="lacks the route fd00:8:1::/64 dev eth0"):
        hostroutes.verify(SUBNETS, parent, there[:1])


def test_ours_are_told_from_others_with_our_number(parent: Link, other: Link) -> None:
    ours = hostroutes.missing(SUBNETS, parent, [])
    others = [
        route("10.8.1.0/24", parent),
        route("10.8.2.0/24", parent, "10.0.0.1", protocol=hostroutes.PROTOCOL),
        route("10.8.3.0/24", None, protocol=hostroutes.PROTOCOL),
        route("10.8.4.0/24", parent, protocol=hostroutes.PROTOCOL, type=UNREACHABLE),
    ]
    assert hostroutes.ours(ours + others) == ours


def test_only_the_main_table_counts_and_only_families_that_are_asked_for(node: Node, parent: Link) -> None:
    node.host.routes = [route("10.8.1.0/24", parent), route("fd00:8:1::/64", parent)]
    elsewhere = Route(SUBNETS[0], None, [parent.index], table=100)
    node.host.routes.append(elsewhere)
    rtnl = cast(Rtnl, Socket(node.kernel, node.host))
    assert [one.dst for one in hostroutes.main_table(rtnl)] == SUBNETS
    assert [one.dst for one in hostroutes.main_table(rtnl, SUBNETS[:1])] == SUBNETS[:1]
