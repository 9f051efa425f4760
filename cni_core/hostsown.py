"""Addresses that the host itself needs on the parent, and that no container gets: its own there, and its next hops.

A container that had one would take it from the host, or the host's way out with it: a server falls off its network with
the first container of a range that has its address.
"""

from __future__ import annotations

from _socket import AF_UNSPEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.address import Address
    from cni_core.rtnl.messages import Link
    from cni_core.rtnl.socket import Rtnl


def needed(parent: Link, rtnl: Rtnl) -> dict[Address, str]:
    """Each with the reason, as the end of a sentence about the address."""
    found = {}
    for route in rtnl.routes(AF_UNSPEC, parent.index):
        for gateway in route.gateways:
            if gateway:
                found[gateway] = f"is the next hop of the host's own route to {route.dst}, on {parent.name}"
    for address in rtnl.addresses(parent.index):
        found[address.cidr.address] = f"is the host's own, on {parent.name}"
    return found
