"""What lan-local costs, as `make bench` runs it: in the lab on the host's kernel, with an etcd of one member and TLS.

The protocol's own code for a hundred nodes, in processes; the frozen plugins of one node beside host-local, in turns.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

from conformance import generated
from conformance.bench import report
from conformance.lab.topology import Host, Topology
from ipam.etcd import Etcd
from ipam.verbs import Answer, Claim, Done, Remote
from tests.etcd.members import Authority, Members
from tests.etcd.nodes import NodeDirectory, pool

NODES, PODS, ROUNDS, WORKERS = 100, 100, 60, 4
ROOMY = pool("10.0.0.1", "10.3.255.254")
PLUGINS = Path("dist/cni").resolve()
PLACES = ("/etc/cni", "/run/cni-vlan", "/run/cni-lan-local")


class Counting:
    """An engine, and how much is asked of it: requests, claims, and those of them that another node had made."""

    def __init__(self, etcd: Etcd, counts: Counter[str]) -> None:
        self._etcd = etcd
        self._counts = counts

    def do(self, request: Remote) -> Answer:
        answer = self._etcd.do(request)
        self._counts["requests"] += 1
        if isinstance(request, Claim) and isinstance(answer, Done):
            self._counts["claims"] += len(request.records)
            self._counts["conflicts"] += len(request.records) - len(answer.keys)
        return answer


def pods_of(work: tuple[Members, str, list[int]]) -> tuple[Counter[str], list[str]]:
    """A hundred pods on each of some nodes, which start in turns; every call is a contact of its own, as a plugin's."""
    members, directory, numbers = work
    counts: Counter[str] = Counter()
    nodes = [NodeDirectory(Path(directory), f"n{i}", ROOMY, Random(i)) for i in numbers]
    given = []
    for pod in range(PODS):
        for node in nodes:
            address = node.lease(f"c{pod}")
            if not address:
                with members.client(patience=30) as etcd:
                    node.acquire(Counting(etcd, counts))
                address = node.lease(f"c{pod}")
            assert address
            given.append(str(address))
    return counts, given


def of_protocol(directory: Path) -> list[tuple[str, str, str]]:
    """Rows of the table: what, how much, what is asked for."""
    with Members(directory / "etcd", Authority(directory / "ca"), 1) as members:
        work = [(members, str(directory / "nodes"), list(range(i, NODES, WORKERS))) for i in range(WORKERS)]
        for one in members.processes:
            assert one  # what a worker is given has none
        running, members.processes = members.processes, []
        try:
            began = time.monotonic()
            with ProcessPoolExecutor(WORKERS) as workers:
                outcomes = list(workers.map(pods_of, work))
            seconds = time.monotonic() - began
        finally:
            members.processes = running
        counts = sum((counts for counts, _ in outcomes), Counter[str]())
        given = [address for _, some in outcomes for address in some]
        with members.client() as etcd:
            size = int(etcd._ask("/v3/maintenance/status", {})["dbSizeInUse"])
    assert len(given) == NODES * PODS
    claims = counts["claims"] - counts["conflicts"]
    return [
        ("pods a second, 100 nodes with 100 each", f"{len(given) / seconds:,.0f}", "≥ 400"),
        ("addresses given twice", str(len(given) - len(set(given))), "0"),
        ("requests a pod", f"{counts['requests'] / len(given):.2f}", "≤ 0.3"),
        ("claims that another node had made", f"{100 * counts['conflicts'] / counts['claims']:.1f} %", "< 5 %"),
        ("etcd's size for 10,000 claims", f"{size / claims * 10_000 / 1e6:.1f} MB", "≤ 5 MB"),
    ]


class Node:
    """A host with an etcd on its loopback, and a directory of its own for each place where the plugins write."""

    def __init__(self, host: Host, scratch: Path) -> None:
        self.host = host
        mounts = []
        for place in PLACES:
            (scratch / place[1:]).mkdir(parents=True)
            Path(place).mkdir(parents=True, exist_ok=True)
            mounts.append(f"mount --bind {scratch}{place} {place}")
        for mount in mounts:
            subprocess.run(mount.split(), check=True)

    def call(self, command: str, pod: Host, config: dict[str, Any]) -> float:
        """In milliseconds."""
        environment = {"CNI_COMMAND": command, "CNI_CONTAINERID": "c1", "CNI_NETNS": pod.netns, "CNI_IFNAME": "eth0"}
        environment["CNI_PATH"] = str(PLUGINS)
        stdin = json.dumps(config).encode()
        with self.host.inside():
            began = time.perf_counter()
            done = subprocess.run([PLUGINS / "cni-macvlan-py"], input=stdin, env=environment, stdout=subprocess.PIPE)
            took = time.perf_counter() - began
        assert done.returncode == 0, done.stdout.decode()
        return took * 1000


def of_plugins(directory: Path) -> list[tuple[str, str, str]]:
    with Topology() as net:
        host, beyond, pod = net.host("node"), net.host("beyond"), net.host("pod")
        net.cable(host, "eth0", beyond, "eth0")
        host.address("eth0", "10.0.0.1/14")
        node, authority = Node(host, directory / "places"), Authority(directory / "node-ca")
        cert, key = authority.certificate("node")
        with host.inside():
            members = Members(directory / "node-etcd", authority, 1)
            members.__enter__()
        try:
            how = ["--etcd", members.endpoints[0], "--ca", authority.ca, "--cert", cert, "--key", key]
            join = [
                str(PLUGINS / "cni-macvlan-py"),
                "cluster",
                "join",
                "bench",
                *how,
                "--node",
                "n1",
                "--parent",
                "eth0",
            ]
            host.run([*join, "--dir", str(directory)])
            ranges = {"dataDir": str(directory / "leases"), "ranges": [[{"subnet": "10.0.0.0/14"}]]}
            own = {"cniVersion": "1.0.0", "name": "own", "type": "macvlan", "master": "eth0"}
            lan_local = {"type": "lan-local", "cluster": "bench"} | ranges
            sides: dict[str, dict[str, Any]] = {
                "host-local": own | {"ipam": {"type": "host-local"} | ranges},
                "held": own | {"name": "held", "ipam": lan_local},
                "asks": own | {"name": "asks", "ipam": lan_local | {"ahead": 0}},
            }
            times: dict[str, list[float]] = {name: [] for name in sides}
            for _ in range(ROUNDS):
                for name, config in sides.items():
                    times[name].append(node.call("ADD", pod, config))
                    node.call("DEL", pod, config)
        finally:
            members.__exit__()
    medians = {name: statistics.median(of) for name, of in times.items()}
    paired = statistics.median(a / b for a, b in zip(times["held"], times["host-local"], strict=True))
    return [
        ("ADD from what is held, beside host-local's", f"{medians['held']:.1f} ms, {paired:.2f} of it", "≤ 1.1"),
        ("ADD that asks", f"{medians['asks']:.0f} ms", "≤ 100 ms"),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/run") as scratch:
        rows = of_protocol(Path(scratch, "protocol")) + of_plugins(Path(scratch))
    lines = ["| one etcd with TLS, on the same machine | measured | to be |", "|---|---:|---:|"]
    content = "\n".join([*lines, *(f"| {what} | {found} | {wanted} |" for what, found, wanted in rows)])
    print(content)
    if "--write" in sys.argv:
        generated.write(report.DOCUMENT, "cluster", content)


if __name__ == "__main__":
    main()
