"""Which link carries the container's: one that the configuration names, a VLAN of it, the default route's, or a dummy.

VLANs and dummies that are not there are made, marked as ours by an alias, and removed when nothing is on them.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6

from cni_core.errors import INVALID_CONFIG, PARENT_UNUSABLE, CniError
from cni_core.rtnl.messages import (
    IFLA_VLAN_ID,
    RT_TABLE_MAIN,
    RTN_UNICAST,
    del_link,
    mark_and_raise,
    new_parent,
    u16,
)
from cni_core.schema.formats import split_vlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cni_core.rtnl.messages import Link
    from cni_core.rtnl.socket import Rtnl

ALIAS = "cni-vlan"  # of the links that are ours: what lacks it is somebody else's

# Kinds of link that take all frames of their ports (netdev_rx_handler_register), so that macvlan and ipvlan cannot.
_PORT_OWNERS = ("bridge", "bond", "team", "openvswitch")
_LONGEST_NAME = 15
_OWN_NAMES = "cnp"
_HEX = frozenset("0123456789abcdef")


class Absent(Exception):
    """The parent is one that ADD would make: a VLAN, of the link below, or a dummy. The text says which."""

    def __init__(self, what: str, below: Link | None = None) -> None:
        super().__init__(f"{what} does not exist")
        self.below = below


def find(config: dict[str, Any], rtnl: Rtnl, *, create: bool = False) -> Link:
    """The parent, fit for use, in the namespace of the socket; with create, made if it is one that we make.

    CniError: INVALID_CONFIG where there is no such link, PARENT_UNUSABLE where it can carry none. Absent.
    """
    parent = look_up(config, rtnl, create=create)
    _refuse_unusable(parent, rtnl)
    return parent


def look_up(config: dict[str, Any], rtnl: Rtnl, *, create: bool = False) -> Link:
    """The same, whether it is fit for use or not."""
    if config.get("internal"):
        if config.get("master") or config.get("vlan"):
            raise CniError(
                INVALID_CONFIG,
                "internal: the network has a parent of its own, so `master` and `vlan` have no place beside it",
                "Leave them out, or leave `internal` out for a network on the parent.",
            )
        return _internal(config, rtnl, create)
    parent = _named(config["master"], rtnl, create) if config.get("master") else _default_route(rtnl)
    if config.get("vlan"):
        return _vlan(parent, config["vlan"], rtnl, create)
    return parent


def is_made(config: dict[str, Any]) -> bool:
    """Whether the parent may be one that we make."""
    master = config.get("master") or []
    names = [master] if isinstance(master, str) else master
    return bool(config.get("internal") or config.get("vlan") or any(split_vlan(name) for name in names))


def is_ours(link: Link) -> bool:
    return link.alias == ALIAS or is_short_name(_OWN_NAMES, link.name)


def remove(index: int, rtnl: Rtnl) -> int:
    """Removes a link that is ours; the index of the link below it, else 0. That nothing is on it the caller knows."""
    link = rtnl.link(index=index)
    if not link or not is_ours(link):
        return 0
    rtnl.execute(del_link(index))
    return link.parent


def mtu(config: dict[str, Any], parent: Link) -> int:
    """The MTU for the container's link: the configuration's, which may not exceed the parent's, or the parent's."""
    asked: int = config.get("mtu", 0)
    if asked > parent.mtu:
        raise CniError(
            INVALID_CONFIG,
            f"mtu: {asked} is more than the {parent.mtu} of {parent.name}",
            f"Leave `mtu` out for the parent's, or raise that: ip link set {parent.name} mtu {asked}",
        )
    return asked or parent.mtu


def short_name(prefix: str, text: str) -> str:
    """A name of at most 15 bytes for what has a longer one, always the same (FNV-1a); the prefix has three."""
    digest = 0xCBF29CE484222325
    for byte in text.encode():
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{prefix}{digest >> 16:012x}"


def is_short_name(prefix: str, text: str) -> bool:
    return len(text) == _LONGEST_NAME and text.startswith(prefix) and _HEX.issuperset(text[len(prefix) :])


def _named(master: str | list[str], rtnl: Rtnl, create: bool) -> Link:
    names = [master] if isinstance(master, str) else master
    for name in names:
        link = _existing(name, rtnl)
        if link:
            return _raised(link, rtnl) if create else link
    for name in names:
        vlan = split_vlan(name)
        if vlan:
            try:
                below = _named(vlan[0], rtnl, create)
            except CniError as error:
                if error.code != INVALID_CONFIG:
                    raise
                continue
            return _vlan(below, vlan[1], rtnl, create)
    missing = f"there is no link named {names[0]}" if len(names) == 1 else f"there is no link of {', '.join(names)}"
    raise CniError(INVALID_CONFIG, f"master: {missing}", "`ip link` lists the links of this host.")


def _existing(name: str, rtnl: Rtnl) -> Link | None:
    return rtnl.link(name) if len(name.encode()) <= _LONGEST_NAME and ":" not in name else None


def _vlan(below: Link, number: int, rtnl: Rtnl, create: bool) -> Link:
    """The VLAN of a link by its number, whatever its name; the usual one is looked at first."""
    name = f"{below.name}.{number}"
    link = rtnl.link(name) if len(name.encode()) <= _LONGEST_NAME else None
    if not (link and _is_vlan(link, below, number)):
        link = next((link for link in rtnl.links() if _is_vlan(link, below, number)), None)
    if link:
        return _raised(link, rtnl) if create else link
    if create or not is_ours(below):  # one of ours an ADD brings up
        _refuse_down(below)
    if not create:
        raise Absent(f"VLAN {number} of {below.name}", below)
    rtnl.execute(new_parent(_own_name(name), "vlan", u16(IFLA_VLAN_ID, number), below=below.index))
    return _marked(_own_name(name), name, rtnl)


def _is_vlan(link: Link, below: Link, number: int) -> bool:
    return (
        link.kind == "vlan"
        and link.parent == below.index
        and link.parent_nsid is None
        and link.number(IFLA_VLAN_ID) == number
    )


def _internal(config: dict[str, Any], rtnl: Rtnl, create: bool) -> Link:
    name = _own_name(f"internal {config['name']}")
    link = rtnl.link(name)
    if link:
        return _raised(link, rtnl) if create else link
    if not create:
        raise Absent(f"the parent {name} of the internal network {config['name']}")
    rtnl.execute(new_parent(name, "dummy", b"", below=0))
    return _marked(name, name, rtnl)


def _own_name(text: str) -> str:
    """The name that a link of ours is made under. Nobody else has such: what a killed ADD left is known by it."""
    return short_name(_OWN_NAMES, text)


def _marked(made: str, name: str, rtnl: Rtnl) -> Link:
    """The new link, marked as ours, up, and under its name if it is free and short enough, else the one it has."""
    link = rtnl.link(made)
    if not link:
        raise CniError(PARENT_UNUSABLE, f"master: the new link {made} vanished")
    free = len(name.encode()) <= _LONGEST_NAME and not rtnl.link(name)
    rtnl.execute(mark_and_raise(link.index, name if free else made, ALIAS))
    return rtnl.link(index=link.index) or link


def _raised(link: Link, rtnl: Rtnl) -> Link:
    """One of ours that is down is brought up; what others took down is theirs to bring up."""
    if not is_ours(link) or (link.up and link.alias):
        return link
    below = rtnl.link(index=link.parent) if link.parent else None
    if below:
        _refuse_down(below)
    rtnl.execute(mark_and_raise(link.index, link.name, ALIAS))
    return rtnl.link(index=link.index) or link


def _default_route(rtnl: Rtnl) -> Link:
    for family in (AF_INET, AF_INET6):
        defaults = [
            route
            for route in rtnl.routes(family)
            if route.dst.length == 0 and route.links and route.table == RT_TABLE_MAIN and route.type == RTN_UNICAST
        ]
        for route in sorted(defaults, key=lambda route: route.priority):
            link = rtnl.link(index=route.links[0])
            if link:
                return link
    raise CniError(
        INVALID_CONFIG,
        "master: none is given, and there is no default route whose link could be taken",
        'Name the parent in the configuration, as in "master": "eth0".',
    )


def _refuse_down(parent: Link) -> None:
    if not parent.up:
        raise CniError(PARENT_UNUSABLE, f"master: {parent.name} is down", f"Bring it up: ip link set {parent.name} up")


def _refuse_unusable(parent: Link, rtnl: Rtnl) -> None:
    if parent.loopback:
        raise CniError(
            PARENT_UNUSABLE,
            f"master: {parent.name} is a loopback link, which carries no frames",
            "Name a link of the network; for containers that reach each other alone: `internal`.",
        )
    _refuse_down(parent)
    owner = rtnl.link(index=parent.master) if parent.master else None
    if owner and owner.kind in _PORT_OWNERS:
        raise CniError(
            PARENT_UNUSABLE,
            f"master: {parent.name} is a port of the {owner.kind} {owner.name}, which takes all its frames",
            f"Use {owner.name} itself as the parent, or another link.",
        )
