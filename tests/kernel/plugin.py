"""Calls a plugin as a runtime does: environment and stdin in, one JSON document out."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from conformance.lab.topology import Host

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCHERS = REPOSITORY / "dist" / "cni"
SECOND_TIER = REPOSITORY / "build" / "second-tier"
SOURCE = REPOSITORY / "build" / "source"
# Which of the two the tests are for: every call is answered the same by both. The third measures what they cover.
OURS = {"second": SECOND_TIER, "source": SOURCE}.get(os.environ.get("CNI_TIER", ""), LAUNCHERS)
RECORDS = Path("/run/cni-vlan")
GO = Path("/usr/lib/cni")
CNITOOL = REPOSITORY / "build" / "cnitool"


class Outcome:
    """What a call gave: status, and document (None where stdout was empty, which only success without a result is)."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.status = done.returncode
        self.stderr = done.stderr.decode(errors="replace")
        self.document: Any = json.loads(done.stdout) if done.stdout else None

    @property
    def result(self) -> dict[str, Any]:
        assert self.status == 0, (self.document, self.stderr)
        assert isinstance(self.document, dict)
        return self.document

    @property
    def error(self) -> dict[str, Any]:
        assert self.status == 1, (self.status, self.document, self.stderr)
        assert set(self.document) <= {"cniVersion", "code", "msg", "details"}, self.document
        assert not self.stderr, self.stderr
        return dict(self.document)

    def succeeded(self) -> None:
        assert (self.status, self.document) == (0, None), (self.document, self.stderr)


class Plugin:
    """One executable, called in the namespace of a node."""

    def __init__(self, node: Host, name: str, directory: Path = OURS) -> None:
        self.node = node
        self.executable = directory / name
        self.directory = directory

    def environment(self, command: str, container: Host | None, variables: dict[str, str]) -> dict[str, str]:
        environment = {"CNI_COMMAND": command, "CNI_PATH": str(self.directory)}
        if container:
            environment |= {"CNI_CONTAINERID": container.name, "CNI_NETNS": container.netns, "CNI_IFNAME": "eth0"}
        return {name: value for name, value in (environment | variables).items() if value is not None}

    def call(self, command: str, container: Host | None, config: dict[str, Any] | bytes, **variables: str) -> Outcome:
        stdin = config if isinstance(config, bytes) else json.dumps(config).encode()
        environment = self.environment(command, container, variables)
        return Outcome(self.node.run([str(self.executable)], input=stdin, env=environment, check=False))

    def add(self, container: Host, config: dict[str, Any], **variables: str) -> Outcome:
        return self.call("ADD", container, config, **variables)

    def delete(self, container: Host, config: dict[str, Any], **variables: str) -> Outcome:
        return self.call("DEL", container, config, **variables)

    def check(self, container: Host, config: dict[str, Any], result: dict[str, Any], **variables: str) -> Outcome:
        return self.call("CHECK", container, config | {"prevResult": result}, **variables)


def links(host: Host) -> list[str]:
    """The names of a host's links, without its loopback."""
    return [link["ifname"] for link in host.ip_json("link show") if link["ifname"] != "lo"]


def addresses(host: Host, ifname: str = "eth0") -> list[str]:
    """The addresses of a link but for the link-local ones, as ADDRESS/LENGTH."""
    shown = host.ip_json(f"addr show dev {ifname}")[0]["addr_info"]
    return [f"{info['local']}/{info['prefixlen']}" for info in shown if info["scope"] != "link"]


def leases(data_dir: Path, network: str = "lan") -> dict[str, str]:
    """Address → holder's line, of the lease files in Go's host-local form."""
    directory = data_dir / network
    if not directory.exists():
        return {}
    return {
        path.name: path.read_bytes().decode()
        for path in sorted(directory.iterdir())
        if path.name != "lock" and not path.name.startswith("last_reserved_ip.")
    }
