"""Networks of one node that cannot be used together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cni_cli.conflists import Network
from cni_cli.errors import CommandError
from cni_cli.kinds import has_leases, link_kind, request_of
from cni_core import parent as parents
from cni_core.address import Address, Cidr
from cni_core.errors import INVALID_CONFIG, PARENT_UNUSABLE, ROUTE_CONFLICT, CniError
from cni_core.names import split_vlan
from cni_core.rtnl.messages import IFLA_VLAN_ID
from cni_core.rtnl.socket import Rtnl
from cni_core.shared import has_host_routes
from ipam.ranges import Range, range_sets

ONE_USE = "A link carries one kind, and ipvlan one mode: give this network a VLAN or another parent."

FLAT = ("macvlan", "macvtap", "ipvlan", "ipvtap")  # of which a link is on the same wire as its parent

Lower = tuple[str, tuple[int, ...]]


def clashes(new: Network, others: Iterable[Network], host: Rtnl) -> Iterator[CommandError]:
    """Where another network has the name, the parent in another way, or some of the addresses."""
    below = lower(new, host)
    for other in others:
        if other.name == new.name and other.file != new.file:
            yield CommandError(f"network {new.name} exists: {other.file}", "Give one of them another name.")
        together = below is not None and below == lower(other, host)
        if together and new.use != other.use:
            yield CommandError(
                f"{new.parent} is used as {other.use} by network {other.name} ({other.file})", ONE_USE, PARENT_UNUSABLE
            )
        elif together and "passthru" in new.use:
            yield CommandError(
                f"{new.parent} is used in passthru by network {other.name}, and serves one alone",
                "Give this network another parent.",
                PARENT_UNUSABLE,
            )
        if together:
            yield from _same_addresses(new, other)
        elif all(has_host_routes(link_kind(one.config), one.values) for one in (new, other)):
            yield from _same_routes(new, other)


def lower(network: Network, host: Rtnl) -> Lower | None:
    """The parent for comparison: the lowest link's name, and the VLAN ids above it. None of one that is not shared by
    name, such as an internal network's, or that nobody can tell."""
    values = network.values
    if values.internal or values.link_in_container:
        return None
    vlan, values.vlan = (values.vlan,) if values.vlan else (), 0
    try:
        link = parents.plan(values, host).parent
    except CniError:
        link = None
    if not link:
        return _by_name(values.masters[0], vlan) if len(values.masters) == 1 else None
    while link.kind in ("vlan", *FLAT) and link.parent_nsid is None:
        below = host.link(index=link.parent)
        if not below:
            break
        vlan = (link.number(IFLA_VLAN_ID), *vlan) if link.kind == "vlan" else vlan
        link = below
    return link.name, vlan


def _by_name(master: str, ids: tuple[int, ...]) -> Lower:
    split = split_vlan(master)
    return _by_name(split[0], (split[1], *ids)) if split else (master, ids)


def ranges_of(config: dict[str, Any]) -> list[Range]:
    """Of host-local, all that the network's addresses are from; none where they contradict each other."""
    if not has_leases(config):
        return []
    try:
        return [part for one in range_sets(request_of(config)) for part in one.ranges]
    except CniError:  # its own error, and no clash
        return []


def _same_addresses(new: Network, other: Network) -> Iterator[CommandError]:
    for mine in ranges_of(new.config):
        for theirs in ranges_of(other.config):
            for first, last in _common(mine, theirs):
                yield CommandError(
                    f"{Address(mine.family, first)} to {Address(mine.family, last)} are also of network {other.name} "
                    "on the same parent",
                    "An address could be given twice. Give each network an --ip-range (`ipRange`) of its own.",
                    INVALID_CONFIG,
                )
                return


def _common(mine: Range, theirs: Range) -> Iterator[tuple[int, int]]:
    """The intervals that both choose from."""
    if mine.family == theirs.family:
        for first, last in mine.chosen:
            for start, end in theirs.chosen:
                if first <= end and start <= last:
                    yield max(first, start), min(last, end)


def _same_routes(new: Network, other: Network) -> Iterator[CommandError]:
    for mine in subnets_of(new.config):
        for theirs in subnets_of(other.config):
            if mine.overlaps(theirs):
                yield CommandError(
                    f"{mine} overlaps {theirs} of network {other.name} on {other.parent}",
                    "In L3 the host has one route to a subnet: give each network a subnet of its own.",
                    ROUTE_CONFLICT,
                )


def subnets_of(config: dict[str, Any]) -> list[Cidr]:
    return list(dict.fromkeys(part.subnet for part in ranges_of(config)))
