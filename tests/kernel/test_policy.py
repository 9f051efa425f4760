"""What the author of a network may do to the node: host routes within limits, and what its administrator allows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import Lan
from tests.kernel.plugin import leases, links

INVALID_CONFIG, PARENT_UNUSABLE, DATA_DIRECTORY, ROUTE_CONFLICT = 7, 102, 108, 110
POLICY = Path("/etc/cni/cni-vlan.conf")


@pytest.fixture(autouse=True)
def policy() -> Iterator[None]:
    POLICY.parent.mkdir(exist_ok=True)
    yield
    POLICY.unlink(missing_ok=True)


def write(**sections: Any) -> None:
    POLICY.write_text(json.dumps(sections))
    POLICY.chmod(0o644)


def routed(lan: Lan, *subnets: str, **keys: Any) -> dict[str, Any]:
    return lan.config(**{"type": "ipvlan", "mode": "l3", "ipam": lan.ipam(*subnets, routes=[])} | keys)


def way(lan: Lan, address: str) -> str:
    [route] = lan.node.ip_json(f"route get {address}")
    return str(route.get("gateway", "no next hop"))


@pytest.mark.parametrize(
    ("subnet", "address", "why"),
    [
        ("169.254.169.252/30", "169.254.169.254", "169.254.0.0/16, which is never behind a parent"),
        ("128.0.0.0/1", "203.0.113.10", "never behind a parent"),
        ("203.0.113.8/29", "203.0.113.10", "not private"),
        ("198.51.100.0/24", "198.51.100.1", "198.51.100.1"),
        ("10.255.0.0/24", "10.255.0.1", "the host itself has the address 10.255.0.1/32"),
    ],
)
def test_a_network_takes_nothing_that_the_node_sends_elsewhere(lan: Lan, subnet: str, address: str, why: str) -> None:
    lan.node.address("eth0", "10.1.0.9/24")
    lan.node.ip("route add default via 10.1.0.1")
    lan.node.ip("route add 192.0.2.0/24 via 198.51.100.1 dev eth0 onlink")
    lan.node.ip("address add 10.255.0.1/32 dev lo")
    if subnet == "198.51.100.0/24":
        write(hostRoutes={"allow": ["198.51.100.0/24"]})
    before = way(lan, address)
    assert lan.ipvlan.add(lan.host("pod"), routed(lan, subnet)).status == 0  # without a host route
    error = lan.ipvlan.add(lan.host("other"), routed(lan, subnet, name="b", hostRoutes=True)).error
    assert (error["code"], why in error["msg"]) == (ROUTE_CONFLICT, True), error
    assert way(lan, address) == before


def test_private_subnets_get_one_and_others_when_the_administrator_allows_them(lan: Lan) -> None:
    config = routed(lan, "203.0.113.0/24", "10.9.0.0/24", hostRoutes=True)
    assert "not private" in lan.ipvlan.add(lan.host("one"), config).error["msg"]
    write(hostRoutes={"allow": ["203.0.113.0/24", "10.0.0.0/8"], "forbid": ["10.8.0.0/16"]})
    two = lan.host("two")
    assert lan.ipvlan.add(two, config).status == 0
    shown = [route["dst"] for route in lan.node.ip_json("route show proto 193")]
    assert sorted(shown) == ["10.9.0.0/24", "203.0.113.0/24"]
    other = routed(lan, "10.8.0.0/24", name="b", hostRoutes=True)
    assert "hostRoutes.forbid" in lan.ipvlan.add(lan.host("three"), other).error["msg"]
    POLICY.unlink()
    lan.ipvlan.delete(two, config).succeeded()
    assert lan.node.ip_json("route show proto 193") == []


def test_the_administrator_says_what_is_a_parent(lan: Lan) -> None:
    write(parents={"allow": ["eth0.*"], "forbid": ["eth0.60"]})
    pod = lan.host("pod")
    for keys in ({}, {"vlan": 60}, {"master": "eth0.60"}):
        error = lan.macvlan.add(pod, lan.config(**keys)).error
        assert (error["code"], "administrator does not allow" in error["msg"]) == (PARENT_UNUSABLE, True), error
    assert (links(lan.node), leases(lan.data_dir)) == (["eth0"], {})
    # Whatever the VLAN is called: it is meant by the link below and its number.
    lan.node.ip("link add link eth0 name storage type vlan id 60")
    assert "eth0.60" in lan.macvlan.add(pod, lan.config(master="storage")).error["msg"]
    assert "eth0" in lan.macvlan.call("STATUS", None, lan.config(cniVersion="1.1.0")).error["msg"]
    assert lan.macvlan.add(pod, lan.config(vlan=50)).status == 0
    write(parents={"allow": []})
    lan.macvlan.delete(pod, lan.config(vlan=50)).succeeded()
    assert links(pod) == []


def test_the_administrator_says_where_leases_lie(lan: Lan, tmp_path: Path) -> None:
    planted = tmp_path / "elsewhere"
    (planted / "lan").mkdir(parents=True)
    write(dataDirs={"allow": [str(lan.data_dir)]})
    pod, config = lan.host("pod"), lan.config(ipam=lan.ipam(dataDir=str(planted)))
    error = lan.macvlan.add(pod, config).error
    assert (error["code"], "dataDirs.allow" in error["msg"]) == (DATA_DIRECTORY, True)
    lan.macvlan.delete(pod, config).succeeded()  # which else makes a lock, and an index
    assert [str(path) for path in planted.rglob("*")] == [str(planted / "lan")]
    assert lan.macvlan.add(pod, lan.config()).status == 0
    assert len(leases(lan.data_dir)) == 1


def test_a_file_that_others_can_write_allows_nothing_and_hinders_no_del(lan: Lan) -> None:
    pod, other, config = lan.host("pod"), lan.host("other"), lan.config()
    assert lan.macvlan.add(pod, config).status == 0
    for spoil in (
        lambda: POLICY.chmod(0o666),
        lambda: os.chown(POLICY, 1, 0),
        lambda: POLICY.write_text('{"parent": {}}'),
    ):
        write()
        os.chown(POLICY, 0, 0)
        assert lan.macvlan.add(other, config).status == 0
        lan.macvlan.delete(other, config).succeeded()
        spoil()
        error = lan.macvlan.add(other, config).error
        assert (error["code"], f"{POLICY} cannot be used" in error["msg"]) == (INVALID_CONFIG, True), error
    lan.macvlan.delete(pod, config).succeeded()
    assert (links(pod), leases(lan.data_dir)) == ([], {})
