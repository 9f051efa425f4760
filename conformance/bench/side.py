"""One set of plugins: its calls, and what was measured of them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from conformance.lab.topology import Host

GNU_TIME = "/usr/bin/time"
# The kernel goes on with a link's end when the call is over (grace periods, work queues): no cost of the next call's,
# which else would wait the longer, the sooner it has come to its own.
PAUSE_SECONDS = 0.05


class Sample:
    """One call: wall and CPU time in ms. CPU time includes that of the processes which the call starts."""

    def __init__(self, wall: float, cpu: float) -> None:
        self.wall = wall
        self.cpu = cpu


class Side:
    """A directory of plugins under a name for people. Its leases are below data_dir, one network for each case."""

    def __init__(self, name: str, directory: str, scratch: str) -> None:
        self.name = name
        self.directory = os.path.realpath(directory)
        self.executable = f"{self.directory}/macvlan"
        self.scratch = scratch
        self.data_dir = tempfile.mkdtemp(dir=scratch)
        self.samples: dict[str, list[Sample]] = {}
        self.rates: dict[str, list[float]] = {}  # calls per second, of those at once
        self.memory: dict[str, int] = {}  # KiB, the most of each process of a call together

    def config(self, network: str, subnets: list[str]) -> dict[str, Any]:
        return {
            "cniVersion": "1.0.0",
            "name": network,
            "type": "macvlan",
            "master": "eth0",
            "ipam": {
                "type": "host-local",
                "dataDir": self.data_dir,
                "ranges": [[{"subnet": subnet}] for subnet in subnets],
                "routes": [{"dst": "::/0" if ":" in subnet else "0.0.0.0/0"} for subnet in subnets],
            },
        }

    def fill(self, network: str, leases: int) -> None:
        """Leases of other containers as Go's host-local writes them, from 10.1.0.2 on."""
        directory = Path(self.data_dir, network)
        directory.mkdir()
        directory.chmod(0o755)
        address = ""
        for n in range(2, leases + 2):
            address = f"10.1.{n >> 8}.{n & 255}"
            (directory / address).write_bytes(b"%064x\r\neth0" % n)
        (directory / "last_reserved_ip.0").write_text(address)

    def start(self, command: str, pod: Host, config: dict[str, Any]) -> Call:
        return Call(self, command, pod, config)

    def call(self, case: str, command: str, pod: Host, config: dict[str, Any]) -> bytes:
        """Times one call, in the calling thread's namespace; returns its stdout. SystemExit if it fails."""
        time.sleep(PAUSE_SECONDS)
        call = self.start(command, pod, config)
        _, status, usage = os.wait4(call.pid, 0)
        wall = time.perf_counter() - call.started
        sample = Sample(wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000)
        self.samples.setdefault(case, []).append(sample)
        return call.answer(status)

    def measure_memory(self, case: str, command: str, pod: Host, config: dict[str, Any]) -> bytes:
        """One call by way of time(1): a child counts what its parent had when it was made, and that one is small.

        time tells the most of any one process. An IPAM plugin that is executed tells its own, from inside a script in
        its place; if that is the most, the caller's own is taken to be that of a VERSION, which is less than it was.
        """
        report = Path(self.scratch, "memory")
        report.write_text("")
        measured = [GNU_TIME, "-a", "-f", "%M", "-o", str(report)]
        with tempfile.TemporaryDirectory(dir=self.scratch) as directory:
            script = Path(directory, "host-local")
            script.write_text(f'#!/bin/sh\nexec {" ".join(measured)} {self.directory}/host-local "$@"\n')
            script.chmod(0o755)
            done = subprocess.run(
                [*measured, self.executable],
                input=json.dumps(config).encode(),
                env=self.environment(command, pod) | {"CNI_PATH": directory},
                capture_output=True,
            )
        if done.returncode:
            raise SystemExit(f"{self.executable} {command} failed: {done.stdout.decode()}")
        *inner, outer = map(int, report.read_text().split())
        if inner and outer <= max(inner):
            outer = self.memory["VERSION"]
        self.memory[case] = max(self.memory.get(case, 0), outer + sum(inner))
        return done.stdout

    def environment(self, command: str, pod: Host) -> dict[str, str]:
        return {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": pod.name,
            "CNI_NETNS": pod.netns,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": self.directory,
        }


class Call:
    """A call that runs, since started (time.perf_counter)."""

    def __init__(self, side: Side, command: str, pod: Host, config: dict[str, Any]) -> None:
        self._name = f"{side.executable} {command}"
        environment = side.environment(command, pod)
        self._stdout = os.memfd_create("stdout")
        stdin = os.memfd_create("stdin")
        os.write(stdin, json.dumps(config).encode())
        os.lseek(stdin, 0, os.SEEK_SET)
        files = [
            (os.POSIX_SPAWN_DUP2, stdin, 0),
            (os.POSIX_SPAWN_DUP2, self._stdout, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),  # an error is told on stdout
        ]
        self.started = time.perf_counter()
        self.pid = os.posix_spawn(side.executable, [side.executable], environment, file_actions=files)
        os.close(stdin)

    def answer(self, status: int) -> bytes:
        """What it printed, when it has ended. SystemExit if it failed."""
        os.lseek(self._stdout, 0, os.SEEK_SET)
        with open(self._stdout, "rb") as stdout:
            answer = stdout.read()
        if status:
            raise SystemExit(f"{self._name} failed: {answer.decode()}")
        return answer
