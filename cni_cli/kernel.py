"""The door to pyroute2: what the commands for people ask the kernel, as values.

What an ADD would find and decide, they have from the plugin's own code, with its own codec (`parents.plan` and the
rest of cni_core), so that they say what it will do. Everything else they ask here. pyroute2 takes a tenth of a second
to import: the first Kernel pays for it, and no call of a runtime.
"""

from __future__ import annotations

import errno
import os
import time
from _socket import AF_INET, AF_INET6
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_DGRAM, socket
from typing import TYPE_CHECKING, Any

from cni_core.address import Address, Cidr
from cni_core.errors import KERNEL_REFUSED, TRY_AGAIN_LATER, CniError
from cni_core.rtnl.messages import (
    IFF_LOOPBACK,
    IFF_LOWER_UP,
    IFF_UP,
    NLM_F_DUMP_INTR,
    RT_TABLE_MAIN,
    RTEXT_FILTER_SKIP_STATS,
)
from cni_core.rtnl.neighbours import NUD_DELAY, NUD_PERMANENT, NUD_PROBE, NUD_REACHABLE, NUD_STALE
from cni_core.rtnl.socket import (
    NETLINK_EXT_ACK,
    NETLINK_ROUTE,
    SOL_NETLINK,
)

if TYPE_CHECKING:
    from typing import TypeVar

    from cni_core.netns import Place

    T = TypeVar("T")

IFF_PROMISC = 0x100  # linux/if.h
RTEXT_FILTER_BRVLAN = 1 << 1  # linux/rtnetlink.h
AF_BRIDGE = 7  # linux/socket.h
NUD_INCOMPLETE = 0x01  # linux/neighbour.h
NTF_USE = 0x01
_HEARD = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT
_ASKING = NUD_INCOMPLETE | NUD_DELAY | NUD_PROBE
_DUMP_TRIES = 5
# Of addresses that are asked for at once: the kernel holds 512 entries of neighbours without a thought (gc_thresh2).
_AT_ONCE = 200
_SECONDS = 3.5  # three questions, one a second (mcast_solicit, retrans_time_ms), and the wait for the last answer
_LOOK_SECONDS = 0.05
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL)  # the last three: by the route's type


@dataclass(frozen=True)
class Link:
    """A network device, in the words of `ip -d link`.

    parent is the index of the link it lies on (0: none), which is in another namespace if parent_nsid is not None;
    master the index of the bridge or bond it is a port of; vlan its VLAN id (0: it is no VLAN); mode a macvlan's or an
    ipvlan's; filters_vlans that it is a bridge which does; mac is its hardware address, as text.
    """

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    flags: int
    alias: str = ""
    altnames: tuple[str, ...] = ()
    parent: int = 0
    parent_nsid: int | None = None
    master: int = 0
    vlan: int = 0
    mode: str = ""
    filters_vlans: bool = False

    @property
    def up(self) -> bool:
        return bool(self.flags & IFF_UP)

    @property
    def carrier(self) -> bool:
        """Whether a cable is plugged in (IFF_LOWER_UP, netdevice(7))."""
        return bool(self.flags & IFF_LOWER_UP)

    @property
    def loopback(self) -> bool:
        return bool(self.flags & IFF_LOOPBACK)

    @property
    def promiscuous(self) -> bool:
        return bool(self.flags & IFF_PROMISC)


@dataclass(frozen=True)
class InterfaceAddress:
    """cidr is an address with its length, on the link of that index."""

    index: int
    cidr: Cidr


@dataclass(frozen=True)
class Route:
    """links are the indices of the links that it leads to; source the address that the host speaks from by it; type
    RTN_*, protocol RTPROT_*."""

    dst: Cidr
    gateways: tuple[Address, ...]
    links: tuple[int, ...]
    table: int
    priority: int
    protocol: int
    type: int
    source: Address | None = None

    def __str__(self) -> str:
        return f"{self.dst} via {self.gateways[0]}" if self.gateways else str(self.dst)


@dataclass(frozen=True)
class Rule:
    """That packets are sent by a table (`ip rule`); of rules, the one with the lowest priority is tried first."""

    family: int
    priority: int
    table: int


@dataclass(frozen=True)
class Neighbour:
    """Who has an address on the link of that index: mac is empty where nobody answered."""

    index: int
    address: Address
    mac: str
    state: int

    @property
    def answered(self) -> bool:
        return bool(self.state & _HEARD and self.mac)


class LinkGone(CniError):
    """A link that was there went while it was asked about."""

    def __init__(self, name: str) -> None:
        super().__init__(TRY_AGAIN_LATER, f"the link {name} went while it was asked about", "Call it again.")


class Kernel:
    """An open socket in a network namespace, to the end of a with block. CniError where the kernel refuses."""

    def __init__(self, place: Place | None = None) -> None:
        """place: the namespace; by default our own."""
        from pyroute2 import IPRoute
        from pyroute2.netlink.exceptions import NetlinkError

        self._refusal: type[Exception] = NetlinkError
        if place is None:
            self._socket = _to_the_kernel()
        else:
            with place.entered():
                self._socket = _to_the_kernel()
        self._route: Any = IPRoute(use_socket=self._socket)

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        self._route.close()
        self._socket.close()

    # Links

    def links(self) -> list[Link]:
        ask = lambda: self._route.link("dump", ext_mask=RTEXT_FILTER_SKIP_STATS)  # noqa: E731
        return self._dump("list links", ask, _link)

    def link(self, name: str = "", index: int = 0) -> Link | None:
        """By its name, be it an alternative one, or its index; None where there is none."""
        about = {"index": index} if index else {"ifname" if len(os.fsencode(name)) < 16 else "altname": name}
        try:
            found = self._route.link("get", ext_mask=RTEXT_FILTER_SKIP_STATS, **about)
        except self._refusal as error:
            if _code(error) in (errno.ENODEV, errno.ENOENT):
                return None
            raise _refused(f"look up link {name or index}", error) from None
        return _link(found[0])

    def make_link(self, name: str, kind: str, below: Link | None = None, **attributes: Any) -> None:
        """attributes: pyroute2's names of what the kind needs, as vlan_id."""
        on = {"link": below.index} if below else {}
        self._do(f"create {name}", lambda: self._route.link("add", ifname=name, kind=kind, **on, **attributes))

    def remove_link(self, link: Link) -> None:
        self._do(f"delete {link.name}", lambda: self._route.link("del", index=link.index))

    def vlans(self, bridge: Link) -> frozenset[int]:
        """The VLANs of which a bridge is a member itself: what it does not know of, it drops, if it filters VLANs."""
        ask = lambda: self._route.link("dump", family=AF_BRIDGE, ext_mask=RTEXT_FILTER_BRVLAN)  # noqa: E731
        of_links = self._dump("list the VLANs of a bridge", ask, _vlans)
        return frozenset(vlan for index, vlans in of_links if index == bridge.index for vlan in vlans)

    # Addresses, neighbours

    def addresses(self, link: Link | None = None) -> list[InterfaceAddress]:
        """Of a link, by default of all, both families. LinkGone."""
        about = {"index": link.index} if link else {}
        found = self._dump("list addresses", lambda: self._route.addr("dump", **about), _interface_address)
        if link and not found and not self.link(index=link.index):
            raise LinkGone(link.name)
        return found

    def neighbours(self, link: Link) -> list[Neighbour]:
        """What the kernel knows of who is on the wire of a link."""
        ask = lambda: self._route.neigh("dump", ifindex=link.index)  # noqa: E731
        return [one for one in self._dump("list neighbours", ask, _neighbour) if one.index == link.index]

    def who_has(self, link: Link, addresses: Iterable[Address]) -> dict[Address, str]:
        """The addresses that somebody on the wire of a link answered for, each with the hardware address of who did.

        The kernel asks, as for a packet that it would send: by ARP, or by neighbour discovery where the host has an
        IPv6 address there. What it knew before is asked anew. Takes some four seconds where one of them is silent.
        LinkGone.
        """
        asked = list(dict.fromkeys(addresses))
        found: dict[Address, str] = {}
        for at in range(0, len(asked), _AT_ONCE):
            found |= self._who_has(link, asked[at : at + _AT_ONCE])
        return found

    def _who_has(self, link: Link, addresses: Sequence[Address]) -> dict[Address, str]:
        permanent = {one.address: one.mac for one in self.neighbours(link) if one.state & NUD_PERMANENT}
        asked = [address for address in addresses if address not in permanent]
        try:
            self._forget(link, asked)
            for address in asked:
                self._neighbour("replace", link, address, flags=NTF_USE, state=0)
            until = time.monotonic() + _SECONDS
            while True:
                known = [one for one in self.neighbours(link) if one.address in asked]
                waiting = any(one.state & _ASKING and not one.answered for one in known)
                if not waiting or time.monotonic() > until:
                    break
                time.sleep(_LOOK_SECONDS)
        except CniError:
            if not self.link(index=link.index):
                raise LinkGone(link.name) from None
            raise
        finally:
            self._forget(link, asked)
        answers = {one.address: one.mac for one in known if one.answered}
        return answers | {address: mac for address, mac in permanent.items() if address in addresses}

    def _forget(self, link: Link, addresses: Iterable[Address]) -> None:
        for address in addresses:
            try:
                self._neighbour("del", link, address)
            except CniError:  # there is none, or the link went
                continue

    def _neighbour(self, command: str, link: Link, address: Address, **more: int) -> None:
        about = {"ifindex": link.index, "dst": str(address), "family": address.family}
        self._do(f"ask who has {address}", lambda: self._route.neigh(command, **about, **more))

    # Routes

    def routes(self, family: int, table: int = RT_TABLE_MAIN) -> list[Route]:
        """Of a table, in the kernel's order."""
        ask = lambda: self._route.route("dump", family=family)  # noqa: E731
        return [route for route in self._dump("list routes", ask, _route) if route.table == table]

    def way_to(self, address: Address) -> Route | None:
        """By which the host would send a packet to an address, after all its rules and tables; None: by none."""
        try:
            found = self._route.route("get", dst=str(address), dst_len=address.bits)
        except self._refusal as error:
            if _code(error) in _NO_WAY:
                return None
            raise _refused(f"look up the way to {address}", error) from None
        return _route(found[0])

    def rules(self, family: int) -> list[Rule]:
        return self._dump("list rules", lambda: self._route.rule("dump", family=family), _rule)

    # How it asks

    def _do(self, purpose: str, action: Callable[[], Any]) -> None:
        try:
            action()
        except self._refusal as error:
            raise _refused(purpose, error) from None

    def _dump(self, purpose: str, ask: Callable[[], Iterable[Any]], read: Callable[[Any], T | None]) -> list[T]:
        """What read makes of each message, where that is not None."""
        for _ in range(_DUMP_TRIES):
            try:
                messages = list(ask())
            except self._refusal as error:
                raise _refused(purpose, error) from None
            # Something changed while the kernel listed it: entries may be missing (linux/netlink.h).
            if not any(message["header"]["flags"] & NLM_F_DUMP_INTR for message in messages):
                break
        return [value for message in messages if (value := read(message)) is not None]


def _to_the_kernel() -> socket:
    """A socket that takes datagrams of the kernel alone: a container's root could else answer in its place
    (netlink_getsockbyportid, net/netlink/af_netlink.c)."""
    made = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_ROUTE)
    made.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
    made.connect((0, 0))
    return made


def _code(error: Exception) -> int:
    return int(getattr(error, "code", 0))


def _refused(purpose: str, error: Exception) -> CniError:
    code = _code(error)
    name = errno.errorcode.get(code, str(code))
    return CniError(KERNEL_REFUSED, f"could not {purpose}: {os.strerror(code)} ({name})")


# What pyroute2 makes of a message, as a value: message["FIELD"] of its header, get_attr("ATTRIBUTE") of the rest.


def _link(message: Any) -> Link:
    info: Any = message.get_attr("IFLA_LINKINFO")
    kind = (info.get_attr("IFLA_INFO_KIND") if info else None) or ""
    data: Any = info.get_attr("IFLA_INFO_DATA") if info else None
    of_kind: Callable[[str], Any] = data.get_attr if hasattr(data, "get_attr") else lambda _: None
    properties = message.get_attr("IFLA_PROP_LIST")
    return Link(
        index=message["index"],
        name=_text(message.get_attr("IFLA_IFNAME")),
        kind=kind,
        mac=message.get_attr("IFLA_ADDRESS") or "",
        mtu=message.get_attr("IFLA_MTU") or 0,
        flags=message["flags"],
        alias=_text(message.get_attr("IFLA_IFALIAS")),
        altnames=tuple(map(_text, properties.get_attrs("IFLA_ALT_IFNAME"))) if properties else (),
        parent=message.get_attr("IFLA_LINK") or 0,
        parent_nsid=message.get_attr("IFLA_LINK_NETNSID"),
        master=message.get_attr("IFLA_MASTER") or 0,
        vlan=(of_kind("IFLA_VLAN_ID") or 0) if kind == "vlan" else 0,
        mode=_mode(kind, of_kind),
        filters_vlans=kind == "bridge" and bool(of_kind("IFLA_BR_VLAN_FILTERING")),
    )


_IPVLAN_MODES = ("l2", "l3", "l3s")  # enum ipvlan_mode, linux/if_link.h


def _mode(kind: str, of_kind: Callable[[str], Any]) -> str:
    if kind == "macvlan":
        return str(of_kind("IFLA_MACVLAN_MODE") or "")
    if kind == "ipvlan":
        number = of_kind("IFLA_IPVLAN_MODE")
        return _IPVLAN_MODES[number] if number in range(len(_IPVLAN_MODES)) else ""
    return ""


def _vlans(message: Any) -> tuple[int, list[int]]:
    """Of a link that is a bridge, or a port of one."""
    of_bridge = message.get_attr("IFLA_AF_SPEC")
    found = of_bridge.get_attrs("IFLA_BRIDGE_VLAN_INFO") if of_bridge else []
    return message["index"], [one["vid"] for one in found]


def _interface_address(message: Any) -> InterfaceAddress | None:
    text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    return InterfaceAddress(message["index"], Cidr(_address(text), message["prefixlen"])) if text else None


def _neighbour(message: Any) -> Neighbour | None:
    text = message.get_attr("NDA_DST")
    if message["family"] not in (AF_INET, AF_INET6) or not text:
        return None
    return Neighbour(message["ifindex"], _address(text), message.get_attr("NDA_LLADDR") or "", message["state"])


def _route(message: Any) -> Route | None:
    family = message["family"]
    if family not in (AF_INET, AF_INET6):
        return None
    text = message.get_attr("RTA_DST")
    source = message.get_attr("RTA_PREFSRC")
    return Route(
        dst=Cidr(_address(text) if text else Address(family, 0), message["dst_len"]),
        gateways=tuple(_gateways(message)),
        links=tuple(_links(message)),
        table=message.get_attr("RTA_TABLE") or message["table"],
        priority=message.get_attr("RTA_PRIORITY") or 0,
        protocol=message["proto"],
        type=message["type"],
        source=_address(source) if source else None,
    )


def _links(message: Any) -> Iterator[int]:
    link = message.get_attr("RTA_OIF")
    if link:
        yield link
    yield from (hop["oif"] for hop in message.get_attr("RTA_MULTIPATH") or ())


def _gateways(message: Any) -> Iterator[Address]:
    for hop in (message, *(message.get_attr("RTA_MULTIPATH") or ())):
        text = hop.get_attr("RTA_GATEWAY")
        if text:
            yield _address(text)


def _rule(message: Any) -> Rule:
    table = message.get_attr("FRA_TABLE") or message["table"]
    return Rule(message["family"], message.get_attr("FRA_PRIORITY") or 0, table)


def _text(told: str | bytes | None) -> str:
    """A name may be any bytes: where it is no UTF-8, pyroute2 leaves it as it is."""
    return told.rstrip(b"\0").decode(errors="surrogateescape") if isinstance(told, bytes) else told or ""


def _address(text: str) -> Address:
    return Address.parse(text)
