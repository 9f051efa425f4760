"""Host routes of L3: SUBNET dev PARENT in the host's main table, for as long as an attachment needs it.

They carry a route protocol of our own (`ip route show proto 193`), by which they are told from somebody else's: those
are used where they lead to the parent too, and never removed.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6

from cni_core.errors import CHECK_DIFFERS, ROUTE_CONFLICT, CniError
from cni_core.names import HOST_ACCESS_PROTOCOL
from cni_core.rtnl.messages import RT_TABLE_MAIN, RTN_UNICAST, Route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni_core.address import Cidr
    from cni_core.rtnl.messages import Link
    from cni_core.rtnl.socket import Rtnl

PROTOCOL = 193  # linux/rtnetlink.h, RTPROT_*: what is above RTPROT_STATIC is not the kernel's; others end at 192

# VPN clients write a default route in two halves, so that the one that was there need not go.
_LONGEST_DEFAULT = 1


def main_table(rtnl: Rtnl, subnets: Iterable[Cidr] | None = None) -> list[Route]:
    """The routes of the main table, of the subnets' families, by default of both, but for those by which the host
    reaches single containers of ours (hostaccess.py): they lie within a subnet and are in nobody's way.
    """
    families = (AF_INET, AF_INET6) if subnets is None else {subnet.family for subnet in subnets}
    return [
        route
        for family in families
        for route in rtnl.routes(family)
        if route.table == RT_TABLE_MAIN and route.protocol != HOST_ACCESS_PROTOCOL
    ]


def ours(routes: list[Route]) -> list[Route]:
    """Those that we made: of somebody else's with our number, none is so."""
    return [
        route
        for route in routes
        if route.protocol == PROTOCOL and route.type == RTN_UNICAST and len(route.links) == 1 and route.gateway is None
    ]


def missing(subnets: list[Cidr], parent: Link, routes: list[Route]) -> list[Route]:
    """Those that would have to be made."""
    return [
        Route(subnet, None, [parent.index], protocol=PROTOCOL)
        for subnet in subnets
        if not _is_there(subnet, parent, routes)
    ]


def conflicts(subnets: list[Cidr], parent: Link, routes: list[Route], rtnl: Rtnl) -> dict[Cidr, str]:
    """The subnets to which no host route may be made, each with the reason: one that is the parent's own, or that the
    host sends, or a part of it, elsewhere.
    """
    addresses = rtnl.addresses(parent.index)
    found = {}
    for subnet in subnets:
        own = next((address.cidr for address in addresses if address.cidr.overlaps(subnet)), None)
        elsewhere = _elsewhere(subnet, parent, routes)
        if own:
            found[subnet] = f"{parent.name} itself has the address {own}"
        elif elsewhere:
            found[subnet] = f"the host has the route {_text(elsewhere, rtnl)}"
    return found


def refuse_conflicts(subnets: list[Cidr], parent: Link, routes: list[Route], rtnl: Rtnl) -> None:
    """CniError ROUTE_CONFLICT for the first of them."""
    for subnet, why in conflicts(subnets, parent, routes, rtnl).items():
        raise CniError(
            ROUTE_CONFLICT,
            f"{subnet} cannot be a subnet behind the parent: {why}",
            "With `hostRoutes` each subnet gets a route of its own on the host. Choose another subnet, remove what is "
            "in the way, or leave `hostRoutes` out and see to the routes yourself.",
            path=("ipam",),
        )


def verify(subnets: list[Cidr], parent: Link, routes: list[Route]) -> None:
    """CHECK: raises CHECK_DIFFERS for the first subnet that the host does not send to the parent."""
    for subnet in subnets:
        if not _is_there(subnet, parent, routes):
            raise CniError(
                CHECK_DIFFERS,
                f"the host lacks the route {subnet} dev {parent.name}",
                f"Put it back: ip route add {subnet} dev {parent.name} proto {PROTOCOL}. The next ADD does so too.",
            )


def _elsewhere(subnet: Cidr, parent: Link, routes: list[Route]) -> Route | None:
    """The route by which the host would send packets to the subnet, or to a part of it, not to the parent's link."""
    inside = [route for route in routes if route.dst.length > subnet.length and route.dst.overlaps(subnet)]
    around = [route for route in routes if route.dst.length <= subnet.length and route.dst.overlaps(subnet)]
    # Of those around it the longest counts; a shorter one that leads nowhere is there to be overridden.
    nearest = sorted(around, key=lambda route: (-route.dst.length, route.priority))[:1]
    nearest = [
        route
        for route in nearest
        if route.dst.length > _LONGEST_DEFAULT and (route.type == RTN_UNICAST or route.dst == subnet)
    ]
    return next((route for route in inside + nearest if not _leads_to(route, parent)), None)


def _is_there(subnet: Cidr, parent: Link, routes: list[Route]) -> bool:
    return any(route.dst == subnet and _leads_to(route, parent) for route in routes)


def _leads_to(route: Route, parent: Link) -> bool:
    return route.type == RTN_UNICAST and route.links == [parent.index] and route.gateway is None


def _text(route: Route, rtnl: Rtnl) -> str:
    link = rtnl.link(index=route.links[0]) if route.links else None
    return f"{route} dev {link.name}" if link else str(route)
