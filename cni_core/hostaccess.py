"""Host access: the host and the container reach each other, which no mode of macvlan or ipvlan lets them.

A parent hands nothing to the links on it, nor they to it. So an attachment whose network asks for it (hostAccess) gets
a second way, to the host alone: a pair of veth links, one in the host's namespace and one in the container's, without
addresses, and routes to single addresses by it.

    host      10.1.0.5 dev cnih… src 10.1.0.7          10.1.0.5 is the container's, 10.1.0.7 the host's
    container 10.1.0.7 dev host-eth0 src 10.1.0.5

Both ends have one hardware address and ask for no other (IFF_NOARP), so nothing of it is seen on the wire, and nobody
answers for anybody there. Nothing of it is recorded: links and routes go with the container's namespace, or with either
end. DEL removes the container's end in one with eth0, by their group.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6
from errno import EEXIST, ENODEV

from cni_core import sysctl
from cni_core.address import Address, Cidr, format_mac
from cni_core.errors import CHECK_DIFFERS, INTERFACE_EXISTS, INVALID_CONFIG, ROUTE_CONFLICT, CniError
from cni_core.names import HOST_ACCESS_PROTOCOL, LONGEST_NAME, short_name
from cni_core.result import Interface
from cni_core.rtnl.messages import (
    IFA_F_DADFAILED,
    IFA_F_DEPRECATED,
    IFA_F_TEMPORARY,
    IFA_F_TENTATIVE,
    RT_SCOPE_HOST,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_MAIN,
    RTM_NEWROUTE,
    RTN_UNICAST,
    Route,
    del_link,
    mark_and_raise,
    new_address,
    new_pair,
    new_route,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.names import Attachment
    from cni_core.netns import Place
    from cni_core.network import Network
    from cni_core.result import IP, Result
    from cni_core.rtnl.messages import InterfaceAddress, Link
    from cni_core.rtnl.socket import Rtnl
    from cni_core.task import Task
    from cni_core.undo import Steps

KIND = "veth"
MAC = bytes.fromhex("0200000000fe")  # of both ends, of every pair: locally administered, and never on a wire
# Of the host's end of each pair by which the node forwards: IANA's dummy address, which is nobody's (RFC 7600). A node
# that masquerades, as kube-proxy does, takes the first address of the link that a packet leaves by; for one without any
# it takes another link's (inet_select_addr, net/ipv4/devinet.c), docker0's say, to which no container has a way.
MASQUERADE = Cidr(Address(AF_INET, 0xC0000008), 32)
_LONGEST_ALIAS = 255  # IFALIASZ less its end, linux/if.h
_UNFIT = {AF_INET: 0, AF_INET6: IFA_F_TEMPORARY | IFA_F_DEPRECATED | IFA_F_TENTATIVE | IFA_F_DADFAILED}

# A link-local address, or what a router of the container's making advertises, would be an address more than we give.
_NO_ADDRESSES = (("addr_gen_mode", "1"), ("accept_ra", "0"))


def host_end(attachment: Attachment) -> str:
    """The name of the pair's end in the host's namespace."""
    return short_name("cnih", str(attachment))


def container_end(ifname: str) -> str:
    """The name of the pair's end in the container's namespace, beside the attachment's own interface."""
    name = f"host-{ifname}"
    return name if len(name.encode()) <= LONGEST_NAME else short_name("host-", ifname)


def refuse_elsewhere(network: Network) -> None:
    """CniError where the network has no way to the host by its own description."""
    if not network.host_access:
        return
    if network.internal:
        problem, details = (
            "the network leads nowhere on purpose, not to the host either",
            "Leave `internal` out, or this.",
        )
    elif network.link_in_container:
        problem, details = "the parent is the container's, and its network not the host's", "Leave it out."
    else:
        return
    raise CniError(INVALID_CONFIG, problem, details, path=("hostAccess",))


def remove(attachment: Attachment, host: Place) -> None:
    """Removes the pair by its end on the host, where it is not gone with the container's."""
    link = host.rtnl.link(host_end(attachment))
    if link and link.kind == KIND:
        try:
            host.rtnl.execute(del_link(link.index))
        except CniError as error:
            if error.errno != ENODEV:  # else another DEL was faster, or the container's end
                raise


class Access:
    """What one ADD is to make: addresses are those of the host's that are to be reached, with their subnets."""

    __slots__ = ("_prefixes", "_task", "addresses")

    def __init__(self, task: Task, parent: Link) -> None:
        """CniError where the configuration cannot have it. Nothing is made yet."""
        refuse_elsewhere(task.network)
        access = task.network.host_access
        assert access
        self._task = task
        self._prefixes = access.routes
        if access.addresses:
            self.addresses = _named(access.addresses, task.host.rtnl)
        else:
            self.addresses = own_addresses(parent, task.host.rtnl)

    def connect(self, steps: Steps, link: Link, parent: Link, ips: list[IP]) -> list[Interface]:
        """Makes the pair and its routes for the addresses of the container's link; returns both ends for the result.

        None is made where host and container have no family in common. CniError.
        """
        task = self._task
        own = [ip.cidr for ip in ips]
        if not any(mine.family == address.family for mine in own for address in self.addresses):
            return []
        return steps.take(
            "join host and container",
            lambda: self._make(link, own, carrier=parent.carrier),
            lambda: remove(task.attachment, task.host),
        )

    def _make(self, link: Link, own: list[Cidr], *, carrier: bool) -> list[Interface]:
        task = self._task
        attachment, host, container = task.attachment, task.host, task.container
        outer, inner = host_end(attachment), container_end(attachment.ifname)
        _create(task, outer, inner, link.mtu)
        end = host.rtnl.link(outer)
        if not end:
            raise CniError(CHECK_DIFFERS, f"the new link {outer} vanished")
        for name, value in _NO_ADDRESSES:
            sysctl.try_to_write(value, "net", "ipv6", "conf", outer, name)
        forwards = any(prefix.family == AF_INET for prefix in self._prefixes)
        masquerade = [MASQUERADE] if forwards else []
        # The container is not to use the host as a router, but where its network says so.
        sysctl.write("1" if forwards else "0", "net", "ipv4", "conf", outer, "forwarding")
        # A packet may come by the pair of another attachment of the container's than the one that leads back.
        sysctl.write("0", "net", "ipv4", "conf", outer, "rp_filter")
        with container.entered():
            for name, value in _NO_ADDRESSES:
                sysctl.try_to_write(value, "net", "ipv6", "conf", inner, name)
        to_host = routes_to_host(own, self.addresses, self._prefixes + masquerade, end.parent, carrier=carrier)
        container.rtnl.execute(
            mark_and_raise(end.parent, inner, attachment.link_name), *(new_route(route) for route in to_host)
        )
        to_container = routes_to_container(own, self.addresses, end.index)
        try:
            host.rtnl.execute(
                mark_and_raise(end.index, outer, str(attachment)[:_LONGEST_ALIAS]),
                *(new_address(end.index, cidr) for cidr in masquerade),
                *(new_route(route, beside=False) for route in to_container),
            )
        except CniError as error:
            if error.refused and error.refused.kind == RTM_NEWROUTE and error.errno == EEXIST:
                raise _conflict(to_container, end, host.rtnl) from None
            raise
        mac = format_mac(MAC)
        return [Interface(outer, mac, link.mtu), Interface(inner, mac, link.mtu, container.path)]


def _create(task: Task, outer: str, inner: str, mtu: int) -> None:
    """Makes the pair, down."""
    attachment, host = task.attachment, task.host.rtnl
    message = new_pair(outer, inner, netns=task.container.fd, mac=MAC, mtu=mtu, group=attachment.group)
    try:
        host.execute(message)
    except CniError as error:
        if error.errno != EEXIST:
            raise
        existing = task.container.rtnl.link(inner)
        if existing:
            raise CniError(
                INTERFACE_EXISTS,
                f"the container already has an interface {inner} ({existing.kind or 'physical'}), by which it is to "
                "reach the host",
                "Remove it, or choose another CNI_IFNAME.",
            ) from None
        remove(attachment, task.host)  # of the same attachment in a namespace that it is no longer in
        host.execute(message)


def _conflict(wanted: list[Route], end: Link, host: Rtnl) -> CniError:
    """Names the route that is in the way of one of ours."""
    destinations = {route.dst for route in wanted}
    for family in (AF_INET, AF_INET6):
        for route in host.routes(family):
            if route.dst in destinations and route.table == RT_TABLE_MAIN and route.links != [end.index]:
                link = host.link(index=route.links[0]) if route.links else None
                return CniError(
                    ROUTE_CONFLICT,
                    f"the host already has the route {route}{f' dev {link.name}' if link else ''}",
                    "It is to reach the container another way, by `hostAccess`: remove the route, or leave that out.",
                    path=("hostAccess",),
                )
    return CniError(ROUTE_CONFLICT, "the host had a route to the container's address", path=("hostAccess",))


# The host's addresses


def own_addresses(parent: Link, host: Rtnl) -> list[Cidr]:
    """Of each family those that the host has on the parent, for good and for everybody; where there are none, the one
    from which it speaks by its default route.
    """
    found = [address.cidr for address in host.addresses(parent.index) if _is_fit(address)]
    families = {cidr.family for cidr in found}
    return found + [cidr for family in (AF_INET, AF_INET6) if family not in families for cidr in _default(family, host)]


def _is_fit(address: InterfaceAddress) -> bool:
    return address.scope == RT_SCOPE_UNIVERSE and not address.flags & _UNFIT[address.cidr.family]


def _default(family: int, host: Rtnl) -> list[Cidr]:
    """The source address of the default route: the one that it names, or the link's nearest to the next hop."""
    routes = [
        route
        for route in host.routes(family)
        if route.dst.length == 0 and route.links and route.table == RT_TABLE_MAIN and route.type == RTN_UNICAST
    ]
    for route in sorted(routes, key=lambda route: route.priority)[:1]:
        fit = [address.cidr for address in host.addresses(route.links[0]) if _is_fit(address)]
        fit = [cidr for cidr in fit if cidr.family == family]
        named = [Cidr(route.source, route.source.bits)] if route.source else []
        beside = [cidr for cidr in fit if route.gateway and route.gateway in cidr]
        return (named or beside or fit)[:1]
    return []


def _named(wanted: list[Address], host: Rtnl) -> list[Cidr]:
    """The addresses of a list, with their subnets. CniError where one is not the host's, or cannot be reached."""
    there = {address.cidr.address: address for address in host.addresses()}
    for address in wanted:
        found = there.get(address)
        if not found or found.scope == RT_SCOPE_HOST or (address.family == AF_INET6 and found.scope == RT_SCOPE_LINK):
            raise CniError(
                INVALID_CONFIG,
                f"{address} is {'an address that others cannot reach' if found else 'not an address of this host'}",
                "`ip address` lists those of this host; `true` stands for those that it has on the parent.",
                path=("hostAccess",),
            )
    return [there[address].cidr for address in wanted]


# What leads where


def routes_to_container(own: list[Cidr], addresses: list[Cidr], end: int) -> list[Route]:
    """On the host, by its end of the pair, to each address of the container's in a family that the host has.

    The host speaks from an address that the container has a route to. An IPv4 route that says so is removed with that
    address (fib_sync_down_addr, net/ipv4/fib_semantics.c), as when a DHCP lease is renewed late; behind it stands one
    that leaves the choice to the kernel. Of an IPv6 route the kernel then only forgets that it said so, and the metric
    is there to win over others'.
    """
    made = []
    for mine in own:
        source = _nearest(mine, addresses)
        if not source:
            continue
        dst = Cidr(mine.address, mine.address.bits)
        ranks = ((0, source.address), (1, None)) if mine.family == AF_INET else ((1, source.address),)
        made += [
            Route(dst, None, [end], priority=priority, protocol=HOST_ACCESS_PROTOCOL, source=speaker)
            for priority, speaker in ranks
        ]
    return made


def routes_to_host(
    own: list[Cidr], addresses: list[Cidr], prefixes: list[Cidr], end: int, *, carrier: bool
) -> list[Route]:
    """In the container, by its end of the pair, to each address of the host's and each prefix of the families it has.

    carrier: of the parent. Without it an IPv6 address is tentative, and nobody may speak from it yet.
    """
    made = []
    for to in [Cidr(address.address, address.address.bits) for address in addresses] + prefixes:
        source = _nearest(to, own)
        if source:
            speaker = source.address if carrier or to.family == AF_INET else None
            made.append(Route(to, None, [end], protocol=HOST_ACCESS_PROTOCOL, source=speaker))
    return made


def _nearest(to: Cidr, addresses: list[Cidr]) -> Cidr | None:
    """The address of the other's family, best one in whose subnet it is."""
    alike = [one for one in addresses if one.family == to.family]
    return next((one for one in alike if to.address in one), alike[0] if alike else None)


# CHECK


def verify(task: Task, result: Result, ips: list[IP]) -> None:
    """CHECK: raises CHECK_DIFFERS unless the pair of the result is there, and the routes by it.

    To a host's address that is no longer the host's there need be none.
    """
    attachment = task.attachment
    outer, inner = host_end(attachment), container_end(attachment.ifname)
    if not any(interface.name == outer and not interface.sandbox for interface in result.interfaces):
        return
    host, inside = task.host.rtnl, task.container.rtnl
    end, other = host.link(outer), inside.link(inner)
    for link, name, where in ((end, outer, "the host"), (other, inner, "the container")):
        if not link or link.kind != KIND:
            raise _differs(f"{where} has no interface {name}, by which host and container reach each other")
        if not link.up:
            raise _differs(f"{name} is down, by which host and container reach each other")
    assert end and other
    if other.parent != end.index or other.alias != attachment.link_name:
        raise _differs(f"{inner} does not lead to {outer}")
    access = task.network.host_access
    present = {address.cidr.address for address in host.addresses()}
    required = {address for address in (access.addresses if access else []) if address in present}
    for family in {ip.cidr.family for ip in ips}:
        there = host.routes(family, end.index)
        reached = {route.dst for route in there}
        led = {route.dst for route in inside.routes(family, other.index)}
        # In a family that the host had no address of there are none, on either side.
        for address in [ip.cidr.address for ip in ips if reached or led]:
            if address.family == family and Cidr(address, address.bits) not in reached:
                raise _differs(f"the host lacks the route {address} dev {outer}")
        for address in required | {route.source for route in there if route.source}:
            if address.family == family and Cidr(address, address.bits) not in led:
                raise _differs(f"the container lacks the route {address} dev {inner}")


def _differs(what: str) -> CniError:
    return CniError(
        CHECK_DIFFERS, what, "Something changed it after ADD; make the container anew.", path=("hostAccess",)
    )
