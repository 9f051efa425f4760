"""What else is on a node does not slow a pod: no call of its lists links, or a directory. Told by the system calls."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import Lan
from tests.kernel.plugin import LAUNCHERS, links

EXECUTABLE = LAUNCHERS / "macvlan"


def traced(lan: Lan, log: Path, command: str, config: dict[str, Any], pod: str) -> tuple[dict[str, Any], str]:
    """What the call answers, and its system calls."""
    environment = lan.macvlan.environment(command, lan.net.host(pod) if command == "ADD" else None, {})
    environment |= {"CNI_CONTAINERID": pod, "CNI_NETNS": f"/run/netns/{pod}", "CNI_IFNAME": "eth0"}
    argv = ["strace", "-f", "-s", "1024", "-o", str(log), "-e", "trace=sendto,getdents64,execve", str(EXECUTABLE)]
    with lan.node.inside():
        done = subprocess.run(argv, input=json.dumps(config).encode(), env=environment, stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout or b"{}"), log.read_text()


@pytest.mark.parametrize("family", ["IPv4", "dual stack"])
def test_a_call_asks_for_single_links_and_single_leases(lan: Lan, tmp_path: Path, family: str) -> None:
    log = tmp_path / "strace"
    config = lan.config() if family == "IPv4" else lan.config(ipam=lan.dual_stack)
    # The first call of a network reads all its leases once; the Go plugin may have given some.
    assert lan.macvlan.add(lan.host("first"), config).status == 0
    for command in ("ADD", "CHECK", "DEL"):
        answer, calls = traced(lan, log, command, config, "pod")
        if command == "ADD":
            config["prevResult"] = answer
        assert calls.count("execve(") == 1, "one process"
        assert "getdents64" not in calls
        # A dump has more flags (NLM_F_DUMP); strace names types and flags only in its own namespace.
        asked = re.findall(r"nlmsg_type=(?:RTM_GETLINK|0x12 [^,]*), nlmsg_flags=([^,]*),", calls)
        assert asked
        assert set(asked) == {"NLM_F_REQUEST"}
    assert links(lan.node) == ["eth0"]
