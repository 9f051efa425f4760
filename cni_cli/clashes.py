"""Networks of one node that cannot be used together."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any

from cni_cli.conflists import Network
from cni_cli.errors import CommandError


def refuse_clashes(new: Network, others: Iterable[Network]) -> None:
    """CommandError where another network has the name, the parent in another way, or some of the addresses."""
    for other in others:
        if other.name == new.name:
            raise CommandError(f"network {new.name} exists: {other.file}")
        if new.lower and new.lower == other.lower:
            if new.use != other.use:
                raise CommandError(
                    f"{new.parent} is used as {other.use} by network {other.name} ({other.file})",
                    "A link carries one kind, and ipvlan one mode: give this network a VLAN or another parent.",
                )
            if "passthru" in new.use:
                raise CommandError(f"{new.parent} is used in passthru by network {other.name}, and serves one alone")
        for mine in new.ranges:
            for theirs in other.ranges:
                if new.lower == other.lower and _overlap(mine["subnet"], theirs["subnet"]):
                    _refuse_same_addresses(new, mine, other, theirs)


def _refuse_same_addresses(new: Network, mine: dict[str, Any], other: Network, theirs: dict[str, Any]) -> None:
    parts = [one.get("ipRange") or one["subnet"] for one in (mine, theirs)]
    if _overlap(*parts):
        raise CommandError(
            f"{parts[0]} overlaps {parts[1]} of network {other.name} on the same parent",
            "An address could be given twice. Give each network an --ip-range of its own.",
        )


def _overlap(one: str, other: str) -> bool:
    first, second = ip_network(one, strict=False), ip_network(other, strict=False)
    return first.version == second.version and first.overlaps(second)
