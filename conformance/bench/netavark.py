"""What podman 5 waits for: `setup` of our macvlan plugin beside netavark's own macvlan, in turns, on the host's kernel.

As a program, inside the lab: python3 -m conformance.bench.netavark. netavark is Debian 13's, started by its own loader,
which takes as long for both of its sides. The plugin alone is what netavark then waits for.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from conformance import generated
from conformance.bench import report
from conformance.bench.side import PAUSE_SECONDS
from conformance.lab.topology import Topology

DEBIAN = Path("build/debian/trixie")
ADDRESS, SUBNET, GATEWAY = "10.1.0.9", "10.1.0.0/24", "10.1.0.1"
ID = "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9"


class Side:
    """A command, to which `setup NSPATH` and `teardown NSPATH` are added, and what it reads."""

    def __init__(self, name: str, command: list[str], document: dict[str, Any]) -> None:
        self.name = name
        self.command = command
        self.stdin = json.dumps(document).encode()
        self.milliseconds: dict[str, list[float]] = {"setup": [], "teardown": []}

    def call(self, what: str, netns: str) -> None:
        """Times one call, in the calling thread's namespace. SystemExit if it fails."""
        time.sleep(PAUSE_SECONDS)
        start = time.perf_counter()
        done = subprocess.run([*self.command, what, netns], input=self.stdin, capture_output=True, check=False)
        self.milliseconds[what].append((time.perf_counter() - start) * 1000)
        if done.returncode:
            raise SystemExit(f"{self.name}: {what} failed: {done.stdout.decode()}{done.stderr.decode()}")


def network(driver: str) -> dict[str, Any]:
    """With options that are each driver's own; both get one IPv4 address and a default route."""
    ours = {"options": {"parent": "eth0"}} if driver.startswith("cni-") else {"network_interface": "eth0"}
    return {
        "name": "bench",
        "id": ID,
        "driver": driver,
        "subnets": [{"subnet": SUBNET, "gateway": GATEWAY}],
        "ipv6_enabled": False,
        "internal": False,
        "dns_enabled": False,
    } | ours


def sides(plugins: Path, scratch: str) -> list[Side]:
    loader = next((DEBIAN / "usr/lib64").glob("ld-linux-*.so.2"), DEBIAN / "lib64/ld-linux-x86-64.so.2")
    libraries = next(DEBIAN.glob("usr/lib/*-linux-gnu"))
    netavark = [str(loader), "--library-path", str(libraries), str(DEBIAN / "usr/lib/podman/netavark")]
    netavark += ["--config", scratch, "--rootless=false", "--aardvark-binary="]
    container = {"container_id": ID, "container_name": "web"}
    asked = {"interface_name": "eth0", "static_ips": [ADDRESS]}

    def of_netavark(driver: str) -> dict[str, Any]:
        return container | {"networks": {"bench": asked}, "network_info": {"bench": network(driver)}}

    own = "cni-macvlan-py"
    return [
        Side("our plugin alone", [str(plugins / own)], container | {"network": network(own), "network_options": asked}),
        Side("netavark with our plugin", [*netavark, "--plugin-directory", str(plugins)], of_netavark(own)),
        Side("netavark with its own macvlan", netavark, of_netavark("macvlan")),
    ]


def table(found: list[Side], rounds: int) -> str:
    lines = [f"Medians of {rounds} calls, the sides in turns, and the least, in ms:", ""]
    lines += ["| call | " + " | ".join(side.name for side in found) + " |", "| --- |" + " ---: |" * len(found)]
    for what in ("setup", "teardown"):
        cells = (f"{statistics.median(times):.1f}, {min(times):.1f}" for times in (s.milliseconds[what] for s in found))
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m conformance.bench.netavark", description=__doc__)
    parser.add_argument("--ours", type=Path, default=Path("dist/cni"), metavar="DIRECTORY")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--write", action="store_true", help=f"write {report.DOCUMENT}")
    options = parser.parse_args()
    with Topology() as net, tempfile.TemporaryDirectory(dir="/run") as scratch:
        node, beyond, pod = net.host("node"), net.host("beyond"), net.host("pod")
        net.cable(node, "eth0", beyond, "eth0")
        found = sides(Path(os.path.abspath(options.ours)), scratch)
        with node.inside():
            for _ in range(options.rounds):
                for side in found:
                    side.call("setup", pod.netns)
                    side.call("teardown", pod.netns)
    content = table(found, options.rounds)
    print(content)
    if options.write:
        generated.write(report.DOCUMENT, "netavark", content)


if __name__ == "__main__":
    main()
