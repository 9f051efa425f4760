"""Parents that come and go with their networks: VLANs of a trunk, and the dummies of internal networks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from conformance.lab.topology import Host
from tests.kernel.conftest import Lan
from tests.kernel.plugin import RECORDS, leases, links

INVALID_CONFIG, PARENT_UNUSABLE = 7, 102


class Trunk(Lan):
    """node's eth0 carries VLANs 50 and 60; peer50 (10.50.0.1/24) and peer60 (10.60.0.1/24) are on one each."""

    def __init__(self, lan: Lan) -> None:
        self.__dict__ = lan.__dict__
        self.trunk = self.net.switch("trunk")
        self.net.cable(self.node, "eth1", self.trunk, trunk=(50, 60))
        self.peers = {}
        for number in (50, 60):
            peer = self.peers[number] = self.net.host(f"peer{number}")
            self.net.cable(peer, "eth0", self.trunk, access=number)
            peer.address("eth0", f"10.{number}.0.1/24")

    def network(self, number: int, **keys: Any) -> dict[str, Any]:
        name = f"vlan{number}"
        ipam = self.ipam(f"10.{number}.0.0/24")
        return self.config(**({"name": name, "master": "eth1", "vlan": number, "ipam": ipam} | keys))


@pytest.fixture
def trunk(lan: Lan) -> Iterator[Trunk]:
    yield Trunk(lan)


def vlan(host: Host, name: str) -> dict[str, Any]:
    (link,) = host.ip_json(f"-d link show dev {name}")
    return dict(link)


def records() -> list[str]:
    return sorted(str(path) for path in RECORDS.rglob("*") if path.is_file() and path.name != "lock")


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
@pytest.mark.parametrize("keys", [{"master": "eth1", "vlan": 50}, {"master": "eth1.50"}, {"master": "eth1:50"}])
def test_a_vlan_comes_with_its_first_attachment_and_goes_with_its_last(
    trunk: Trunk, kind: str, keys: dict[str, Any]
) -> None:
    plugin = getattr(trunk, kind)
    one, two = trunk.container("one"), trunk.container("two")
    config = trunk.network(50, type=kind, vlan=None) | keys
    before = links(trunk.node)
    plugin.call("STATUS", None, config | {"cniVersion": "1.1.0"}).succeeded()
    assert links(trunk.node) == before
    results = [plugin.add(pod, config).result for pod in (one, two)]
    made = vlan(trunk.node, "eth1.50")
    assert (made["linkinfo"]["info_kind"], made["linkinfo"]["info_data"]["id"]) == ("vlan", 50)
    assert made["ifalias"] == "cni-vlan"
    with trunk.node.capture("eth1", "vlan 50 and icmp") as tagged:
        assert one.ping("10.50.0.1")
    assert len(tagged.frames) == 2
    assert one.ping("10.50.0.3")
    plugin.check(one, config, results[0]).succeeded()
    plugin.delete(one, config).succeeded()
    assert two.ping("10.50.0.1")
    plugin.delete(two, config).succeeded()
    plugin.delete(two, config).succeeded()
    assert links(trunk.node) == before
    assert records() == []


@pytest.mark.parametrize("name", ["eth1.50", "vlan50", "foo"])
def test_a_vlan_of_somebody_elses_is_used_and_stays(trunk: Trunk, name: str) -> None:
    trunk.node.ip(f"link add link eth1 name {name} type vlan id 50")
    trunk.node.ip(f"link set {name} up")
    pod = trunk.container("pod")
    before = links(trunk.node)
    for config in (trunk.network(50), trunk.network(50, master="eth1.50", vlan=None)):
        result = trunk.macvlan.add(pod, config).result
        assert links(trunk.node) == before
        assert pod.ping("10.50.0.1")
        trunk.macvlan.check(pod, config, result).succeeded()
        trunk.macvlan.delete(pod, config).succeeded()
        assert links(trunk.node) == before


@pytest.mark.parametrize(
    ("stacked", "elsewhere"),
    [
        ("vlan id 7", False),
        ("vlan id 7", True),
        ("macvlan", False),
        ("macvlan", True),
        ("ipvlan", False),
        ("ipvlan", True),
    ],
)
def test_a_vlan_of_ours_stays_while_somebody_elses_link_is_on_it(trunk: Trunk, stacked: str, elsewhere: bool) -> None:
    pod, other = trunk.host("pod"), trunk.host("other")
    config = trunk.network(50, type="ipvlan" if stacked == "ipvlan" else "macvlan")
    plugin = trunk.ipvlan if stacked == "ipvlan" else trunk.macvlan
    assert plugin.add(pod, config).status == 0
    into = " netns other" if elsewhere else ""
    kind = f"{stacked} mode l2" if stacked == "ipvlan" else stacked
    trunk.node.ip(f"link add theirs link eth1.50{into} type {kind}")
    plugin.delete(pod, config).succeeded()
    assert "eth1.50" in links(trunk.node)
    (other if into else trunk.node).ip("link del theirs")
    # The next one to come and go takes it along.
    assert plugin.add(pod, config).status == 0
    plugin.delete(pod, config).succeeded()
    assert "eth1.50" not in links(trunk.node)


def test_two_vlans_of_a_trunk_are_apart_and_may_differ_in_kind(trunk: Trunk) -> None:
    one, two = trunk.container("one"), trunk.container("two")
    # The same subnet on both, so that only the VLANs keep them apart.
    subnet = {"ipam": trunk.ipam("10.50.0.0/24")}
    trunk.peers[60].address("eth0", "10.50.0.9/24")
    assert trunk.macvlan.add(one, trunk.network(50)).status == 0
    assert trunk.ipvlan.add(two, trunk.network(60, type="ipvlan") | subnet).status == 0
    assert one.ping("10.50.0.1")
    assert two.ping("10.50.0.9")
    assert not two.ping("10.50.0.1", expect=False)
    assert not one.ping("10.50.0.9", expect=False)


def test_two_vlans_reach_each_other_through_a_router(trunk: Trunk) -> None:
    router = trunk.net.host("router")
    trunk.net.cable(router, "eth0", trunk.trunk, trunk=(50, 60))
    pods = {}
    for number, kind in ((50, "macvlan"), (60, "ipvlan")):
        router.ip(f"link add link eth0 name eth0.{number} type vlan id {number}")
        router.address(f"eth0.{number}", f"10.{number}.0.254/24")
        pods[number] = trunk.container(f"pod{number}")
        part = {"subnet": f"10.{number}.0.0/24", "rangeStart": f"10.{number}.0.2", "gateway": f"10.{number}.0.254"}
        config = trunk.network(number, type=kind, ipam=trunk.ipam(ranges=[[part]]))
        assert getattr(trunk, kind).add(pods[number], config).status == 0
    assert not pods[50].ping("10.60.0.2", expect=False)
    router.forward()
    assert pods[50].ping("10.60.0.2")


def test_twenty_at_once_make_one_vlan_and_the_last_to_go_takes_it(trunk: Trunk) -> None:
    pods = [trunk.host(f"pod{number}") for number in range(20)]
    config = trunk.network(50)
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda pod: trunk.macvlan.add(pod, config), pods))
    assert [outcome.error for outcome in outcomes if outcome.status] == []
    assert [name for name in links(trunk.node) if name.startswith("eth1.")] == ["eth1.50"]
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda pod: trunk.macvlan.delete(pod, config), pods))
    assert [outcome.error for outcome in outcomes if outcome.status] == []
    assert "eth1.50" not in links(trunk.node)
    assert (records(), leases(trunk.data_dir, "vlan50")) == ([], {})


def test_a_last_del_racing_a_first_add_ends_with_the_adds_link_alive(trunk: Trunk) -> None:
    one, two = trunk.host("one"), trunk.host("two")
    config = trunk.network(50)
    assert trunk.macvlan.add(one, config).status == 0
    for leaving, coming in [(one, two), (two, one)] * 3:
        with ThreadPoolExecutor(2) as pool:
            gone = pool.submit(trunk.macvlan.delete, leaving, config)
            come = pool.submit(trunk.macvlan.add, coming, config)
        gone.result().succeeded()
        assert come.result().status == 0, come.result().document
        assert links(coming) == ["eth0"]
        assert "eth1.50" in links(trunk.node)


def test_a_vlan_of_a_vlan_comes_and_goes_with_the_one_below(trunk: Trunk) -> None:
    pod = trunk.host("pod")
    before = links(trunk.node)
    config = trunk.network(60, master="eth1.50.60", vlan=None)
    assert trunk.macvlan.add(pod, config).status == 0
    assert vlan(trunk.node, "eth1.50.60")["link"] == "eth1.50"
    assert vlan(trunk.node, "eth1.50.60")["linkinfo"]["info_data"]["id"] == 60
    trunk.macvlan.delete(pod, config).succeeded()
    assert links(trunk.node) == before


def test_a_name_too_long_for_an_interface_gets_a_short_stable_one(trunk: Trunk) -> None:
    one, two = trunk.host("one"), trunk.host("two")
    trunk.node.ip("link set eth1 down")
    trunk.node.ip("link set eth1 name quite-long-name")
    trunk.node.ip("link set quite-long-name up")
    before = links(trunk.node)
    names = []
    for pod, keys in ((one, {"master": "quite-long-name"}), (two, {"master": "quite-long-name.50", "vlan": None})):
        config = trunk.network(50) | keys
        config = {key: value for key, value in config.items() if value is not None}
        assert trunk.macvlan.add(pod, config).status == 0
        names.append(sorted(set(links(trunk.node)) - set(before)))
    assert names[0] == names[1]
    assert len(names[0]) == 1
    for pod in (one, two):
        trunk.macvlan.delete(pod, trunk.network(50, master="quite-long-name")).succeeded()
    assert links(trunk.node) == before


def test_a_vlan_made_in_the_containers_namespace_goes_with_its_last_attachment(trunk: Trunk) -> None:
    pod = trunk.container("pod")
    trunk.net.cable(pod, "net1", trunk.trunk, trunk=(50,))
    config = trunk.network(50, master="net1", linkInContainer=True)
    for ifname in ("eth0", "eth1"):
        assert trunk.macvlan.add(pod, config, CNI_IFNAME=ifname).status == 0
    assert links(pod) == ["net1", "net1.50", "eth0", "eth1"]
    assert pod.ping("10.50.0.1")
    trunk.macvlan.delete(pod, config).succeeded()
    assert links(pod) == ["net1", "net1.50", "eth1"]
    trunk.macvlan.delete(pod, config, CNI_IFNAME="eth1").succeeded()
    assert links(pod) == ["net1"]
    assert records() == []


@pytest.mark.parametrize("number", [4095, -1, 50.0, "50"])
def test_an_id_that_no_vlan_has_is_refused(trunk: Trunk, number: Any) -> None:
    error = trunk.macvlan.add(trunk.host("pod"), trunk.network(50, vlan=number)).error
    assert error["code"] == INVALID_CONFIG
    assert error["msg"].startswith("vlan: ") or "vlan: " in error["msg"] + error.get("details", "")


@pytest.mark.parametrize("master", ["eth1.4095", "eth1:0", "eth1.0", "nothing.50"])
def test_a_name_that_can_be_no_vlan_is_refused(trunk: Trunk, master: str) -> None:
    before = links(trunk.node)
    error = trunk.macvlan.add(trunk.host("pod"), trunk.network(50, master=master, vlan=None)).error
    assert error["code"] == INVALID_CONFIG
    assert links(trunk.node) == before


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
@pytest.mark.parametrize("made", [False, True], ids=["of another's making", "of ours"])
def test_a_vlan_of_a_link_that_is_down_carries_when_that_comes_up(trunk: Trunk, kind: str, made: bool) -> None:
    plugin, pod, config = getattr(trunk, kind), trunk.container("pod"), trunk.network(50, type=kind)
    if not made:
        trunk.node.ip("link add link eth1 name eth1.50 type vlan id 50")
    trunk.node.ip("link set eth1 down")
    before = links(trunk.node)
    outcome = plugin.add(pod, config)
    assert outcome.stderr == "eth1.50 is down: eth0 works when it comes up\n"
    plugin.call("STATUS", None, config | {"cniVersion": "1.1.0"}).succeeded()
    plugin.check(pod, config, outcome.result).succeeded()
    assert not pod.ping("10.50.0.1", expect=False)
    trunk.node.ip("link set eth1 up")
    if not made:
        trunk.node.ip("link set eth1.50 up")
    assert pod.ping("10.50.0.1")
    plugin.delete(pod, config).succeeded()
    assert links(trunk.node) == before


def test_a_vlan_of_ours_that_is_down_is_brought_up(trunk: Trunk) -> None:
    one, two = trunk.container("one"), trunk.container("two")
    assert trunk.macvlan.add(one, trunk.network(50)).status == 0
    trunk.node.ip("link set eth1.50 down")
    assert trunk.macvlan.add(two, trunk.network(50)).status == 0
    assert two.ping("10.50.0.1")


def test_an_add_that_fails_takes_its_vlan_along(trunk: Trunk) -> None:
    before = links(trunk.node)
    ipam = trunk.ipam("10.50.0.0/24", routes=[{"dst": "10.9.0.0/24", "gw": "10.77.0.1"}])
    assert trunk.macvlan.add(trunk.host("pod"), trunk.network(50, ipam=ipam)).status == 1
    assert links(trunk.node) == before
    assert records() == []


def test_a_vlan_that_a_killed_add_left_goes_with_its_del(trunk: Trunk) -> None:
    pod = trunk.host("pod")
    before = links(trunk.node)
    assert trunk.macvlan.add(pod, trunk.network(50)).status == 0
    trunk.macvlan.delete(pod, trunk.network(50)).succeeded()
    trunk.node.ip("link add link eth1 name eth1.50 type vlan id 50")
    trunk.node.ip("link set eth1.50 alias cni-vlan")
    trunk.macvlan.delete(pod, trunk.network(50)).succeeded()
    assert links(trunk.node) == before


@pytest.mark.parametrize("made", ["eth1.60 alias cni-vlan up", "cnp0123456789ab"])
def test_the_vlan_that_a_killed_add_left_below_another_goes_with_its_del(trunk: Trunk, made: str) -> None:
    pod = trunk.host("pod")
    before = links(trunk.node)
    config = trunk.network(50, master="eth1.60")
    trunk.macvlan.add(pod, config)
    trunk.macvlan.delete(pod, config).succeeded()
    trunk.node.ip("link add link eth1 name left type vlan id 60")
    trunk.node.ip(f"link set left name {made}")
    trunk.macvlan.delete(pod, config).succeeded()
    assert links(trunk.node) == before


def test_the_vlan_that_a_killed_add_left_in_a_container_goes_with_its_del(trunk: Trunk) -> None:
    pod = trunk.host("pod")
    trunk.net.cable(pod, "net1", trunk.trunk, trunk=(50,))
    config = trunk.network(50, master="net1", linkInContainer=True)
    assert trunk.macvlan.add(pod, config).status == 0
    assert links(pod) == ["net1", "net1.50", "eth0"]
    trunk.macvlan.delete(pod, config).succeeded()
    pod.ip("link add link net1 name cnp0123456789ab type vlan id 50")
    trunk.macvlan.delete(pod, config).succeeded()
    assert links(pod) == ["net1"]


def test_a_del_works_when_the_parent_is_gone(trunk: Trunk) -> None:
    pod = trunk.host("pod")
    assert trunk.macvlan.add(pod, trunk.network(50)).status == 0
    trunk.node.ip("link del eth1")
    trunk.macvlan.delete(pod, trunk.network(50)).succeeded()
    assert (records(), leases(trunk.data_dir, "vlan50")) == ([], {})


def test_somebody_elses_link_is_not_taken_for_ours_by_the_start_of_its_name(trunk: Trunk) -> None:
    trunk.node.ip("link add cnp-dummy-links up type dummy")
    pod = trunk.host("pod")
    config = trunk.config(master="cnp-dummy-links")
    assert trunk.macvlan.add(pod, config).status == 0
    trunk.macvlan.delete(pod, config).succeeded()
    assert "cnp-dummy-links" in links(trunk.node)


CHANGES = {  # of a parent with a container on it: what CHECK and the next ADD say of it
    "link set parent down": ("", ""),
    "link del parent": ("no link named parent", "no link named parent"),
    "link set parent netns beyond": ("no link named parent", "no link named parent"),
    "link set parent down; link set parent name renamed; link set renamed up": (
        "no link named parent",
        "no link named parent",
    ),
    "link set parent mtu 1400": ("", ""),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("keys", [{}, {"type": "ipvlan", "mode": "l3", "vlan": 50}], ids=["macvlan", "L3 on a VLAN"])
def test_what_befalls_a_parent_is_told_and_hinders_no_del(lan: Lan, keys: dict[str, Any], change: str) -> None:
    lan.node.ip("link add parent up type dummy")
    config = lan.config(master="parent", **keys)
    plugin = lan.ipvlan if config["type"] == "ipvlan" else lan.macvlan
    one, two = lan.host("one"), lan.host("two")
    result = plugin.add(one, config).result
    lan.node.ip_batch(change.split("; "))
    before = [name for name in links(lan.node) if not name.endswith(".50")]
    told = (plugin.check(one, config, result).document or {}, plugin.add(two, config).document)
    if "mode" in keys and change == "link set parent down":  # the kernel took the host route away with it
        assert "the host lacks the route" in told[0]["msg"]
        told = ({}, told[1])
    for document, words in zip(told, CHANGES[change], strict=True):
        assert words in document.get("msg", "") and bool(words) == ("code" in document), document
    for pod in (two, one):
        plugin.delete(pod, config).succeeded()
    assert (links(one), links(two), links(lan.node), records(), leases(lan.data_dir)) == ([], [], before, [], {})


def test_a_gc_removes_the_vlan_that_no_valid_attachment_uses(trunk: Trunk) -> None:
    config = trunk.network(50, cniVersion="1.1.0")
    pod = trunk.host("pod")
    before = links(trunk.node)
    assert trunk.macvlan.add(pod, config).status == 0
    pod.ip("link del eth0")  # as with its namespace
    trunk.macvlan.call("GC", None, config | {"cni.dev/valid-attachments": []}).succeeded()
    assert links(trunk.node) == before
    assert (records(), leases(trunk.data_dir, "vlan50")) == ([], {})


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_containers_of_an_internal_network_talk_to_each_other_alone(trunk: Trunk, kind: str) -> None:
    plugin = getattr(trunk, kind)
    one, two = trunk.container("one"), trunk.container("two")
    before = links(trunk.node)
    ipam = trunk.ipam("10.50.0.0/24", routes=[])
    config = trunk.config(name="inner", type=kind, master=None, internal=True, ipam=ipam)
    results = [plugin.add(pod, config).result for pod in (one, two)]
    (parent,) = set(links(trunk.node)) - set(before)
    assert vlan(trunk.node, parent)["linkinfo"]["info_kind"] == "dummy"
    assert all("gateway" not in ip for ip in results[0]["ips"])
    assert one.ip_json("route show default") == []
    assert one.ping("10.50.0.3")
    assert not one.ping("10.50.0.1", expect=False)
    plugin.check(one, config, results[0]).succeeded()
    for pod in (one, two):
        plugin.delete(pod, config).succeeded()
    assert links(trunk.node) == before


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"master": "eth1"}, "internal: the network has a parent of its own"),
        ({"master": None, "vlan": 5}, "internal: the network has a parent of its own"),
        ({"master": None}, "internal: the network leads nowhere, so it cannot have the default route"),
    ],
)
def test_an_internal_network_with_a_way_out_is_refused(trunk: Trunk, keys: dict[str, Any], told: str) -> None:
    before = links(trunk.node)
    error = trunk.macvlan.add(trunk.host("pod"), trunk.config(name="inner", internal=True, **keys)).error
    assert error["code"] == INVALID_CONFIG
    assert error["msg"].startswith(told)
    assert (links(trunk.node), leases(trunk.data_dir, "inner")) == (before, {})
