"""Addresses that podman chose, and keeps in its own database: a lease of ours beside it would be a second truth
(contracts.Ipam). What is left is to refuse one that cannot be: the network's own, its gateway's, somebody else's.
"""

from __future__ import annotations

from cni_core.errors import ADDRESS_UNAVAILABLE, INVALID_CONFIG, CniError
from ipam import host_local
from ipam.host_local import refuse_impossible, subnets
from ipam.ranges import range_sets
from ipam.unaddressed import NEEDS_LINK, check, delete, gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_core.address import Address
    from cni_core.request import Request
    from cni_core.result import Result
    from cni_core.undo import Steps
    from ipam.host_local import Leasing

__all__ = ["NEEDS_LINK", "add", "check", "delete", "gc", "status", "subnets"]


def add(request: Request, steps: Steps, refused: Mapping[Address, str]) -> Result:
    """The addresses that are asked for, one of each range set, and the configuration's routes. CniError."""
    return host_local.add(request, steps, refused, lease=_as_asked)


def status(request: Request) -> None:
    """CniError where the ranges contradict themselves."""
    range_sets(request)


def _as_asked(leasing: Leasing) -> list[Address]:
    addresses = []
    for part, address in zip(leasing.sets, leasing.asked, strict=True):
        if address is None:
            raise CniError(INVALID_CONFIG, f"podman has chosen no address in {part}", "Create the network anew.")
        refuse_impossible(part, address)
        if address in leasing.refused:
            raise CniError(ADDRESS_UNAVAILABLE, f"{address}, which podman chose, {leasing.refused[address]}")
        addresses.append(address)
    return addresses
