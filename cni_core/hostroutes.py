"""Host routes of L3: SUBNET dev PARENT in the host's main table, for as long as an attachment needs it.

They carry a route protocol of our own (`ip route show proto 193`), by which they are told from somebody else's: those
are used where they lead to the parent too, and never removed.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6

from cni_core.address import Cidr, is_within
from cni_core.errors import CHECK_DIFFERS, INVALID_CONFIG, ROUTE_CONFLICT, CniError
from cni_core.files import POLICY, is_there_a_policy
from cni_core.names import HOST_ACCESS_PROTOCOL
from cni_core.rtnl.messages import RT_TABLE_MAIN, RTN_UNICAST, Route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni_core.rtnl.messages import InterfaceAddress, Link
    from cni_core.rtnl.socket import Rtnl

PROTOCOL = 193  # linux/rtnetlink.h, RTPROT_*: what is above RTPROT_STATIC is not the kernel's; others end at 192

# VPN clients write a default route in two halves, so that the one that was there need not go.
_LONGEST_DEFAULT = 1
_MOST = 5_000  # of one attachment: each is a route of the host, and a directory of records

NOT_PRIVATE = f"it is not private, and the node's administrator has not allowed it (hostRoutes in {POLICY})"
_SHORTEST = {AF_INET: 8, AF_INET6: 16}
# Where nobody is whom the node could reach by its default route: RFC 1918, RFC 6598, RFC 4193.
PRIVATE = tuple(map(Cidr.parse, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")))
# Never behind a parent: "this network" and loopback, link-local, multicast and reserved (RFC 6890; RFC 4291, 2.4).
_NEVER = tuple(
    map(Cidr.parse, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8"))
)


def main_table(rtnl: Rtnl, subnets: Iterable[Cidr] | None = None) -> list[Route]:
    """The routes of the main table, of the subnets' families, by default of both, but for those by which the host
    reaches single containers of ours (hostaccess.py): they lie within a subnet and are in nobody's way.
    """
    families = (AF_INET, AF_INET6) if subnets is None else {subnet.family for subnet in subnets}
    return [
        route
        for family in families
        for route in rtnl.routes(family, wanted=lambda found: found.table == RT_TABLE_MAIN)
        if route.protocol != HOST_ACCESS_PROTOCOL
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
    there = _led_to(parent, routes)
    return [Route(subnet, None, [parent.index], protocol=PROTOCOL) for subnet in subnets if subnet not in there]


def conflicts(subnets: list[Cidr], parent: Link, routes: list[Route], rtnl: Rtnl) -> dict[Cidr, str]:
    """The subnets to which no host route may be made, each with the reason: one that is the parent's own, or that the
    host sends, or a part of it, elsewhere.
    """
    addresses = rtnl.addresses()
    elsewhere = _elsewhere(subnets, parent, routes)
    hops = {hop for route in routes for hop in route.gateways if hop}
    found = {}
    for subnet in subnets:
        impossible = refusal(subnet)
        own = next((address for address in addresses if _is_hosts_own(address, subnet, parent)), None)
        next_hop = next((hop for hop in hops if hop in subnet), None)
        if impossible:
            found[subnet] = impossible
        elif own:
            whose = parent.name if own.index == parent.index else "the host"
            found[subnet] = f"{whose} itself has the address {own.cidr}"
        elif next_hop:
            found[subnet] = f"{next_hop} is a next hop of the host's own routes"
        elif subnet in elsewhere:
            found[subnet] = f"the host has the route {_text(elsewhere[subnet], rtnl)}"
    return found


def refusal(subnet: Cidr) -> str:
    """Why no host route may lead to a subnet, whatever the host has; empty if one may.

    What the node sends by its default route, a network's configuration alone must not take away from it: outside of
    private prefixes its administrator has to allow it (cni_core.policy).
    """
    never = next((one for one in _NEVER if one.overlaps(subnet)), None)
    if never:
        return f"it is of {never}, which is never behind a parent"
    if subnet.length < _SHORTEST[subnet.family]:
        return f"it is larger than a /{_SHORTEST[subnet.family]}"
    if is_there_a_policy():
        from cni_core.policy import of_the_node  # not for a node to pay for that has none

        return of_the_node().refuses_route(subnet, PRIVATE)
    return "" if is_within(subnet, PRIVATE) else NOT_PRIVATE


def _is_hosts_own(address: InterfaceAddress, subnet: Cidr, parent: Link) -> bool:
    """The parent's own subnet is the host's; of its other links their addresses, beside what their routes tell."""
    own = address.cidr
    return own.overlaps(subnet) if address.index == parent.index else own.address in subnet


def refuse_too_many(subnets: list[Cidr]) -> None:
    """CniError INVALID_CONFIG."""
    if len(subnets) > _MOST:
        raise CniError(
            INVALID_CONFIG,
            f"{len(subnets):,} subnets are too many for routes of the host: {_MOST:,} are the most",
            "Give the network fewer subnets, or set `hostRoutes` to false.",
            path=("ipam",),
        )


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
    there = _led_to(parent, routes)
    for subnet in subnets:
        if subnet not in there:
            raise CniError(
                CHECK_DIFFERS,
                f"the host lacks the route {subnet} dev {parent.name}",
                f"Put it back: ip route add {subnet} dev {parent.name} proto {PROTOCOL}. The next ADD does so too.",
            )


def _elsewhere(subnets: list[Cidr], parent: Link, routes: list[Route]) -> dict[Cidr, Route]:
    """Of each subnet the route by which the host would send packets to it, or to a part of it, not to the parent's
    link. There may be thousands of both: they are looked up by their prefixes.
    """
    found: dict[Cidr, Route] = {}
    wanted, by_prefix = set(subnets), dict[Cidr, list[Route]]()
    lengths = {(subnet.family, subnet.length) for subnet in subnets}
    for route in routes:
        by_prefix.setdefault(route.dst.subnet, []).append(route)
        for family, length in lengths if not _leads_to(route, parent) else ():
            if family == route.dst.family and length < route.dst.length:
                around = Cidr(route.dst.address, length).subnet
                if around in wanted:
                    found.setdefault(around, route)
    for subnet in wanted - found.keys():
        # Of those around it the longest counts; a shorter one that leads nowhere is there to be overridden.
        prefixes = (Cidr(subnet.address, length).subnet for length in range(subnet.length, _LONGEST_DEFAULT, -1))
        nearby = next((by_prefix[prefix] for prefix in prefixes if prefix in by_prefix), None)
        nearest = min(nearby, key=lambda route: route.priority) if nearby else None
        if nearest and (nearest.type == RTN_UNICAST or nearest.dst == subnet) and not _leads_to(nearest, parent):
            found[subnet] = nearest
    return found


def _led_to(parent: Link, routes: list[Route]) -> set[Cidr]:
    """What the host sends to the parent's link."""
    return {route.dst for route in routes if _leads_to(route, parent)}


def _leads_to(route: Route, parent: Link) -> bool:
    return route.type == RTN_UNICAST and route.links == [parent.index] and route.gateway is None


def _text(route: Route, rtnl: Rtnl) -> str:
    link = rtnl.link(index=route.links[0]) if route.links else None
    return f"{route} dev {link.name}" if link else str(route)
