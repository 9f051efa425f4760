"""A kernel of lists: network namespaces with links, addresses and routes, behind the socket and the place that the
plugins use. It knows as much of macvlan, ipvlan, VLANs and veth pairs as their decisions depend on; tests/kernel asks
the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from errno import EADDRINUSE, EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, EOPNOTSUPP
from socket import AF_UNSPEC
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from cni_core.address import Address, Cidr
from cni_core.errors import INVALID_ENVIRONMENT, UNKNOWN_CONTAINER, CniError
from cni_core.rtnl import messages as m
from cni_core.rtnl.messages import InterfaceAddress, Link, Message, Route
from cni_core.rtnl.socket import refusal

if TYPE_CHECKING:
    from cni_core.rtnl.neighbours import Neighbour

HOST = "/proc/thread-self/ns/net"
_IFINFOMSG, _IFADDRMSG, _NDMSG = 16, 8, 12  # the lengths of the headers (linux/rtnetlink.h, linux/neighbour.h)
_INCOMPLETE = 1  # NUD_INCOMPLETE, linux/neighbour.h
_NEIGHBOURS = (28, 29)  # RTM_NEWNEIGH, RTM_DELNEIGH, linux/rtnetlink.h
_PRIVATE = bytes.fromhex("020000000000")


class Namespace:
    """Its links by index, addresses (index, text, flags) and routes."""

    def __init__(self, kernel: Kernel, path: str, number: int) -> None:
        self.kernel = kernel
        self.path = path
        self.number = number
        self.cookie = kernel.next_cookie()
        self.links: dict[int, Link] = {}
        self.addresses: list[tuple[int, Cidr, int]] = []
        self.labels: dict[str, str] = {}  # of addresses
        self.routes: list[Route] = []
        self.sysctls: dict[tuple[str, ...], str] = {}
        self.neighbours: dict[tuple[int, Address], tuple[int, bytes]] = {}  # of a link's index: state and MAC

    def link(self, name: str = "", *, index: int = 0) -> Link | None:
        found = (link for link in self.links.values() if link.index == index or (name and link.name == name))
        return next(found, None)

    @property
    def names(self) -> list[str]:
        return sorted(link.name for link in self.links.values() if link.name != "lo")


class Kernel:
    """With the host's namespace, which has lo and eth0, up; others by their paths."""

    def __init__(self) -> None:
        self.log: list[str] = []  # the purposes of all messages that were carried out or refused
        self.refuse: dict[str, int] = {}  # the beginning of a message's purpose, and the errno it is refused with
        self.busy: set[bytes] = set()  # hardware addresses that somebody else on every parent has
        self.namespaces: dict[str, Namespace] = {}
        self.neighbours: dict[Address, bytes] = {}  # who on the LAN answers, by the address
        self.entered: Namespace | None = None
        self._next = 1
        self._cookies = 0
        self.host = self.namespace(HOST)
        self.add_link(self.host, "eth0")

    def namespace(self, path: str) -> Namespace:
        """That of the path, made with a lo if there is none."""
        if path not in self.namespaces:
            self.namespaces[path] = made = Namespace(self, path, 4026530000 + len(self.namespaces))
            self.add_link(made, "lo", flags=m.IFF_UP | m.IFF_LOOPBACK | m.IFF_LOWER_UP)
        return self.namespaces[path]

    def next_cookie(self) -> int:
        self._cookies += 1
        return self._cookies

    def add_link(self, where: Namespace, name: str, **attributes: Any) -> Link:
        """attributes: of Link."""
        link = Link.__new__(Link)
        defaults: dict[str, Any] = {"alias": "", "data": {}, "flags": m.IFF_UP | m.IFF_LOWER_UP, "kind": ""}
        defaults |= {
            "group": 0,
            "mac": _PRIVATE[:-1] + bytes([self._next]),
            "master": 0,
            "mtu": 1500,
            "parent": 0,
            "parent_nsid": None,
            "type": m.ARPHRD_ETHER,
        }
        for key, value in (defaults | attributes).items():
            setattr(link, key, value)
        link.name, link.index = name, self._next
        self._next += 1
        where.links[link.index] = link
        return link

    def uppers(self, parent: Link, home: Namespace) -> list[tuple[Namespace, Link]]:
        """The links on a parent, wherever they are."""
        return [
            (where, link)
            for where in self.namespaces.values()
            for link in where.links.values()
            if link.parent == parent.index and (where is home) == (link.parent_nsid is None)
        ]

    # What the plugins see

    def stat(self, path: str) -> Any:
        """posix.stat of a namespace's path."""
        if path not in self.namespaces:
            raise FileNotFoundError(path)
        return SimpleNamespace(st_ino=self.namespaces[path].number)

    def host_place(self) -> Place:
        return Place(self, self.host)

    @property
    def entered_or_host(self) -> Namespace:
        return self.entered or self.host

    def write_sysctl(self, value: str, *path: str) -> None:
        self.entered_or_host.sysctls[path] = value

    def read_sysctl(self, *path: str) -> str:
        return self.entered_or_host.sysctls.get(path, "0")


class Place:
    """netns.Place; its descriptor is the namespace's number."""

    def __init__(self, kernel: Kernel, namespace: Namespace) -> None:
        self._kernel = kernel
        self._namespace = namespace
        self.path = namespace.path
        self.fd = self.inode = namespace.number
        self.cookie = namespace.cookie
        self.rtnl = Socket(kernel, namespace)
        self.is_host = namespace is kernel.host

    def container(self, path: str, *, own: bool = False) -> Place:
        if path not in self._kernel.namespaces:
            raise CniError(UNKNOWN_CONTAINER, f"CNI_NETNS: there is no network namespace at {path}")
        if path == HOST and not own:
            raise CniError(INVALID_ENVIRONMENT, "CNI_NETNS: the host's own")
        return Place(self._kernel, self._kernel.namespaces[path])

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass

    @contextmanager
    def entered(self) -> Iterator[None]:
        self._kernel.entered = self._namespace
        yield
        self._kernel.entered = None


class Socket:
    """rtnl.socket.Rtnl, in one namespace."""

    def __init__(self, kernel: Kernel, namespace: Namespace) -> None:
        self._kernel = kernel
        self._here = namespace

    def link(self, name: str = "", index: int = 0) -> Link | None:
        return self._here.link(name, index=index)

    link_by_any_name = link

    def links(self, wanted: Callable[[Link], bool] = lambda _: True) -> list[Link]:
        return [link for link in self._here.links.values() if wanted(link)]

    def addresses(
        self, index: int = 0, wanted: Callable[[InterfaceAddress], bool] = lambda _: True
    ) -> list[InterfaceAddress]:
        found = []
        for at, cidr, flags in self._here.addresses:
            if index in (0, at):
                address = InterfaceAddress.__new__(InterfaceAddress)
                address.index, address.cidr, address.flags = at, cidr, flags
                address.scope = _scope(cidr.address)
                address.label = self._here.labels.get(str(cidr), "")
                found.append(address)
        return [address for address in found if wanted(address)]

    def routes(self, family: int, link: int = 0, wanted: Callable[[Route], bool] = lambda _: True) -> list[Route]:
        return [
            route
            for route in self._here.routes
            if family in (AF_UNSPEC, route.dst.family)
            and (not link or (link in route.links and route.table == m.RT_TABLE_MAIN))
            and wanted(route)
        ]

    def routes_to(
        self,
        destinations: Collection[Cidr],
        family: int,
        link: int = 0,
        wanted: Callable[[Route], bool] = lambda _: True,
    ) -> list[Route]:
        return self.routes(family, link, lambda route: route.dst in destinations and wanted(route))

    def neighbour(self, index: int, address: Address) -> Neighbour | None:
        found = self._here.neighbours.get((index, address))
        if not found:
            return None
        from cni_core.rtnl.neighbours import Neighbour  # as the socket has it

        neighbour = Neighbour.__new__(Neighbour)
        neighbour.state, neighbour.mac = found
        return neighbour

    def execute(self, *messages: Message) -> None:
        """All are tried, and the first that is refused is told, as the kernel does."""
        refused = None
        for message in messages:
            self._kernel.log.append(message.purpose)
            errno = next((n for text, n in self._kernel.refuse.items() if message.purpose.startswith(text)), 0)
            errno = errno or self._carry_out(message)
            refused = refused or (refusal(message, errno, "") if errno else None)
        if refused:
            raise refused

    def _carry_out(self, message: Message) -> int:
        """0, or an errno."""
        if message.kind == m.RTM_NEWLINK:
            found = m.attributes(message.body, _IFINFOMSG)
            return self._new_link(found) if message.flags & m.NLM_F_CREATE else self._set_link(message, found)
        if message.kind == m.RTM_DELLINK:
            asked = Link(message.body)
            return self._delete_group(asked.group) if asked.group else self._delete_link(asked.index)
        if message.kind == m.RTM_NEWADDR:
            return self._new_address(InterfaceAddress(message.body))
        if message.kind in _NEIGHBOURS:
            return self._neighbour(message)
        route = Route.decode(message.body)
        assert route
        same = [
            there
            for there in self._here.routes
            if (there.dst, there.links, there.priority, there.gateway)
            == (route.dst, route.links, route.priority, route.gateway)
        ]
        if message.kind == m.RTM_DELROUTE:
            for there in same[:1]:
                self._here.routes.remove(there)
            return 0 if same else ENOENT
        taken = any((there.dst, there.priority) == (route.dst, route.priority) for there in self._here.routes)
        if taken and message.flags & m.NLM_F_EXCL:
            return EEXIST
        self._here.routes.append(route)
        return 0

    def _new_link(self, found: dict[int, bytes]) -> int:
        info = m.attributes(found[m.IFLA_LINKINFO])
        kind, data = info[m.IFLA_INFO_KIND].decode().rstrip("\0"), m.attributes(info.get(m.IFLA_INFO_DATA, b""))
        if kind == "veth":
            return self._new_pair(found, m.attributes(data[m.VETH_INFO_PEER], _IFINFOMSG))
        name, below = found[m.IFLA_IFNAME].decode().rstrip("\0"), _number(found.get(m.IFLA_LINK))
        number = _number(found.get(m.IFLA_NET_NS_FD)) or self._here.number
        where = next(one for one in self._kernel.namespaces.values() if one.number == number)
        if where.link(name):
            return EEXIST
        parent = self._here.links.get(below)
        if kind != "dummy" and not parent:
            return ENODEV
        attributes: dict[str, Any] = {"kind": kind, "data": data, "flags": m.IFF_LOWER_UP, "parent": below}
        if parent:
            errno = self._refuse_kind(parent, kind, data)
            if errno:
                return errno
            attributes |= {"parent_nsid": None if where is self._here else 0, "mtu": parent.mtu}
            if kind == "ipvlan":
                attributes["mac"] = parent.mac
                for _, other in self._kernel.uppers(parent, self._here):
                    if other.kind == "ipvlan":
                        other.data = data  # ipvlan_set_port_mode
        self._kernel.add_link(where, name, **attributes | _told(found))
        return 0

    def _new_pair(self, found: dict[int, bytes], of_peer: dict[int, bytes]) -> int:
        """Each has the other's index as its parent, so that one goes with the other."""
        name, peer = (part[m.IFLA_IFNAME].decode().rstrip("\0") for part in (found, of_peer))
        number = _number(of_peer[m.IFLA_NET_NS_FD])
        where = next(one for one in self._kernel.namespaces.values() if one.number == number)
        if self._here.link(name) or where.link(peer):
            return EEXIST
        keys: dict[str, Any] = {"kind": "veth", "flags": m.IFF_NOARP, "parent_nsid": 0}
        one = self._kernel.add_link(self._here, name, **keys | _told(found))
        other = self._kernel.add_link(where, peer, **keys | _told(of_peer), parent=one.index)
        one.parent = other.index
        return 0

    def _refuse_kind(self, parent: Link, kind: str, data: dict[int, bytes]) -> int:
        others = [link for _, link in self._kernel.uppers(parent, self._here) if link.kind in ("macvlan", "ipvlan")]
        if kind == "vlan" or not others:
            return 0
        if kind != others[0].kind:
            return EBUSY
        passthru = 8  # linux/if_link.h, MACVLAN_MODE_PASSTHRU
        return EINVAL if kind == "macvlan" and passthru in (_number(data.get(1)), _number(others[0].data.get(1))) else 0

    def _set_link(self, message: Message, found: dict[int, bytes]) -> int:
        asked = Link(message.body)
        link = self._here.links.get(asked.index)
        if not link:
            return ENODEV
        if found.get(m.IFLA_IFNAME):
            taken = self._here.link(asked.name)
            if taken and taken is not link:
                return EEXIST
            link.name = asked.name
        if m.IFLA_IFALIAS in found:
            link.alias = asked.alias
        if asked.up and link.mac in self._kernel.busy:
            return EADDRINUSE  # macvlan_open
        link.flags |= asked.flags & m.IFF_UP
        return 0

    def _delete_group(self, group: int) -> int:
        """All or none: what is no kind of link's own, as lo, cannot be deleted."""
        links = [link for link in self._here.links.values() if link.group == group]
        if any(not link.kind for link in links):
            return EOPNOTSUPP
        for link in links:
            self._delete_link(link.index)
        return 0 if links else ENODEV

    def _delete_link(self, index: int) -> int:
        link = self._here.links.pop(index, None)
        if not link:
            return ENODEV
        for where, upper in self._kernel.uppers(link, self._here):
            Socket(self._kernel, where)._delete_link(upper.index)
        self._here.addresses = [entry for entry in self._here.addresses if entry[0] != index]
        self._here.routes = [route for route in self._here.routes if index not in route.links]
        return 0

    def _neighbour(self, message: Message) -> int:
        """The LAN answers at once, if anybody does."""
        from cni_core.rtnl import neighbours as n

        index = int.from_bytes(message.body[4:8], "little")
        key = (index, Address.from_packed(m.attributes(message.body, _NDMSG)[n.NDA_DST]))
        if message.kind == n.RTM_DELNEIGH:
            return 0 if self._here.neighbours.pop(key, None) else ENOENT
        mac = self._kernel.neighbours.get(key[1])
        self._here.neighbours[key] = (n.NUD_REACHABLE, mac) if mac else (_INCOMPLETE, b"")
        return 0

    def _new_address(self, address: InterfaceAddress) -> int:
        link = self._here.links[address.index]
        if (address.index, address.cidr) in [entry[:2] for entry in self._here.addresses]:
            return EEXIST
        for where in self._kernel.namespaces.values():
            for index, cidr, _ in where.addresses:
                other = where.links.get(index) or link  # of a link that a test took away
                if (
                    link.kind == other.kind == "ipvlan"
                    and other.parent == link.parent
                    and cidr.address == address.cidr.address
                ):
                    return EADDRINUSE
        self._here.addresses.append((address.index, address.cidr, 0))
        return 0


def route(dst: str, link: Link | None, gateway: str = "", **keys: Any) -> Route:
    """One of the main table."""
    via = Address.parse(gateway) if gateway else None
    return Route(Cidr.parse(dst), via, [link.index] if link else [], table=m.RT_TABLE_MAIN, **keys)


def _told(found: dict[int, bytes]) -> dict[str, Any]:
    """What a request says of a new link beside its kind and its place."""
    numbers = {"mtu": m.IFLA_MTU, "group": m.IFLA_GROUP}
    told: dict[str, Any] = {key: _number(found[kept]) for key, kept in numbers.items() if kept in found}
    return told | ({"mac": found[m.IFLA_ADDRESS]} if m.IFLA_ADDRESS in found else {})


def _scope(address: Address) -> int:
    """As the kernel derives an IPv6 address's, and as `ip` sets an IPv4 one's."""
    for subnet, scope in (
        ("127.0.0.0/8", m.RT_SCOPE_HOST),
        ("::1/128", m.RT_SCOPE_HOST),
        ("fe80::/10", m.RT_SCOPE_LINK),
    ):
        if address in Cidr.parse(subnet):
            return scope
    return m.RT_SCOPE_UNIVERSE


def _number(packed: bytes | None) -> int:
    return int.from_bytes(packed or b"", "little")
