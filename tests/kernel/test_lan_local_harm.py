"""lan-local while things go wrong around it: members of the engine, hosts, files, certificates, and others on the LAN.

After each, no address has two leases by all hosts' records, each has one who answers for it, and nothing is left.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conformance.lab.topology import Host, Topology
from tests.etcd.members import Authority
from tests.kernel.office import Node, Office, is_answered_once, is_empty
from tests.kernel.plugin import OURS, Outcome


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Of macvlan, with one member. Each test removes its containers."""
    with Topology() as net:
        yield Office(net, tmp_path_factory.mktemp("office"))


def asking(node: Node, **ipam: Any) -> dict[str, Any]:
    """A network that keeps nothing ahead, so that each ADD asks the engine."""
    config = node.config()
    config["ipam"] |= {"ahead": 0} | ipam
    return config


def address_of(outcome: Outcome) -> str:
    address: str = outcome.result["ips"][0]["address"]
    return address.partition("/")[0]


def test_the_leader_is_killed_while_containers_start(tmp_path: Path) -> None:
    """Of three members; the containers are ipvlan's."""
    with Topology() as net:
        office = Office(net, tmp_path, "ipvlan", members=3)
        pods = office.pods(12)
        leader = office.leader()

        def start(i: int) -> str:
            if i == 4:
                office.kills(leader)
            node = office.nodes[i % 3]
            return address_of(node.asks(pods[i], asking(node)))

        with ThreadPoolExecutor(2) as threads:
            given = list(threads.map(start, range(12)))
        assert len(set(given)) == 12
        assert office.leader() != leader
        is_answered_once(office, given)
        office.starts(leader)
        office.is_sound()
        for i, pod in enumerate(pods):
            office.nodes[i % 3].delete(pod, asking(office.nodes[i % 3])).succeeded()
        is_empty(office, pods)
        for i in range(3):
            office.kills(i)
            shutil.rmtree(office.data(i))  # 128 MB each, in memory


def test_a_host_that_was_off_and_forgotten_gives_nothing_of_before(office: Office) -> None:
    gone, other, pods = office.nodes[1], office.nodes[0], office.pods(6)
    before = [gone.given(pod) for pod in pods[:2]]
    gone.node.ip("link set eth0 down")
    other.done("forget", "office", "node1")
    for pod, address in zip(pods[2:4], before, strict=True):
        assert address_of(other.asks(pod, other.config(runtimeConfig={"ips": [address]}))) == address
    gone.reboots(pods[:2])
    gone.node.ip("link set eth0 up")
    after = [gone.given(pod) for pod in pods[4:]]
    assert not set(after) & set(before)
    assert not {str(address) for address in gone.held.claims} & set(before)
    is_answered_once(office, before + after)
    office.is_sound()
    for i, pod in enumerate(pods[2:]):
        node = other if i < 2 else gone
        node.delete(pod, node.config()).succeeded()
    is_empty(office, pods)


def test_a_reboot_frees_the_addresses_of_before_for_the_same_host(office: Office) -> None:
    node, pods = office.nodes[0], office.pods(12)
    before = [node.given(pod) for pod in pods[:6]]
    node.reboots(pods[:6])
    after = [node.given(pod) for pod in pods[6:]]
    assert len(set(after)) == 6
    assert node.held.boot == node.boot_id.read_text().strip()
    assert set(before) & set(after)
    is_answered_once(office, after)
    office.is_sound()
    node.call("GC", None, node.config(**{"cni.dev/valid-attachments": []})).succeeded()
    for pod in pods[6:]:
        node.delete(pod, node.config()).succeeded()
    is_empty(office, pods)


@pytest.mark.parametrize("command", ["GC", "sync"])
def test_a_kill_at_any_effect_of_what_gives_back(office: Office, command: str) -> None:
    node, [pod] = office.nodes[0], office.pods(1)
    node.write(asking(node))
    config = asking(node, ahead=4)
    gc = asking(node) | {"cni.dev/valid-attachments": []}
    kills = 0
    for call in ("renameat", "unlinkat", "fsync"):
        for number in range(1, 20):
            address_of(node.asks(pod, config))
            assert len(node.held.claims) > 1
            kill = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"]
            tracer = ["strace", "-f", "-qq", "-e", "signal=none", *kill]
            if command == "GC":
                done = node.under(tracer, "GC", [str(node.executable)], json.dumps(gc).encode())
            else:
                node.delete(pod, config).succeeded()
                done = node.under(tracer, "", [str(OURS / "cni-macvlan-py"), "cluster", "sync"], b"")
            office.is_sound()
            node.delete(pod, config).succeeded()
            if done.returncode not in (137, -9):
                break
            kills += 1
        else:
            raise AssertionError(f"{command} never comes to its end")
    assert kills >= 3
    is_empty(office, [pod])
    assert not node.held.claims
    node.write(node.config())


def test_an_etcd_restored_from_a_backup_bars_until_all_have_claimed_again(office: Office, tmp_path: Path) -> None:
    first, second, pods = *office.nodes[:2], office.pods(6)
    for node in (first, second):  # what they keep ahead is in the backup, too
        node.write(asking(node))
        node.done("sync")
    early = address_of(first.asks(pods[0], asking(first)))
    office.kills(0)
    shutil.copytree(office.data(0), tmp_path / "backup", ignore=shutil.ignore_patterns("*.tmp"))
    office.starts(0)
    late = [address_of(node.asks(pod, asking(node))) for pod, node in zip(pods[1:5], (first, second) * 2, strict=True)]
    office.kills(0)
    shutil.rmtree(office.data(0))
    (tmp_path / "backup").rename(office.data(0))
    office.starts(0)
    assert not set(late) & office.claims.keys()  # the engine has forgotten
    barred = first.asks_until(pods[5], asking(first), "restored from a backup")
    assert barred.endswith("as node0 found")
    for node in office.nodes:
        node.done("sync")
    assert set(late) <= office.claims.keys()
    office.is_sound()
    first.done("open", "office")
    last = address_of(first.asks(pods[5], asking(first)))
    given = [early, *late, last]
    assert len(set(given)) == 6
    is_answered_once(office, given)
    for pod, node in zip(pods, (first, first, second, first, second, first), strict=True):
        node.delete(pod, asking(node)).succeeded()
        node.write(node.config())
    is_empty(office, pods)


def test_whom_the_engine_does_not_know_gets_nothing(office: Office, tmp_path: Path) -> None:
    node, [pod] = office.nodes[2], office.pods(1)
    other = Authority(tmp_path / "other")
    stranger, expired = other.certificate("stranger"), office.authority.certificate("expired", days=-1)
    cert, key = office.client
    right = {"ca": office.ca, "cert": cert, "key": key}
    wrong = [
        ({"ca": other.ca}, "its certificate is not accepted: "),
        ({"cert": stranger[0], "key": stranger[1]}, "TLS: "),
        ({"cert": expired[0], "key": expired[1]}, "TLS: "),
        ({"cert": "", "key": ""}, "TLS: "),
    ]
    node.write(asking(node))
    node.done("sync")
    before = office.claims
    for settings, text in wrong:
        node.knows(**right | settings)
        assert f"{office.urls[0]}: {text}" in node.asks_until(pod, asking(node), text)
        assert office.claims == before
    node.knows(**right)
    address_of(node.asks(pod, asking(node)))
    node.delete(pod, asking(node)).succeeded()
    node.write(node.config())
    is_empty(office, [pod])


def test_a_token_that_has_become_stale_is_renewed(office: Office) -> None:
    node, [pod] = office.nodes[2], office.pods(1)
    root = {"user": "root", "password": "secret"}
    office.call("/v3/auth/user/add", {"name": "root", "password": "secret"})
    office.call("/v3/auth/user/grant", {"user": "root", "role": "root"})
    office.call("/v3/auth/enable", {})
    try:
        node.asks_until(pod, asking(node), "etcdserver: permission denied")
        node.knows(user="root", password="wrong")
        node.asks_until(pod, asking(node), "etcdserver: authentication failed")
        node.knows(**root)
        first = address_of(node.asks(pod, asking(node)))
        [token] = (node.own / "run/cni-lan-local").rglob("token")
        assert token.stat().st_mode & 0o077 == 0
        kept = token.read_text()
        node.delete(pod, asking(node)).succeeded()
        assert token.read_text() == kept
        office.kills(0)  # it forgets the tokens that it gave
        office.starts(0, **root)
        assert first
        address_of(node.asks(pod, asking(node)))
        assert token.read_text() != kept
        node.delete(pod, asking(node)).succeeded()
    finally:
        office.call("/v3/auth/disable", {}, **root)
        node.knows(user="", password="")
    is_empty(office, [pod])


def rival(office: Office, name: str, *addresses: str) -> tuple[Host, str]:
    """Another machine on the LAN, which has addresses and asks nobody, and its hardware address."""
    host = office.net.host(name)
    office.net.cable(host, "eth0", office.switch)
    host.address("eth0", *(f"{address}/24" for address in addresses))
    return host, str(host.ip_json("link show dev eth0")[0]["address"])


@pytest.mark.parametrize("ahead", [8, 0])
def test_an_address_that_a_stranger_has_is_passed_over(office: Office, ahead: int) -> None:
    node, pods = office.nodes[0], office.pods(3)
    config = asking(node, ahead=ahead) | {"conflict": "probe"}
    first = address_of(node.asks(pods[0], config))
    node.delete(pods[0], config).succeeded()
    held = [str(address) for address in node.held.claims if str(address) != first]
    taken = held or [first]  # what it would give next
    stranger, mac = rival(office, f"rival{ahead}", *taken)
    outcome = node.asks(pods[1], config)
    given = address_of(outcome)
    assert given not in taken
    told = [line for line in outcome.stderr.splitlines() if "is in use by" in line]
    assert len(told) == len(set(told)) >= 1  # none was tried twice
    assert all(line.endswith(f"is in use by {mac} on eth0: another is chosen") for line in told)
    assert node.leases == {given}
    fixed = node.asks_until(pods[2], config | {"runtimeConfig": {"ips": [taken[0]]}}, "in use")
    assert mac in fixed
    assert taken[0] in fixed
    assert node.leases == {given}
    is_answered_once(office, [*taken, given])
    node.delete(pods[1], config).succeeded()
    is_empty(office, pods)
    stranger.ip("link set eth0 down")


def test_with_a_stable_order_a_container_has_its_address_on_every_host(office: Office) -> None:
    pods = office.pods(6)
    given = {
        pod.name: address_of(office.nodes[i % 3].asks(pod, stable(office.nodes[i % 3]))) for i, pod in enumerate(pods)
    }
    assert len(set(given.values())) == 6
    is_answered_once(office, list(given.values()))
    office.is_sound()
    for i, pod in enumerate(pods):  # others run while it moves
        old, new = office.nodes[i % 3], office.nodes[(i + 1) % 3]
        old.delete(pod, stable(old)).succeeded()
        old.done("sync")  # where the engine was late at DEL
        assert address_of(new.asks(pod, stable(new))) == given[pod.name]
    is_answered_once(office, list(given.values()))
    for i, pod in enumerate(pods):
        node = office.nodes[(i + 1) % 3]
        node.delete(pod, stable(node)).succeeded()
    is_empty(office, pods)


def stable(node: Node) -> dict[str, Any]:
    return asking(node, order="stable")
