"""`conflict: probe` and `dad: fast`: another host on the LAN has the address, and answers at once or late."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from conformance.lab.topology import Host
from tests.kernel.conftest import Lan
from tests.kernel.delay import Delay
from tests.kernel.plugin import Outcome, Plugin, addresses, leases, links

KINDS = ("macvlan", "ipvlan")
FAMILIES = {"IPv4": ("10.1.0.0/24",), "IPv6": ("fd00:1::/64",), "both": ("10.1.0.0/24", "fd00:1::/64")}
TAKEN = ("10.1.0.2/24", "fd00:1::2/64")
TRIES = 10


def rival(lan: Lan, *cidrs: str) -> str:
    """A host on the LAN that has the addresses; its hardware address."""
    host = lan.host("rival")
    lan.net.cable(host, "eth0", lan.switch)
    host.address("eth0", *(cidrs or TAKEN))
    return str(host.ip_json("link show dev eth0")[0]["address"])


def given(outcome: Outcome) -> list[str]:
    return [ip["address"] for ip in outcome.result["ips"]]


@pytest.mark.parametrize("families", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_address_that_another_host_has_is_passed_over(lan: Lan, kind: str, families: str) -> None:
    mac, pod, plugin = rival(lan), lan.container("pod"), Plugin(lan.node, kind)
    config = lan.config(type=kind, conflict="probe", ipam=lan.ipam(*FAMILIES[families]))
    added = plugin.add(pod, config)
    expected = {"IPv4": ["10.1.0.3/24"], "IPv6": ["fd00:1::3/64"]}
    expected["both"] = expected["IPv4"] + expected["IPv6"]
    assert given(added) == addresses(pod) == expected[families]
    told = added.stderr.splitlines()  # of both families: the first that is found, for both are chosen anew
    who = {"10.1.0.2": f"{mac} on eth0", "fd00:1::2": "another host on the link"}
    assert set(told) <= {f"address {address} is in use by {whose}: another is chosen" for address, whose in who.items()}
    assert told
    assert pod.ping("fd00:1::1" if families == "IPv6" else "10.1.0.1")
    assert set(leases(lan.data_dir)) == {cidr.partition("/")[0] for cidr in expected[families]}
    plugin.check(pod, config, added.result).succeeded()
    plugin.delete(pod, config).succeeded()
    assert (links(pod), leases(lan.data_dir)) == ([], {})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", ["10.1.0.2", "fd00:1::2"])
def test_one_that_was_asked_for_is_refused(lan: Lan, kind: str, asked: str) -> None:
    mac, pod, plugin = rival(lan), lan.host("pod"), Plugin(lan.node, kind)
    ips = [asked, "10.1.0.9" if ":" in asked else "fd00:1::9"]
    config = lan.config(type=kind, conflict="probe", ipam=lan.dual_stack, runtimeConfig={"ips": ips})
    refused = plugin.add(pod, config)
    who = "another host on the link" if ":" in asked else f"{mac} on eth0"
    assert (refused.status, refused.document["code"]) == (1, 106)
    assert refused.document["msg"] == f"address {asked} is in use by {who}"
    assert (links(pod), leases(lan.data_dir)) == ([], {})


def test_the_owner_loses_nothing_and_its_neighbours_hear_nothing(lan: Lan) -> None:
    mac, pod = rival(lan), lan.host("pod")
    assert lan.beyond.ping("10.1.0.2")
    with lan.beyond.capture("eth0", "arp") as capture:
        assert given(lan.macvlan.add(pod, lan.config(conflict="probe"))) == ["10.1.0.3/24"]
        assert lan.beyond.ping("10.1.0.3")
    [entry] = lan.beyond.ip_json("neigh show to 10.1.0.2 dev eth0")
    assert entry["lladdr"] == mac
    # Asked for in nobody's name, as RFC 5227 has it; and the address that it got is announced, once it has it.
    asked = [frame for frame in map(bytes, capture.frames) if frame[20:22] == b"\0\1"]
    [own] = {frame[6:12] for frame in asked if frame[38:42] == bytes([10, 1, 0, 3]) and frame[28:32] == bytes(4)}
    announced = [frame for frame in asked if frame[28:32] == frame[38:42] == bytes([10, 1, 0, 3])]
    assert announced and announced[0][6:12] == own


@pytest.mark.parametrize("kind", KINDS)
def test_after_eight_addresses_it_is_to_be_tried_later(lan: Lan, kind: str) -> None:
    mac = rival(lan, *(f"10.1.0.{n}/24" for n in range(2, 10)))
    pod, plugin = lan.host("pod"), Plugin(lan.node, kind)
    refused = plugin.add(pod, lan.config(type=kind, conflict="probe"))
    assert (refused.status, refused.document["code"]) == (1, 11)
    assert all(f"10.1.0.{n} is in use by {mac} on eth0" in refused.document["msg"] for n in range(2, 10))
    assert (links(pod), leases(lan.data_dir)) == ([], {})


def test_without_the_key_nobody_is_asked(lan: Lan) -> None:
    rival(lan)
    pod = lan.host("pod")
    assert given(lan.macvlan.add(pod, lan.config())) == ["10.1.0.2/24"]


@pytest.mark.parametrize("kind", KINDS)
def test_another_ipam_is_not_asked_again(lan: Lan, kind: str) -> None:
    mac, pod, plugin = rival(lan), lan.host("pod"), Plugin(lan.node, kind)
    other = lan.data_dir.parent / "addresses"
    other.write_text(f"#!/bin/sh\nsed s/addresses/host-local/ | {plugin.directory}/host-local\n")
    other.chmod(0o755)
    config = lan.config(type=kind, conflict="probe", ipam=lan.ipam(type="addresses"))
    refused = plugin.add(pod, config, CNI_PATH=str(other.parent))
    assert (refused.status, refused.document["code"]) == (1, 106)
    assert f"10.1.0.2 is in use by {mac}" in refused.document["msg"]
    assert (links(pod), leases(lan.data_dir)) == ([], {})


@pytest.mark.parametrize("mode", ["private", "vepa", "passthru"])
def test_every_mode_of_macvlan_asks(lan: Lan, mode: str) -> None:
    rival(lan)
    assert given(lan.macvlan.add(lan.host("pod"), lan.config(mode=mode, conflict="probe"))) == ["10.1.0.3/24"]


@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_where_packets_go_by_routes_alone_nobody_is_asked(lan: Lan, mode: str) -> None:
    rival(lan)
    config = lan.config(type="ipvlan", mode=mode, conflict="probe", hostRoutes=False)
    assert given(lan.ipvlan.add(lan.host("pod"), config)) == ["10.1.0.2/24"]


def test_the_hosts_own_neighbours_are_as_before(lan: Lan) -> None:
    """ipvlan asks from the parent; what the host knows of others stays, and what was asked for goes."""
    rival(lan)
    lan.node.address("eth0", "10.1.0.7/24")
    assert lan.node.ping("10.1.0.1")
    assert given(lan.ipvlan.add(lan.host("pod"), lan.config(type="ipvlan", conflict="probe"))) == ["10.1.0.3/24"]
    assert [one["dst"] for one in lan.node.ip_json("-4 neigh show dev eth0")] == ["10.1.0.1"]


def test_the_timers_are_set_back(lan: Lan) -> None:
    pod = lan.container("pod")
    assert lan.macvlan.add(pod, lan.config(conflict="probe", ipam=lan.dual_stack)).status == 0
    for path, value in (
        ("ipv4/neigh/eth0/retrans_time_ms", "1000"),
        ("ipv4/neigh/eth0/mcast_solicit", "3"),
        ("ipv6/neigh/eth0/retrans_time_ms", "1000"),
        ("ipv6/conf/eth0/dad_transmits", "1"),
    ):
        with pod.inside(), open(f"/proc/sys/net/{path}", encoding="ascii") as sysctl:
            assert sysctl.read().strip() == value


# Who answers late


@pytest.mark.parametrize("seconds", [0.03, 0.08])
@pytest.mark.parametrize("what", ["IPv6", "both"])
def test_a_host_that_answers_late_is_found(lan: Lan, what: str, seconds: float) -> None:
    """In the time of IPv6's detection, IPv4 too: dad fast without the probe, and with it."""
    rival(lan)
    delay = Delay(lan, "rival", seconds)
    config = lan.config(ipam=lan.ipam(*FAMILIES[what]), **({"conflict": "probe"} if what == "both" else {}))
    pod = lan.host("pod")
    for _ in range(TRIES):
        with delay:
            outcome = lan.macvlan.add(pod, config)
        if delay.longest < 0.09:
            break  # else the machine was busy: who answers after 100 ms is not promised to be found
        if outcome.status == 0:
            lan.macvlan.delete(pod, config).succeeded()
        for last in (lan.data_dir / "lan").glob("last_reserved_ip.*"):
            last.unlink()  # or the rival's address is not asked for again
    if what == "both":
        assert given(outcome) == ["10.1.0.3/24", "fd00:1::3/64"]
    else:
        assert outcome.error["msg"] == "address fd00:1::2 is in use by another host on the link"


# The container's own earlier run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("families", ["IPv4", "IPv6"])
def test_an_earlier_run_that_lingers_is_told_as_that(lan: Lan, kind: str, families: str) -> None:
    plugin = Plugin(lan.node, kind)
    config = lan.config(type=kind, conflict="probe", ipam=lan.ipam(*FAMILIES[families]))
    address = {"IPv4": "10.1.0.2", "IPv6": "fd00:1::2"}[families]
    with lingering(lan, plugin, config) as process:
        pod = lan.host("pod")
        refused = plugin.add(pod, config | {"runtimeConfig": {"ips": [address]}})
        assert (refused.status, refused.document["code"]) == (1, 106)
        assert refused.document["msg"] == (
            f"address {address} is in use by the container's own earlier run, whose network namespace is still there: "
            f"process {process.pid} (sleep) is in it"
        )
        assert refused.document["details"] == f"End it, and try again: kill {process.pid}"
        # Any other will do: passed over, and told.
        (lan.data_dir / "lan" / "last_reserved_ip.0").unlink()
        added = plugin.add(pod, config)
        assert given(added) == [{"IPv4": "10.1.0.3/24", "IPv6": "fd00:1::3/64"}[families]]
        assert f"process {process.pid} (sleep) is in it: another is chosen" in added.stderr


def test_its_hardware_address_is_told_likewise(lan: Lan) -> None:
    config = lan.config(mac="02:00:00:00:00:05")
    with lingering(lan, lan.macvlan, config) as process:
        error = lan.macvlan.add(lan.host("pod"), config).error
        assert error["msg"].startswith(
            "the hardware address 02:00:00:00:00:05 is in use on eth0 already, by the container"
        )
        assert f"process {process.pid} (sleep)" in error["msg"]


class lingering:
    """A container pod that ran, was stopped and forgotten, in whose namespace a process lives on."""

    def __init__(self, lan: Lan, plugin: Plugin, config: dict[str, Any]) -> None:
        self._pod = pod = Host("pod")
        assert plugin.add(pod, config).status == 0
        self._process = pod.popen(["sleep", "600"])
        plugin.call("DEL", None, config, CNI_CONTAINERID="pod", CNI_IFNAME="eth0").succeeded()
        assert leases(lan.data_dir) == {}
        pod._forget()

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
