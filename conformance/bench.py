"""`make bench`: what a call costs, two sets of plugins in pairs (A B A B …) in one run, on the host's own kernel.

As a program, as root in mount and network namespaces of its own: python3 -m conformance.bench DIRECTORY REFERENCE. It
prints medians, minima and the ratio of the medians; CPU time includes that of the processes which a call starts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from typing import Any

from conformance.lab import syscalls
from conformance.lab.topology import Host, Topology

RANGES = {"IPv4": ["10.1.0.0/16"], "dual stack": ["10.1.0.0/16", "fd00:1::/64"]}


class Sample:
    """One call: wall and CPU time in ms."""

    def __init__(self, wall: float, cpu: float) -> None:
        self.wall = wall
        self.cpu = cpu


class Plugins:
    """A directory of plugins, its leases, and what was measured of it: case → samples."""

    def __init__(self, directory: str, scratch: str) -> None:
        self.directory = os.path.realpath(directory)
        self.data_dir = tempfile.mkdtemp(dir=scratch)
        self.scratch = scratch
        self.samples: dict[str, list[Sample]] = {}

    def config(self, subnets: list[str]) -> dict[str, Any]:
        return {
            "cniVersion": "1.0.0",
            "name": "bench",
            "type": "macvlan",
            "master": "eth0",
            "ipam": {
                "type": "host-local",
                "dataDir": self.data_dir,
                "ranges": [[{"subnet": subnet}] for subnet in subnets],
                "routes": [{"dst": "::/0" if ":" in subnet else "0.0.0.0/0"} for subnet in subnets],
            },
        }

    def call(self, case: str, command: str, pod: Host, config: dict[str, Any]) -> bytes:
        """Times one call, in the calling thread's namespace; returns its stdout. SystemExit if it fails."""
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": pod.name,
            "CNI_NETNS": pod.netns,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": self.directory,
        }
        executable = f"{self.directory}/macvlan"
        with tempfile.TemporaryFile(dir=self.scratch) as stdin, tempfile.TemporaryFile(dir=self.scratch) as stdout:
            stdin.write(json.dumps(config).encode())
            stdin.seek(0)
            files = [(os.POSIX_SPAWN_DUP2, stdin.fileno(), 0), (os.POSIX_SPAWN_DUP2, stdout.fileno(), 1)]
            start = time.perf_counter()
            pid = os.posix_spawn(executable, [executable], environment, file_actions=files)
            _, status, usage = os.wait4(pid, 0)
            wall = time.perf_counter() - start
            stdout.seek(0)
            answer = stdout.read()
        if status:
            raise SystemExit(f"{executable} {command} failed: {answer.decode()}")
        sample = Sample(wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000)
        self.samples.setdefault(case, []).append(sample)
        return answer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m conformance.bench", description=__doc__)
    parser.add_argument("directory")
    parser.add_argument("reference")
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    syscalls.mount("tmpfs", "/run", "tmpfs")
    with Topology() as net, tempfile.TemporaryDirectory(dir="/run") as scratch:
        sides = [Plugins(options.directory, scratch), Plugins(options.reference, scratch)]
        measure(net, sides, options.rounds)
        report(sides, options.rounds)


def measure(net: Topology, sides: list[Plugins], rounds: int) -> None:
    node, beyond, pod = net.host("node"), net.host("beyond"), net.host("pod")
    net.cable(node, "eth0", beyond, "eth0")
    with node.inside():
        for case, subnets in RANGES.items():
            for i in range(rounds):
                if sys.stderr.isatty():
                    print(f"\r{case}: {i + 1} of {rounds} ", end="", file=sys.stderr, flush=True)
                for plugins in sides:
                    one_attachment(plugins, case, pod, subnets)
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)


def one_attachment(plugins: Plugins, case: str, pod: Host, subnets: list[str]) -> None:
    config = plugins.config(subnets)
    plugins.call("VERSION", "VERSION", pod, config)
    result = json.loads(plugins.call(f"ADD {case}", "ADD", pod, config))
    attached = config | {"prevResult": result}
    plugins.call(f"CHECK {case}", "CHECK", pod, attached)
    plugins.call(f"DEL {case}", "DEL", pod, attached)


def report(sides: list[Plugins], rounds: int) -> None:
    ours, reference = sides
    print(f"{cpu_model()}, {os.cpu_count()} cores, Linux {platform.release()}; {rounds} of each, in pairs")
    print(f"A: {ours.directory}   B: {reference.directory}\n")
    print(f"{'':18} {'A median':>9} {'min':>7} {'B median':>9} {'min':>7} {'A/B':>6} {'CPU A/B':>8}")
    for case, samples in ours.samples.items():
        others = reference.samples[case]
        walls, other_walls = [s.wall for s in samples], [s.wall for s in others]
        print(
            f"{case:18} {statistics.median(walls):6.1f} ms {min(walls):7.1f} {statistics.median(other_walls):6.1f} ms"
            f" {min(other_walls):7.1f} {ratio(walls, other_walls):6.2f}"
            f" {ratio([s.cpu for s in samples], [s.cpu for s in others]):8.2f}"
        )


def ratio(one: list[float], other: list[float]) -> float:
    return statistics.median(one) / statistics.median(other)


def cpu_model() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    return models[0] if models else "unknown CPU"


if __name__ == "__main__":
    main()
