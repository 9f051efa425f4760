"""cni_core.rtnl.messages against pyroute2's codecs, and its numbers against the kernel's headers."""

from __future__ import annotations

import ast
import inspect
import re
import struct
from ipaddress import ip_interface
from pathlib import Path
from socket import AF_INET, AF_INET6, AF_UNSPEC
from types import ModuleType
from typing import Any

import pyroute2.netlink
import pyroute2.netlink.rtnl
import pytest
from hypothesis import event, example, given, settings, strategies as st
from pyroute2.netlink.rtnl import ifaddrmsg, ifinfmsg, ndmsg, rtmsg

from cni_core import netns
from cni_core.address import Address, Cidr
from cni_core.errors import CniError
from cni_core.network import Network
from cni_core.rtnl import messages, neighbours, socket as rtnl_socket
from cni_core.rtnl.messages import InterfaceAddress, Link, Message, Reply, Route
from cni_ipvlan_py import link as ipvlan
from cni_macvlan_py import link as macvlan
from tests.unit.strategies import AnyAddress, cidrs, ipv4, ipv6, macs

MALFORMED = "the kernel's netlink reply is malformed: "
HEADERS = Path("/usr/include/linux")  # Debian: linux-libc-dev

indices = st.integers(1, 2**31 - 1)
u32s = st.integers(0, 2**32 - 1)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-", min_size=1, max_size=15)


# Constants


def kernel_constants() -> dict[str, int]:
    """The #defines and enums of the headers that are plain numbers; none where there are no headers."""
    found: dict[str, int] = {}
    headers = (
        "netlink.h",
        "rtnetlink.h",
        "if_link.h",
        "if_addr.h",
        "if.h",
        "sched.h",
        "nsfs.h",
        "veth.h",
        "neighbour.h",
    )
    files = (*headers, "../asm-generic/socket.h")
    text = "".join((HEADERS / file).read_text() for file in files if (HEADERS / file).exists())
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL).replace("\\\n", " ")

    def number(expression: str) -> int | None:
        known = re.sub(r"\b[A-Za-z_]\w*\b", lambda word: str(found.get(word[0], word[0])), expression)
        try:
            value = eval(known, {"__builtins__": {}})
        except (NameError, SyntaxError, TypeError):
            return None
        return value if isinstance(value, int) else None

    for name, expression, body in re.findall(
        r"^\s*#\s*define\s+(\w+)[ \t]+(.+)$|\benum\b[^{;]*\{([^}]*)\}", text, re.M
    ):
        if name:
            value = number(expression)
            if value is not None:
                found.setdefault(name, value)
            continue
        following: int | None = 0
        for item in re.sub(r"^\s*#.*$", "", body, flags=re.MULTILINE).split(","):
            member, equals, expression = item.partition("=")
            following = number(expression) if equals else following
            if member.strip() and following is not None:
                found[member.strip()] = following
                following += 1
    return found


def pyroute2_constants() -> dict[str, int]:
    """The constants of its modules, and the numbers of attributes, which it gives by their place in nla_map."""
    found: dict[str, int] = {}
    for module in (pyroute2.netlink, pyroute2.netlink.rtnl, ifinfmsg, ifaddrmsg, ndmsg, rtmsg):
        found |= {name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, int)}
    waiting: list[type] = [ifinfmsg.ifinfmsg, ifaddrmsg.ifaddrmsg, ndmsg.ndmsg, rtmsg.rtmsg]
    seen: set[type] = set()
    while waiting:
        kind = waiting.pop()
        if kind not in seen:
            seen.add(kind)
            for number, entry in enumerate(getattr(kind, "nla_map", ())):
                if isinstance(entry[0], str):
                    found.setdefault(entry[0], number)
                else:
                    found.setdefault(entry[1], entry[0])
            waiting += [part for part in vars(kind).values() if isinstance(part, type)] + list(kind.__mro__)
    return found


def constants(module: ModuleType) -> dict[str, int]:
    """The numbers that a module defines under public names in capitals, not those that it imports."""
    targets = [
        target.id
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("_")
    ]
    found = {name: getattr(module, name) for name in targets if name != "TYPE_CHECKING"}
    return {name: value for name, value in found.items() if type(value) is int}


OURS = {
    name: value
    for module in (messages, neighbours, rtnl_socket, macvlan, ipvlan, netns)
    for name, value in constants(module).items()
} | {f"MACVLAN_MODE_{name.upper()}": number for name, number in macvlan.MODES.items()}
OURS |= {f"IPVLAN_MODE_{name.upper()}": number for name, number in ipvlan.MODES.items()}
OURS |= {f"IPVLAN_F_{name.upper()}": number for name, number in ipvlan.FLAGS.items() if number}
# Not in the headers that are given to programs, and pyroute2 has no name for it: net/socket.h, ioctl's own form.
ELSEWHERE = {
    "MSG_TRUNC": 0x20,
    "SOL_NETLINK": 270,
    "NS_GET_NSTYPE": 0xB7 << 8 | 3,
    "USER_METRIC": 1024,
    "ARPHRD_ETHER": 1,
}


@pytest.mark.parametrize("name", OURS)
def test_every_constant_is_the_kernels(name: str) -> None:
    known = [source[name] for source in (kernel_constants(), pyroute2_constants(), ELSEWHERE) if name in source]
    if not known and not HEADERS.exists():
        pytest.skip("no kernel headers here, and pyroute2 does not know it")
    assert set(known) == {OURS[name]}


def test_the_mask_of_an_attributes_type_is_what_its_two_flags_leave() -> None:
    nested, byte_order = 1 << 15, 1 << 14  # NLA_F_NESTED, NLA_F_NET_BYTEORDER, linux/netlink.h
    assert ~(nested | byte_order) & 0xFFFF == messages._NLA_TYPE_MASK


# Requests, read by pyroute2


def read_by_pyroute2(message: Message, codec: Any) -> Any:
    data = message.encode(7, messages.NLM_F_REQUEST | messages.NLM_F_ACK)
    decoded = codec(data)
    decoded.decode()
    header = decoded["header"]
    assert (header["length"], header["sequence_number"], header["pid"]) == (len(data), 7, 0)
    assert header["type"] == message.kind
    assert header["flags"] == message.flags | messages.NLM_F_REQUEST | messages.NLM_F_ACK
    return decoded


def ip_of(text: str) -> AnyAddress:
    return ip_interface(text).ip


@given(names, indices)
def test_a_link_is_looked_up_by_name_or_by_index(name: str, index: int) -> None:
    by_name = read_by_pyroute2(messages.get_link(name), ifinfmsg.ifinfmsg)
    assert (by_name["index"], by_name.get_attr("IFLA_IFNAME")) == (0, name)
    by_index = read_by_pyroute2(messages.get_link(index=index), ifinfmsg.ifinfmsg)
    assert (by_index["index"], by_index.get_attr("IFLA_IFNAME")) == (index, None)
    for message in (by_name, by_index):
        assert message["header"]["type"] == pyroute2.netlink.rtnl.RTM_GETLINK
        assert message.get_attr("IFLA_EXT_MASK") == 1 << 3  # RTEXT_FILTER_SKIP_STATS
        assert not message["header"]["flags"] & pyroute2.netlink.NLM_F_DUMP


@given(names, indices, u32s, u32s, st.just(b"") | macs, st.sampled_from(sorted(macvlan.MODES)), u32s)
def test_a_new_macvlan_reads_as_it_was_asked_for(
    name: str, parent: int, netns: int, mtu: int, mac: bytes, mode: str, queue: int
) -> None:
    data = macvlan.info_data(Network({"name": "x", "mode": mode, "bcqueuelen": queue}))
    message = messages.new_link(name, "macvlan", data, parent=parent, netns=netns, mtu=mtu, mac=mac)
    read = read_by_pyroute2(message, ifinfmsg.ifinfmsg)
    assert read["header"]["type"] == pyroute2.netlink.rtnl.RTM_NEWLINK
    assert message.flags == pyroute2.netlink.NLM_F_CREATE | pyroute2.netlink.NLM_F_EXCL
    assert (read["index"], read["flags"], read["change"]) == (0, 0, 0)
    assert read.get_attr("IFLA_IFNAME") == name
    assert read.get_attr("IFLA_LINK") == parent
    assert read.get_attr("IFLA_MTU") == mtu
    assert read.get_attr("IFLA_NET_NS_FD") == netns
    assert read.get_attr("IFLA_ADDRESS") == (mac.hex(":") or None)
    assert read.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "macvlan"
    info = read.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA")
    assert info.get_attr("IFLA_MACVLAN_MODE") == mode
    # pyroute2 has no name for IFLA_MACVLAN_BC_QUEUE_LEN, which is 7.
    assert (struct.pack("=HHI", 8, 7, queue) in message.body) == (queue != 0)


@given(indices, names)
def test_a_link_is_named_and_brought_up_in_one_message_and_deleted_by_index(index: int, name: str) -> None:
    raised = read_by_pyroute2(messages.mark_and_raise(index, name, "ours"), ifinfmsg.ifinfmsg)
    assert raised["header"]["type"] == pyroute2.netlink.rtnl.RTM_NEWLINK
    assert (raised["index"], raised["state"], raised["change"]) == (index, "up", ifinfmsg.IFF_UP)
    assert (raised.get_attr("IFLA_IFNAME"), raised.get_attr("IFLA_IFALIAS")) == (name, "ours")
    deleted = read_by_pyroute2(messages.del_link(index), ifinfmsg.ifinfmsg)
    assert (deleted["header"]["type"], deleted["index"]) == (pyroute2.netlink.rtnl.RTM_DELLINK, index)


@given(indices, cidrs(), st.booleans())
def test_a_new_address_reads_as_it_was_asked_for(index: int, cidr: Cidr, dad: bool) -> None:
    message = messages.new_address(index, cidr, dad=dad)
    read = read_by_pyroute2(message, ifaddrmsg.ifaddrmsg)
    expected = ip_interface((cidr.address.packed, cidr.length))
    assert read["header"]["type"] == pyroute2.netlink.rtnl.RTM_NEWADDR
    assert message.flags == pyroute2.netlink.NLM_F_CREATE | pyroute2.netlink.NLM_F_EXCL
    assert (read["family"], read["prefixlen"], read["index"], read["scope"]) == (cidr.family, cidr.length, index, 0)
    assert read["flags"] == (ifaddrmsg.IFA_F_NODAD if expected.version == 6 and not dad else 0)
    assert ip_of(read.get_attr("IFA_LOCAL")) == ip_of(read.get_attr("IFA_ADDRESS")) == expected.ip
    broadcast = expected.version == 4 and cidr.length < 31
    assert read.get_attr("IFA_BROADCAST") == (str(expected.network.broadcast_address) if broadcast else None)


@given(indices, cidrs())
def test_a_neighbour_is_asked_for_looked_up_and_forgotten(index: int, cidr: Cidr) -> None:
    for make, kind, used in (
        (neighbours.ask_neighbour, "RTM_NEWNEIGH", ndmsg.NTF_USE),
        (neighbours.get_neighbour, "RTM_GETNEIGH", 0),
        (neighbours.del_neighbour, "RTM_DELNEIGH", 0),
    ):
        read = read_by_pyroute2(make(index, cidr.address), ndmsg.ndmsg)
        assert read["header"]["type"] == getattr(pyroute2.netlink.rtnl, kind)
        assert (read["family"], read["ifindex"], read["state"], read["flags"]) == (cidr.family, index, 0, used)
        assert ip_of(read.get_attr("NDA_DST")) == ip_of(str(cidr.address))


@st.composite
def routes(draw: st.DrawFn) -> Route:
    dst = draw(cidrs())
    family: st.SearchStrategy[Any] = ipv4 if dst.family == AF_INET else ipv6
    gateway = draw(st.none() | family)
    return Route(
        dst.subnet,
        None if gateway is None else Address.from_packed(gateway.packed),
        [draw(indices)],
        mtu=draw(st.just(0) | u32s),
        advmss=draw(st.just(0) | u32s),
        priority=draw(st.just(0) | u32s),
        table=draw(st.none() | u32s),
        scope=draw(st.none() | st.integers(0, 255)),
    )


@given(routes(), st.integers(0, 255))
def test_a_route_alone_and_one_deleted_are_the_same_with_other_words(route: Route, protocol: int) -> None:
    route.protocol = protocol
    body = messages.new_route(route).body
    only_new = pyroute2.netlink.NLM_F_CREATE | pyroute2.netlink.NLM_F_EXCL
    for message, kind, flags in (
        (messages.new_route(route, beside=False), "RTM_NEWROUTE", only_new),
        (messages.del_route(route), "RTM_DELROUTE", 0),
    ):
        assert (message.body, message.flags) == (body, flags)
        read = read_by_pyroute2(message, rtmsg.rtmsg)
        assert read["header"]["type"] == getattr(pyroute2.netlink.rtnl, kind)
        assert read["proto"] == protocol


@given(routes())
@example(Route(Cidr.parse("0.0.0.0/0"), Address.parse("0.0.0.0"), [1], table=0, scope=0))
@example(Route(Cidr.parse("10.0.0.0/8"), None, [1], table=0, scope=0))
def test_a_new_route_reads_as_it_was_asked_for(route: Route) -> None:
    message = messages.new_route(route)
    read = read_by_pyroute2(message, rtmsg.rtmsg)
    assert read["header"]["type"] == pyroute2.netlink.rtnl.RTM_NEWROUTE
    assert message.flags == pyroute2.netlink.NLM_F_CREATE
    assert (read["family"], read["dst_len"], read["src_len"], read["tos"]) == (route.dst.family, route.dst.length, 0, 0)
    link_scope = route.gateway is None and route.dst.family == AF_INET
    assert read["scope"] == (route.scope if route.scope is not None else 253 if link_scope else 0)
    assert (read["proto"], read["type"]) == (3, 1)  # RTPROT_BOOT, RTN_UNICAST
    assert ip_of(read.get_attr("RTA_DST")) == ip_of(str(route.dst.address))
    assert read.get_attr("RTA_OIF") == route.links[0]
    assert read.get_attr("RTA_TABLE") == (route.table or 254)
    gateway = read.get_attr("RTA_GATEWAY")
    assert (gateway and ip_of(gateway)) == (route.gateway and ip_of(str(route.gateway)))
    assert read.get_attr("RTA_PRIORITY") == (route.priority or None)
    metrics = read.get_attr("RTA_METRICS")
    assert (metrics is not None) == bool(route.mtu or route.advmss)
    if metrics is not None:
        assert metrics.get_attr("RTAX_MTU") == (route.mtu or None)
        assert metrics.get_attr("RTAX_ADVMSS") == (route.advmss or None)


@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
@pytest.mark.parametrize("link", [0, 7])
def test_addresses_and_routes_are_listed_by_a_dump_of_what_is_looked_for(family: int, link: int) -> None:
    addresses = read_by_pyroute2(messages.get_addresses(link), ifaddrmsg.ifaddrmsg)
    routes = read_by_pyroute2(messages.get_routes(family, link), rtmsg.rtmsg)
    for read, kind in ((addresses, "RTM_GETADDR"), (routes, "RTM_GETROUTE")):
        assert read["header"]["type"] == getattr(pyroute2.netlink.rtnl, kind)
        assert read["header"]["flags"] & pyroute2.netlink.NLM_F_DUMP == pyroute2.netlink.NLM_F_DUMP
    assert (addresses["family"], addresses["index"], routes["family"]) == (AF_UNSPEC, link, family)
    asked = (routes.get_attr("RTA_TABLE"), routes.get_attr("RTA_OIF"))
    assert asked == ((254, link) if link else (None, None))


def test_every_message_says_what_it_is_for() -> None:
    cidr = Cidr.parse("10.1.0.5/16")
    purposes = {
        messages.get_link("eth0"): "look up link eth0",
        messages.get_link(index=3): "look up link 3",
        messages.new_link("x", "macvlan", b"", parent=1, netns=2, mtu=3, mac=b""): "create the macvlan link",
        messages.mark_and_raise(3, "eth0", "ours"): "name the link eth0 and bring it up",
        messages.del_link(3): "delete link 3",
        messages.new_address(3, cidr, dad=True): "add address 10.1.0.5/16",
        messages.new_route(Route(cidr.subnet, Address.parse("10.1.0.1"), [3])): "add route 10.1.0.0/16 via 10.1.0.1",
        messages.new_route(Route(cidr.subnet, None, [3])): "add route 10.1.0.0/16",
    }
    for message, purpose in purposes.items():
        assert message.purpose == purpose


# Replies, written by pyroute2


def written_by_pyroute2(codec: Any, attrs: list[tuple[str, Any]], **fields: Any) -> bytes:
    message = codec()
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = [(name, value) for name, value in attrs if value is not None]
    message.encode()
    return bytes(message.data)


def reply(datagram: bytes) -> Reply:
    (found,) = messages.decode(datagram)
    return found


@given(
    name=names,
    index=indices,
    flags=u32s,
    mtu=st.none() | u32s,
    mac=st.none() | macs,
    parent=st.none() | indices,
    nsid=st.none() | st.integers(0, 2**31 - 1),
    master=st.none() | indices,
    mode=st.none() | st.sampled_from(sorted(macvlan.MODES)),
)
def test_a_link_reads_as_pyroute2_wrote_it(
    name: str,
    index: int,
    flags: int,
    mtu: int | None,
    mac: bytes | None,
    parent: int | None,
    nsid: int | None,
    master: int | None,
    mode: str | None,
) -> None:
    data = {"attrs": [("IFLA_MACVLAN_MODE", mode)]}
    link_info = {"attrs": [("IFLA_INFO_KIND", "macvlan"), ("IFLA_INFO_DATA", data)]}
    datagram = written_by_pyroute2(
        ifinfmsg.ifinfmsg,
        [
            ("IFLA_IFNAME", name),
            ("IFLA_MTU", mtu),
            ("IFLA_ADDRESS", mac and mac.hex(":")),
            ("IFLA_LINK", parent),
            ("IFLA_LINK_NETNSID", nsid),
            ("IFLA_MASTER", master),
            ("IFLA_LINKINFO", link_info if mode else None),
        ],
        index=index,
        flags=flags,
    )
    link = Link(reply(datagram)[3])
    assert (link.name, link.index, link.flags) == (name, index, flags)
    assert (link.mtu, link.mac) == (mtu or 0, mac or b"")
    assert (link.parent, link.parent_nsid, link.master) == (parent or 0, nsid, master or 0)
    assert link.kind == ("macvlan" if mode else "")
    assert link.number(macvlan.IFLA_MACVLAN_MODE) == (macvlan.MODES[mode] if mode else 0)
    assert link.number(macvlan.IFLA_MACVLAN_BC_QUEUE_LEN) == 0
    assert link.up == bool(flags & ifinfmsg.IFF_UP)
    assert link.carrier == bool(flags & ifinfmsg.IFF_LOWER_UP)
    assert link.loopback == bool(flags & ifinfmsg.IFF_LOOPBACK)


def test_a_links_name_that_is_not_utf_8_is_kept() -> None:
    body = messages._IFINFOMSG.pack(0, 1, 3, 0, 0) + messages.attribute(messages.IFLA_IFNAME, b"eth\xff\0")
    assert Link(body).name.encode("utf-8", "surrogateescape") == b"eth\xff"


@given(cidrs(), indices, st.none() | u32s, st.integers(0, 255), st.sampled_from(["both", "address", "local"]))
def test_an_address_reads_as_pyroute2_wrote_it(
    cidr: Cidr, index: int, flags: int | None, short_flags: int, present: str
) -> None:
    # Of a point-to-point link IFA_ADDRESS is the other end, and IFA_LOCAL ours.
    other_end = str(Address(cidr.family, 1))
    attrs = [
        ("IFA_ADDRESS", {"both": other_end, "address": str(cidr.address)}.get(present)),
        ("IFA_LOCAL", None if present == "address" else str(cidr.address)),
        ("IFA_FLAGS", flags),
    ]
    datagram = written_by_pyroute2(
        ifaddrmsg.ifaddrmsg, attrs, family=cidr.family, prefixlen=cidr.length, index=index, flags=short_flags
    )
    address = InterfaceAddress(reply(datagram)[3])
    told = short_flags if flags is None else flags
    assert (address.cidr, address.index, address.flags) == (cidr, index, told)
    assert address.duplicate == bool(told & ifaddrmsg.IFA_F_DADFAILED)
    assert address.tentative == bool(told & ifaddrmsg.IFA_F_TENTATIVE and not address.duplicate)


@given(st.sampled_from(sorted(ndmsg.NUD_VALUES)), st.none() | st.binary(min_size=6, max_size=6))
def test_a_neighbour_reads_as_pyroute2_wrote_it(state: int, mac: bytes | None) -> None:
    attrs = [("NDA_DST", "10.1.0.9"), ("NDA_LLADDR", mac.hex(":") if mac else None)]
    datagram = written_by_pyroute2(ndmsg.ndmsg, attrs, family=AF_INET, ifindex=3, state=state)
    neighbour = neighbours.Neighbour(reply(datagram)[3])
    assert (neighbour.state, neighbour.mac) == (state, mac or b"")
    nobody = (ndmsg.NUD_NONE, ndmsg.NUD_INCOMPLETE, ndmsg.NUD_FAILED, ndmsg.NUD_NOARP)
    assert neighbour.answered == (state not in nobody and mac is not None)
    assert neighbour.is_certain == (state in (ndmsg.NUD_REACHABLE, ndmsg.NUD_PERMANENT) and mac is not None)


@given(routes(), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.lists(indices, max_size=3))
def test_a_route_reads_as_pyroute2_wrote_it(
    route: Route, short_table: int, kind: int, protocol: int, hops: list[int]
) -> None:
    metrics = [("RTAX_MTU", route.mtu), ("RTAX_ADVMSS", route.advmss)]
    gateway = [("RTA_GATEWAY", str(route.gateway))] if route.gateway else []
    attrs = [
        ("RTA_DST", str(route.dst.address) if route.dst.length else None),
        ("RTA_OIF", route.links[0]),
        *gateway,
        ("RTA_PRIORITY", route.priority or None),
        ("RTA_TABLE", route.table),
        ("RTA_METRICS", {"attrs": metrics} if route.mtu or route.advmss else None),
        ("RTA_MULTIPATH", [{"oif": oif, "hops": 0, "attrs": gateway} for oif in hops] or None),
    ]
    datagram = written_by_pyroute2(
        rtmsg.rtmsg,
        attrs,
        family=route.dst.family,
        dst_len=route.dst.length,
        table=short_table,
        scope=route.scope or 0,
        type=kind,
        proto=protocol,
    )
    read = Route.decode(reply(datagram)[3])
    assert read
    assert (read.dst, read.gateway, read.links) == (route.dst, route.gateway, route.links + hops)
    assert read.gateways == [route.gateway] * len(read.links)
    assert (read.mtu, read.advmss, read.priority) == (route.mtu, route.advmss, route.priority)
    assert read.table == (short_table if route.table is None else route.table)
    assert (read.scope, read.type, read.protocol) == (route.scope or 0, kind, protocol)
    assert str(read) == f"{route.dst}" + (f" via {route.gateway}" if route.gateway else "")


def test_a_route_of_another_family_is_passed_over() -> None:
    mpls = 28  # AF_MPLS, linux/socket.h
    assert Route.decode(messages._RTMSG.pack(mpls, 20, 0, 0, 254, 0, 0, 1, 0)) is None


# Datagrams and errors


@example([(messages.NLMSG_OVERRUN, 0, 0, b"")])
@given(st.lists(st.tuples(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1), u32s, st.binary(max_size=30))))
def test_a_datagram_holds_any_number_of_messages(parts: list[tuple[int, int, int, bytes]]) -> None:
    datagram = b""
    for kind, flags, sequence, body in parts:
        datagram += struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 99) + body
        datagram += bytes(-len(datagram) % 4)
    if any(kind == messages.NLMSG_OVERRUN for kind, *_ in parts):
        with pytest.raises(CniError, match="the kernel reports lost data"):
            messages.decode(datagram)
    else:
        assert messages.decode(datagram) == parts


REQUEST = messages.del_link(3).encode(7, messages.NLM_F_REQUEST | messages.NLM_F_ACK)


def error(errno: int, flags: int, echoed: bytes, tlvs: bytes = b"", kind: int = messages.NLMSG_ERROR) -> Reply:
    """struct nlmsgerr, linux/netlink.h: minus errno, the request it answers (its header if capped), attributes."""
    return (kind, flags, 7, struct.pack("=i", -errno) + echoed + tlvs)


WORDS = messages.string(messages.NLMSGERR_ATTR_MSG, "Parent is busy")
SHORT = messages.string(messages.NLMSGERR_ATTR_MSG, "No.")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(0, 0, REQUEST), (0, "")),
        (error(0, messages.NLM_F_CAPPED, REQUEST[:16]), (0, "")),
        (error(16, 0, REQUEST), (16, "")),
        (error(16, messages.NLM_F_ACK_TLVS, REQUEST, WORDS), (16, "Parent is busy")),
        (error(16, messages.NLM_F_ACK_TLVS | messages.NLM_F_CAPPED, REQUEST[:16], WORDS), (16, "Parent is busy")),
        (error(0, messages.NLM_F_ACK_TLVS | messages.NLM_F_CAPPED, REQUEST[:16], WORDS), (0, "Parent is busy")),
        (
            error(22, messages.NLM_F_ACK_TLVS, REQUEST, messages.u32(2, 20) + messages.string(1, "bad é")),
            (22, "bad é"),
        ),
        (error(22, messages.NLM_F_ACK_TLVS, REQUEST, messages.attribute(1, b"bad \xff\0")), (22, "bad \ufffd")),
        (error(22, messages.NLM_F_ACK_TLVS, REQUEST, messages.u32(2, 20)), (22, "")),
        ((messages.NLMSG_DONE, messages.NLM_F_MULTI, 7, b""), (0, "")),
        (error(0, messages.NLM_F_MULTI, b"", kind=messages.NLMSG_DONE), (0, "")),
        (error(22, messages.NLM_F_MULTI, b"", kind=messages.NLMSG_DONE), (22, "")),
        # Of a dump no request is echoed: the attributes follow at once (netlink_dump_done, net/netlink/af_netlink.c).
        (error(22, messages.NLM_F_MULTI | messages.NLM_F_ACK_TLVS, b"", SHORT, messages.NLMSG_DONE), (22, "")),
    ],
)
def test_an_answer_tells_the_errno_and_the_kernels_words(answer: Reply, expected: tuple[int, str]) -> None:
    assert messages.decode_error(answer) == expected


def test_an_answer_to_a_request_of_odd_length_has_its_attributes_aligned() -> None:
    echoed = struct.pack("=IHHII", 18, 16, 0, 7, 0) + b"xx"
    answer = error(22, messages.NLM_F_ACK_TLVS, echoed + b"\0\0", WORDS)
    assert messages.decode_error(answer) == (22, "Parent is busy")


@pytest.mark.parametrize("body", [b"", b"\0\0\0", struct.pack("=i", -22), struct.pack("=i", -22) + REQUEST[:15]])
def test_an_answer_cut_short_is_malformed(body: bytes) -> None:
    with pytest.raises(CniError, match="an error is cut short"):
        messages.decode_error((messages.NLMSG_ERROR, messages.NLM_F_ACK_TLVS, 7, body))


@pytest.mark.parametrize("length", [0, 1, 3, 9, 12, 0xFFFF])
@pytest.mark.parametrize("before", [b"", messages.u32(1, 2)])
def test_an_attribute_of_an_impossible_length_is_malformed(before: bytes, length: int) -> None:
    whole = before + struct.pack("=HH", 8, 2) + bytes(4)
    assert messages.attributes(whole)[2] == bytes(4)
    with pytest.raises(CniError, match=f"an attribute says it has {length} bytes"):
        messages.attributes(before + struct.pack("=HH", length, 2) + bytes(4))


def test_attributes_are_read_by_type_whatever_their_flags_and_the_last_of_a_type_counts() -> None:
    body = b"head" + messages.u16(1, 2) + messages.u32(2 | messages.NLA_F_NESTED, 3) + messages.u16(1, 0x102)
    assert messages.attributes(body, 4) == {1: struct.pack("=H", 0x102), 2: struct.pack("=I", 3)}
    assert messages.attributes(b"") == {}


DATAGRAMS = [
    error(16, messages.NLM_F_ACK_TLVS, REQUEST, WORDS),
    error(16, messages.NLM_F_ACK_TLVS | messages.NLM_F_CAPPED, REQUEST[:16], WORDS),
]
VALID = [
    *(Message(kind, flags, body, "").encode(7, 0) for kind, flags, _, body in DATAGRAMS),
    messages.new_link(
        "x", "macvlan", macvlan.info_data(Network({"name": "x"})), parent=1, netns=2, mtu=3, mac=bytes(6)
    ).encode(7, 0),
    messages.new_address(3, Cidr.parse("10.1.0.5/16"), dad=True).encode(7, 0),
    messages.new_address(3, Cidr.parse("fd00::5/64"), dad=False).encode(7, 0),
    messages.new_route(Route(Cidr.parse("::/0"), Address.parse("fd00::1"), [3], mtu=1400)).encode(7, 0),
    written_by_pyroute2(rtmsg.rtmsg, [("RTA_MULTIPATH", [{"oif": 3, "hops": 0, "attrs": []}])], family=AF_INET),
]


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """Datagrams of the kernel's, some bytes of which are others, or missing."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=2))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data) - 1))
        data[at] = draw(st.sampled_from([0, 1, 2, 3, 4, 5, 17, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    return bytes(data[: draw(st.just(len(data)) | st.integers(0, len(data)))])


def read_all(datagram: bytes) -> None:
    """Every message, as everything that it could be, down to the words that an error would have of it."""
    for part in messages.decode(datagram):
        for read in (messages.decode_error, link_in_words, address_in_words, route_in_words):
            try:
                read(part)
            except CniError as malformed:
                assert MALFORMED in malformed.msg
                event("malformed inside")


def link_in_words(part: Reply) -> str:
    link = Link(part[3])
    return f"{link.name} {link.index} {link.kind} {link.mac.hex()} {link.number(1)}"


def address_in_words(part: Reply) -> str:
    address = InterfaceAddress(part[3])
    return f"{address.cidr} {address.cidr.first} {address.cidr.last}"


def route_in_words(part: Reply) -> str:
    route = Route.decode(part[3])
    return f"{route} {route.dst.last}" if route else ""


@settings(max_examples=500)
@given(mangled() | st.binary(max_size=80))
def test_mangled_bytes_are_a_malformed_reply_and_nothing_worse(datagram: bytes) -> None:
    try:
        read_all(datagram)
    except CniError as malformed:
        event("malformed")
        assert malformed.msg.startswith(MALFORMED)


@pytest.mark.parametrize("datagram", VALID)
def test_every_prefix_of_a_datagram_is_a_malformed_reply_or_fewer_messages(datagram: bytes) -> None:
    assert len(messages.decode(datagram)) == 1
    for length in range(1, len(datagram)):
        with pytest.raises(CniError, match=MALFORMED):
            messages.decode(datagram[:length])
    assert messages.decode(b"") == []


@pytest.mark.parametrize(
    ("kind", "packed", "length"),
    [(AF_INET, bytes(3), 8), (AF_INET, bytes(4), 33), (AF_INET6, bytes(20), 64), (AF_INET6, bytes(16), 129)],
)
def test_an_address_of_an_impossible_length_is_malformed(kind: int, packed: bytes, length: int) -> None:
    on_link = struct.pack("=BBBBI", kind, length, 0, 0, 3) + messages.attribute(messages.IFA_LOCAL, packed)
    with pytest.raises(CniError, match=MALFORMED):
        InterfaceAddress(on_link)
    header = messages._RTMSG.pack(kind, length, 0, 0, 254, 0, 0, 1, 0)
    with pytest.raises(CniError, match=MALFORMED):
        Route.decode(header + messages.attribute(messages.RTA_DST, packed))
    if len(packed) not in (4, 16):
        with pytest.raises(CniError, match=MALFORMED):
            Route.decode(header + messages.attribute(messages.RTA_GATEWAY, packed))


@pytest.mark.parametrize("length", [4, 7])
def test_a_next_hop_that_is_shorter_than_its_header_is_malformed(length: int) -> None:
    hops = struct.pack("=HBBi", length, 0, 0, 3) + bytes(4)
    body = messages._RTMSG.pack(AF_INET, 0, 0, 0, 254, 0, 0, 1, 0) + messages.attribute(messages.RTA_MULTIPATH, hops)
    with pytest.raises(CniError, match=f"a next hop says it has {length} bytes"):
        Route.decode(body)
