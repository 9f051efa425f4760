"""`make profile`: where the time of one ADD and one DEL goes, told by their system calls; no hook in the product.

As a program, inside the lab: python3 -m conformance.bench.profile. strace(1) stops the call at each system call, which
takes as long as the cheapest of them; so much is subtracted from each. Medians of several calls.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from conformance import generated
from conformance.bench import report
from conformance.bench.cases import DUAL_STACK, IPV4
from conformance.bench.side import Side
from conformance.lab.topology import Host, Topology

WIDTH = 60  # of the bars

# What begins with a system call and goes on until the next that is listed.
BEGINNINGS = (
    (r"execve\(", "exec, C library"),
    (r"rt_sigaction\(SIGPIPE, \{sa_handler=SIG_IGN", "interpreter"),
    (r"rt_sigaction\(SIGHUP, NULL", "signals"),
    (r"sysinfo\(", "imports of every call"),
    (r"umask\(", "standard input"),
    (r'read\(0, "", ', "imports of attachments, parse, validate"),
    (r'openat\(AT_FDCWD, "/run/netns/', "namespace, netlink sockets"),
    (r"sendto\(", "netlink: "),
    (r"openat\(AT_FDCWD, \"(/run/cni-vlan|{data_dir})", "lock and lease"),
    (r'openat\(AT_FDCWD, "/proc/thread-self/ns/net"', "into the namespace, sysctls"),
    (r"write\(1,", "print"),
    (r"exit_group\(", "exit"),
)
# linux/rtnetlink.h; strace has names for them only where the socket is of its own namespace.
MESSAGES = {16: "RTM_NEWLINK", 17: "RTM_DELLINK", 18: "RTM_GETLINK", 20: "RTM_NEWADDR", 22: "RTM_GETADDR"}
MESSAGES |= {24: "RTM_NEWROUTE", 26: "RTM_GETROUTE"}

Phase = tuple[str, float]  # what, ms


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m conformance.bench.profile", description=__doc__)
    parser.add_argument("--ours", default="dist/cni", metavar="DIRECTORY")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--write", action="store_true", help=f"write {report.DOCUMENT}")
    options = parser.parse_args()
    parts = []
    with Topology() as net, tempfile.TemporaryDirectory(dir="/run") as scratch:
        side = Side("launcher", options.ours, scratch)
        node, beyond, pod = net.host("node"), net.host("beyond"), net.host("pod")
        net.cable(node, "eth0", beyond, "eth0")
        with node.inside():
            for case, subnets in (("IPv4", IPV4), ("dual stack", DUAL_STACK)):
                calls = profile(side, pod, subnets, case, options.rounds)
                parts += [f"{command} {case}\n\n{waterfall(phases)}" for command, phases in calls.items()]
            first = first_parse(side.config("first", DUAL_STACK))
    content = "\n\n".join(f"```\n{part}\n```" for part in parts)
    content += f"\n\nOf the imports of attachments, parse, validate: to parse and to validate is {first:.2f} ms."
    print(content)
    if options.write:
        generated.write(report.DOCUMENT, "profile", content)


def profile(side: Side, pod: Host, subnets: list[str], network: str, rounds: int) -> dict[str, list[Phase]]:
    """The phases of ADD and DEL."""
    config = side.config(network.replace(" ", "-"), subnets)
    traces: dict[str, list[list[Phase]]] = {"ADD": [], "DEL": []}
    for _ in range(rounds + 1):
        for command, seen in traces.items():
            seen.append(phases_of(traced(side, command, pod, config), side.data_dir))
    return {command: medians(seen[1:]) for command, seen in traces.items()}  # the first makes directories


FIRST_PARSE = """
import json, sys, time
sys.path.insert(0, ".")
from cni_core.config import parse_config
from cni_core.request import Request
from cni_core.schema.validators import macvlan
stdin = sys.stdin.buffer.read()
environment = {"CNI_CONTAINERID": "pod", "CNI_NETNS": "/run/netns/pod", "CNI_IFNAME": "eth0"}
start = time.perf_counter()
config = parse_config(stdin)
Request("ADD", environment, config)
assert macvlan(config)
print((time.perf_counter() - start) * 1000)
"""


def first_parse(config: dict[str, object]) -> float:
    """What no system call separates from the imports: the same code in python3, the first time it runs, in ms."""
    times = []
    for _ in range(15):
        argv = [sys.executable, "-S", "-c", FIRST_PARSE]
        done = subprocess.run(argv, input=json.dumps(config).encode(), env=os.environ, capture_output=True, check=True)
        times.append(float(done.stdout))
    return statistics.median(times)


def traced(side: Side, command: str, pod: Host, config: dict[str, object]) -> list[str]:
    log = Path(side.scratch, "strace")
    argv = ["strace", "-ttt", "-s", "64", "-o", str(log), side.executable]
    stdin = json.dumps(config).encode()
    subprocess.run(argv, input=stdin, env=side.environment(command, pod), stdout=subprocess.DEVNULL, check=True)
    return log.read_text().splitlines()


def phases_of(lines: Sequence[str], data_dir: str) -> list[Phase]:
    stamps = [float(line.split(" ", 1)[0]) for line in lines]
    lengths = [(after - before) * 1000 for before, after in zip(stamps, stamps[1:], strict=False)]
    own = sorted(lengths)[len(lengths) // 20]  # strace's, in the cheapest calls
    phases: list[Phase] = []
    for line, length in zip(lines, lengths, strict=False):
        what = beginning(line.split(" ", 1)[1], data_dir)
        if what and (not phases or phases[-1][0] != what):
            phases.append((what, 0.0))
        phases[-1] = (phases[-1][0], phases[-1][1] + max(0.0, length - own))
    return phases


def beginning(call: str, data_dir: str) -> str:
    """The phase that a system call begins; empty if it goes on with what is."""
    for pattern, what in BEGINNINGS:
        if re.match(pattern.replace("{data_dir}", re.escape(data_dir)), call):
            return what + ", ".join(messages(call)) if what.endswith(": ") else what
    return ""


def messages(call: str) -> list[str]:
    names = []
    for number in re.findall(r"nlmsg_type=(\w+)", call):
        name = MESSAGES.get(int(number, 16), number) if number.startswith("0x") else number
        names.append(name)
    return names


def medians(traces: Sequence[Sequence[Phase]]) -> list[Phase]:
    """Of the traces with the most common sequence of phases: how often one polls for addresses to settle varies."""
    sequences = [tuple(what for what, _ in trace) for trace in traces]
    usual = statistics.mode(sequences)
    alike = [trace for trace, sequence in zip(traces, sequences, strict=True) if sequence == usual]
    return [(what, statistics.median(trace[i][1] for trace in alike)) for i, what in enumerate(usual)]


def waterfall(phases: Sequence[Phase]) -> str:
    total = sum(length for _, length in phases)
    longest = max(len(what) for what, _ in phases)
    lines = []
    start = 0.0
    for what, length in phases:
        first, last = round(start / total * WIDTH), round((start + length) / total * WIDTH)
        bar = " " * first + ("█" * (last - first) or "▏")
        lines.append(f"{what:{longest}} {length:6.2f} ms  {bar}")
        start += length
    return "\n".join([*lines, f"{'':{longest}} {total:6.2f} ms"])


if __name__ == "__main__":
    main()
