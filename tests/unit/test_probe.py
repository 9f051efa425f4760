"""`conflict: probe` over a kernel of lists: who is asked when, what another address is chosen for, and what is told."""

from __future__ import annotations

import pytest

from cni_core import errors, probe
from cni_core.address import Address
from cni_core.names import Attachment
from cni_core.rtnl import messages, neighbours
from tests.unit.conftest import Node

MAC = bytes.fromhex("020000000009")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_SECONDS", 0.0)


def answers(node: Node, *addresses: str) -> None:
    """Somebody on the LAN has the addresses."""
    node.kernel.neighbours |= {Address.parse(address): MAC for address in addresses}


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_another_address_is_chosen_and_told(node: Node, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    answers(node, "10.1.0.2", "10.1.0.3")
    result = node.add(node.config(type=kind, conflict="probe"))
    assert [str(ip.cidr) for ip in result.ips] == ["10.1.0.4/24"]
    assert capfd.readouterr().err.splitlines() == [
        f"address 10.1.0.{n} is in use by 02:00:00:00:00:09 on eth0: another is chosen" for n in (2, 3)
    ]
    assert node.leases() == {"10.1.0.4": "c1/eth0"}
    assert node.container().names == ["eth0"]


def test_the_link_asks_before_it_has_the_address_which_is_announced(node: Node) -> None:
    node.add(node.config(conflict="probe"))
    assert node.kernel.log == [
        "create the macvlan link",
        "name the link eth0 and bring it up",
        "ask who has 10.1.0.2",
        "forget who has 10.1.0.2",
        "add address 10.1.0.2/24",
        "announce the addresses",
    ]


def test_its_timers_are_set_back(node: Node) -> None:
    tmp = Attachment("c1", "eth0").link_name
    before = {"retrans_time_ms": "1000", "mcast_solicit": "7"}
    for name, value in before.items():
        node.container().sysctls[("net", "ipv4", "neigh", tmp, name)] = value
    node.add(node.config(conflict="probe"))
    for name, value in before.items():
        assert node.container().sysctls[("net", "ipv4", "neigh", tmp, name)] != value
        assert node.container().sysctls[("net", "ipv4", "neigh", "eth0", name)] == value


def test_ipvlan_asks_from_the_parent_before_the_link_is_up(node: Node) -> None:
    node.add(node.config(type="ipvlan", conflict="probe"))
    asked = node.kernel.log.index("ask who has 10.1.0.2")
    assert asked < node.kernel.log.index("name the link eth0 and bring it up")
    assert "announce the addresses" not in node.kernel.log
    assert node.host.neighbours == {}


@pytest.mark.parametrize(("state", "asked"), [(neighbours.NUD_REACHABLE, False), (neighbours.NUD_STALE, True)])
def test_what_the_host_knows_for_certain_is_not_asked_for(node: Node, state: int, asked: bool) -> None:
    eth0 = node.host.link("eth0")
    assert eth0
    node.host.neighbours[eth0.index, Address.parse("10.1.0.2")] = (state, MAC)
    result = node.add(node.config(type="ipvlan", conflict="probe"))
    assert [str(ip.cidr) for ip in result.ips] == ["10.1.0.2/24" if asked else "10.1.0.3/24"]
    assert ("ask who has 10.1.0.2" in node.kernel.log) == asked


@pytest.mark.parametrize("keys", [{}, {"conflict": "off"}, {"type": "ipvlan", "mode": "l3", "conflict": "probe"}])
def test_nobody_is_asked_where_it_is_not_wanted_or_of_no_use(node: Node, keys: dict[str, str]) -> None:
    answers(node, "10.1.0.2")
    node.add(node.config(**keys))
    assert not any(done.startswith("ask who") for done in node.kernel.log)


def test_nobody_is_asked_without_a_carrier(node: Node) -> None:
    answers(node, "10.1.0.2")
    node.host.link("eth0").flags = messages.IFF_UP  # type: ignore[union-attr]
    assert [str(ip.cidr) for ip in node.add(node.config(conflict="probe")).ips] == ["10.1.0.2/24"]


def test_an_address_that_was_asked_for_is_refused(node: Node) -> None:
    answers(node, "10.1.0.2")
    error = node.refused(node.config(conflict="probe", runtimeConfig={"ips": ["10.1.0.2"]}))
    assert (error.code, error.msg) == (106, "address 10.1.0.2 is in use by 02:00:00:00:00:09 on eth0")


def test_after_eight_it_is_to_be_tried_later(node: Node) -> None:
    answers(node, *(f"10.1.0.{n}" for n in range(2, 10)))
    error = node.refused(node.config(conflict="probe"))
    assert error.code == errors.TRY_AGAIN_LATER
    assert all(f"10.1.0.{n} is in use by 02:00:00:00:00:09 on eth0" in error.msg for n in range(2, 10))


def test_the_seventh_is_not_the_last(node: Node) -> None:
    answers(node, *(f"10.1.0.{n}" for n in range(2, 9)))
    assert [str(ip.cidr) for ip in node.add(node.config(conflict="probe")).ips] == ["10.1.0.9/24"]


def test_an_empty_pool_tells_whom_the_lan_has_lost_it_to(node: Node) -> None:
    answers(node, "10.1.0.2")
    error = node.refused(node.config("10.1.0.0/30", conflict="probe"))
    assert error.code == errors.POOL_EXHAUSTED
    assert "others on the link have 10.1.0.2 is in use by 02:00:00:00:00:09" in error.details


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_an_earlier_run_of_the_container_is_told_as_that(node: Node, kind: str) -> None:
    """Its lease is free, and its namespace is there."""
    node.add(node.config(type=kind))
    lost = node.kernel.namespaces.pop("/run/netns/c1")
    lost.path = "/proc/4711/ns/net"
    node.kernel.namespaces[lost.path] = lost
    node.delete(node.config(type=kind), CNI_NETNS="")
    answers(node, "10.1.0.2")
    error = node.refused(node.config(type=kind, conflict="probe", runtimeConfig={"ips": ["10.1.0.2"]}))
    assert error.msg.startswith(
        "address 10.1.0.2 is in use by the container's own earlier run, whose network namespace is still there: "
        "process 4711 ("
    )
    assert error.details == "End it, and try again: kill 4711"
