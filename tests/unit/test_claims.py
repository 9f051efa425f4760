"""May a network use a parent now (cni_core.claims, cni_core.uppers), over a kernel of lists."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cni_core import errors, records, uppers
from cni_core.errors import CniError
from cni_core.names import Attachment
from cni_core.network import Network
from cni_core.records import Records
from cni_core.rtnl.messages import Link, u16
from cni_core.shared import carries_anything, refuse_other_use
from cni_ipvlan_py import link as ipvlan
from cni_macvlan_py import link as macvlan
from tests.unit.conftest import Node

ALREADY = [
    ({"type": "macvlan"}, {"type": "ipvlan"}, "macvlan", "ipvlan l2 bridge"),
    ({"type": "ipvlan"}, {"type": "macvlan"}, "ipvlan l2 bridge", "macvlan"),
    ({"type": "ipvlan"}, {"type": "ipvlan", "mode": "l3"}, "ipvlan l2 bridge", "ipvlan l3 bridge"),
    ({"type": "ipvlan", "flag": "vepa"}, {"type": "ipvlan"}, "ipvlan l2 vepa", "ipvlan l2 bridge"),
    ({"type": "macvlan"}, {"type": "macvlan", "mode": "passthru"}, "macvlan", "macvlan passthru"),
    ({"type": "macvlan", "mode": "passthru"}, {"type": "macvlan"}, "macvlan passthru", "macvlan"),
]


@pytest.mark.parametrize(("there", "wanted", "use", "other"), ALREADY)
def test_a_parent_that_is_used_otherwise_is_refused_and_by_whom_is_told(
    node: Node, there: dict[str, Any], wanted: dict[str, Any], use: str, other: str
) -> None:
    node.add(node.config(**there))
    error = node.refused(node.config("10.2.0.0/24", **wanted, name="net2"), "c2")
    assert (error.code, error.path) == (errors.PARENT_UNUSABLE, ("master",))
    assert error.problem == f"eth0 is in use as {use} by c1/eth0 of network net1: {other} cannot share it"


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ({"type": "macvlan"}, {"type": "macvlan", "mode": "private"}),
        ({"type": "ipvlan", "mode": "l3"}, {"type": "ipvlan", "mode": "l3"}),
    ],
)
def test_one_use_is_shared(node: Node, there: dict[str, Any], wanted: dict[str, Any]) -> None:
    node.add(node.config(**there))
    node.add(node.config("10.2.0.0/24", **wanted, name="net2"), "c2")
    assert len(node.attached("net1") + node.attached("net2")) == 2


@pytest.mark.parametrize(("there", "wanted", "use", "other"), ALREADY[:4])
def test_what_died_without_a_del_makes_room(
    node: Node, there: dict[str, Any], wanted: dict[str, Any], use: str, other: str
) -> None:
    node.add(node.config(**there))
    node.container().links.clear()
    node.add(node.config("10.2.0.0/24", **wanted, name="net2"), "c2")
    assert (node.attached("net1"), node.attached("net2")) == ([], [Attachment("c2", "eth0")])


def test_what_is_being_added_is_not_dead(node: Node) -> None:
    """It has no link yet, but its ADD runs."""
    index = node.host.link("eth0").index  # type: ignore[union-attr]
    with Records(create=True) as found:
        running = found.join(Attachment("c1", "eth0"), "net1", 5, f"{node.host.number}.{index}", "macvlan")
    error = node.refused(node.config("10.2.0.0/24", type="ipvlan", name="net2"), "c2")
    assert "in use as macvlan by c1/eth0 of network net1" in error.problem
    os.close(running)
    node.add(node.config("10.2.0.0/24", type="ipvlan", name="net2"), "c2")


def test_an_ipvlan_that_nobody_recorded_keeps_its_mode(node: Node) -> None:
    """Somebody else's, in another namespace: the kernel would switch it without a word."""
    parent = node.host.link("eth0")
    assert parent
    theirs = {"kind": "ipvlan", "parent": parent.index, "parent_nsid": 0, "data": ipvlan_data("l3")}
    node.kernel.add_link(node.container("c9"), "net0", **theirs)
    error = node.refused(node.config(type="ipvlan"))
    assert error.problem == "eth0 is in use as ipvlan l3 bridge by somebody else: ipvlan l2 bridge cannot share it"
    node.add(node.config(type="ipvlan", mode="l3", hostRoutes=False))


def dead_of_ours_and_an_ipvlan_of_somebody_elses(node: Node, mode: str) -> Link:
    """Ours was l2."""
    node.add(node.config(type="ipvlan"))
    del node.kernel.namespaces["/run/netns/c1"]
    parent = node.host.link("eth0")
    assert parent
    theirs = {"kind": "ipvlan", "parent": parent.index, "parent_nsid": 0, "data": ipvlan_data(mode)}
    return node.kernel.add_link(node.container("c9"), "net0", **theirs)


def test_where_all_that_are_recorded_died_the_kernel_is_asked_and_not_the_records(node: Node) -> None:
    theirs = dead_of_ours_and_an_ipvlan_of_somebody_elses(node, "l3")
    error = node.refused(node.config(type="ipvlan"), "c2")
    assert error.problem == "eth0 is in use as ipvlan l3 bridge by somebody else: ipvlan l2 bridge cannot share it"
    assert ipvlan.use_of(theirs) == "ipvlan l3 bridge"
    # Whose use it is now can join, though other records are there.
    node.add(node.config("10.2.0.0/24", type="ipvlan", mode="l3", name="net2"), "c2")
    node.add(node.config("10.2.0.0/24", type="ipvlan", mode="l3", name="net2"), "c3")


def test_one_that_died_hinders_no_other_while_somebody_elses_are_alike(node: Node) -> None:
    dead_of_ours_and_an_ipvlan_of_somebody_elses(node, "l2")
    node.add(node.config(type="ipvlan"), "c2")


def test_a_container_whose_namespace_is_not_seen_keeps_its_use(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from within a pod that calls the plugins for the node."""
    node.add(node.config(type="ipvlan"))
    monkeypatch.setattr(uppers, "paths", list)
    monkeypatch.setattr(records, "stat", lambda path: Path("/not/there").stat())
    node.add(node.config(type="ipvlan"), "c2")
    error = node.refused(node.config("10.2.0.0/24", type="ipvlan", mode="l3", name="net2"), "c3")
    assert "in use as ipvlan l2 bridge by c1/eth0 of network net1" in error.problem


def test_a_macvlan_that_the_kernel_lets_in_shows_that_no_ipvlan_is_left(node: Node) -> None:
    """Though somebody else has a macvlan there."""
    node.add(node.config(type="ipvlan"))
    del node.kernel.namespaces["/run/netns/c1"]
    parent = node.host.link("eth0")
    assert parent
    node.kernel.add_link(node.container("c9"), "net0", kind="macvlan", parent=parent.index, parent_nsid=0)
    node.add(node.config("10.2.0.0/24", name="net2"), "c2")
    assert (node.attached("net1"), node.attached("net2")) == ([], [Attachment("c2", "eth0")])


def ipvlan_data(mode: str) -> dict[int, bytes]:
    return {1: u16(1, ipvlan.MODES[mode])[4:6], 2: u16(2, 0)[4:6]}


def test_an_unrecorded_macvlan_is_in_the_way_of_ipvlan(node: Node) -> None:
    parent = node.host.link("eth0")
    assert parent
    node.kernel.add_link(node.container("c9"), "net0", kind="macvlan", parent=parent.index, parent_nsid=0)
    error = node.refused(node.config(type="ipvlan"))
    assert "is taken by somebody else's link of another kind" in error.problem


# For people, before there is any container


@pytest.mark.parametrize("mode", ["bridge", "passthru"])
def test_a_new_network_is_refused_where_its_first_container_would_be(node: Node, mode: str) -> None:
    parent = node.host.link("eth0")
    assert parent
    network = Network(node.config(mode=mode))
    with node.kernel.host_place() as host:
        refuse_other_use(macvlan, network, parent, host)  # type: ignore[arg-type]
        node.kernel.add_link(node.container("c9"), "net0", kind="ipvlan", parent=parent.index, parent_nsid=0)
        with pytest.raises(CniError, match="another kind of link by somebody else"):
            refuse_other_use(macvlan, network, parent, host)  # type: ignore[arg-type]


def test_a_new_ipvlan_network_fits_beside_its_own_use_alone(node: Node) -> None:
    parent = node.host.link("eth0")
    assert parent
    with node.kernel.host_place() as host:
        refuse_other_use(ipvlan, Network(node.config()), parent, host)  # type: ignore[arg-type]
        node.add(node.config(type="ipvlan"))
        refuse_other_use(ipvlan, Network(node.config()), parent, host)  # type: ignore[arg-type]
        with pytest.raises(CniError, match="by c1/eth0 of network net1: ipvlan l3 bridge cannot share it"):
            refuse_other_use(ipvlan, Network(node.config(mode="l3")), parent, host)  # type: ignore[arg-type]
    assert node.host.names == ["eth0"]


# What is on a parent


@pytest.fixture
def parent(node: Node) -> Link:
    link = node.host.link("eth0")
    assert link
    return link


@pytest.mark.parametrize(
    ("where", "attributes", "carries"),
    [
        ("host", {"kind": "vlan"}, True),
        ("host", {"kind": "macvlan"}, True),
        ("c9", {"kind": "macvlan"}, True),
        ("c9", {"kind": "ipvlan"}, True),
        ("c9", {"kind": "vlan"}, True),
        ("c9", {"kind": "veth"}, False),
    ],
)
def test_whatever_is_on_a_link_is_found_wherever_it_is(
    node: Node, parent: Link, where: str, attributes: dict[str, Any], carries: bool
) -> None:
    with node.kernel.host_place() as host:
        assert not carries_anything(parent, host)  # type: ignore[arg-type]
        space = node.host if where == "host" else node.container(where)
        nsid = None if where == "host" else 0
        node.kernel.add_link(space, "net0", parent=parent.index, parent_nsid=nsid, **attributes)
        assert carries_anything(parent, host) == carries  # type: ignore[arg-type]
    assert node.host.names in (["eth0"], ["eth0", "net0"])


def test_what_a_killed_question_left_goes_with_the_next(node: Node, parent: Link) -> None:
    with node.kernel.host_place() as host, uppers.Uppers(parent, host, "ask", host) as asked:  # type: ignore[arg-type]
        node.kernel.add_link(node.host, "ask", kind="macvlan", parent=parent.index)
        with uppers.Uppers(parent, host, "ask", host):  # type: ignore[arg-type]
            assert node.host.link("ask") is None
        assert asked.are_none


def test_a_kernel_without_the_kind_is_told(node: Node, parent: Link) -> None:
    node.kernel.refuse["create the ipvlan"] = 95  # EOPNOTSUPP
    with (
        node.kernel.host_place() as host,
        uppers.Uppers(parent, host, "ask", host) as asked,  # type: ignore[arg-type]
        pytest.raises(CniError, match="not supported"),
    ):
        asked.admit("ipvlan")
