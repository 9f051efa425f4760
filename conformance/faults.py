"""Kills a plugin, or fails its system calls, at every point where it talks to the kernel or the disk, each in turn.

strace does both, so the product needs no hook for it. What a plugin executes is left in peace: host-local, here under
another name, does the same in process elsewhere. A kill changes nothing for who comes later but between two calls
that change something; so those are the points of signals, and every call that can fail is one of errors.

As a program inside the lab: python3 -m conformance.faults DIRECTORY.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from signal import SIGKILL, SIGTERM
from typing import Any, NamedTuple

from conformance.lab.topology import Host, Topology

RECORDS = "/run/cni-vlan"
ERRORS = ("ENOSPC", "EIO", "ENOBUFS", "EPERM", "EBUSY", "ENODEV")
CHANGES = ("sendto", "write", "linkat", "unlinkat", "mkdir", "rmdir", "openat")
INTERRUPTIBLE = (*CHANGES, "setns")  # of the process itself, too
FALLIBLE = (
    *CHANGES,
    "read",
    "recvmsg",
    "flock",
    "setns",
    "socket",
    "connect",
    "setsockopt",
    "ioctl",
    "getdents64",
    "newfstatat",
    "poll",
)

NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {"type": "macvlan", "master": "eth0"},
    "trunk": {"type": "macvlan", "master": "eth0", "vlan": 50},
    "l3": {"type": "ipvlan", "mode": "l3", "master": "eth0"},
    "internal": {"type": "ipvlan", "internal": True},
    "dual": {
        "type": "macvlan",
        "master": "eth0",
        "ipam": {"ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd09::/64"}]]},
    },
    "probe": {"type": "macvlan", "master": "eth0", "conflict": "probe"},
    "hostaccess": {"type": "macvlan", "master": "eth0", "hostAccess": True},
    "delegated": {"type": "macvlan", "master": "eth0", "ipam": {"type": "addresses"}},
}
COMMANDS = ("ADD", "DEL", "GC")
TRIES = 5  # duplicate address detection asks the kernel more often where it takes longer
UNREACHED = "unreached"


class Point(NamedTuple):
    """The nth call (from 1) of a system call in a process."""

    call: str
    number: int


class Broken(Exception):
    """What a fault left behind, or an answer that is none."""


FAULTS = ("SIGKILL", "SIGTERM", *ERRORS)


class Harness:
    """A node with one pod, and the plugins of a directory to be broken there."""

    def __init__(self, net: Topology, directory: str, network: str) -> None:
        self.node, self.pod, beyond = net.host("node"), net.host("pod"), net.host("beyond")
        net.cable(self.node, "eth0", beyond, "eth0")
        self.node.address("eth0", "10.7.0.250/24")  # at which a container may reach the node
        self.directory = directory
        self.data_dir = tempfile.mkdtemp(dir="/run")
        shutil.rmtree(RECORDS, ignore_errors=True)
        keys = NETWORKS[network]
        ipam = {"type": "host-local", "dataDir": self.data_dir, "ranges": [[{"subnet": "10.9.0.0/24"}]]}
        ipam |= keys.get("ipam", {})
        self.config = {"cniVersion": "1.1.0", "name": network, **keys, "ipam": ipam}
        self.programs = tempfile.mkdtemp(dir="/run")
        if ipam["type"] != "host-local":
            with open(f"{self.programs}/{ipam['type']}", "w") as script:
                os.fchmod(script.fileno(), 0o755)
                script.write(
                    f"#!/bin/sh\nsed s/{ipam['type']}/host-local/ | {os.path.realpath(directory)}/host-local\n"
                )
        # Directories are made by the first attachment, and stay.
        self._succeed("ADD")
        self._succeed("DEL")
        self.clean = self.state()

    def points(self, command: str, calls: Sequence[str], *, changes: bool) -> list[Point]:
        """Every call of those kinds from the reading of stdin on; with changes only those that change something."""
        with self._in_turn(command), tempfile.NamedTemporaryFile("r", dir="/run") as log:
            status, stdout = self._call(command, "-o", log.name, "-e", f"trace={','.join(calls)},read")
            lines = log.read().splitlines()
        if status:
            raise Broken(f"{command} failed without any fault: {stdout!r}")
        found, counts, begun = [], Counter[str](), False
        for line in lines:
            match = re.match(r"(\w+)\((.*)", line)
            if not match:
                continue
            call, rest = match.groups()
            counts[call] += 1
            begun = begun or (call == "read" and rest.startswith("0,"))
            changing = " = -1 E" not in rest and (call != "openat" or "O_CREAT" in rest)
            if begun and call in calls and (changing or not changes):
                found.append(Point(call, counts[call]))
        return found

    def try_out(self, command: str, point: Point, fault: str) -> bool:
        """Raises Broken unless the call can be taken back, whatever the fault did to it, and another works after it.

        An ADD that fails takes back itself what it did; so it does of a SIGTERM, which other commands die of. Returns
        whether the point was reached.
        """
        for _ in range(TRIES):
            with self._in_turn(command):
                reached = self._fail(command, point, fault)
            if reached:
                return True
        return False

    def _fail(self, command: str, point: Point, fault: str) -> bool:
        """Whether the point was reached."""
        with tempfile.NamedTemporaryFile("r", dir="/run") as log:
            status, stdout = self._call(command, "-o", log.name, *_inject(point, fault))
            if log.read().count(f"{point.call}(") < point.number:
                return False
        if fault == "SIGKILL":
            _expect_death(status, SIGKILL)
        elif fault == "SIGTERM" and command != "ADD":
            _expect_death(status, SIGTERM)
        elif status == -SIGTERM:
            self._expect_clean("the ADD that had not begun")
        elif status:
            if stdout or point.call != "write":  # who cannot write to stdout has told nobody
                _expect_error(status, stdout)
            if command == "ADD":
                self._expect_clean("the failed ADD")
        return True

    @contextmanager
    def _in_turn(self, command: str) -> Iterator[None]:
        """Makes what a command needs, and afterwards good what a fault in it left; Broken if that cannot be done.

        That a new ADD works is shown after an ADD here, and after the others by the ADD that the next one needs.
        """
        if command != "ADD":
            self._succeed("ADD")
        if command == "GC":
            for link in links(self.pod):
                if link.startswith(("eth0", "host-")):
                    self.pod.ip(f"link del {link}")  # as with its namespace
        yield
        again = "GC" if command == "GC" else "DEL"
        self._succeed(again)
        self._expect_clean(again)
        if command == "ADD":
            self._succeed("ADD")
            self._succeed("DEL")
            self._expect_clean("the next ADD and DEL")

    def state(self) -> dict[str, list[str]]:
        """All that a call may leave behind."""
        return {
            "links of the node": links(self.node),
            "links of the pod": links(self.pod),
            "routes of the node": routes(self.node),
            "leases": files(self.data_dir),
            "records": files(RECORDS),
        }

    def _expect_clean(self, what: str) -> None:
        for name, found in self.state().items():
            if found != self.clean[name]:
                raise Broken(f"{what} left {name}: {found}, which were {self.clean[name]}")

    def _succeed(self, command: str) -> None:
        status, stdout = self._call(command)
        if status:
            raise Broken(f"{command} failed: {stdout!r}")

    def _call(self, command: str, *strace: str) -> tuple[int, bytes]:
        """Exit status (minus the signal) and stdout; with options, under strace."""
        environment = {"CNI_COMMAND": command, "CNI_PATH": self.programs}
        config = self.config
        if command == "GC":
            config = config | {"cni.dev/valid-attachments": []}
        else:
            environment |= {"CNI_CONTAINERID": "pod", "CNI_NETNS": self.pod.netns, "CNI_IFNAME": "eth0"}
        argv = [f"{self.directory}/{config['type']}"]
        if strace:
            argv = ["strace", "-qq", *strace, *argv]
        done = self.node.run(argv, input=json.dumps(config).encode(), env=environment, check=False)
        return done.returncode, done.stdout


def links(host: Host) -> list[str]:
    with host.inside(), open("/proc/thread-self/net/dev", encoding="ascii") as devices:
        return sorted(line.partition(":")[0].strip() for line in devices.readlines()[2:])


def routes(host: Host) -> list[str]:
    """Of both families and all tables, but for the kernel's own, which come and go with addresses."""
    found = [route for route in host.ip_json("route show table all") if route.get("protocol") != "kernel"]
    return [f"{route['dst']} dev {route.get('dev')}" for route in found]


def files(directory: str) -> list[str]:
    """Those that tell of an attachment: locks, and what is the same whoever comes next, stay."""
    return sorted(
        os.path.join(where, name)
        for where, _, names in os.walk(directory)
        for name in names
        if name not in ("lock", "state") and not name.startswith("last_reserved_ip.")
    )


def _inject(point: Point, fault: str) -> list[str]:
    what = f"signal={fault}" if fault.startswith("SIG") else f"error={fault}"
    return ["-e", f"trace={point.call}", "-e", f"inject={point.call}:{what}:when={point.number}"]


def _expect_death(status: int, number: int) -> None:
    if status != -number:
        raise Broken(f"it did not die of signal {number}: exit status {status}")


def _expect_error(status: int, stdout: bytes) -> None:
    try:
        document = json.loads(stdout)
    except ValueError:
        document = None
    if (
        status != 1
        or not isinstance(document, dict)
        or not {"code", "msg"} <= document.keys()
        or document["code"] == 100
    ):
        raise Broken(f"exit status {status} without a CNI error: {stdout!r}")


def faults(directory: str, network: str, command: str, kinds: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Tries every one of these FAULTS, and yields each with what it broke, in words: empty where all was made good.

    One at a point that was not reached again is told as UNREACHED.
    """
    with Topology() as net:
        harness = Harness(net, directory, network)
        points = {
            kind: min((harness.points(command, calls, changes=kind.startswith("SIG")) for _ in range(3)), key=len)
            for kind, calls in {"SIGKILL": CHANGES, "SIGTERM": INTERRUPTIBLE, "": FALLIBLE}.items()
        }
    todo = [(point, kind) for kind in kinds for point in points.get(kind, points[""])]
    while todo:
        with Topology() as net:  # anew after one that left something behind
            harness = Harness(net, directory, network)
            broken = ""
            while todo and not broken:
                point, fault = todo.pop(0)
                try:
                    if not harness.try_out(command, point, fault):
                        fault = UNREACHED
                except Broken as failure:
                    broken = str(failure)
                yield f"{fault} at {point.call} {point.number}", broken


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python3 -m conformance.faults", description="Faults at every point of a call."
    )
    parser.add_argument("directory", help="of the plugins")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, metavar="NETWORK")
    parser.add_argument("--commands", nargs="*", default=COMMANDS, choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("--faults", nargs="*", default=FAULTS, metavar="FAULT", help=f"default: {' '.join(FAULTS)}")
    options = parser.parse_args()
    failures = 0
    for network in options.networks:
        for command in options.commands:
            tried = Counter[str]()
            for fault, broken in faults(options.directory, network, command, options.faults):
                tried[fault.partition(" ")[0]] += 1
                if broken:
                    failures += 1
                    print(f"✗ {network} {command}, {fault}: {broken}", flush=True)
            if tried[UNREACHED] * 10 > tried.total():
                failures += 1
                print(f"✗ {network} {command}: the points are not those of the calls", flush=True)
            print(f"{network} {command}: {', '.join(f'{n} × {what}' for what, n in tried.items())}", flush=True)
    print(f"{failures} faults left something behind" if failures else "every fault was made good")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
