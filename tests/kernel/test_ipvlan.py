"""ipvlan attachments, and that one parent has one kind of link, as the kernel sees them."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.lab.topology import Host
from tests.kernel.conftest import Lan
from tests.kernel.plugin import RECORDS, addresses, leases, links

PARENT_UNUSABLE = 102


def ipvlan(lan: Lan, **keys: Any) -> dict[str, Any]:
    return lan.config(type="ipvlan", **keys)


def details(host: Host) -> dict[str, Any]:
    found: dict[str, Any] = host.ip_json("-d link show dev eth0")[0]["linkinfo"]
    return found


def records() -> list[str]:
    """What is left below /run/cni-vlan, but for the lock."""
    return sorted(str(path) for path in RECORDS.rglob("*") if path.is_file() and path.name != "lock")


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
@pytest.mark.parametrize("flag", ["bridge", "private", "vepa"])
def test_mode_and_flag_asked_for_are_the_kernels(lan: Lan, mode: str, flag: str) -> None:
    pod = lan.host("pod")
    config = ipvlan(lan, mode=mode, flag=flag)
    result = lan.ipvlan.add(pod, config).result
    assert details(pod)["info_kind"] == "ipvlan"
    data = details(pod)["info_data"]
    assert data["mode"] == mode
    assert {name for name in ("bridge", "private", "vepa") if data.get(name)} <= {flag}
    assert addresses(pod) == ["10.1.0.2/24"]
    lan.ipvlan.check(pod, config, result).succeeded()
    other = ipvlan(lan, mode="l3" if mode == "l2" else "l2", flag=flag)
    wanted = f"ipvlan {other['mode']} {flag}"
    assert lan.ipvlan.check(pod, other, result).error["msg"] == f"eth0: it is ipvlan {mode} {flag}, not {wanted}"
    lan.ipvlan.delete(pod, config).succeeded()
    assert links(pod) == []
    assert leases(lan.data_dir) == {}
    assert records() == []


def test_containers_reach_each_other_and_the_host_beyond_in_both_families(lan: Lan) -> None:
    one, two = lan.container("one"), lan.container("two")
    config = ipvlan(lan, ipam=lan.dual_stack)
    for pod in (one, two):
        assert lan.ipvlan.add(pod, config).status == 0
    for target in ("10.1.0.3", "10.1.0.1", "fd00:1::3", "fd00:1::1"):
        assert one.ping(target)


def test_in_l3_the_default_route_is_the_link_and_gateways_are_ignored(lan: Lan) -> None:
    one, two = lan.container("one"), lan.container("two")
    for pod, subnets in ((one, ("10.2.0.0/24", "fd00:2::/64")), (two, ("10.3.0.0/24", "fd00:3::/64"))):
        result = lan.ipvlan.add(pod, ipvlan(lan, name=pod.name, mode="l3", ipam=lan.ipam(*subnets))).result
        assert all("gateway" not in ip for ip in result["ips"])
        for family in (4, 6):
            (default,) = pod.ip_json(f"-{family} route show default")
            assert (default["dev"], default.get("gateway")) == ("eth0", None)
    assert one.ping("10.3.0.2")
    assert one.ping("fd00:3::2")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"type": "ipvlan"}, {"type": "macvlan"}),
        ({"type": "macvlan"}, {"type": "ipvlan"}),
        ({"type": "macvlan", "mode": "passthru"}, {"type": "macvlan"}),
        ({"type": "macvlan"}, {"type": "macvlan", "mode": "passthru"}),
        ({"type": "ipvlan"}, {"type": "ipvlan", "mode": "l3"}),
        ({"type": "ipvlan", "mode": "l3"}, {"type": "ipvlan", "mode": "l3s"}),
        ({"type": "ipvlan"}, {"type": "ipvlan", "flag": "private"}),
    ],
)
def test_a_parent_has_one_kind_and_an_error_says_whose(lan: Lan, first: dict[str, str], second: dict[str, str]) -> None:
    one, two = lan.host("one"), lan.host("two")
    plugins = {"macvlan": lan.macvlan, "ipvlan": lan.ipvlan}
    held, refused = lan.config(name="held", **first), lan.config(name="refused", **second)
    assert plugins[first["type"]].add(one, held).status == 0
    before = details(one), records()
    error = plugins[second["type"]].add(two, refused).error
    assert error["code"] == PARENT_UNUSABLE
    assert error["msg"].startswith(f"master: eth0 is in use as {first['type']}")
    assert "by one/eth0 of network held: " in error["msg"]
    assert (details(one), records()) == before
    assert links(two) == []
    assert leases(lan.data_dir, "refused") == {}
    # After the last has gone, the parent is free.
    plugins[first["type"]].delete(one, held).succeeded()
    assert plugins[second["type"]].add(two, refused).status == 0


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("macvlan", {"type": "ipvlan"}),
        ("ipvlan mode l2", {"type": "macvlan"}),
        ("ipvlan mode l2", {"type": "ipvlan", "mode": "l3"}),
        ("macvlan mode passthru", {"type": "macvlan"}),
    ],
)
def test_somebody_elses_links_count_too(lan: Lan, theirs: str, ours: dict[str, str]) -> None:
    other, pod = lan.host("other"), lan.host("pod")
    lan.node.ip(f"link add theirs link eth0 netns other type {theirs}")
    plugin = lan.ipvlan if ours["type"] == "ipvlan" else lan.macvlan
    error = plugin.add(pod, lan.config(**ours)).error
    assert error["code"] == PARENT_UNUSABLE
    assert "somebody else" in error["msg"]
    assert (links(pod), leases(lan.data_dir), records()) == ([], {}, [])
    assert "theirs" in links(other)


def test_somebody_elses_ipvlan_of_the_same_mode_and_flag_is_no_hindrance(lan: Lan) -> None:
    other, pod = lan.host("other"), lan.host("pod")
    lan.node.ip("link add theirs link eth0 netns other type ipvlan mode l3")
    assert lan.ipvlan.add(pod, ipvlan(lan, mode="l3")).status == 0
    assert other.ip_json("-d link show dev theirs")[0]["linkinfo"]["info_data"]["mode"] == "l3"


def test_records_of_containers_that_died_without_a_del_hinder_nobody(lan: Lan) -> None:
    pod = lan.host("pod")
    dead = lan.host("dead")
    assert lan.ipvlan.add(dead, ipvlan(lan, name="old")).status == 0
    dead.ip("link del eth0")  # as with its namespace
    assert lan.macvlan.add(pod, lan.config()).status == 0
    assert [record for record in records() if "dead" in record] == []


def test_an_address_that_another_container_of_the_parent_has_is_named(lan: Lan) -> None:
    assert lan.ipvlan.add(lan.host("one"), ipvlan(lan, name="one")).status == 0
    error = lan.ipvlan.add(lan.host("two"), ipvlan(lan, name="two")).error
    assert error["code"] == 106
    told = "address 10.1.0.2 is in use by a container of this host, eth0 in its network namespace: /run/netns/one"
    assert error["msg"] == told
    assert leases(lan.data_dir, "two") == {}


def test_gc_forgets_the_attachments_that_are_not_valid(lan: Lan) -> None:
    config = ipvlan(lan, cniVersion="1.1.0")
    for name in ("one", "two"):
        assert lan.ipvlan.add(lan.host(name), config).status == 0
    valid = [{"containerID": "one", "ifname": "eth0"}]
    lan.ipvlan.call("GC", None, config | {"cni.dev/valid-attachments": valid}).succeeded()
    assert [path.rpartition("/")[2] for path in records() if "attachments/" in path] == ["one:eth0"]


def previous(*interfaces: dict[str, str], **keys: Any) -> dict[str, Any]:
    """The result of a plugin before in the chain."""
    return {"prevResult": {"cniVersion": "1.0.0", "interfaces": list(interfaces), **keys}}


def test_in_a_chain_parent_and_addresses_are_those_of_prevresult(lan: Lan) -> None:
    pod = lan.container("pod")
    before = previous(
        {"name": "eth0"},
        ips=[{"address": "10.1.0.40/24", "gateway": "10.1.0.1", "interface": 0}],
        routes=[{"dst": "0.0.0.0/0"}],
        dns={"nameservers": ["10.1.0.1"]},
    )
    config = ipvlan(lan, master=None, ipam={}, **before)
    result = lan.ipvlan.add(pod, config).result
    assert [(item["name"], item.get("sandbox")) for item in result["interfaces"]] == [
        ("eth0", None),
        ("eth0", pod.netns),
    ]
    assert result["ips"] == [{"address": "10.1.0.40/24", "gateway": "10.1.0.1", "interface": 1}]
    assert (result["routes"], result["dns"]) == ([{"dst": "0.0.0.0/0"}], {"nameservers": ["10.1.0.1"]})
    assert addresses(pod) == ["10.1.0.40/24"]
    (default,) = pod.ip_json("route show default")
    assert default["gateway"] == "10.1.0.1"
    assert pod.ping("10.1.0.1")
    lan.ipvlan.check(pod, config, result).succeeded()
    lan.ipvlan.delete(pod, config | {"prevResult": result}).succeeded()
    assert links(pod) == []


def test_in_a_chain_an_interface_of_the_container_is_the_parent_and_addresses_it_has_stay_its(lan: Lan) -> None:
    pod = lan.host("pod")
    assert lan.macvlan.add(pod, lan.config(name="below"), CNI_IFNAME="net1").status == 0
    below = {"name": "net1", "sandbox": pod.netns}
    before = previous(below, ips=[{"address": "10.1.0.2/24", "interface": 0}])
    config = ipvlan(lan, master=None, ipam=None, **before)
    result = lan.ipvlan.add(pod, config).result
    assert pod.ip_json("link show dev eth0")[0]["link"] == "net1"
    assert (addresses(pod), result["ips"]) == ([], [{"address": "10.1.0.2/24", "interface": 0}])
    lan.ipvlan.check(pod, config, result).succeeded()


@pytest.mark.parametrize(
    ("interfaces", "told"),
    [
        ([{"name": "a"}, {"name": "b"}], "prevResult has no single interface to take: 'a', 'b'"),
        ([{"name": "a/b"}], "prevResult has no single interface to take: 'a/b'"),
        ([{"name": "nowhere"}], "master: there is no link named nowhere"),
    ],
)
def test_in_a_chain_without_a_parent_to_take_the_error_says_so(
    lan: Lan, interfaces: list[dict[str, str]], told: str
) -> None:
    error = lan.ipvlan.add(lan.host("pod"), ipvlan(lan, master=None, **previous(*interfaces))).error
    assert (error["code"], told in error["msg"]) == (7, True), error


def test_a_chain_without_interfaces_leaves_the_default_routes_link(lan: Lan) -> None:
    lan.node.address("eth0", "10.1.0.7/24")
    lan.node.ip("route add default via 10.1.0.1")
    pod = lan.host("pod")
    assert lan.ipvlan.add(pod, ipvlan(lan, master=None, **previous())).status == 0
    assert addresses(pod) == ["10.1.0.2/24"]
