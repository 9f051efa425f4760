"""A VLAN of a bridge that filters VLANs: what such a bridge was not told of it drops, and nobody says so.

br0.50, the VLAN of a bridge's own link, is cut off from the bridge's ports until the bridge itself is a member of VLAN
50, as a port must be (Documentation/networking/bridge.rst; br_allowed_ingress, net/bridge/br_vlan.c).
"""

from __future__ import annotations

from _struct import Struct

from cni_core.errors import CniError
from cni_core.rtnl.messages import IFLA_VLAN_ID, NLM_F_DUMP, Message, attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_core.rtnl.messages import Link
    from cni_core.rtnl.socket import Rtnl

RTM_GETVLAN = 114  # linux/rtnetlink.h, since Linux 5.6
# linux/if_bridge.h, linux/if_link.h
BRIDGE_VLANDB_ENTRY = 1
BRIDGE_VLANDB_ENTRY_INFO = 1
BRIDGE_VLANDB_ENTRY_RANGE = 2
IFLA_BR_VLAN_FILTERING = 7
AF_BRIDGE = 7

_BR_VLAN_MSG = Struct("=BxxxI")  # family, ifindex
_INFO = Struct("=HH")  # flags, VLAN id: struct bridge_vlan_info
_U16 = Struct("=H")
_ENTRY = Struct("=HH")  # struct nlattr
_KIND = 0x3FFF  # of an attribute, without NLA_F_NESTED


def dropped(parent: Link, rtnl: Rtnl) -> tuple[str, str] | None:
    """In words, that a parent is a VLAN which its bridge drops, and the command that mends it; else None."""
    if parent.kind != "vlan" or not parent.parent or parent.parent_nsid is not None:
        return None
    bridge, number = rtnl.link(index=parent.parent), parent.number(IFLA_VLAN_ID)
    if not bridge or bridge.kind != "bridge" or not bridge.number(IFLA_BR_VLAN_FILTERING):
        return None
    try:
        members = rtnl.dump(get_vlans(bridge.index), vlans_of)
    except CniError as error:
        if not error.errno:
            raise
        return None  # before Linux 5.6
    if any(number in one for several in members for one in several):
        return None
    return in_words(bridge.name, parent.name, number)


def in_words(bridge: str, vlan: str, number: int) -> tuple[str, str]:
    """That a bridge drops a VLAN of its own link, and the command that tells it of that."""
    why = f"{bridge} filters VLANs and is no member of {number}, so {vlan} reaches nobody by its ports"
    return why, f"bridge vlan add dev {bridge} vid {number} self"


def get_vlans(bridge: int) -> Message:
    """RTM_GETVLAN: a dump of the VLANs of which a bridge, by its index, is a member itself."""
    return Message(RTM_GETVLAN, NLM_F_DUMP, _BR_VLAN_MSG.pack(AF_BRIDGE, bridge), "list the VLANs of a bridge")


def vlans_of(body: bytes) -> list[range]:
    """The VLANs of one reply, by runs."""
    return [_run(attributes(entry)) for entry in _entries(body)]


def _run(entry: dict[int, bytes]) -> range:
    info, last = entry.get(BRIDGE_VLANDB_ENTRY_INFO, b""), entry.get(BRIDGE_VLANDB_ENTRY_RANGE, b"")
    if len(info) < _INFO.size:
        return range(0)
    first = _INFO.unpack_from(info)[1]
    return range(first, (_U16.unpack_from(last)[0] if len(last) >= _U16.size else first) + 1)


def _entries(body: bytes) -> Iterator[bytes]:
    """Of the attributes, which are all of one kind."""
    at = _BR_VLAN_MSG.size
    while at + _ENTRY.size <= len(body):
        length, kind = _ENTRY.unpack_from(body, at)
        if not _ENTRY.size <= length <= len(body) - at:
            return
        if kind & _KIND == BRIDGE_VLANDB_ENTRY:
            yield body[at + _ENTRY.size : at + length]
        at += (length + 3) & ~3
