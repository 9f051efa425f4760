"""macvlan attachments: ADD, CHECK and DEL as the kernel sees them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from cni_core.names import Attachment
from conformance.lab.topology import Host
from tests.kernel.conftest import Lan
from tests.kernel.plugin import RECORDS, Plugin, addresses, leases, links

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")


def link(host: Host, ifname: str = "eth0") -> dict[str, Any]:
    return host.ip_json(f"link show dev {ifname}")[0]


def routes(host: Host, family: int = 4) -> list[dict[str, Any]]:
    return host.ip_json(f"-{family} route show table all")


def test_version_lists_every_version_of_the_specification_and_repeats_the_callers(lan: Lan) -> None:
    result = lan.macvlan.call("VERSION", None, {"cniVersion": "0.4.0"}).result
    assert result == {"cniVersion": "0.4.0", "supportedVersions": list(VERSIONS)}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_result_is_given_in_the_version_asked_for(lan: Lan, version: str) -> None:
    pod = lan.host("pod")
    config = lan.config(cniVersion=version, ipam=lan.dual_stack, dad="off")
    result = lan.macvlan.add(pod, config).result
    mac = link(pod)["address"]
    expected: dict[str, Any] = {"cniVersion": version}
    if version <= "0.2.0":
        expected["ip4"] = {"ip": "10.1.0.2/24", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]}
        expected["ip6"] = {"ip": "fd00:1::2/64", "gateway": "fd00:1::1", "routes": [{"dst": "::/0"}]}
    else:
        interface = {"name": "eth0", "mac": mac, "sandbox": pod.netns}
        ipv4 = {"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 0}
        ipv6 = {"address": "fd00:1::2/64", "gateway": "fd00:1::1", "interface": 0}
        if version == "1.1.0":
            interface["mtu"] = 1500
        if version < "1.0.0":
            ipv4["version"], ipv6["version"] = "4", "6"
        expected |= {"interfaces": [interface], "ips": [ipv4, ipv6]}
        expected["routes"] = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    assert result == expected
    if version >= "0.4.0":
        lan.macvlan.check(pod, config, result).succeeded()
    lan.macvlan.delete(pod, config | {"prevResult": result}).succeeded()
    assert links(pod) == []


@pytest.mark.parametrize("mode", ["bridge", "private", "vepa", "passthru"])
def test_the_mode_asked_for_is_the_kernels(lan: Lan, mode: str) -> None:
    pod = lan.container("pod")
    config = lan.config(mode=mode)
    result = lan.macvlan.add(pod, config).result
    assert link(pod)["linkinfo"]["info_data"]["mode"] == mode
    assert pod.ping("10.1.0.1")
    lan.macvlan.check(pod, config, result).succeeded()
    other = "vepa" if mode != "vepa" else "bridge"
    error = lan.macvlan.check(pod, lan.config(mode=other), result).error
    assert error["msg"] == f"eth0: the mode is {mode}, not {other}"


def test_containers_in_private_mode_do_not_reach_each_other_but_the_host_beyond(lan: Lan) -> None:
    one, two = lan.container("one"), lan.container("two")
    for pod in (one, two):
        assert lan.macvlan.add(pod, lan.config(mode="private")).status == 0
        assert pod.ping("10.1.0.1")
    assert not one.ping("10.1.0.3", expect=False)


def test_a_parent_without_addresses_and_a_network_without_ipam_give_a_bare_link(lan: Lan) -> None:
    pod = lan.host("pod")
    absent: list[dict[str, Any] | None] = [None, {}]
    for ipam in absent:
        config = lan.config(ipam=ipam)
        result = lan.macvlan.add(pod, config).result
        assert result == {
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "eth0", "mac": link(pod)["address"], "sandbox": pod.netns}],
        }
        assert "UP" in link(pod)["flags"]
        assert addresses(pod) == []
        lan.macvlan.check(pod, config, result).succeeded()
        lan.macvlan.delete(pod, config).succeeded()
        assert links(pod) == []


def test_addresses_gateway_and_routes_are_the_configurations(lan: Lan) -> None:
    pod = lan.host("pod")
    ipam = lan.ipam("10.1.0.0/24", "fd00:1::/64")
    ipam["routes"] = [
        {"dst": "0.0.0.0/0"},
        {"dst": "::/0", "gw": "fd00:1::9"},
        {"dst": "192.0.2.0/24", "gw": "10.1.0.9", "priority": 50, "mtu": 1400, "advmss": 1300},
        {"dst": "198.51.100.0/24", "table": 77},
        {"dst": "203.0.113.0/24", "scope": 0},
    ]
    config = lan.config(cniVersion="1.1.0", ipam=ipam, dns={"nameservers": ["10.1.0.1"]})
    result = lan.macvlan.add(pod, config).result
    assert result["routes"] == ipam["routes"]
    assert result["dns"] == {"nameservers": ["10.1.0.1"]}
    assert addresses(pod) == ["10.1.0.2/24", "fd00:1::2/64"]
    found = {route["dst"]: route for route in routes(pod)}
    assert found["default"]["gateway"] == "10.1.0.1"
    special = found["192.0.2.0/24"]
    assert (special["gateway"], special["metric"]) == ("10.1.0.9", 50)
    assert special["metrics"] == [{"mtu": 1400, "advmss": 1300}]
    assert found["198.51.100.0/24"]["table"] == "77"
    assert [route["gateway"] for route in routes(pod, 6) if route["dst"] == "default"] == ["fd00:1::9"]
    lan.macvlan.check(pod, config, result).succeeded()


def test_the_link_has_the_mtu_of_the_parent_or_less(lan: Lan) -> None:
    lan.node.ip("link set eth0 mtu 1400")
    pod, small = lan.host("pod"), lan.host("small")
    assert lan.macvlan.add(pod, lan.config(mtu=0)).status == 0
    assert link(pod)["mtu"] == 1400
    assert lan.macvlan.add(small, lan.config(mtu=1300)).status == 0
    assert link(small)["mtu"] == 1300
    error = lan.macvlan.add(lan.host("large"), lan.config(mtu=1500)).error
    assert (error["code"], error["msg"]) == (7, "mtu: 1500 is more than the 1400 of eth0")
    assert len(leases(lan.data_dir)) == 2


@pytest.mark.parametrize(
    ("keys", "args"),
    [
        ({"mac": "02:00:00:00:00:01"}, ""),
        ({"mac": "02:00:00:00:00:09"}, "IgnoreUnknown=1;K8S_POD_NAME=web;MAC=02:00:00:00:00:01"),
        ({"args": {"cni": {"mac": "02-00-00-00-00-01"}}}, ""),
        ({"runtimeConfig": {"mac": "0200.0000.0001"}}, "MAC=02:00:00:00:00:09"),
    ],
    ids=["configuration", "CNI_ARGS", "args.cni", "runtimeConfig"],
)
def test_the_hardware_address_asked_for_most_specifically_is_taken(lan: Lan, keys: dict[str, Any], args: str) -> None:
    pod = lan.host("pod")
    result = lan.macvlan.add(pod, lan.config(**keys), CNI_ARGS=args).result
    assert link(pod)["address"] == "02:00:00:00:00:01" == result["interfaces"][0]["mac"]


def test_a_hardware_address_in_use_on_the_parent_is_refused_and_leaves_nothing(lan: Lan) -> None:
    one, two = lan.host("one"), lan.host("two")
    config = lan.config(mac="02:00:00:00:00:01")
    assert lan.macvlan.add(one, config).status == 0
    error = lan.macvlan.add(two, config).error
    assert "02:00:00:00:00:01 is in use on eth0" in error["msg"]
    assert links(two) == []
    assert list(leases(lan.data_dir)) == ["10.1.0.2"]


def test_an_interface_that_the_container_has_already_is_refused_and_stays(lan: Lan) -> None:
    pod = lan.host("pod")
    result = lan.macvlan.add(pod, lan.config()).result
    error = lan.macvlan.add(pod, lan.config()).error
    assert error["code"] == 103
    lan.macvlan.check(pod, lan.config(), result).succeeded()
    assert list(leases(lan.data_dir)) == ["10.1.0.2"]


def test_a_container_may_have_a_thousand_routes(lan: Lan) -> None:
    pod = lan.host("pod")
    routes = [{"dst": f"10.{2 + number // 250}.{number % 250}.0/24"} for number in range(1000)]
    config = lan.config(ipam=lan.ipam(routes=routes))
    lan.macvlan.check(pod, config, lan.macvlan.add(pod, config).result).succeeded()
    assert len(pod.ip_json("route show via 10.1.0.1")) == 1000


def test_an_interface_of_another_kind_is_not_removed_by_del(lan: Lan) -> None:
    pod = lan.host("pod")
    pod.ip("link add eth0 type veth peer name other")
    assert lan.macvlan.add(pod, lan.config()).error["code"] == 103
    lan.macvlan.delete(pod, lan.config()).succeeded()
    assert "eth0" in links(pod)
    assert leases(lan.data_dir) == {}


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_a_del_whose_namespace_is_another_containers_by_now_leaves_that_alone(lan: Lan, kind: str) -> None:
    config = lan.config(type=kind)
    plugin = getattr(lan, kind)
    one, two = lan.host("one"), lan.host("two")
    plugin.add(one, config)
    one.remove()
    result = plugin.add(two, config).result
    plugin.delete(one, config, CNI_NETNS=two.netns).succeeded()
    plugin.check(two, config, result).succeeded()
    assert list(leases(lan.data_dir)) == ["10.1.0.3"]


def test_del_succeeds_again_and_when_everything_is_gone(lan: Lan) -> None:
    pod = lan.host("pod")
    assert lan.macvlan.add(pod, lan.config()).status == 0
    for _ in range(2):
        lan.macvlan.delete(pod, lan.config()).succeeded()
        assert links(pod) == []
    assert lan.macvlan.add(pod, lan.config()).status == 0
    lan.node.ip("link del eth0")
    lan.macvlan.delete(pod, lan.config(), CNI_NETNS="/run/netns/gone").succeeded()
    assert leases(lan.data_dir) == {}
    lan.macvlan.delete(pod, lan.config(), CNI_NETNS="").succeeded()


def test_the_link_of_the_default_route_is_the_parent_when_none_is_named(lan: Lan) -> None:
    pod = lan.host("pod")
    error = lan.macvlan.add(pod, lan.config(master=None)).error
    assert (error["code"], error["msg"][:7]) == (7, "master:")
    lan.node.ip("link add lower type dummy")
    lan.node.address("lower", "192.0.2.2/24")
    lan.node.address("eth0", "10.1.0.99/24")
    lan.node.ip("route add default via 192.0.2.1 metric 100")
    lan.node.ip("route add default via 10.1.0.1 metric 50")
    config = lan.config(master="")
    result = lan.macvlan.add(pod, config).result
    assert link(pod)["link_index"] == lan.node.ip_json("link show dev eth0")[0]["ifindex"]
    lan.macvlan.check(pod, config, result).succeeded()
    lan.node.ip("route del default via 10.1.0.1")
    error = lan.macvlan.check(pod, config, result).error
    assert error["msg"] == "eth0 is not on lower"
    lan.node.ip("route del default")
    lan.macvlan.delete(pod, config).succeeded()


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_del_works_when_the_default_route_and_the_namespace_are_gone(lan: Lan, kind: str) -> None:
    lan.node.address("eth0", "10.1.0.7/24")
    lan.node.ip("route add default via 10.1.0.1")
    config = lan.config(type=kind, master=None)
    pod = lan.host("pod")
    plugin = getattr(lan, kind)
    assert plugin.add(pod, config).status == 0
    lan.node.ip("route del default")
    plugin.delete(pod, config, CNI_NETNS="/run/netns/gone").succeeded()
    assert leases(lan.data_dir) == {}
    plugin.delete(pod, config).succeeded()
    assert links(pod) == []


def test_of_a_list_of_parents_the_first_that_exists_is_taken(lan: Lan) -> None:
    pod = lan.host("pod")
    assert lan.macvlan.add(pod, lan.config(master=["ens3", "eth0"])).status == 0
    assert link(pod)["link_index"] == lan.node.ip_json("link show dev eth0")[0]["ifindex"]


def test_a_parent_in_the_containers_namespace(lan: Lan) -> None:
    pod = lan.container("pod")
    lan.net.cable(pod, "uplink", lan.switch)
    config = lan.config(master="uplink", linkInContainer=True)
    result = lan.macvlan.add(pod, config).result
    assert pod.ping("10.1.0.1")
    lan.macvlan.check(pod, config, result).succeeded()
    lan.macvlan.delete(pod, config).succeeded()
    assert links(pod) == ["uplink"]


def test_in_a_chain_the_result_is_appended_to_what_came_before(lan: Lan) -> None:
    pod = lan.host("pod")
    previous = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "br0"}, {"name": "net0", "mac": "02:00:00:00:00:02", "sandbox": pod.netns}],
        "ips": [{"address": "192.0.2.5/24", "interface": 1}],
        "routes": [{"dst": "192.0.2.128/25"}],
        "dns": {"domain": "example.org"},
    }
    result = lan.macvlan.add(pod, lan.config(prevResult=previous)).result
    assert [interface["name"] for interface in result["interfaces"]] == ["br0", "net0", "eth0"]
    assert [(ip["address"], ip["interface"]) for ip in result["ips"]] == [("192.0.2.5/24", 1), ("10.1.0.2/24", 2)]
    assert [route["dst"] for route in result["routes"]] == ["192.0.2.128/25", "0.0.0.0/0"]
    assert result["dns"] == {"domain": "example.org"}


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("link del eth0", "the container has no interface eth0"),
        ("addr del 10.1.0.2/24 dev eth0", "eth0 lacks the address 10.1.0.2/24"),
        ("-6 addr del fd00:1::2/64 dev eth0", "eth0 lacks the address fd00:1::2/64"),
        ("route del default", "the container lacks the route 0.0.0.0/0"),
        ("route replace default via 10.1.0.9", "the container lacks the route 0.0.0.0/0"),
        ("-6 route del default", "the container lacks the route ::/0"),
        ("link set eth0 address 02:00:00:00:00:07", "eth0 has the hardware address 02:00:00:00:00:07"),
        ("link set eth0 down", "eth0 is down"),
        ("link set eth0 type macvlan mode private", "eth0: the mode is private, not bridge"),
    ],
)
def test_check_names_the_first_difference(lan: Lan, change: str, difference: str) -> None:
    pod = lan.host("pod")
    config = lan.config(ipam=lan.dual_stack)
    result = lan.macvlan.add(pod, config).result
    lan.macvlan.check(pod, config, result).succeeded()
    pod.ip(change)
    error = lan.macvlan.check(pod, config, result).error
    assert error["code"] == 107
    assert error["msg"].startswith(difference)


def test_check_misses_the_lease_the_parent_and_the_right_interface(lan: Lan) -> None:
    pod = lan.host("pod")
    config = lan.config()
    result = lan.macvlan.add(pod, config).result
    nowhere = json.loads(json.dumps(result))
    nowhere["ips"][0]["interface"] = 7
    assert "interface 7" in lan.macvlan.check(pod, config, nowhere).error["msg"]
    elsewhere = json.loads(json.dumps(result).replace(pod.netns, "/run/netns/else"))
    assert "prevResult has no interface eth0" in lan.macvlan.check(pod, config, elsewhere).error["msg"]
    assert lan.macvlan.call("CHECK", pod, config).error["code"] == 7
    (lan.data_dir / "lan" / "10.1.0.2").unlink()
    assert "holds no lease" in lan.macvlan.check(pod, config, result).error["msg"]
    lan.node.ip_batch(["link set eth0 down", "link set eth0 name eth1"])
    assert lan.macvlan.check(pod, config, result).error["code"] == 107


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("link set eth0 down; link set eth0 name eth1", "there is no link named eth0"),
        ("link set eth0 netns elsewhere", "there is no link named eth0"),
        ("link del eth0", "there is no link named eth0"),
        ("link set eth0 down", ""),
        ("link set eth0 mtu 1400", ""),
    ],
    ids=["renamed", "moved", "gone", "down", "of another MTU"],
)
def test_whatever_became_of_the_parent_check_tells_it_and_del_works(
    lan: Lan, kind: str, change: str, difference: str
) -> None:
    pod = lan.host("pod")
    lan.host("elsewhere")
    plugin = Plugin(lan.node, kind)
    config = lan.config(type=kind)
    result = plugin.add(pod, config).result
    lan.node.ip_batch(change.split("; "))
    told = plugin.check(pod, config, result)
    if difference:
        assert told.error["code"] == 107
        assert re.search(difference, told.error["msg"])
    else:
        told.succeeded()  # the kernel has given the container the smaller MTU
    plugin.delete(pod, config).succeeded()
    assert (links(pod), leases(lan.data_dir), list((RECORDS / "attachments").iterdir())) == ([], {}, [])


def test_the_link_of_a_killed_add_is_removed_by_del_and_by_the_next_add(lan: Lan) -> None:
    pod = lan.host("pod")

    def leave_a_half_made_link() -> None:
        """As an ADD that was killed before it named the link: made in the container under the temporary name."""
        assert lan.macvlan.add(pod, lan.config()).status == 0
        name = Attachment(
            "pod", "eth0"
        ).link_name  # an ADD is refused after the link was made if its final name is taken
        pod.ip_batch(["link set eth0 down", f"link set eth0 name {name}"])
        assert links(pod) == [name]

    leave_a_half_made_link()
    lan.macvlan.delete(pod, lan.config()).succeeded()
    assert (links(pod), leases(lan.data_dir)) == ([], {})
    leave_a_half_made_link()
    assert lan.macvlan.add(pod, lan.config()).status == 0
    assert links(pod) == ["eth0"]
    assert len(leases(lan.data_dir)) == 1


def test_a_failed_add_leaves_neither_link_nor_lease(lan: Lan) -> None:
    pod = lan.host("pod")
    ipam = lan.ipam("10.1.0.0/24", routes=[{"dst": "192.0.2.0/24", "gw": "203.0.113.1"}])  # unreachable next hop
    error = lan.macvlan.add(pod, lan.config(ipam=ipam)).error
    assert "could not add route 192.0.2.0/24 via 203.0.113.1" in error["msg"]
    assert links(pod) == []
    assert leases(lan.data_dir) == {}


@pytest.mark.parametrize("dad", ["fast", "kernel"])
def test_an_ipv6_address_that_another_host_has_is_refused_and_leaves_nothing(lan: Lan, dad: str) -> None:
    pod = lan.host("pod")
    lan.beyond.address("eth0", "fd00:1::2/64")
    error = lan.macvlan.add(pod, lan.config(ipam=lan.ipam("fd00:1::/64"), dad=dad)).error
    assert (error["code"], error["msg"]) == (106, "address fd00:1::2 is in use by another host on the link")
    assert links(pod) == []
    assert leases(lan.data_dir) == {}
    off = lan.config(ipam=lan.ipam("fd00:1::/64"), dad="off")
    assert lan.macvlan.add(pod, off).status == 0


def test_the_timers_of_fast_detection_are_set_back(lan: Lan) -> None:
    pod = lan.container("pod")
    assert lan.macvlan.add(pod, lan.config(ipam=lan.dual_stack)).status == 0
    with pod.inside():
        for path, value in (("neigh/eth0/retrans_time_ms", "1000"), ("conf/eth0/router_solicitation_delay", "1")):
            with open(f"/proc/sys/net/ipv6/{path}", encoding="ascii") as sysctl:
                assert sysctl.read().strip() == value


def test_ipv6_is_switched_on_where_the_container_has_it_off(lan: Lan) -> None:
    pod = lan.container("pod")
    for name in ("all", "default", "lo"):
        pod.sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "1")
    assert lan.macvlan.add(pod, lan.config(ipam=lan.dual_stack)).status == 0
    assert pod.ping("fd00:1::1", deadline=0)


def test_a_parent_without_carrier_serves_and_add_does_not_wait_for_the_cable(lan: Lan) -> None:
    pod = lan.container("pod")
    with lan.switch.inside():
        lan.switch.ip("link set p1 down")
    assert lan.macvlan.add(pod, lan.config(ipam=lan.dual_stack)).status == 0
    lan.switch.ip("link set p1 up")
    assert pod.ping("10.1.0.1")
    assert pod.ping("fd00:1::1")


def test_the_hosts_own_interface_names_do_not_collide_with_the_containers(lan: Lan) -> None:
    pod = lan.host("pod")
    lan.node.ip("link add net1 type dummy")
    assert lan.macvlan.add(pod, lan.config(), CNI_IFNAME="net1").status == 0
    assert links(pod) == ["net1"]
    assert links(lan.node) == ["eth0", "net1"]


def test_two_attachments_of_one_container_have_a_lease_each_and_go_one_by_one(lan: Lan) -> None:
    pod = lan.host("pod")
    for ifname in ("eth0", "net1"):
        assert lan.macvlan.add(pod, lan.config(), CNI_IFNAME=ifname).status == 0
    assert leases(lan.data_dir) == {"10.1.0.2": "pod\r\neth0", "10.1.0.3": "pod\r\nnet1"}
    lan.macvlan.delete(pod, lan.config()).succeeded()
    assert links(pod) == ["net1"]
    assert leases(lan.data_dir) == {"10.1.0.3": "pod\r\nnet1"}


def test_gc_releases_what_no_valid_attachment_owns(lan: Lan) -> None:
    one, two = lan.host("one"), lan.host("two")
    config = lan.config(cniVersion="1.1.0")
    for pod in (one, two):
        assert lan.macvlan.add(pod, config).status == 0
    error = lan.macvlan.call("GC", None, config).error
    assert (error["code"], len(leases(lan.data_dir))) == (7, 2)
    valid = [{"containerID": "two", "ifname": "eth0"}]
    lan.macvlan.call("GC", None, config | {"cni.dev/valid-attachments": valid}).succeeded()
    assert leases(lan.data_dir) == {"10.1.0.3": "two\r\neth0"}
    lan.macvlan.call("GC", None, config | {"cni.dev/valid-attachments": []}).succeeded()
    assert leases(lan.data_dir) == {}


def test_status_says_why_an_add_would_fail(lan: Lan) -> None:
    config = lan.config(cniVersion="1.1.0", ipam=lan.ipam("10.1.0.0/30"))
    lan.macvlan.call("STATUS", None, config).succeeded()
    error = lan.macvlan.call("STATUS", None, config | {"master": "eth7"}).error
    assert (error["code"], error["msg"]) == (50, "master: there is no link named eth7")
    assert lan.macvlan.add(lan.host("pod"), config).status == 0
    error = lan.macvlan.call("STATUS", None, config).error
    assert error["code"] == 50
    assert "no IP addresses available in range set" in error["msg"]


def test_a_parent_that_cannot_carry_the_link_is_refused_by_name(lan: Lan) -> None:
    pod = lan.host("pod")
    lan.node.ip_batch(
        [
            "link add br0 type bridge",
            "link add port0 type dummy",
            "link set port0 up master br0",
        ]
    )
    for master, word in (("port0", "port of the bridge br0"), ("lo", "loopback")):
        error = lan.macvlan.add(pod, lan.config(master=master)).error
        assert (error["code"], word in error["msg"]) == (102, True), error
    lan.node.ip("link add ipvl0 link eth0 type ipvlan mode l2")
    error = lan.macvlan.add(pod, lan.config()).error
    assert (error["code"], "taken by somebody else's link of another kind" in error["msg"]) == (102, True), error
    assert links(pod) == []
    assert leases(lan.data_dir) == {}
