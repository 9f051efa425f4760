"""Values to rtnetlink bytes and back, without I/O (rtnetlink(7), netlink(7)).

Requests are Message objects, not yet numbered; replies are read into Link, InterfaceAddress and Route. Each constant
names its kernel header.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, AF_UNSPEC
from _struct import Struct

from cni_core.address import Address, Cidr
from cni_core.errors import KERNEL_REFUSED, CniError
from cni_core.names import LONGEST_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# linux/netlink.h
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_OVERRUN = 4
NLM_F_REQUEST = 0x1
NLM_F_MULTI = 0x2
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200
NLM_F_EXCL = 0x200
NLM_F_DUMP = 0x300
NLM_F_CREATE = 0x400
NLMSGERR_ATTR_MSG = 1
NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF

# linux/rtnetlink.h
RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_GETADDR = 22
RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26
RTNLGRP_IPV6_IFADDR = 9
RT_TABLE_MAIN = 254
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_SCOPE_HOST = 254
RTPROT_BOOT = 3
USER_METRIC = 1024  # of an IPv6 route that is given none (IP6_RT_PRIO_USER)
RTN_UNICAST = 1
RTEXT_FILTER_SKIP_STATS = 1 << 3
RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PRIORITY = 6
RTA_PREFSRC = 7
RTA_METRICS = 8
RTA_MULTIPATH = 9
RTA_TABLE = 15
RTAX_MTU = 2
RTAX_ADVMSS = 8

# linux/if_link.h
IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_LINK = 5
IFLA_MASTER = 10
IFLA_LINKINFO = 18
IFLA_IFALIAS = 20
IFLA_AF_SPEC = 26
IFLA_GROUP = 27
IFLA_NET_NS_FD = 28
IFLA_EXT_MASK = 29
IFLA_LINK_NETNSID = 37
IFLA_ALT_IFNAME = 53
IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
IFLA_VLAN_ID = 1
IFLA_INET6_TOKEN = 7
VETH_INFO_PEER = 1  # linux/veth.h

# linux/if_addr.h
IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_LABEL = 3
IFA_BROADCAST = 4
IFA_FLAGS = 8
IFA_F_TEMPORARY = 0x01
IFA_F_NODAD = 0x02
IFA_F_DADFAILED = 0x08
IFA_F_DEPRECATED = 0x20
IFA_F_TENTATIVE = 0x40

# linux/if.h
IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_NOARP = 0x80
IFF_LOWER_UP = 0x10000

ARPHRD_ETHER = 1  # linux/if_arp.h

_NLMSGHDR = Struct("=IHHII")  # length, type, flags, sequence, port id
_NLATTR = Struct("=HH")  # length, type
_IFINFOMSG = Struct("=BxHiII")  # family, device type, index, flags, change mask
_IFADDRMSG = Struct("=BBBBI")  # family, prefix length, flags, scope, index
_RTMSG = Struct("=BBBBBBBBI")  # family, dst length, src length, tos, table, protocol, scope, type, flags
_RTNEXTHOP = Struct("=HBBi")  # length, flags, hops, index
_U16 = Struct("=H")
_U32 = Struct("=I")
_S32 = Struct("=i")


class Message:
    """One request: its type, flags and body, and what it is for, in words that fit "could not …"."""

    __slots__ = ("body", "flags", "kind", "purpose")

    def __init__(self, kind: int, flags: int, body: bytes, purpose: str) -> None:
        self.kind = kind
        self.flags = flags
        self.body = body
        self.purpose = purpose

    def encode(self, sequence: int, flags: int) -> bytes:
        """The message with its header; flags are added to the message's own."""
        header = _NLMSGHDR.pack(_NLMSGHDR.size + len(self.body), self.kind, self.flags | flags, sequence, 0)
        return header + self.body


def malformed(why: str) -> CniError:
    """The error for bytes that are no netlink message: truncated, or of an impossible length."""
    return CniError(KERNEL_REFUSED, f"the kernel's netlink reply is malformed: {why}")


Reply = tuple[int, int, int, bytes]  # one message as received: type, flags, sequence number and body


def decode(datagram: bytes) -> list[Reply]:
    """The messages of one datagram. CniError where they are none, or the kernel says that some were lost."""
    replies = []
    at, size, header = 0, len(datagram), _NLMSGHDR.unpack_from
    while at < size:
        if size - at < 16:
            raise malformed("a header is cut short")
        length, kind, flags, sequence, _ = header(datagram, at)
        end = at + length
        if length < 16 or end > size:
            raise malformed(f"a message says it has {length} bytes")
        if kind == NLMSG_OVERRUN:
            raise malformed("the kernel reports lost data")
        replies.append((kind, flags, sequence, datagram[at + 16 : end]))
        at = (end + 3) & ~3
    return replies


def decode_error(reply: Reply) -> tuple[int, str]:
    """Of an NLMSG_ERROR or NLMSG_DONE: errno (0: success) and the kernel's own words, if any (NLMSGERR_ATTR_MSG)."""
    kind, flags, _, body = reply
    if len(body) < 4 and kind == NLMSG_DONE:
        return 0, ""
    if len(body) < 4:
        raise malformed("an error is cut short")
    errno = -_S32.unpack_from(body)[0]
    if not flags & NLM_F_ACK_TLVS or kind == NLMSG_DONE:
        return errno, ""
    if len(body) < 4 + _NLMSGHDR.size:
        raise malformed("an error is cut short")
    # The request's header follows, and unless NLM_F_CAPPED says that it was left out, the request's body.
    echoed = _NLMSGHDR.size if flags & NLM_F_CAPPED else _NLMSGHDR.unpack_from(body, 4)[0]
    words = attributes(body, 4 + _align(echoed)).get(NLMSGERR_ATTR_MSG, b"")
    return errno, words.rstrip(b"\0").decode("utf-8", "replace")


# Attributes


def attribute(kind: int, payload: bytes) -> bytes:
    """A padded attribute (struct nlattr)."""
    length = _NLATTR.size + len(payload)
    return _NLATTR.pack(length, kind) + payload + bytes(-length & 3)


def u16(kind: int, value: int) -> bytes:
    return attribute(kind, _U16.pack(value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, _U32.pack(value))


def string(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def attributes(body: bytes, at: int = 0) -> dict[int, bytes]:
    """The attributes from an offset on, a multiple of 4, by type; of a repeated type the last.

    Written for speed: a link has sixty of them, and what is done for each was a sixth of all that an ADD executes.
    """
    found = {}
    header = _NLATTR.unpack_from
    length, last = 4, len(body) - 4  # where a header can begin at most
    while at <= last:
        length, kind = header(body, at)
        if length < 4:
            break
        found[kind & _NLA_TYPE_MASK] = body[at + 4 : at + length]
        at += (length + 3) & ~3
    if length < 4 or (found and at - (-length & 3) > len(body)):
        raise malformed(f"an attribute says it has {length} bytes")
    return found


def _align(length: int) -> int:
    return (length + 3) & ~3


def _number(packed: bytes | None) -> int:
    """A u8, u16 or u32 attribute in host order, 0 where it is absent."""
    return int.from_bytes(packed or b"", "little" if _U16.pack(1)[0] else "big")


def _address(packed: bytes) -> Address:
    if len(packed) not in (4, 16):
        raise malformed(f"an address of {len(packed)} bytes")
    return Address.from_packed(packed)


def _cidr(packed: bytes, length: int) -> Cidr:
    address = _address(packed)
    if length > address.bits:
        raise malformed(f"a prefix length of {length}")
    return Cidr(address, length)


def _text(packed: bytes) -> str:
    return packed.rstrip(b"\0").decode("utf-8", "surrogateescape")


def unpack_header(struct: Struct, body: bytes) -> tuple[int, ...]:
    """What a reply begins with. CniError where it is shorter."""
    if len(body) < struct.size:
        raise malformed(f"{len(body)} bytes where {struct.size} are the least")
    return struct.unpack_from(body)


# Links


class Link:
    """A network device as RTM_NEWLINK tells of it.

    parent is the index of the link below (IFLA_LINK, 0: none), which lies in another namespace if parent_nsid is not
    None; master the index of the bridge or bond it is a port of; group a number by which several links are removed at
    once; kind and data are IFLA_LINKINFO's, alias is IFLA_IFALIAS; type is the kind of its hardware address (ARPHRD_*).
    """

    __slots__ = (
        "alias",
        "data",
        "flags",
        "group",
        "index",
        "kind",
        "mac",
        "master",
        "mtu",
        "name",
        "parent",
        "parent_nsid",
        "type",
    )

    def __init__(self, body: bytes) -> None:
        _, self.type, self.index, self.flags, _ = unpack_header(_IFINFOMSG, body)
        found = attributes(body, _IFINFOMSG.size)
        self.name = _text(found.get(IFLA_IFNAME, b""))
        self.alias = _text(found.get(IFLA_IFALIAS, b""))
        self.group = _number(found.get(IFLA_GROUP))
        self.mtu = _number(found.get(IFLA_MTU))
        self.mac = found.get(IFLA_ADDRESS, b"")
        self.parent = _number(found.get(IFLA_LINK))
        nsid = found.get(IFLA_LINK_NETNSID)
        self.parent_nsid = None if nsid is None else _number(nsid)
        self.master = _number(found.get(IFLA_MASTER))
        info = attributes(found.get(IFLA_LINKINFO, b""))
        self.kind = _text(info.get(IFLA_INFO_KIND, b""))
        self.data = attributes(info.get(IFLA_INFO_DATA, b""))

    @property
    def up(self) -> bool:
        return bool(self.flags & IFF_UP)

    @property
    def carrier(self) -> bool:
        """Whether the link layer is up: a cable is plugged in (IFF_LOWER_UP, netdevice(7))."""
        return bool(self.flags & IFF_LOWER_UP)

    @property
    def loopback(self) -> bool:
        return bool(self.flags & IFF_LOOPBACK)

    def number(self, kind: int) -> int:
        """An integer of IFLA_INFO_DATA, 0 where it is absent."""
        return _number(self.data.get(kind))


def get_link(name: str = "", index: int = 0) -> Message:
    """RTM_GETLINK for one link, by name, be it an alternative one, or by index: the kernel looks it up, no dump."""
    body = _IFINFOMSG.pack(AF_UNSPEC, 0, index, 0, 0) + u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    if name:
        body += string(IFLA_IFNAME if len(name.encode()) <= LONGEST_NAME else IFLA_ALT_IFNAME, name)
    return Message(RTM_GETLINK, 0, body, f"look up link {name or index}")


def get_links() -> Message:
    """RTM_GETLINK: a dump of the namespace's links."""
    return Message(RTM_GETLINK, NLM_F_DUMP, get_link().body, "list links")


def new_link(
    name: str, kind: str, data: bytes, *, parent: int, netns: int, mtu: int, mac: bytes, group: int = 0
) -> Message:
    """RTM_NEWLINK: a link of a kind on a parent's index, made straight in the namespace of a descriptor.

    data are the attributes of IFLA_INFO_DATA; mac may be empty (the kernel chooses); group is 0 for none in particular.
    """
    info = string(IFLA_INFO_KIND, kind) + attribute(IFLA_INFO_DATA | NLA_F_NESTED, data)
    body = (
        _IFINFOMSG.pack(AF_UNSPEC, 0, 0, 0, 0)
        + string(IFLA_IFNAME, name)
        + u32(IFLA_LINK, parent)
        + u32(IFLA_MTU, mtu)
        + u32(IFLA_NET_NS_FD, netns)
        + attribute(IFLA_LINKINFO | NLA_F_NESTED, info)
    )
    if mac:
        body += attribute(IFLA_ADDRESS, mac)
    if group:
        body += u32(IFLA_GROUP, group)
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"create the {kind} link")


def new_pair(name: str, peer: str, *, netns: int, mac: bytes, mtu: int, group: int) -> Message:
    """RTM_NEWLINK: a veth in the socket's namespace whose peer, of a group, is in that of a descriptor.

    Both have the same hardware address and ask nobody for another's (IFF_NOARP): what is sent by one, the other takes.
    The kernel lets neither be made up (ENOTCONN, net/core/rtnetlink.c by veth_open).
    """
    header = _IFINFOMSG.pack(AF_UNSPEC, 0, 0, IFF_NOARP, IFF_NOARP)
    both = attribute(IFLA_ADDRESS, mac) + u32(IFLA_MTU, mtu)
    inside = header + string(IFLA_IFNAME, peer) + both + u32(IFLA_NET_NS_FD, netns) + u32(IFLA_GROUP, group)
    info = string(IFLA_INFO_KIND, "veth") + attribute(
        IFLA_INFO_DATA | NLA_F_NESTED, attribute(VETH_INFO_PEER | NLA_F_NESTED, inside)
    )
    body = header + string(IFLA_IFNAME, name) + both + attribute(IFLA_LINKINFO | NLA_F_NESTED, info)
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"create {name}")


def new_parent(name: str, kind: str, data: bytes, *, below: int) -> Message:
    """RTM_NEWLINK: a link in the socket's own namespace; below is the index of the link it lies on, 0: none."""
    info = string(IFLA_INFO_KIND, kind) + attribute(IFLA_INFO_DATA | NLA_F_NESTED, data)
    body = _IFINFOMSG.pack(AF_UNSPEC, 0, 0, 0, 0) + string(IFLA_IFNAME, name)
    if below:
        body += u32(IFLA_LINK, below)
    body += attribute(IFLA_LINKINFO | NLA_F_NESTED, info)
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"create {name}")


def mark(index: int, name: str, alias: str) -> Message:
    """RTM_NEWLINK on a link that exists: its name and alias (which none can be made with)."""
    body = _IFINFOMSG.pack(AF_UNSPEC, 0, index, 0, 0) + string(IFLA_IFNAME, name)
    return Message(RTM_NEWLINK, 0, body + string(IFLA_IFALIAS, alias), f"name the link {name}")


def mark_and_raise(index: int, name: str, alias: str) -> Message:
    """The same, and up."""
    body = _IFINFOMSG.pack(AF_UNSPEC, 0, index, IFF_UP, IFF_UP) + string(IFLA_IFNAME, name)
    return Message(RTM_NEWLINK, 0, body + string(IFLA_IFALIAS, alias), f"name the link {name} and bring it up")


def raise_link(index: int) -> Message:
    """RTM_NEWLINK on a link that has its name, which none can be given while it is up: up."""
    return Message(RTM_NEWLINK, 0, _IFINFOMSG.pack(AF_UNSPEC, 0, index, IFF_UP, IFF_UP), "bring the link up")


def announce(link: Link) -> Message:
    """RTM_NEWLINK that sets the hardware address a link has: upon which the kernel announces its IPv4 addresses where
    arp_notify is set (NETDEV_CHANGEADDR, inetdev_event, net/ipv4/devinet.c).
    """
    body = _IFINFOMSG.pack(AF_UNSPEC, 0, link.index, 0, 0) + attribute(IFLA_ADDRESS, link.mac)
    return Message(RTM_NEWLINK, 0, body, "announce the addresses")


def set_token(index: int, token: Address) -> Message:
    """RTM_NEWLINK that sets the interface identifier of addresses from routers' advertisements, as `ip token set`."""
    of_ipv6 = attribute(AF_INET6 | NLA_F_NESTED, attribute(IFLA_INET6_TOKEN, token.packed))
    body = _IFINFOMSG.pack(AF_UNSPEC, 0, index, 0, 0) + attribute(IFLA_AF_SPEC | NLA_F_NESTED, of_ipv6)
    return Message(RTM_NEWLINK, 0, body, f"set the token {token}")


def del_link(index: int) -> Message:
    """RTM_DELLINK."""
    return Message(RTM_DELLINK, 0, _IFINFOMSG.pack(AF_UNSPEC, 0, index, 0, 0), f"delete link {index}")


def del_group(group: int) -> Message:
    """RTM_DELLINK of every link of the group in the socket's namespace, for one grace period, as of a link alone.

    One that cannot be deleted, as lo, makes the kernel refuse it all (EOPNOTSUPP; rtnl_group_dellink).
    """
    body = _IFINFOMSG.pack(AF_UNSPEC, 0, 0, 0, 0) + u32(IFLA_GROUP, group)
    return Message(RTM_DELLINK, 0, body, f"delete the links of group {group}")


# Addresses


class InterfaceAddress:
    """An address on a link, as RTM_NEWADDR tells of it: index of the link, cidr, flags (IFA_F_*), scope (RT_SCOPE_*),
    and an IPv4 address's label, by which ifconfig calls it, as in eth0:1.
    """

    __slots__ = ("cidr", "flags", "index", "label", "scope")

    def __init__(self, body: bytes) -> None:
        _, length, flags, self.scope, self.index = unpack_header(_IFADDRMSG, body)
        found = attributes(body, _IFADDRMSG.size)
        self.cidr = _cidr(found.get(IFA_LOCAL) or found.get(IFA_ADDRESS) or b"", length)
        self.flags = _number(found[IFA_FLAGS]) if IFA_FLAGS in found else flags
        self.label = _text(found.get(IFA_LABEL, b""))

    @property
    def tentative(self) -> bool:
        """Not usable yet: duplicate address detection runs."""
        return self.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) == IFA_F_TENTATIVE

    @property
    def duplicate(self) -> bool:
        """Never usable: another host has it."""
        return bool(self.flags & IFA_F_DADFAILED)


def new_address(index: int, cidr: Cidr, *, dad: bool = True) -> Message:
    """RTM_NEWADDR, IPv4 with its subnet's broadcast; without dad an IPv6 address is usable at once, whoever has it."""
    flags = 0 if dad or cidr.family == AF_INET else IFA_F_NODAD
    packed = cidr.address.packed
    body = _IFADDRMSG.pack(cidr.family, cidr.length, flags, RT_SCOPE_UNIVERSE, index)
    body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
    if cidr.family == AF_INET and cidr.length < 31:
        body += attribute(IFA_BROADCAST, cidr.last.packed)
    return Message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, f"add address {cidr}")


def get_addresses(index: int = 0) -> Message:
    """RTM_GETADDR: a dump of the addresses of a link; by default of all."""
    return Message(RTM_GETADDR, NLM_F_DUMP, _IFADDRMSG.pack(AF_UNSPEC, 0, 0, 0, index), "list addresses")


# Routes


class Route:
    """A route, to be made or as RTM_NEWROUTE tells of it.

    dst is a subnet (0.0.0.0/0: the default route); gateway None is a route to the link itself; table and scope are
    the kernel's numbers, None the kernel's choice; mtu, advmss and priority 0 where not set. links: the indices of the
    links it leads to, several for a multipath route, whose gateways are then in gateways; protocol: who made it
    (RTPROT_*); source: the address that packets of ours by it leave from, None the kernel's choice.
    """

    __slots__ = (
        "advmss",
        "dst",
        "gateway",
        "gateways",
        "links",
        "mtu",
        "priority",
        "protocol",
        "scope",
        "source",
        "table",
        "type",
    )

    def __init__(
        self,
        dst: Cidr,
        gateway: Address | None,
        links: list[int],
        *,
        mtu: int = 0,
        advmss: int = 0,
        priority: int = 0,
        table: int | None = None,
        scope: int | None = None,
        type: int = RTN_UNICAST,
        protocol: int = RTPROT_BOOT,
        source: Address | None = None,
    ) -> None:
        self.dst = dst
        self.gateway = gateway
        self.gateways = [gateway]
        self.links = links
        self.mtu = mtu
        self.advmss = advmss
        self.priority = priority
        self.table = table
        self.scope = scope
        self.type = type
        self.protocol = protocol
        self.source = source

    @classmethod
    def decode(cls, body: bytes) -> Route | None:
        """None for a route of another family than IPv4 and IPv6."""
        family, length, _, _, table, protocol, scope, type_, _ = unpack_header(_RTMSG, body)
        if family not in (AF_INET, AF_INET6):
            return None
        found = attributes(body, _RTMSG.size)
        zero = bytes(4 if family == AF_INET else 16)
        metrics = attributes(found.get(RTA_METRICS, b""))
        links = [_number(found[RTA_OIF])] if RTA_OIF in found else []
        hops = found.get(RTA_MULTIPATH, b"")
        gateways = [_gateway(found)] if links or not hops else []
        at = 0
        while len(hops) - at >= _RTNEXTHOP.size:
            hop_length, _, _, index = _RTNEXTHOP.unpack_from(hops, at)
            if hop_length < _RTNEXTHOP.size:
                raise malformed(f"a next hop says it has {hop_length} bytes")
            links.append(index)
            gateways.append(_gateway(attributes(hops[at + _RTNEXTHOP.size : at + hop_length])))
            at += _align(hop_length)
        route = cls(
            _cidr(found.get(RTA_DST, zero), length),
            _gateway(found),
            links,
            mtu=_number(metrics.get(RTAX_MTU)),
            advmss=_number(metrics.get(RTAX_ADVMSS)),
            priority=_number(found.get(RTA_PRIORITY)),
            table=_number(found[RTA_TABLE]) if RTA_TABLE in found else table,
            scope=scope,
            type=type_,
            protocol=protocol,
            source=_address(found[RTA_PREFSRC]) if RTA_PREFSRC in found else None,
        )
        route.gateways = gateways
        return route

    def __str__(self) -> str:
        return f"{self.dst} via {self.gateway}" if self.gateway else str(self.dst)


def of_destinations(destinations: Iterable[Cidr]) -> Callable[[bytes], Route | None]:
    """What reads a route as Route.decode, and gives None for one that leads elsewhere: that is told by its destination
    alone, at a tenth of the cost of reading it whole.
    """
    wanted = {(dst.length, dst.address.packed if dst.length else b"") for dst in destinations}

    def read(body: bytes) -> Route | None:
        length = unpack_header(_RTMSG, body)[1]
        return Route.decode(body) if (length, _first(RTA_DST, body, _RTMSG.size)) in wanted else None

    return read


def _first(wanted: int, body: bytes, at: int) -> bytes:
    """The first attribute of a type, from an offset on; empty where there is none."""
    while len(body) - at >= _NLATTR.size:
        length, kind = _NLATTR.unpack_from(body, at)
        if kind == wanted:
            return body[at + _NLATTR.size : at + length]
        at += max(_align(length), _NLATTR.size)
    return b""


def _gateway(found: dict[int, bytes]) -> Address | None:
    packed = found.get(RTA_GATEWAY)
    return None if packed is None else _address(packed)


def new_route(route: Route, *, beside: bool = True) -> Message:
    """RTM_NEWROUTE; beside others to the same destination, or (not beside) only if there is none.

    Beside another of the same metric an IPv4 route stands before it, and so counts (fib_table_insert in
    net/ipv4/fib_trie.c); an IPv6 route shares the packets with it (ECMP; fib6_add_rt2node in net/ipv6/ip6_fib.c).
    """
    flags = NLM_F_CREATE | (0 if beside else NLM_F_EXCL)
    return Message(RTM_NEWROUTE, flags, _route_body(route), f"add route {route}")


def del_route(route: Route) -> Message:
    """RTM_DELROUTE of the route that has all of this one's values."""
    return Message(RTM_DELROUTE, 0, _route_body(route), f"delete route {route}")


def _route_body(route: Route) -> bytes:
    default_scope = RT_SCOPE_UNIVERSE if route.gateway or route.dst.family == AF_INET6 else RT_SCOPE_LINK
    scope = default_scope if route.scope is None else route.scope
    body = _RTMSG.pack(route.dst.family, route.dst.length, 0, 0, 0, route.protocol, scope, route.type, 0)
    body += attribute(RTA_DST, route.dst.address.packed) + u32(RTA_OIF, route.links[0])
    # The header has eight bits for the table, RTA_TABLE has 32.
    body += u32(RTA_TABLE, route.table or RT_TABLE_MAIN)
    if route.gateway:
        body += attribute(RTA_GATEWAY, route.gateway.packed)
    if route.priority:
        body += u32(RTA_PRIORITY, route.priority)
    if route.source:
        body += attribute(RTA_PREFSRC, route.source.packed)
    metrics = b"".join(
        u32(kind, value) for kind, value in ((RTAX_MTU, route.mtu), (RTAX_ADVMSS, route.advmss)) if value
    )
    if metrics:
        body += attribute(RTA_METRICS | NLA_F_NESTED, metrics)
    return body


def get_routes(family: int, link: int = 0) -> Message:
    """RTM_GETROUTE: a dump of the routes of a family, of all tables; with a link, of those of the main table by it."""
    body = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    if link:
        body += u32(RTA_TABLE, RT_TABLE_MAIN) + u32(RTA_OIF, link)
    return Message(RTM_GETROUTE, NLM_F_DUMP, body, "list routes")
