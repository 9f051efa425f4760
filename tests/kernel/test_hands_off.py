"""What a container's root may do inside does nothing to the node, and hinders no DEL."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cni_core.names import Attachment
from conformance.faults import links as devices
from conformance.lab.topology import Host
from tests.kernel.conftest import Lan
from tests.kernel.plugin import Plugin, leases, links

ROUNDS = 1000 if os.environ.get("HYPOTHESIS_PROFILE") == "soak" else 15

# Sends answers that nobody asked for to every netlink socket of its namespace, for as long as it runs:
# acknowledgements of the first requests, and bytes that are no message.
FORGE = """
import socket, struct
forger = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
forger.bind((0, 0))
forger.setblocking(False)
while True:
    with open("/proc/net/netlink") as table:
        ports = [int(line.split()[2]) for line in table.readlines()[1:] if line.split()[1] == "0"]
    for port in ports:
        if port in (0, forger.getsockname()[0]):
            continue
        for sequence in range(1, 8):
            answer = struct.pack("=IHHIIi", 36, 2, 0, sequence, port, 0) + bytes(16)
            for datagram in (answer, answer[:5], FILLER):
                try:
                    forger.sendto(datagram, (port, 0))
                except OSError:
                    pass
    print("sent", flush=True)
"""


@contextmanager
def forging(host: Host, filler: str = 'b""') -> Iterator[None]:
    """While the block runs, a process with CAP_NET_ADMIN in the namespace forges."""
    argv = [sys.executable, "-c", FORGE.replace("FILLER", filler)]
    process = host.popen(argv, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"sent\n"
    yield
    process.kill()
    process.wait()


def test_the_forger_reaches_a_socket_that_is_not_connected(lan: Lan) -> None:
    """The positive control: so did it reach ours."""
    pod = lan.host("pod")
    with pod.inside():
        victim = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    victim.bind((0, 0))
    victim.settimeout(5)
    with forging(pod):
        assert victim.recvfrom(100)[1][0] != 0
    victim.close()


@pytest.mark.parametrize("filler", ['b""', "bytes(32768)"], ids=["answers", "a flood"])
def test_forged_answers_change_no_call(lan: Lan, filler: str) -> None:
    pod, config = lan.host("pod"), lan.config()
    with forging(pod, filler):
        for _ in range(ROUNDS):
            result = lan.macvlan.add(pod, config).result
            lan.macvlan.check(pod, config, result).succeeded()
            lan.macvlan.delete(pod, config).succeeded()
            assert (devices(pod), leases(lan.data_dir)) == (["lo"], {})  # `ip` would be deceived


@pytest.mark.parametrize("link", ["lo", "eth0"])
def test_our_temporary_name_as_another_links_hinders_no_del(lan: Lan, link: str) -> None:
    pod = lan.host("pod")
    assert lan.macvlan.add(pod, lan.config()).status == 0
    pod.ip(f"link property add dev {link} altname {Attachment('pod', 'eth0').link_name}")
    lan.macvlan.delete(pod, lan.config()).succeeded()
    assert (links(pod), leases(lan.data_dir)) == ([], {})


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_an_alias_of_another_container_hinders_no_del(lan: Lan, kind: str) -> None:
    pod, plugin, config = lan.host("pod"), Plugin(lan.node, kind), lan.config(type=kind)
    assert plugin.add(pod, config).status == 0
    pod.ip(f"link set eth0 alias {Attachment('other', 'eth0').link_name}")
    plugin.delete(pod, config).succeeded()
    assert (links(pod), leases(lan.data_dir)) == ([], {})


def test_another_containers_link_is_left_alone_at_a_path_that_changed_hands(lan: Lan) -> None:
    """As /proc/PID/ns/net does when the pid is given to another container's process."""
    one, other = lan.host("one"), lan.host("other")
    assert lan.macvlan.add(one, lan.config()).status == 0
    result = lan.macvlan.add(other, lan.config()).result
    lan.macvlan.delete(one, lan.config(), CNI_NETNS=other.netns).succeeded()
    lan.macvlan.check(other, lan.config(), result).succeeded()
    assert leases(lan.data_dir) == {"10.1.0.3": "other\r\neth0"}


def routers_advertisement(host: Host, ifname: str, preference: int) -> None:
    """One of lifetime 1800 s to all nodes (RFC 4861, 4.2; RFC 4191, 2.1)."""
    with host.inside():
        sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    with host.inside():
        index = socket.if_nametoindex(ifname)
    body = bytes([134, 0, 0, 0, 64, preference << 3]) + (1800).to_bytes(2, "big") + bytes(8)
    sender.sendto(body, ("ff02::1", 0, 0, index))
    sender.close()


@pytest.mark.parametrize("keys", [{}, {"type": "ipvlan"}, {"type": "ipvlan", "mode": "l3"}], ids=str)
def test_a_vlan_that_we_make_does_not_pull_the_host_into_it(lan: Lan, keys: dict[str, Any]) -> None:
    for port in lan.switch.ports.values():
        lan.switch.set_vlans(port, None, (50, 60))
    for number in (50, 60):
        lan.beyond.ip(f"link add link eth0 name eth0.{number} type vlan id {number}")
        lan.beyond.address(f"eth0.{number}", f"10.{number}.0.1/24", f"fd00:{number}::1/64")
    # The positive control: a VLAN of the host's own takes part.
    lan.node.ip("link add link eth0 name eth0.60 type vlan id 60")
    lan.node.ip("link set eth0.60 up")
    pod, plugin = lan.container("pod"), Plugin(lan.node, keys.get("type", "macvlan"))
    routed = keys.get("mode") == "l3"
    subnets = ("10.9.0.0/24", "fd00:9::/64") if routed else ("10.50.0.0/24", "fd00:50::/64")
    config = lan.config(vlan=50, ipam=lan.ipam(*subnets), **keys)
    assert plugin.add(pod, config).status == 0
    deadline = time.monotonic() + 10
    while not lan.node.ip_json("-6 route show default dev eth0.60"):
        assert time.monotonic() < deadline
        for number in (50, 60):
            routers_advertisement(lan.beyond, f"eth0.{number}", 0)
        time.sleep(0.1)
    assert lan.node.ip_json("-6 route show default dev eth0.50") == []
    assert lan.node.ip_json("addr show dev eth0.50")[0]["addr_info"] == []
    if not routed:
        assert pod.ping("10.50.0.1")
        assert pod.ping("fd00:50::1")


def test_no_routers_advertisement_takes_the_place_of_a_configured_default_route(lan: Lan) -> None:
    high = 1
    pod = lan.host("pod")
    assert lan.macvlan.add(pod, lan.config(ipam=lan.dual_stack)).status == 0
    deadline = time.monotonic() + 10
    while len(defaults := pod.ip_json("-6 route show default")) < 2:
        assert time.monotonic() < deadline, defaults
        routers_advertisement(lan.beyond, "eth0", high)
        time.sleep(0.1)
    assert any(route.get("pref") == "high" for route in defaults), defaults
    (way,) = pod.ip_json("-6 route get 2001:db8::1")
    assert way["gateway"] == "fd00:1::1"
