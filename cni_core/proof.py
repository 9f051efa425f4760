"""What CHECK proves of the container's link: that it, its addresses and its routes are as the result of ADD says."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6

from cni_core.address import format_mac
from cni_core.errors import CHECK_DIFFERS, CniError
from cni_core.parent import carrier_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_core.address import Address, Cidr
    from cni_core.result import IP, Result, RouteSpec
    from cni_core.rtnl.messages import Link, Route
    from cni_core.rtnl.socket import Rtnl
    from cni_core.task import Task


def verify(task: Task, parent: Link, result: Result) -> None:
    """CniError CHECK_DIFFERS with the first difference between the kernel and the result of ADD."""
    ifname, kind, inside = task.attachment.ifname, task.kind, task.container.rtnl
    interface = result.interfaces[_own_interface(task, result)]
    link = inside.link(ifname)
    if not link:
        raise _differs(f"the container has no interface {ifname}")
    if link.kind != kind.NAME:
        raise _differs(f"{ifname} is {link.kind or 'a physical link'}, not {kind.NAME}")
    difference = kind.difference(task.network, link)
    if difference:
        raise _differs(f"{ifname}: {difference}")
    if (
        link.parent not in (parent.index, carrier_of(parent, kind, task.home.rtnl).index)
        or (link.parent_nsid is None) != task.network.link_in_container
    ):
        raise _differs(f"{ifname} is not on {parent.name}")
    if interface.mac and interface.mac.lower() != format_mac(link.mac):
        raise _differs(f"{ifname} has the hardware address {format_mac(link.mac)}, not {interface.mac}")
    if not link.up:
        raise _differs(f"{ifname} is down")
    _verify_addresses(ifname, link, own_ips(task, result), inside)
    _verify_routes(link, result, inside)


def own_ips(task: Task, result: Result) -> list[IP]:
    """The addresses that a result gives to the attachment's interface, or to none in particular. CHECK_DIFFERS."""
    own = _own_interface(task, result)
    for ip in result.ips:
        if ip.interface is not None and ip.interface >= len(result.interfaces):
            raise _differs(f"prevResult gives {ip.cidr} to interface {ip.interface}, which it does not have")
    return [ip for ip in result.ips if ip.interface in (None, own)]


def _own_interface(task: Task, result: Result) -> int:
    ifname, path = task.attachment.ifname, task.container.path
    for i, interface in enumerate(result.interfaces):
        if interface.name == ifname and interface.sandbox == path:
            return i
    raise _differs(f"prevResult has no interface {ifname} in {path}")


def _verify_addresses(ifname: str, link: Link, ips: list[IP], inside: Rtnl) -> None:
    wanted = {ip.cidr for ip in ips}
    found = inside.addresses(link.index, lambda address: address.cidr in wanted)
    present = {address.cidr: address for address in found}
    for ip in ips:
        if ip.cidr not in present:
            raise _differs(f"{ifname} lacks the address {ip.cidr}")
        if present[ip.cidr].duplicate:
            raise _differs(f"{ifname}: another host uses {ip.cidr.address}")


def _verify_routes(link: Link, result: Result, inside: Rtnl) -> None:
    """Every route of the result is there, by whichever link and table: later plugins of a chain move them."""
    missing = Missing(result)
    for index in (link.index, 0):  # by the link itself first: the kernel then tells of no others
        for family in (AF_INET, AF_INET6):
            destinations = missing.destinations(family)
            if destinations:
                inside.routes_to(destinations, family, index, wanted=missing.is_kept_after)
    for spec in missing:
        raise _differs(f"the container lacks the route {spec}")


class Missing:
    """The routes of a result that were not seen yet; to iterate over.

    A route that is asked for without a next hop may go by the gateway of any address of its family, whichever plugin's;
    without a table or a metric, in any.
    """

    __slots__ = ("_gateways", "_specs")

    def __init__(self, result: Result) -> None:
        self._gateways: dict[int, set[Address | None]] = {}
        for ip in result.ips:
            self._gateways.setdefault(ip.cidr.family, set()).add(ip.gateway)
        self._specs = {(spec.dst, spec.gw, spec.table or 0, spec.priority or 0): spec for spec in result.routes}

    def __iter__(self) -> Iterator[RouteSpec]:
        return iter(self._specs.values())

    def destinations(self, family: int) -> set[Cidr]:
        return {spec.dst for spec in self if spec.dst.family == family}

    def is_kept_after(self, route: Route) -> bool:
        """Notes that the route is there. False: it need not be kept."""
        gateways = self._gateways.get(route.dst.family)
        hops: list[Address | None] = [gateway for gateway in route.gateways if gateway]
        if not gateways or not gateways.isdisjoint(route.gateways):
            hops.append(None)
        for hop in hops:
            for table in {0, route.table or 0}:
                for priority in {0, route.priority}:
                    self._specs.pop((route.dst, hop, table, priority), None)
        return False


def _differs(what: str) -> CniError:
    return CniError(
        CHECK_DIFFERS, what, "Something changed the container's network after ADD; make the container anew."
    )
