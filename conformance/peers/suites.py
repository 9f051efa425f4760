"""The suites and what they say: one Spec for each of their specs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass

# A spec's name begins with its containers' texts; `[1.0.0]` is the version of the specification that it is for.
_NAME = re.compile(r".*?\[(?P<version>\d+\.\d+\.\d+)\] (?P<title>.*)", re.DOTALL)


@dataclass(frozen=True)
class Suite:
    """One test binary of scripts/build-peers.

    trial: a line of shell that succeeds, in a network namespace of its own, on a kernel that has what the suite needs;
    seconds: about what it takes, so that the longest starts first.
    """

    name: str
    judges: str
    trial: str
    seconds: int


_DUMMY = "ip link add eth0 type dummy"
_VETH = "ip link add veth0 type veth peer name veth1"
_NAT = "iptables -t nat -N trial && ip6tables -t nat -N trial"
_BRIDGE = "ip link add bridge0 type bridge vlan_filtering 1 && nft add table bridge trial"

SUITES = (
    Suite("macvlan", "macvlan", f"{_DUMMY} && ip link add link eth0 name eth1 type macvlan", 15),
    Suite("ipvlan", "ipvlan", f"{_DUMMY} && ip link add link eth0 name eth1 type ipvlan", 8),
    Suite("host-local", "host-local", "true", 3),
    Suite("allocator", "host-local", "true", 1),
    Suite("ptp", "host-local under Go's ptp", f"{_VETH} && {_NAT}", 80),
    Suite("bridge", "host-local under Go's bridge", f"{_VETH} && {_NAT} && {_BRIDGE}", 55),
)


@dataclass(frozen=True)
class Spec:
    """A spec and its outcome. version: "" where it is for none in particular; message: why it failed, "" if passed."""

    suite: str
    version: str
    title: str
    message: str
    seconds: float

    @property
    def name(self) -> str:
        version = f"[{self.version}] " if self.version else ""
        return f"{self.suite}: {version}{self.title}"


def specs(suite: str, report: str) -> list[Spec]:
    """From the JUnit report of ginkgo 1, in its order. Of several specs of one name the later ones have a number.

    ValueError where a spec was left out, and where there is none.
    """
    found = []
    seen: Counter[str] = Counter()
    for case in ET.fromstring(report).iter("testcase"):
        name = case.attrib["name"]
        if case.find("skipped") is not None:
            raise ValueError(f"{suite}: {name} was skipped")
        seen[name] += 1
        match = _NAME.fullmatch(name)
        title = match["title"] if match else name
        failure = case.find("failure")
        found.append(
            Spec(
                suite,
                match["version"] if match else "",
                title if seen[name] == 1 else f"{title} (no. {seen[name]})",
                "" if failure is None else (failure.text or "failed without a message"),
                float(case.attrib["time"]),
            )
        )
    if not found:
        raise ValueError(f"{suite}: the report has no specs")
    return found
