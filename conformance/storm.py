"""Many calls at once on one node: ADDs, CHECKs, DELs, also repeated, or ended by SIGTERM, and GCs between them.

As a program inside the lab: python3 -m conformance.storm DIRECTORY.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from signal import SIGTERM
from typing import Any

from conformance.faults import RECORDS, files, links, routes
from conformance.lab.topology import Host, Topology

AT_ONCE = 16
INTERFACE_EXISTS = 103
SECONDS = 120.0  # for one call, which may wait for all others: more is a deadlock

NETWORKS: dict[str, dict[str, Any]] = {
    "lan": {"type": "macvlan", "master": "eth0"},
    "vlan50": {"type": "macvlan", "master": "eth0", "vlan": 50},
    "vlan51": {"type": "macvlan", "master": "eth0.51"},
    "vlan52": {"type": "ipvlan", "master": "eth0", "vlan": 52},
    "l3": {"type": "ipvlan", "mode": "l3", "master": "eth1"},
}
DUAL_STACK = ("lan", "vlan51")


class Wrong(Exception):
    """What a call should not have answered, or left."""


class Storm:
    """A node and pods, each to be attached to every network."""

    def __init__(self, net: Topology, directory: str, pods: int, seed: str) -> None:
        self.directory = directory
        self.seed = seed
        self.node, beyond = net.host("node"), net.host("beyond")
        for ifname in ("eth0", "eth1"):
            net.cable(self.node, ifname, beyond, ifname)
        self.data_dir = tempfile.mkdtemp(dir="/run")
        shutil.rmtree(RECORDS, ignore_errors=True)
        hosts = [net.host(f"pod{n}") for n in range(pods)]
        self.attachments = [Attachment(self, pod, network) for pod in hosts for network in NETWORKS]
        self.calls = Counter[str]()

    def config(self, network: str) -> dict[str, Any]:
        number = list(NETWORKS).index(network)
        ranges = [[{"subnet": f"10.{number}.0.0/22"}]]
        if network in DUAL_STACK:
            ranges.append([{"subnet": f"fd00:{number}::/64"}])
        ipam = {"type": "host-local", "dataDir": self.data_dir, "ranges": ranges}
        return {"cniVersion": "1.1.0", "name": network, "ipam": ipam, **NETWORKS[network]}

    def rage(self) -> None:
        """Some attachments live on at the end of the first part, and none at that of the second. Wrong."""
        before = self.state()
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(Attachment.live, self._shuffled()))
        self._expect_whole([attachment for attachment in self.attachments if attachment.result])
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(Attachment.end, self._shuffled()))
        after = self.state()
        if after != before:
            raise Wrong(f"left at the end: {after}, where before there was {before}")

    def state(self) -> list[list[str]]:
        return [links(self.node), routes(self.node), files(self.data_dir), files(RECORDS)]

    def _shuffled(self) -> list[Attachment]:
        return random.Random(self.seed).sample(self.attachments, len(self.attachments))

    def _expect_whole(self, attached: list[Attachment]) -> None:
        given = Counter(address for attachment in attached for address in attachment.addresses)
        twice = [address for address, times in given.items() if times > 1]
        if twice:
            raise Wrong(f"given twice: {twice}")
        leases = {path.rpartition("/")[2] for path in files(self.data_dir)}
        for attachment in attached:
            missing = set(attachment.addresses) - leases
            if missing:
                raise Wrong(f"{attachment} lost its lease of {missing}")
            attachment.check()


class Attachment:
    """One pod's to one network; result is that of its ADD while it is attached, else empty."""

    def __init__(self, storm: Storm, pod: Host, network: str) -> None:
        self.storm = storm
        self.pod = pod
        self.network = network
        self.result: dict[str, Any] = {}
        self.random = random.Random(f"{storm.seed} {self}")

    def __str__(self) -> str:
        return f"{self.pod.name}/{self.network}"

    @property
    def addresses(self) -> list[str]:
        return [ip["address"].partition("/")[0] for ip in self.result["ips"]]

    def live(self) -> None:
        """Calls in an order that a runtime may make."""
        for _ in range(self.random.randint(1, 2)):
            if self.random.random() < 0.2:
                self._interrupt()
            self.end()  # where there is nothing, too
            self.result = json.loads(self._call("ADD"))
            self.random.choice((self.check, self._add_again, self._collect_garbage))()
        if self.random.random() < 0.5:
            self.end()

    def check(self) -> None:
        self._call("CHECK", {"prevResult": self.result})

    def end(self) -> None:
        self.result = {}
        self._call("DEL")

    def _add_again(self) -> None:
        code = json.loads(self._call("ADD", status=1))["code"]
        if code != INTERFACE_EXISTS:
            raise Wrong(f"{self}: a repeated ADD gave code {code}")

    def _collect_garbage(self) -> None:
        """With every attachment in the list: others are at work."""
        names = [{"containerID": other.pod.name, "ifname": other.network} for other in self.storm.attachments]
        self._call("GC", {"cni.dev/valid-attachments": names})

    def _interrupt(self) -> None:
        """SIGTERM in the midst of an ADD."""
        process = self._start("ADD")
        assert process.stdin
        process.stdin.write(json.dumps(self.storm.config(self.network)).encode())
        process.stdin.close()
        time.sleep(self.random.random() * 0.1)
        process.send_signal(SIGTERM)
        self.storm.calls["SIGTERM"] += 1
        if process.wait(SECONDS) not in (0, 1, -SIGTERM):
            raise Wrong(f"{self}: SIGTERM gave exit status {process.returncode}")

    def _call(self, command: str, keys: dict[str, Any] | None = None, *, status: int = 0) -> bytes:
        """What it writes to stdout. Wrong where it ends with another status."""
        config = self.storm.config(self.network) | (keys or {})
        process = self._start(command)
        stdout, _ = process.communicate(json.dumps(config).encode(), SECONDS)
        self.storm.calls[command] += 1
        if process.returncode != status:
            raise Wrong(f"{self}: {command} ended with exit status {process.returncode}: {stdout!r}")
        return stdout

    def _start(self, command: str) -> subprocess.Popen[bytes]:
        environment = {"CNI_COMMAND": command, "CNI_PATH": self.storm.directory}
        if command != "GC":
            environment |= {"CNI_CONTAINERID": self.pod.name, "CNI_NETNS": self.pod.netns, "CNI_IFNAME": self.network}
        executable = f"{self.storm.directory}/{NETWORKS[self.network]['type']}"
        return self.storm.node.popen([executable], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def storm(directory: str, pods: int, seed: str) -> Counter[str]:
    """The calls that were made. Wrong."""
    with Topology() as net:
        storm = Storm(net, directory, pods, seed)
        storm.rage()
    return storm.calls


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m conformance.storm", description="Many calls at once.")
    parser.add_argument("directory", help="of the plugins")
    parser.add_argument("--pods", type=int, default=40, help=f"of {len(NETWORKS)} attachments each (default: 40)")
    parser.add_argument("--rounds", type=int, default=1, help="default: 1")
    options = parser.parse_args()
    for seed in range(options.rounds):
        calls = storm(options.directory, options.pods, str(seed))
        print(f"round {seed + 1}: {', '.join(f'{n} × {command}' for command, n in calls.items())}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
