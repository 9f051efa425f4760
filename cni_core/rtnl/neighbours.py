"""What the kernel knows of who has an address on a link, and how it is asked to find out: values and bytes, no I/O."""

from __future__ import annotations

from _struct import Struct

from cni_core.rtnl.messages import NLM_F_CREATE, Message, attribute, attributes, unpack_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.address import Address

# linux/rtnetlink.h
RTM_NEWNEIGH = 28
RTM_DELNEIGH = 29
RTM_GETNEIGH = 30

# linux/neighbour.h
NDA_DST = 1
NDA_LLADDR = 2
NUD_REACHABLE = 0x02
NUD_STALE = 0x04
NUD_DELAY = 0x08
NUD_PROBE = 0x10
NUD_PERMANENT = 0x80
NTF_USE = 0x01

_NDMSG = Struct("=BxxxiHBB")  # family, index, state, flags, type


class Neighbour:
    """What the kernel knows of an address on a link, as RTM_NEWNEIGH tells of it: state (NUD_*) and mac, empty while
    nobody has answered.
    """

    __slots__ = ("mac", "state")

    def __init__(self, body: bytes) -> None:
        _, _, self.state, _, _ = unpack_header(_NDMSG, body)
        self.mac = attributes(body, _NDMSG.size).get(NDA_LLADDR, b"")

    @property
    def answered(self) -> bool:
        """Whether somebody has the address, as far as the kernel has heard."""
        heard = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT
        return bool(self.state & heard and self.mac)

    @property
    def is_certain(self) -> bool:
        """Whether somebody answered a moment ago, or the administrator says who has it."""
        return bool(self.state & (NUD_REACHABLE | NUD_PERMANENT) and self.mac)


def ask_neighbour(index: int, address: Address) -> Message:
    """RTM_NEWNEIGH that makes the kernel ask on the link who has the address, as it would for a packet (NTF_USE).

    From an IPv4 link without an address it asks in nobody's name (arp_solicit, net/ipv4/arp.c), as RFC 5227 has it.
    """
    body = _NDMSG.pack(address.family, index, 0, NTF_USE, 0) + attribute(NDA_DST, address.packed)
    return Message(RTM_NEWNEIGH, NLM_F_CREATE, body, f"ask who has {address}")


def get_neighbour(index: int, address: Address) -> Message:
    """RTM_GETNEIGH for one entry (Linux 5.0)."""
    body = _NDMSG.pack(address.family, index, 0, 0, 0) + attribute(NDA_DST, address.packed)
    return Message(RTM_GETNEIGH, 0, body, f"look up who has {address}")


def del_neighbour(index: int, address: Address) -> Message:
    """RTM_DELNEIGH."""
    body = _NDMSG.pack(address.family, index, 0, 0, 0) + attribute(NDA_DST, address.packed)
    return Message(RTM_DELNEIGH, 0, body, f"forget who has {address}")
