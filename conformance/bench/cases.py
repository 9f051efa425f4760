"""The cases: which calls are made, in which surroundings, how often."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from conformance.bench.side import Call, Sample, Side
from conformance.lab.topology import Host, Topology

IPV4 = ["10.1.0.0/16"]
DUAL_STACK = ["10.1.0.0/16", "fd00:1::/64"]
MEMORY_ROUNDS = 3
OTHER_LINKS = 1000


class Bench:
    """A node with eth0 on a cable, a pod, and the sides to measure in turns. Its methods are called inside the node."""

    def __init__(self, net: Topology, sides: Sequence[Side], rounds: int) -> None:
        self.net = net
        self.sides = sides
        self.rounds = rounds
        self.node, self.beyond, self.pod = net.host("node"), net.host("beyond"), net.host("pod")
        net.cable(self.node, "eth0", self.beyond, "eth0")

    def version(self) -> None:
        for _ in self._rounds("VERSION", self.rounds):
            for side in self.sides:
                side.call("VERSION", "VERSION", self.pod, side.config("bench", IPV4))
        for side in self.sides:
            for _ in range(MEMORY_ROUNDS):
                side.measure_memory("VERSION", "VERSION", self.pod, side.config("bench", IPV4))

    def attachments(self, case: str, subnets: list[str], rounds: int, network: str = "bench") -> None:
        """ADD, CHECK and DEL."""
        for _ in self._rounds(case, rounds):
            for side in self.sides:
                config = side.config(network, subnets)
                result = json.loads(side.call(f"ADD {case}", "ADD", self.pod, config))
                attached = config | {"prevResult": result}
                side.call(f"CHECK {case}", "CHECK", self.pod, attached)
                side.call(f"DEL {case}", "DEL", self.pod, attached)
        for side in self.sides:
            for _ in range(min(rounds, MEMORY_ROUNDS)):
                config = side.config(network, subnets)
                result = json.loads(side.measure_memory(f"ADD {case}", "ADD", self.pod, config))
                attached = config | {"prevResult": result}
                side.measure_memory(f"DEL {case}", "DEL", self.pod, attached)

    def leases(self, leases: int, rounds: int) -> None:
        """The same beside so many leases of others."""
        network = f"bench{leases}"
        for side in self.sides:
            side.fill(network, leases)
            # Who keeps an index makes it once; that is no pod's everyday cost.
            config = side.config(network, IPV4)
            side.call(f"first ADD beside {leases:,} leases", "ADD", self.pod, config)
            side.call(f"first DEL beside {leases:,} leases", "DEL", self.pod, config)
        self.attachments(f"beside {leases:,} leases", IPV4, rounds, network)

    def parent_down(self, rounds: int) -> None:
        """The same on a parent that is down. Go waits ten seconds there for the detection of IPv6 duplicates."""
        self.node.ip("link set eth0 down")
        self.attachments("IPv4, parent down", IPV4, rounds)
        self.attachments("dual stack, parent down", DUAL_STACK, 1)
        self.node.ip("link set eth0 up")

    def other_links(self, rounds: int) -> None:
        """The same on a node with many links, which it keeps."""
        self.node.ip_batch([f"link add one{i} type veth peer name other{i}" for i in range(OTHER_LINKS // 2)])
        self.attachments(f"beside {OTHER_LINKS:,} links", IPV4, rounds)

    def at_once(self, pods: int, rounds: int) -> None:
        """Calls for as many pods at the same moment: samples of each, and the calls per second of each round."""
        hosts = [self.net.host(f"pod{i}") for i in range(pods)]
        for _ in self._rounds(f"{pods} at once", rounds):
            for side in self.sides:
                for command in ("ADD", "DEL"):
                    self._together(side, command, hosts)

    def _together(self, side: Side, command: str, pods: list[Host]) -> None:
        case = f"{command} {len(pods)} at once"
        config = side.config("together", IPV4)
        start = time.perf_counter()
        running: dict[int, Call] = {}
        for pod in pods:
            call = side.start(command, pod, config)
            running[call.pid] = call
        ended = start
        samples = side.samples.setdefault(case, [])
        while running:
            pid, status, usage = os.wait3(0)
            ended = time.perf_counter()
            call = running.pop(pid)
            samples.append(Sample((ended - call.started) * 1000, (usage.ru_utime + usage.ru_stime) * 1000))
            call.answer(status)
        side.rates.setdefault(case, []).append(len(pods) / (ended - start))

    def _rounds(self, what: str, rounds: int) -> Iterator[None]:
        with _progress(what) as tell:
            for i in range(rounds):
                tell(f"{i + 1} of {rounds}")
                yield


@contextmanager
def _progress(what: str) -> Iterator[Callable[[str], None]]:
    """On a terminal one line that changes, else one line when it is done."""
    start = time.monotonic()
    terminal = sys.stderr.isatty()

    def tell(how_far: str) -> None:
        if terminal:
            print(f"\r\033[K{what}: {how_far}", end="", file=sys.stderr, flush=True)

    yield tell
    print(f"{chr(13) + chr(27) + '[K' if terminal else ''}{what}: {time.monotonic() - start:.0f} s", file=sys.stderr)
