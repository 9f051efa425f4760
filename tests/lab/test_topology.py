"""Networks made of namespaces. Inside the lab: python3 -m conformance.lab run -- pytest tests/lab/test_topology.py"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.lab.topology import CommandFailed, Host, Switch, Topology


@pytest.fixture
def net() -> Iterator[Topology]:
    with Topology() as net:
        yield net


def traces() -> tuple[list[str], list[str], bytes, set[str]]:
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, check=True).stdout
    return sorted(os.listdir("/run")), mounts, links, set(os.listdir("/run/netns"))


def two_on(net: Topology, sw: Switch, first: int | None = None, second: int | None = None) -> tuple[Host, Host]:
    """Two hosts on access ports of these VLANs."""
    a, b = net.host("a"), net.host("b")
    net.cable(a, "eth0", sw, access=first)
    net.cable(b, "eth0", sw, access=second)
    a.address("eth0", "10.1.0.1/24", "fd00:1::1/64")
    b.address("eth0", "10.1.0.2/24", "fd00:1::2/64")
    return a, b


# Cables, switches, VLANs


def test_hosts_on_a_switch_reach_each_other_at_once(net: Topology) -> None:
    a, _ = two_on(net, net.switch("sw"))
    assert a.ping("fd00:1::2", deadline=0)
    assert a.ping("10.1.0.2", deadline=0)


def test_link_local_addresses_are_usable_at_once(net: Topology) -> None:
    a, b = net.host("a"), net.host("b")
    net.cable(a, "eth0", b, "eth7")
    for host, ifname in ((a, "eth0"), (b, "eth7")):
        (address,) = (info for info in host.ip_json(f"-6 addr show dev {ifname}")[0]["addr_info"])
        assert address["scope"] == "link"
        assert "tentative" not in address


def test_interfaces_made_later_detect_duplicates_as_everywhere(net: Topology) -> None:
    a, b = net.host("a"), net.host("b")
    net.cable(a, "eth0", b, "eth0")
    a.ip("link add link eth0 name later type macvlan")
    a.ip("link set later up")
    a.ip("addr add fd00:2::1/64 dev later")
    assert any(info.get("tentative") for info in a.ip_json("-6 addr show dev later")[0]["addr_info"])


def test_a_cable_between_hosts_has_both_names_and_its_mtu(net: Topology) -> None:
    a, b = net.host("a"), net.host("b")
    net.cable(a, "eth0", b, "uplink", mtu=9000)
    assert a.ip_json("link show dev eth0")[0]["mtu"] == 9000
    assert b.ip_json("link show dev uplink")[0]["mtu"] == 9000
    assert b.ip_json("link show dev uplink")[0]["operstate"] == "UP"


@pytest.mark.parametrize(("first", "second", "reach"), [(50, 50, True), (50, 60, False), (50, None, False)])
def test_access_ports_of_one_vlan_meet_and_of_two_do_not(
    net: Topology, first: int, second: int | None, reach: bool
) -> None:
    a, _ = two_on(net, net.switch("sw"), first, second)
    assert a.ping("10.1.0.2", expect=reach, deadline=2) is reach
    assert a.ping("fd00:1::2", expect=reach, deadline=2) is reach


def test_a_trunk_carries_its_vlans_tagged_and_vlan_1_plain(net: Topology) -> None:
    sw = net.switch("sw")
    node, fifty, sixty, plain = (net.host(name) for name in ("node", "fifty", "sixty", "plain"))
    net.cable(node, "eth0", sw, trunk=(50,))
    net.cable(fifty, "eth0", sw, access=50)
    net.cable(sixty, "eth0", sw, access=60)
    net.cable(plain, "eth0", sw)
    for vid in (50, 60):
        node.ip(f"link add link eth0 name eth0.{vid} type vlan id {vid}")
        node.address(f"eth0.{vid}", f"10.{vid}.0.1/24")
    node.address("eth0", "10.1.0.1/24")
    fifty.address("eth0", "10.50.0.2/24")
    sixty.address("eth0", "10.60.0.2/24")
    plain.address("eth0", "10.1.0.2/24")
    assert node.ping("10.50.0.2")
    assert node.ping("10.1.0.2")
    assert not node.ping("10.60.0.2", expect=False)  # the trunk's port is no member of VLAN 60


def test_a_forwarding_host_routes_both_families(net: Topology) -> None:
    a, router, b = net.host("a"), net.host("router"), net.host("b")
    net.cable(a, "eth0", router, "left")
    net.cable(b, "eth0", router, "right")
    a.address("eth0", "10.1.0.2/24", "fd00:1::2/64")
    b.address("eth0", "10.2.0.2/24", "fd00:2::2/64")
    router.address("left", "10.1.0.1/24", "fd00:1::1/64")
    router.address("right", "10.2.0.1/24", "fd00:2::1/64")
    a.ip_batch(["route add default via 10.1.0.1", "route add default via fd00:1::1"])
    b.ip_batch(["route add default via 10.2.0.1", "route add default via fd00:2::1"])
    assert not a.ping("10.2.0.2", expect=False)
    router.forward()
    assert a.ping("10.2.0.2")
    assert a.ping("fd00:2::2")


def test_a_cable_that_cannot_be_is_refused_before_anything_is_made(net: Topology) -> None:
    a, b = net.host("a"), net.host("b")
    with pytest.raises(ValueError, match="interface name"):
        net.cable(a, "eth0", b)
    with pytest.raises(ValueError, match="switch's port"):
        net.cable(a, "eth0", b, "eth0", access=50)
    assert len(a.ip_json("link show")) == 1


# Captures


def test_a_capture_sees_tags_and_only_what_its_filter_selects(net: Topology) -> None:
    sw = net.switch("sw")
    node, peer = net.host("node"), net.host("peer")
    net.cable(node, "eth0", sw, trunk=(50,))
    net.cable(peer, "eth0", sw, access=50)
    node.ip("link add link eth0 name eth0.50 type vlan id 50")
    node.address("eth0.50", "10.50.0.1/24")
    peer.address("eth0", "10.50.0.2/24")
    with node.capture("eth0", "vlan 50 and icmp") as tagged, peer.capture("eth0", "icmp") as plain:
        assert node.ping("10.50.0.2")
    assert len(tagged.frames) == len(plain.frames) == 2
    assert {frame[12:16] for frame in tagged.frames} == {b"\x81\x00\x00\x32"}
    assert {frame[12:14] for frame in plain.frames} == {b"\x08\x00"}
    assert "vlan 50" in tagged.lines[0]
    assert "echo request" in tagged.lines[0]
    assert "10.50.0.2 > 10.50.0.1: ICMP echo reply" in plain.lines[1]


def test_a_capture_starts_and_ends_with_its_block(net: Topology) -> None:
    a, _ = two_on(net, net.switch("sw"))
    assert a.ping("10.1.0.2")
    with a.capture("eth0", "icmp") as capture:
        assert a.ping("10.1.0.2")
        assert len(capture.frames) == 2
        assert a.ping("10.1.0.2", count=2)
    assert a.ping("10.1.0.2")
    assert len(capture.frames) == 6


def test_a_capture_of_one_link_does_not_hear_another(net: Topology) -> None:
    a, b = net.host("a"), net.host("b")
    net.cable(a, "eth0", b, "eth0")
    net.cable(a, "eth1", b, "eth1")
    a.address("eth0", "10.1.0.1/24")
    b.address("eth0", "10.1.0.2/24")
    with a.capture("eth1") as capture:
        assert a.ping("10.1.0.2")
    assert not [line for line in capture.lines if "10.1.0" in line]


def test_a_filter_that_tcpdump_rejects_is_named(net: Topology) -> None:
    with net.host("a").capture("lo", "no such filter") as capture:
        pass
    with pytest.raises(ValueError, match="no such filter"):
        capture.lines  # noqa: B018


# Commands


def test_a_hosts_namespace_is_at_its_path_and_its_loopback_up(net: Topology) -> None:
    a = net.host("a")
    assert a.netns == "/run/netns/a"
    assert os.stat(a.netns).st_ino == int(a.run(["stat", "-L", "-c", "%i", "/proc/self/ns/net"]).stdout)
    assert a.ping("127.0.0.1", deadline=0)
    assert os.stat("/proc/self/ns/net").st_ino != os.stat(a.netns).st_ino


def test_a_command_that_fails_says_what_it_said(net: Topology) -> None:
    a = net.host("a")
    with pytest.raises(CommandFailed, match=r"status 3.*cannot do it"):
        a.run(["sh", "-c", "echo cannot do it >&2; exit 3"])
    assert a.run(["sh", "-c", "exit 3"], check=False).returncode == 3
    with pytest.raises(CommandFailed, match="Cannot find device"):
        a.ip("link set nothing up")


def test_input_environment_directory_and_time_limit(net: Topology) -> None:
    a = net.host("a")
    done = a.run(["sh", "-c", 'cat; pwd; echo "$FRUIT"'], input=b"in\n", env={"FRUIT": "fig"}, cwd="/usr")
    assert done.stdout == b"in\n/usr\nfig\n"
    assert a.run(["cat"]).stdout == b""
    with pytest.raises(subprocess.TimeoutExpired):
        a.run(["sleep", "100"], timeout=0.5)


def test_the_caller_stays_in_its_own_namespace_even_after_a_failure(net: Topology) -> None:
    own = os.stat("/proc/thread-self/ns/net").st_ino
    a = net.host("a")
    with pytest.raises(FileNotFoundError):
        a.run(["no-such-command"])
    with pytest.raises(RuntimeError), a.inside():
        raise RuntimeError
    assert os.stat("/proc/thread-self/ns/net").st_ino == own


def test_a_container_sees_busybox_alone_and_its_own_network(net: Topology) -> None:
    c1, c2 = net.container("c1"), net.container("c2")
    net.cable(c1, "eth0", c2, "eth0")
    c1.address("eth0", "10.1.0.1/24")
    c2.address("eth0", "10.1.0.2/24")
    assert c1.run(["ls", "/"]).stdout.split() == [b"bin", b"dev", b"etc", b"proc", b"root", b"tmp"]
    assert b"10.1.0.1/24" in c1.run(["ip", "addr"]).stdout
    assert c1.run(["ping", "-c", "1", "10.1.0.2"]).returncode == 0
    assert c1.ping("10.1.0.2")
    assert c1.run(["sh", "-c", "echo x > /dev/null && cat /proc/self/comm"]).stdout == b"cat\n"
    with pytest.raises(CommandFailed):
        c1.run(["python3"])


# The end


def test_everything_is_removed_even_after_an_exception() -> None:
    with Topology() as net:
        net.host("first")
    before = traces()
    with pytest.raises(RuntimeError), Topology() as net:
        sw, node, container = net.switch("sw"), net.host("node"), net.container("c1")
        net.cable(node, "eth0", sw, trunk=(50,))
        net.cable(container, "eth0", sw)
        kept = node.popen(["sleep", "1000"])
        node.run(["sh", "-c", "setsid sleep 999 >/dev/null 2>&1 &"])
        raise RuntimeError
    assert traces() == before
    assert kept.returncode is not None
    assert not [entry for entry in Path("/proc").glob("[0-9]*/cmdline") if b"sleep" in entry.read_bytes()]


def test_names_can_be_used_again_and_a_name_in_use_is_refused(net: Topology) -> None:
    net.host("a")
    with pytest.raises(FileExistsError):
        net.host("a")
    for _ in range(3):
        with Topology() as inner:
            assert inner.host("z").ping("127.0.0.1")
