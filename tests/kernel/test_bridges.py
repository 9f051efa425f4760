"""Bridges that filter VLANs, as parents of VLANs: what nobody told them of is dropped, and people are told that."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.lab.topology import Host
from tests.kernel.conftest import Lan
from tests.kernel.plugin import OURS, Plugin

MEND = "bridge vlan add dev br0 vid 50 self"
WHY = "br0 filters VLANs and is no member of 50, so br0.50 reaches nobody by its ports"


@pytest.fixture
def peer(lan: Lan) -> Host:
    """Has 10.3.0.1/24 in VLAN 50; node's br0 has a port to it, which is a member of the VLAN."""
    peer = lan.host("peer")
    lan.net.cable(lan.node, "eth1", peer, "eth0")
    peer.ip("link add link eth0 name eth0.50 type vlan id 50")
    peer.address("eth0.50", "10.3.0.1/24")
    lan.node.ip_batch(["link add br0 type bridge vlan_filtering 1", "link set eth1 master br0", "link set br0 up"])
    lan.node.run(["bridge", "vlan", "add", "dev", "eth1", "vid", "50"])
    return peer


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
@pytest.mark.parametrize("keys", [{"master": "br0.50"}, {"master": "br0", "vlan": 50}])
def test_a_vlan_that_the_bridge_drops_is_told_and_its_mend_mends_it(
    lan: Lan, peer: Host, kind: str, keys: dict[str, Any]
) -> None:
    plugin, pod = Plugin(lan.node, kind), lan.container("pod")
    config = lan.config(type=kind, ipam=lan.ipam("10.3.0.0/24"), **keys)
    done = plugin.add(pod, config)
    assert (done.status, done.stderr.splitlines()) == (0, [f"{WHY}: {MEND}"])
    assert not pod.ping("10.3.0.1")
    lan.node.run(MEND.split())
    assert pod.ping("10.3.0.1")
    after = plugin.add(lan.host("after"), config)
    assert (after.status, after.stderr) == (0, "")


def test_a_run_of_vlans_is_read_whole(lan: Lan, peer: Host) -> None:
    """The kernel tells of VLANs that follow one another, and are alike, as one run."""
    lan.node.run(["bridge", "vlan", "add", "dev", "br0", "vid", "40-60", "self"])
    done = lan.macvlan.add(lan.host("pod"), lan.config(master="br0.50", ipam=lan.ipam("10.3.0.0/24")))
    assert (done.status, done.stderr) == (0, "")


def test_a_bridge_that_filters_nothing_is_no_matter(lan: Lan, peer: Host) -> None:
    lan.node.ip("link set br0 type bridge vlan_filtering 0")
    pod = lan.container("pod")
    done = lan.macvlan.add(pod, lan.config(master="br0.50", ipam=lan.ipam("10.3.0.0/24")))
    assert (done.status, done.stderr) == (0, "")
    assert pod.ping("10.3.0.1")


def test_doctor_tells(lan: Lan, peer: Host) -> None:
    lan.node.ip("link add link br0 name br0.50 type vlan id 50")
    doctor = [str(OURS / "cni-macvlan-py"), "doctor", "--parent", "br0.50"]
    told = lan.node.run(doctor, check=False).stdout.decode()
    assert WHY in told
    assert MEND in told
    lan.node.run(MEND.split())
    assert "filters VLANs" not in lan.node.run(doctor, check=False).stdout.decode()
