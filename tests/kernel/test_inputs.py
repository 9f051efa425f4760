"""What people bring: configurations and parents that work with Go's plugins, or that the kernel would fail later."""

from __future__ import annotations

import json
import os
import stat
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from conformance.lab.topology import Container
from tests.kernel.conftest import Lan
from tests.kernel.plugin import Plugin, addresses, leases, links

KINDS = ("macvlan", "ipvlan")
NUMBERS = count()


def refused(lan: Lan, **keys: Any) -> str:
    """The error's text; nothing is left."""
    pod, kind = lan.host(f"refused{next(NUMBERS)}"), keys.get("type", "macvlan")
    before = links(lan.node)
    error = Plugin(lan.node, kind).add(pod, lan.config(**keys)).error
    assert (links(pod), links(lan.node), leases(lan.data_dir)) == ([], before, {})
    return str(error["msg"])


def attached(lan: Lan, name: str = "pod", **keys: Any) -> Container:
    """A container for which ADD and CHECK pass, to be told from others by its name."""
    pod, plugin, config = lan.container(name), Plugin(lan.node, keys.get("type", "macvlan")), lan.config(**keys)
    plugin.check(pod, config, plugin.add(pod, config).result).succeeded()
    return pod


def gone(lan: Lan, pod: Container, **keys: Any) -> None:
    Plugin(lan.node, keys.get("type", "macvlan")).delete(pod, lan.config(**keys)).succeeded()
    assert links(pod) == []


# Which network has the default route


def two_networks(lan: Lan) -> tuple[dict[str, Any], dict[str, Any]]:
    """As in Multus' quickstart: eth0 by one and net1 by another, both with default routes."""
    other = lan.net.host("other")
    lan.net.cable(lan.node, "eth1", other, "eth0")
    lan.node.ip("link set eth1 up")
    other.address("eth0", "10.2.0.1/24", "fd00:2::1/64")
    for host, address in ((lan.beyond, "10.99.0.1"), (other, "10.99.0.1")):
        host.address("lo", f"{address}/32", "fd00:99::1/128")
    routes = {"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}
    first = lan.config(ipam=lan.dual_stack | routes)
    second = lan.config(name="second", master="eth1", ipam=lan.ipam("10.2.0.0/24", "fd00:2::/64") | routes)
    return first, second


def ways(pod: Container) -> set[str]:
    """The links by which a hundred flows to either family's address leave."""
    flows = [pod.ip_json(f"route get 10.99.0.1 sport {port} ipproto udp") for port in range(1000, 1010)]
    flows += [pod.ip_json(f"-6 route get fd00:99::1 sport {port} ipproto udp") for port in range(1000, 1100)]
    return {flow[0]["dev"] for flow in flows}


@pytest.mark.parametrize("kind", KINDS)
def test_of_two_default_routes_the_one_of_the_later_attachment_carries(lan: Lan, kind: str) -> None:
    plugin, pod = Plugin(lan.node, kind), lan.container("pod")
    first, second = ({**network, "type": kind} for network in two_networks(lan))
    one = plugin.add(pod, first).result
    assert ways(pod) == {"eth0"}
    two = plugin.add(pod, second, CNI_IFNAME="net1").result
    assert ways(pod) == {"net1"}
    assert pod.ping("10.99.0.1")
    assert pod.ping("fd00:99::1")
    plugin.check(pod, first, one).succeeded()
    plugin.check(pod, second, two, CNI_IFNAME="net1").succeeded()
    plugin.delete(pod, second, CNI_IFNAME="net1").succeeded()
    assert ways(pod) == {"eth0"}


@pytest.mark.parametrize("keys", [{}, {"type": "ipvlan", "mode": "l3"}], ids=str)
def test_of_three_networks_the_last_carries_and_each_check_passes(lan: Lan, keys: dict[str, Any]) -> None:
    pod, plugin = lan.container("pod"), Plugin(lan.node, keys.get("type", "macvlan"))
    calls = []
    for n, ifname in enumerate(("eth0", "net1", "net2")):
        lan.node.ip_batch([f"link add low{n} type dummy", f"link set low{n} up"])
        ipam = lan.ipam(f"10.{n + 20}.0.0/24", f"fd00:{n + 20}::/64")
        config = lan.config(name=f"network{n}", master=f"low{n}", ipam=ipam, **keys)
        calls.append((config, plugin.add(pod, config, CNI_IFNAME=ifname).result, ifname))
        assert ways(pod) == {ifname}
    for config, result, ifname in calls:
        plugin.check(pod, config, result, CNI_IFNAME=ifname).succeeded()


def test_a_priority_is_obeyed(lan: Lan) -> None:
    pod = lan.container("pod")
    first, second = two_networks(lan)
    second["ipam"]["routes"] = [{"dst": "0.0.0.0/0", "priority": 5000}, {"dst": "::/0", "priority": 5000}]
    assert lan.macvlan.add(pod, first).status == 0
    assert lan.macvlan.add(pod, second, CNI_IFNAME="net1").status == 0
    assert ways(pod) == {"eth0"}


# Parents


@pytest.mark.parametrize("kind", ["macvlan", "macvtap"])
def test_a_macvlan_of_the_hosts_as_the_parent(lan: Lan, kind: str) -> None:
    """Its containers lie on its own parent (macvlan_common_newlink)."""
    lan.node.ip(f"link add shim link eth0 type {kind} mode bridge")
    lan.node.ip("link set shim up")
    pod = attached(lan, master="shim")
    assert pod.ping("10.1.0.1")
    gone(lan, pod, master="shim")
    assert links(lan.node) == ["eth0", "shim"]


def test_an_ipvlan_of_the_hosts_own_beside_ours(lan: Lan) -> None:
    """A shim that is made at boot: one mode and flag is no conflict, another is told with whose it is."""
    lan.node.ip("link add shim link eth0 type ipvlan mode l2 bridge")
    pod = attached(lan, type="ipvlan")
    assert pod.ping("10.1.0.1")
    gone(lan, pod, type="ipvlan")
    told = refused(lan, type="ipvlan", mode="l3", ipam=lan.ipam("10.7.0.0/24"))
    assert told == "master: eth0 is in use as ipvlan l2 bridge by the host's own shim: ipvlan l3 bridge cannot share it"
    assert links(lan.node) == ["eth0", "shim"]


@pytest.mark.parametrize("name", ["uplink", "a-name-of-more-than-fifteen-bytes", "n" * 127])
def test_a_parent_is_found_by_any_of_its_names(lan: Lan, name: str) -> None:
    lan.node.ip(f"link property add dev eth0 altname {name}")
    pod = attached(lan, master=name)
    assert pod.ping("10.1.0.1")
    gone(lan, pod, master=name)


def test_the_label_of_an_address_is_no_vlan(lan: Lan) -> None:
    lan.node.ip("addr add 10.5.0.1/24 dev eth0 label eth0:1")
    assert refused(lan, master="eth0:1") == "master: eth0:1 is the label of an address, not a link"
    assert attached(lan, master="eth0:2")


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_that_never_had_a_route(lan: Lan, kind: str) -> None:
    """Not even its loopback's: its kernel has no table of routes."""
    plugin, pod = Plugin(lan.node, kind), lan.host("pod")
    call = f"ip link add eth0 type dummy && exec {plugin.executable}"
    config = json.dumps(lan.config(type=kind, ipam=lan.dual_stack)).encode()
    environment = plugin.environment("ADD", pod, {"PATH": os.environ["PATH"]})
    done = lan.node.run(["unshare", "--net", "sh", "-c", call], input=config, env=environment, check=False)
    assert (done.returncode, len(json.loads(done.stdout)["ips"])) == (0, 2)


@pytest.mark.parametrize("kind", ["ipip", "gre", "tun"])
def test_what_is_no_ethernet_is_told_as_that(lan: Lan, kind: str) -> None:
    """A tun has the type of a WireGuard's link (ARPHRD_NONE)."""
    # Without the tunnels that the modules else put into every namespace (Documentation/admin-guide/sysctl/net.rst).
    Path("/proc/sys/net/core/fb_tunnels_only_for_init_net").write_text("2")
    if kind == "tun":
        device = Path("/dev/net/tun")
        if not device.exists():  # where no udev makes it
            device.parent.mkdir(exist_ok=True)
            os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(10, 200))
        lan.node.ip("tuntap add mode tun name tun0")
    else:
        lan.node.ip(f"link add tun0 type {kind} local 10.1.0.9 remote 10.1.0.1")
    assert refused(lan, master="tun0").startswith(f"master: tun0 is no Ethernet ({kind})")
    assert refused(lan, master="tun0", vlan=5).startswith(f"master: tun0 is no Ethernet ({kind})")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("vlan", [0, 50])
def test_a_bond_that_is_down_carries_when_it_comes_up(lan: Lan, kind: str, vlan: int) -> None:
    peer = lan.host("peer")
    lan.net.cable(lan.node, "eth1", peer, "eth0")
    peer.address("eth0", "10.3.0.1/24", "fd00:3::1/64")
    if vlan:
        peer.ip(f"link add link eth0 name eth0.{vlan} type vlan id {vlan}")
        peer.ip_batch(["addr del 10.3.0.1/24 dev eth0", "addr del fd00:3::1/64 dev eth0"])
        peer.address(f"eth0.{vlan}", "10.3.0.1/24", "fd00:3::1/64")
    lan.node.ip_batch(["link add bond0 type bond", "link set eth1 down", "link set eth1 master bond0"])
    keys: dict[str, Any] = {
        "type": kind,
        "master": "bond0",
        "vlan": vlan,
        "ipam": lan.ipam("10.3.0.0/24", "fd00:3::/64"),
    }
    lan.node.ip("link set bond0 down")
    pod = attached(lan, **keys)
    lan.node.ip("link set bond0 up")
    for address in ("10.3.0.1", "fd00:3::1"):
        assert pod.ping(address)
    gone(lan, pod, **keys)
    assert links(lan.node) == ["eth0", "eth1", "bond0"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("mtu", "ipam"), [(67, {}), (1279, {"ranges": [[{"subnet": "fd00:1::/64"}]]})])
def test_an_mtu_of_too_little_is_told_as_that(lan: Lan, kind: str, mtu: int, ipam: dict[str, Any]) -> None:
    assert refused(lan, type=kind, mtu=mtu, ipam=lan.ipam() | ipam).startswith(f"mtu: {mtu} is less than the ")


def test_passthru_names_who_has_the_parent(lan: Lan) -> None:
    pod = attached(lan, mode="passthru")
    error = lan.macvlan.add(lan.host("second"), lan.config(mode="passthru", name="other")).error
    assert "is in use as macvlan passthru by pod/eth0 of network lan" in error["msg"]
    gone(lan, pod, mode="passthru")
    assert "has the parent's hardware address" in refused(lan, mode="passthru", mac="02:00:00:00:00:01")


@pytest.mark.parametrize(("master", "words"), [("bond0.100", "nor one named bond0"), ("eth0.4095", "are 1 to 4094")])
def test_a_vlan_that_cannot_be_says_why(lan: Lan, master: str, words: str) -> None:
    assert words in refused(lan, master=master)


# Values


@pytest.mark.parametrize("vlan", [0, ""])
def test_no_vlan_is_none(lan: Lan, vlan: Any) -> None:
    assert attached(lan, vlan=vlan).ping("10.1.0.1")
    assert links(lan.node) == ["eth0"]


def test_a_vlan_that_is_said_twice_is_one(lan: Lan) -> None:
    lan.node.ip("link add link eth0 name eth0.100 type vlan id 100")
    lan.node.ip("link set eth0.100 up")
    pod = attached(lan, master="eth0.100", vlan=100)
    assert links(lan.node) == ["eth0", "eth0.100"]
    gone(lan, pod, master="eth0.100", vlan=100)


def test_excluded_addresses_as_users_of_whereabouts_write_them(lan: Lan) -> None:
    ranges = [[{"subnet": "10.1.0.0/29", "exclude": ["10.1.0.2/31", "10.1.0.5/30", "10.1.0.4"], "gateway": "none"}]]
    assert addresses(attached(lan, ipam=lan.ipam(ranges=ranges, routes=[]))) == ["10.1.0.1/29"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_gateway_outside_of_its_subnet_is_reached(lan: Lan, kind: str) -> None:
    """As hosting companies have it: 192.0.2.224/28 by 192.0.2.1, and an IPv6 one outside of its /116."""
    lan.beyond.address("eth0", "192.0.2.1/24", "2001:db8::1/64")
    lan.beyond.address("lo", "10.99.0.1/32", "fd00:99::1/128")
    lan.beyond.ip_batch(["route add 192.0.2.224/28 dev eth0"])
    ranges = [
        [{"subnet": "192.0.2.224/28", "gateway": "192.0.2.1"}],
        [{"subnet": "2001:db8::f000/116", "gateway": "2001:db8::1"}],
    ]
    pod = attached(lan, type=kind, ipam=lan.ipam(ranges=ranges, routes=[{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]))
    assert pod.ping("10.99.0.1")
    assert pod.ping("fd00:99::1")


def test_keys_in_another_case(lan: Lan) -> None:
    config = {"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "Master": "eth0", "MTU": 1400, "Vlan": 0}
    ipam = {
        "Type": "host-local",
        "datadir": str(lan.data_dir),
        "Ranges": [[{"Subnet": "10.1.0.0/24", "rangestart": "10.1.0.9"}]],
    }
    pod = lan.container("pod")
    asked = {"RuntimeConfig": {"MAC": "02:00:00:00:00:09"}}
    result = lan.macvlan.add(pod, config | {"IPAM": ipam} | asked).result
    assert (addresses(pod), result["interfaces"][0]["mac"]) == (["10.1.0.9/24"], "02:00:00:00:00:09")
    assert pod.ip_json("link show dev eth0")[0]["mtu"] == 1400
    lan.macvlan.delete(pod, config | {"IPAM": ipam}).succeeded()
    assert leases(lan.data_dir) == {}


def test_a_long_configuration_with_its_result_is_taken_back(lan: Lan) -> None:
    """ADD's is below 1 MiB, DEL's with prevResult above it."""
    routes = [{"dst": f"172.{16 + n // 256 % 16}.{n % 256}.0/24"} for n in range(200)]
    pad = "x" * 700_000
    config = lan.config(ipam=lan.ipam(routes=routes), description=pad)
    pod = lan.host("pod")
    result = lan.macvlan.add(pod, config).result
    told = config | {"prevResult": result | {"dns": {"search": [pad]}}}
    lan.macvlan.check(pod, config, result | {"dns": {"search": [pad]}}).succeeded()
    lan.macvlan.call("DEL", pod, told).succeeded()
    assert (links(pod), leases(lan.data_dir)) == ([], {})


# The host's own addresses


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("vlan", [0, 50])
def test_the_hosts_own_address_and_next_hop_are_never_given(lan: Lan, kind: str, vlan: int) -> None:
    """A server of 192.0.2.0/29, whose router is .6: its own address given away, it falls off its network."""
    if vlan:
        lan.node.ip("link add link eth0 name eth0.50 type vlan id 50")
        lan.node.ip("link set eth0.50 up")
    link = "eth0.50" if vlan else "eth0"
    lan.node.address(link, "192.0.2.2/29", "fd00:1::2/64")
    lan.node.ip_batch(["route add default via 192.0.2.6", "route add default via fd00:1::6"])
    config: dict[str, Any] = {"type": kind, "vlan": vlan, "ipam": lan.ipam("192.0.2.0/29", "fd00:1::/64")}
    given = {address for name in ("a", "b", "c") for address in addresses(attached(lan, name, **config))}
    assert given == {f"192.0.2.{n}/29" for n in (3, 4, 5)} | {f"fd00:1::{n}/64" for n in (3, 4, 5)}
    pod, plugin = lan.host("asks"), Plugin(lan.node, kind)
    error = plugin.add(pod, lan.config(**config, runtimeConfig={"ips": ["192.0.2.2"]})).error
    assert (error["code"], error["msg"]) == (105, f"the address asked for, 192.0.2.2, is the host's own, on {link}")
    error = plugin.add(pod, lan.config(**config), CNI_ARGS="IP=192.0.2.6").error
    assert "192.0.2.6, is the next hop of the host's own route to 0.0.0.0/0" in error["msg"]
    assert links(pod) == []


# The executable host-local


def test_a_repeated_add_of_host_local_is_refused_and_keeps_the_lease(lan: Lan) -> None:
    """Go's ptp, called twice, would else free the running container's address at the second one's failure."""
    plugin, one, other = Plugin(lan.node, "host-local"), lan.host("one"), lan.host("other")
    assert plugin.add(one, lan.config()).result["ips"][0]["address"] == "10.1.0.2/24"
    error = plugin.add(one, lan.config()).error
    assert "10.1.0.2 has been allocated to one, duplicate allocation is not allowed" in error["msg"]
    assert plugin.add(other, lan.config()).result["ips"][0]["address"] == "10.1.0.3/24"
    assert leases(lan.data_dir) == {"10.1.0.2": "one\r\neth0", "10.1.0.3": "other\r\neth0"}
