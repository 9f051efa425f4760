"""What is known to differ between our plugins and what the Go plugins' own tests expect, and why.

docs/migrating.md has the same list (`python3 -m conformance.peers --write`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conformance.peers.suites import Spec

KEPT = "kept"  # we do better, or the specification is on our side
NOT_DRIVABLE = "not drivable"  # about a function; no binary can pass, not Go's either

ALL = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")
CHAINS = ALL[2:]  # that have prevResult
ONE_ADDRESS = ALL[:2]  # of each family
NO_VERSION = ("",)


@dataclass(frozen=True)
class Difference:
    """Specs that fail for one reason: each title in each version."""

    suite: str
    titles: tuple[str, ...]
    versions: tuple[str, ...]
    fate: str
    reason: str

    def covers(self, spec: Spec) -> bool:
        return self.suite == spec.suite and spec.version in self.versions and spec.title in self.titles


DIFFERENCES = (
    Difference(
        "ipvlan",
        ("configures and deconfigures an iplvan link with ADD/DEL when chained",),
        CHAINS,
        KEPT,
        "the interfaces of the plugins before are passed on, as the specification has it; Go's ipvlan drops them",
    ),
    Difference(
        "host-local",
        ("ignores whitespace in disk files",),
        ALL,
        NOT_DRIVABLE,
        "its container id has white space around it, which every executable refuses, Go's too",
    ),
    Difference(
        "allocator",
        (
            "host-local ip allocator when lastReservedIP is at the end of one of multi ranges should use the first IP "
            "of next range as startIP after Next",
            "host-local ip allocator when no lastReservedIP should use the first IP of the first range as startIP "
            "after Next",
        ),
        NO_VERSION,
        KEPT,
        "the network's and the broadcast address are never given, though `rangeStart` or `rangeEnd` name them: podman "
        "writes the last address of `--ip-range`, which is often the broadcast address, into `rangeEnd`",
    ),
    Difference(
        "bridge",
        (
            "(3) configures and deconfigures a bridge and veth with default route with ADD/DEL",
            "(3) configures and deconfigures a bridge, veth with default route and vlanID 100 with ADD/DEL",
        ),
        ONE_ADDRESS,
        KEPT,
        "DEL of what ADD refused (two addresses of one family) succeeds; Go's fails, with ADD's text",
    ),
)


@dataclass(frozen=True)
class Judgement:
    """How a run stands to what is known. unknown: failed, and not listed; outdated: listed, and passed."""

    passed: list[Spec]
    known: list[Spec]
    unknown: list[Spec]
    outdated: list[Spec]

    @property
    def holds(self) -> bool:
        return not self.unknown and not self.outdated


def judge(specs: Sequence[Spec], differences: Sequence[Difference]) -> Judgement:
    listed = {spec for spec in specs if any(difference.covers(spec) for difference in differences)}
    return Judgement(
        passed=[spec for spec in specs if not spec.message and spec not in listed],
        known=[spec for spec in specs if spec.message and spec in listed],
        unknown=[spec for spec in specs if spec.message and spec not in listed],
        outdated=[spec for spec in specs if not spec.message and spec in listed],
    )


def absent(specs: Sequence[Spec], differences: Sequence[Difference]) -> list[str]:
    """What the list names of the suites that ran, and what they do not have."""
    suites = {spec.suite for spec in specs}
    have = {(spec.suite, spec.version, spec.title) for spec in specs}
    return [
        Spec(difference.suite, version, title, "", 0).name
        for difference in differences
        if difference.suite in suites
        for title in difference.titles
        for version in difference.versions
        if (difference.suite, version, title) not in have
    ]


def markdown() -> str:
    """The list as a table for people who change over; what is about Go's functions alone does not concern them."""
    lines = ["| Go's test | versions | ours |", "|---|---|---|"]
    for difference in DIFFERENCES:
        if difference.fate != NOT_DRIVABLE:
            titles = "<br>".join(f"{difference.suite}: {title}" for title in difference.titles)
            lines.append(f"| {titles} | {_versions(difference.versions)} | {difference.reason} |")
    return "\n".join(lines)


def _versions(versions: tuple[str, ...]) -> str:
    return "all" if versions in (ALL, NO_VERSION) else f"{versions[0]} to {versions[-1]}"
