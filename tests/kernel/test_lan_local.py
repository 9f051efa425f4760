"""lan-local as three hosts have it: namespaces on one switch, each with files of its own, and a real etcd over TLS.

What the protocol does where requests are lost or late, tests/unit/test_lan_claims_model.py and tests/etcd try.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from signal import SIGCONT, SIGSTOP

import pytest

from conformance.lab.topology import Topology
from tests.kernel.office import Node, Office, echo, is_answered_once
from tests.kernel.plugin import OURS


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One for all tests: to make it takes as long as any of them. Each removes its containers."""
    with Topology() as net:
        yield Office(net, tmp_path_factory.mktemp("office"))


def test_sixty_containers_of_three_hosts_have_an_address_each(office: Office) -> None:
    pods = office.pods(60)
    with ThreadPoolExecutor(2) as threads:
        given = list(threads.map(lambda i: office.nodes[i % 3].given(pods[i]), range(60)))
    assert len(set(given)) == 60
    assert [office.claims[f"10.1.0.{10 + i}"] for i in range(3)] == [f"node{i}'s own" for i in range(3)]
    office.is_sound()
    is_answered_once(office, given)
    for i, pod in enumerate(pods):
        others = [given[(i + step) % 60] for step in (1, 2, 3)]
        assert echo(pod, others) == set(others)
    rows = json.loads(office.nodes[0].done("nodes", "office", "--json"))["nodes"]
    assert [(row["node"], row["held"]["lan"] >= 20) for row in rows] == [(f"node{i}", True) for i in range(3)]
    told = office.nodes[0].leases_of_all()
    assert {*given} <= {one["address"] for one in told}
    # Of other hosts it is known that they hold them.
    assert {one["address"] for one in told if one["use"] == "in use"} == {*given[::3]}
    assert re.search(r"node1 is not off: 10\.1\.0\.\d+ \(", office.nodes[0].refused("forget", "office", "node1"))
    assert "containers use addresses of office" in office.nodes[0].refused("leave", "office")
    for i, pod in enumerate(pods):
        office.nodes[i % 3].delete(pod, office.nodes[i % 3].config()).succeeded()
    for node in office.nodes:
        node.done("sync")
        assert not node.leases
        assert len(node.held.claims) <= 16
    office.nodes[2].done("leave", "office")
    assert not {"node2", "node2's own"} & set(office.claims.values())
    office.join(office.nodes[2])
    office.nodes[0].done("reserve", "office", "10.1.0.200", "--name", "printer")
    printer = office.nodes[1].asks(pods[1], office.nodes[1].config(runtimeConfig={"ips": ["10.1.0.200"]}))
    assert (printer.error["code"], printer.error["msg"]) == (105, "10.1.0.200 is reserved for printer")


def test_the_engine_goes_and_comes_back(office: Office) -> None:
    node, pods = office.nodes[0], office.pods(24)
    node.given(pods[0])
    office.etcd.send_signal(SIGSTOP)  # silent: what refuses is told sooner
    try:
        given = 1
        while (outcome := node.add(pods[given], node.config())).status == 0:
            given += 1
        assert given == len(node.held.claims) > 1
        begun = time.monotonic()
        error = node.add(pods[given], node.config()).error
        assert time.monotonic() - begun < 20  # two seconds, and what a loaded machine adds
        assert error["code"] == outcome.error["code"] == 11
        assert error["msg"].startswith(
            "no address of this host is free, and etcd cannot be asked for more: https://10.1.0.100:2379: no answer in"
        )
        assert node.leases == {str(address) for address in node.held.claims}
        for pod in pods[:given]:
            node.delete(pod, node.config()).succeeded()
        assert not node.leases
        node.given(pods[0])
    finally:
        office.etcd.send_signal(SIGCONT)
    for pod in pods[1:]:
        node.given(pod)
    node.call("STATUS", None, node.config()).succeeded()
    office.is_sound()
    node.call("GC", None, node.config(**{"cni.dev/valid-attachments": []})).succeeded()
    assert not node.leases
    for pod in pods:  # which GC took for dead, and whose addresses others get now
        pod.ip("link del eth0")


def test_a_kill_at_any_effect_leaves_no_address_twice(office: Office) -> None:
    """SIGKILL before each of the changes that an ADD which must ask, and a DEL which gives back, make."""
    node, other, pods = office.nodes[0], office.nodes[1], office.pods(3)
    config = node.config()
    config["ipam"]["ahead"] = 0
    node.write(config)
    node.done("sync")
    assert not node.held.claims

    def traced(command: str, *options: str) -> subprocess.CompletedProcess[bytes]:
        environment = os.environ | node.environment(command, pods[0], {})
        argv = [*node.prefix, "strace", "-f", "-qq", "-e", "signal=none", *options, str(node.executable)]
        return node.node.run(argv, input=json.dumps(config).encode(), env=environment, check=False, timeout=60)

    for command in ("ADD", "DEL"):
        kills = 0
        for call in ("renameat", "linkat", "fsync"):
            for number in range(1, 40):
                if command == "DEL":
                    node.add(pods[0], config)
                done = traced(command, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}")
                killed = done.returncode in (137, -9)
                office.is_sound()
                node.delete(pods[0], config).succeeded()
                if not killed:
                    break
                kills += 1
        assert kills >= 3  # fsync twice, and the rename between
    node.write(node.config())
    node.done("sync")
    held = {str(address) for address in node.held.claims}
    assert {address for address, owner in office.claims.items() if owner == node.name} == held
    assert node.given(pods[1]) != other.given(pods[2])
    office.is_sound()
    for host, pod in ((node, pods[1]), (other, pods[2])):
        host.delete(pod, host.config()).succeeded()


def test_a_lost_state_and_a_clone(office: Office) -> None:
    node, clone, pods = office.nodes[0], office.nodes[1], office.pods(3)
    first = node.given(pods[0])
    held = node.own / "networks/.cluster/lan/held"
    held.unlink()
    second = node.given(pods[1])
    assert second != first
    assert first in {str(address) for address in node.held.claims}  # by its lease
    for pod in pods[:2]:
        node.delete(pod, node.config()).succeeded()
    office.is_sound()

    refused = clone.refused("join", "office", *office.how, "--node", "node0", "--force", "--parent", "eth0")
    assert "node0 is registered by another host (parent " in refused
    own = clone.own / "etc/cni/cluster.d/office.json"
    before = own.read_text()
    own.write_text((node.own / "etc/cni/cluster.d/office.json").read_text())
    shutil.copytree(clone.own / "networks", clone.own / "aside")
    (clone.own / "networks/.cluster/lan/held").unlink()
    outcome = clone.asks(pods[2], clone.config())
    assert outcome.error["code"] == 111
    assert outcome.error["msg"].startswith("node0 is registered by another host (parent ")
    own.write_text(before)
    shutil.rmtree(clone.own / "networks")
    (clone.own / "aside").rename(clone.own / "networks")
    clone.given(pods[2])
    clone.delete(pods[2], clone.config()).succeeded()


def test_a_node_that_is_off_is_forgotten_and_may_come_back(office: Office) -> None:
    gone, [pod] = office.nodes[1], office.pods(1)
    gone.given(pod)
    assert "answered" in office.nodes[0].refused("forget", "office", "node1")
    gone.node.ip("link set eth0 down")
    office.nodes[0].done("forget", "office", "node1")
    assert not {"node1", "node1's own"} & set(office.claims.values())
    gone.node.ip("link set eth0 up")
    gone.done("sync")  # claims again what it has
    office.is_sound()
    assert "node1's own" in office.claims.values()
    gone.delete(pod, gone.config()).succeeded()


def test_a_pod_with_an_address_of_its_own_moves_when_its_node_is_gone(office: Office) -> None:
    """A StatefulSet's with `ips`: elsewhere it is refused until somebody says that the node is off."""
    gone, other = office.nodes[1], office.nodes[2]
    first, second = office.pods(2)
    asked = {"capabilities": {"ips": True}, "runtimeConfig": {"ips": ["10.1.0.222/24"]}}
    before, after = gone.config(**asked), other.config(**asked)
    assert gone.asks(first, before).result["ips"][0]["address"] == "10.1.0.222/24"
    gone.node.ip("link set eth0 down")
    assert other.asks(second, after).error["code"] == 105
    other.done("forget", "office", "node1")
    assert other.asks(second, after).result["ips"][0]["address"] == "10.1.0.222/24"
    gone.delete(first, before).succeeded()  # it starts again: none of its pods is there
    gone.node.ip("link set eth0 up")
    assert "10.1.0.222 is node2 (network lan)'s now" in gone.refused("sync")
    gone.done("sync")
    assert office.claims["10.1.0.222"] == "node2"
    other.delete(second, after).succeeded()
    office.is_sound()


def test_bridge_of_other_people_uses_it_too(office: Office) -> None:
    """As an executable of its own, which is what Go's plugins call."""
    node = office.nodes[0]
    alone = Node.__new__(Node)
    alone.__dict__.update(node.__dict__, executable=OURS / "lan-local")
    pods = office.pods(2)
    result = alone.asks(pods[0], node.config(type="bridge")).result
    assert "interfaces" not in result
    address = result["ips"][0]["address"].partition("/")[0]
    assert office.claims[address] == "node0"
    again = alone.add(pods[0], node.config(type="bridge")).error
    assert "duplicate allocation is not allowed" in again["msg"]
    alone.delete(pods[0], node.config(type="bridge")).succeeded()
    assert not node.leases
