"""Which link carries the container's: the one that the configuration names, or the default route's."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6

from cni_core.errors import INVALID_CONFIG, PARENT_UNUSABLE, CniError
from cni_core.rtnl.messages import RT_TABLE_MAIN, RTN_UNICAST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cni_core.rtnl.messages import Link
    from cni_core.rtnl.socket import Rtnl

# Kinds of link that take all frames of their ports (netdev_rx_handler_register), so that macvlan and ipvlan cannot.
_PORT_OWNERS = ("bridge", "bond", "team", "openvswitch")


def find(config: dict[str, Any], rtnl: Rtnl) -> Link:
    """The parent, fit for use, in the namespace of the socket.

    CniError: INVALID_CONFIG where there is no such link, PARENT_UNUSABLE where it can carry none.
    """
    parent = _named(config["master"], rtnl) if config.get("master") else _default_route(rtnl)
    _refuse_unusable(parent, rtnl)
    return parent


def mtu(config: dict[str, Any], parent: Link) -> int:
    """The MTU for the container's link: the configuration's, which may not exceed the parent's, or the parent's."""
    asked: int = config.get("mtu", 0)
    if asked > parent.mtu:
        raise CniError(INVALID_CONFIG, f"mtu: {asked} is more than the {parent.mtu} of {parent.name}")
    return asked or parent.mtu


def _named(master: str | list[str], rtnl: Rtnl) -> Link:
    names = [master] if isinstance(master, str) else master
    for name in names:
        link = rtnl.link(name)
        if link:
            return link
    missing = f"there is no link named {names[0]}" if len(names) == 1 else f"there is no link of {', '.join(names)}"
    raise CniError(INVALID_CONFIG, f"master: {missing}", "`ip link` lists the links of this host.")


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


def _refuse_unusable(parent: Link, rtnl: Rtnl) -> None:
    if parent.loopback:
        raise CniError(PARENT_UNUSABLE, f"master: {parent.name} is a loopback link, which carries no frames")
    if not parent.up:
        raise CniError(PARENT_UNUSABLE, f"master: {parent.name} is down", f"Bring it up: ip link set {parent.name} up")
    owner = rtnl.link(index=parent.master) if parent.master else None
    if owner and owner.kind in _PORT_OWNERS:
        raise CniError(
            PARENT_UNUSABLE,
            f"master: {parent.name} is a port of the {owner.kind} {owner.name}, which takes all its frames",
            f"Use {owner.name} itself as the parent, or another link.",
        )
