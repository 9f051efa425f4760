"""ipvlan L3: the routes on the host that lead to its subnets, and the hosts that reach them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from conformance.lab.topology import Host
from tests.kernel.conftest import Lan
from tests.kernel.plugin import RECORDS, leases, links

CHECK_DIFFERS, ROUTE_CONFLICT = 107, 110
SUBNETS = ("10.2.0.0/24", "fd00:2::/64")


@pytest.fixture
def l3(lan: Lan) -> Iterator[Lan]:
    """The node has 10.1.0.7/24 and fd00:1::7/64 on the parent."""
    lan.node.address("eth0", "10.1.0.7/24", "fd00:1::7/64")
    yield lan


def network(lan: Lan, *subnets: str, **keys: Any) -> dict[str, Any]:
    ipam = {"ipam": lan.ipam(*(subnets or SUBNETS))}
    return lan.config(**({"type": "ipvlan", "mode": "l3"} | ipam | keys))


def host_routes(host: Host, which: str = "proto 193") -> list[tuple[str, str]]:
    """(destination, link) of the routes of both families."""
    found = [route for family in (4, 6) for route in host.ip_json(f"-{family} route show {which}")]
    return [(route["dst"], route["dev"]) for route in found]


@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_they_come_with_the_first_attachment_and_go_with_the_last(l3: Lan, mode: str) -> None:
    one, two = l3.host("one"), l3.host("two")
    config = network(l3, mode=mode)
    for pod in (one, two):
        result = l3.ipvlan.add(pod, config).result
        assert host_routes(l3.node) == [(subnet, "eth0") for subnet in SUBNETS]
        l3.ipvlan.check(pod, config, result).succeeded()
    l3.ipvlan.delete(one, config).succeeded()
    l3.ipvlan.delete(one, config).succeeded()
    assert host_routes(l3.node) == [(subnet, "eth0") for subnet in SUBNETS]
    l3.ipvlan.delete(two, config).succeeded()
    assert host_routes(l3.node) == []


def test_every_subnet_of_a_range_set_has_one(l3: Lan) -> None:
    ipam = l3.ipam() | {"ranges": [[{"subnet": "10.2.0.0/24"}, {"subnet": "10.3.0.0/24"}]]}
    assert l3.ipvlan.add(l3.host("pod"), network(l3, ipam=ipam)).status == 0
    assert host_routes(l3.node) == [("10.2.0.0/24", "eth0"), ("10.3.0.0/24", "eth0")]


@pytest.mark.parametrize("subnet", SUBNETS)
def test_check_misses_one_and_the_next_add_puts_it_back(l3: Lan, subnet: str) -> None:
    one, two = l3.host("one"), l3.host("two")
    result = l3.ipvlan.add(one, network(l3)).result
    l3.node.ip(f"route del {subnet} dev eth0")
    error = l3.ipvlan.check(one, network(l3), result).error
    assert (error["code"], error["msg"]) == (CHECK_DIFFERS, f"the host lacks the route {subnet} dev eth0")
    assert l3.ipvlan.add(two, network(l3)).status == 0
    l3.ipvlan.check(one, network(l3), result).succeeded()


@pytest.mark.parametrize("subnet", SUBNETS)
def test_one_that_somebody_else_made_is_neither_taken_nor_duplicated(l3: Lan, subnet: str) -> None:
    pod = l3.host("pod")
    l3.node.ip(f"route add {subnet} dev eth0 proto static")
    result = l3.ipvlan.add(pod, network(l3, subnet)).result
    assert host_routes(l3.node) == []
    l3.ipvlan.check(pod, network(l3, subnet), result).succeeded()
    l3.ipvlan.delete(pod, network(l3, subnet)).succeeded()
    assert host_routes(l3.node, "proto static") == [(subnet, "eth0")]


def test_networks_of_one_subnet_share_it(l3: Lan) -> None:
    one, two = l3.host("one"), l3.host("two")
    first, second = network(l3, "10.2.0.0/24", name="first"), network(l3, "10.2.0.0/24", name="second")
    second["ipam"]["ranges"][0][0]["rangeStart"] = "10.2.0.100"
    assert l3.ipvlan.add(one, first).status == 0
    assert l3.ipvlan.add(two, second).status == 0
    l3.ipvlan.delete(one, first).succeeded()
    assert host_routes(l3.node) == [("10.2.0.0/24", "eth0")]
    l3.ipvlan.delete(two, second).succeeded()
    assert host_routes(l3.node) == []


def refused(lan: Lan, config: dict[str, Any]) -> str:
    """The error's text, of an ADD that must have host routes, and leaves nothing behind; one that need not attaches."""
    pod, own = lan.host("pod"), lan.host("own")
    before = host_routes(lan.node, "table all")
    result = lan.ipvlan.add(own, config).result
    lan.ipvlan.check(own, config, result).succeeded()
    assert host_routes(lan.node, "table all") == before
    lan.ipvlan.delete(own, config).succeeded()
    assert host_routes(lan.node, "table all") == before
    error = lan.ipvlan.add(pod, config | {"hostRoutes": True}).error
    assert error["code"] == ROUTE_CONFLICT, error
    assert (links(pod), leases(lan.data_dir), host_routes(lan.node, "table all")) == ([], {}, before)
    assert [path for path in RECORDS.rglob("*") if path.is_file() and path.name != "lock"] == []
    return str(error["msg"])


@pytest.mark.parametrize(
    ("subnet", "address"),
    [
        ("10.1.0.0/24", "10.1.0.7/24"),
        ("10.1.0.128/25", "10.1.0.7/24"),
        ("10.0.0.0/12", "10.1.0.7/24"),
        ("fd00:1::/64", "fd00:1::7/64"),
        ("fd00:1::/112", "fd00:1::7/64"),
    ],
)
def test_a_range_that_overlaps_a_subnet_on_the_parent_is_refused(l3: Lan, subnet: str, address: str) -> None:
    told = f"ipam: {subnet} cannot be a subnet behind the parent: eth0 itself has the address {address}"
    assert refused(l3, network(l3, subnet)) == told


@pytest.mark.parametrize(
    ("subnet", "route"),
    [
        ("10.2.0.0/24", "10.2.0.0/24 via 10.1.0.1 dev eth0"),
        ("10.2.0.0/24", "10.2.0.0/24 dev other"),
        ("10.2.0.0/24", "10.2.0.64/26 dev other"),
        ("10.2.0.0/24", "10.0.0.0/8 via 10.1.0.1 dev eth0"),
        ("fd00:2::/64", "fd00:2::/64 dev other"),
        ("fd00:2::/64", "fd00:2::/48 via fd00:1::1 dev eth0"),
    ],
)
def test_a_range_that_a_route_sends_elsewhere_is_refused(l3: Lan, subnet: str, route: str) -> None:
    l3.node.ip("link add other type dummy")
    l3.node.ip("link set other up")
    l3.node.ip(f"route add {route}")
    told = f"ipam: {subnet} cannot be a subnet behind the parent: the host has the route {route}"
    assert refused(l3, network(l3, subnet)) == told
    # Who does not want the routes is asked nothing of this.
    assert l3.ipvlan.add(l3.host("other"), network(l3, subnet, hostRoutes=False)).status == 0
    assert host_routes(l3.node) == []


@pytest.mark.parametrize(
    "routes",
    [
        ["default via 10.1.0.1"],
        ["0.0.0.0/1 via 10.1.0.1", "128.0.0.0/1 via 10.1.0.1"],  # as VPN clients write a default route
        ["blackhole 10.0.0.0/8"],
        ["10.0.0.0/8 via 10.1.0.1", "10.2.0.0/16 dev eth0"],
        ["10.2.0.0/24 dev other table 100"],
    ],
)
def test_a_route_that_is_there_to_be_overridden_hinders_nobody(l3: Lan, routes: list[str]) -> None:
    l3.node.ip("link add other type dummy")
    l3.node.ip("link set other up")
    for route in routes:
        l3.node.ip(f"route add {route}")
    assert l3.ipvlan.add(l3.host("pod"), network(l3)).status == 0
    assert host_routes(l3.node) == [(subnet, "eth0") for subnet in SUBNETS]


def test_two_subnets_and_a_remote_host_with_a_static_route_reach_each_other(l3: Lan) -> None:
    one, two = l3.container("one"), l3.container("two")
    others = ("10.3.0.0/24", "fd00:3::/64")
    assert l3.ipvlan.add(one, network(l3, name="one")).status == 0
    assert l3.ipvlan.add(two, network(l3, *others, name="two")).status == 0
    for address in ("10.3.0.2", "fd00:3::2"):
        assert one.ping(address)
    assert not l3.beyond.ping("10.2.0.2", expect=False)
    # The commands of docs and README.
    for subnet, via in zip(SUBNETS + others, ("10.1.0.7", "fd00:1::7") * 2, strict=True):
        l3.beyond.ip(f"route add {subnet} via {via}")
    for address in ("10.2.0.2", "fd00:2::2", "10.3.0.2", "fd00:3::2"):
        assert l3.beyond.ping(address)
    for address in ("10.1.0.1", "fd00:1::1"):
        assert one.ping(address)


def test_when_the_records_are_lost_they_stay_while_a_container_needs_them(l3: Lan) -> None:
    one, two = l3.host("one"), l3.host("two")
    for pod in (one, two):
        assert l3.ipvlan.add(pod, network(l3)).status == 0
    shutil.rmtree(RECORDS)
    l3.ipvlan.delete(one, network(l3)).succeeded()
    assert host_routes(l3.node) == [(subnet, "eth0") for subnet in SUBNETS]
    l3.ipvlan.delete(two, network(l3)).succeeded()
    assert host_routes(l3.node) == []


def test_those_that_a_crash_left_are_removed_by_the_next_call(l3: Lan) -> None:
    l3.node.ip("link add other type dummy")
    l3.node.ip("link set other up")
    pod = l3.host("pod")
    stale = "10.2.0.0/24 dev other proto 193"
    l3.node.ip(f"route add {stale}")
    assert l3.ipvlan.add(pod, network(l3)).status == 0
    assert host_routes(l3.node) == [(subnet, "eth0") for subnet in SUBNETS]
    l3.node.ip("route add 10.9.0.0/24 dev other proto 193")
    l3.ipvlan.delete(pod, network(l3)).succeeded()
    assert host_routes(l3.node) == []


def test_somebody_elses_of_the_same_number_are_left_alone(l3: Lan) -> None:
    theirs = ["10.9.0.0/24 via 10.1.0.1 dev eth0", "unreachable 10.8.0.0/24"]
    for route in theirs:
        l3.node.ip(f"route add {route} proto 193")
    pod = l3.host("pod")
    assert l3.ipvlan.add(pod, network(l3)).status == 0
    l3.ipvlan.delete(pod, network(l3)).succeeded()
    assert [route["dst"] for route in l3.node.ip_json("route show proto 193")] == ["10.8.0.0/24", "10.9.0.0/24"]


def test_an_add_that_fails_takes_them_along(l3: Lan) -> None:
    ipam = l3.ipam(*SUBNETS, routes=[{"dst": "10.9.0.0/24", "gw": "10.77.0.1"}])
    assert l3.ipvlan.add(l3.host("pod"), network(l3, ipam=ipam)).status == 1
    assert host_routes(l3.node) == []


def test_a_gc_removes_those_that_no_valid_attachment_needs(l3: Lan) -> None:
    config = network(l3, cniVersion="1.1.0")
    one, two = l3.host("one"), l3.host("two")
    for pod in (one, two):
        assert l3.ipvlan.add(pod, config).status == 0
        pod.ip("link del eth0")  # as with its namespace
    valid = [{"containerID": "two", "ifname": "eth0"}]
    l3.ipvlan.call("GC", None, config | {"cni.dev/valid-attachments": valid}).succeeded()
    assert host_routes(l3.node) == [(subnet, "eth0") for subnet in SUBNETS]
    l3.ipvlan.call("GC", None, config | {"cni.dev/valid-attachments": []}).succeeded()
    assert host_routes(l3.node) == []


def test_a_del_knows_them_when_the_configuration_has_changed(l3: Lan) -> None:
    pod = l3.host("pod")
    assert l3.ipvlan.add(pod, network(l3)).status == 0
    l3.ipvlan.delete(pod, network(l3, hostRoutes=False)).succeeded()
    assert host_routes(l3.node) == []


def test_on_a_vlan_of_ours_they_go_with_it(l3: Lan) -> None:
    pod = l3.host("pod")
    before = links(l3.node)
    config = network(l3, vlan=50)
    assert l3.ipvlan.add(pod, config).status == 0
    assert host_routes(l3.node) == [(subnet, "eth0.50") for subnet in SUBNETS]
    l3.ipvlan.delete(pod, config).succeeded()
    assert (links(l3.node), host_routes(l3.node)) == (before, [])
