"""The ipvlan kind of link: its modes and flags, its IFLA_INFO_DATA. Its hardware address is the parent's."""

from __future__ import annotations

from cni_core.rtnl.messages import u16
from cni_core.schema.validators import ipvlan as accepts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cni_core.request import Request
    from cni_core.rtnl.messages import Link

__all__ = [
    "NAME",
    "SWITCHES_OTHERS",
    "TAKES_OVER",
    "accepts",
    "difference",
    "info_data",
    "is_routed",
    "mac",
    "use",
    "use_of",
]

NAME = "ipvlan"
SWITCHES_OTHERS = True
TAKES_OVER = True

# linux/if_link.h: IFLA_IPVLAN_*, enum ipvlan_mode, IPVLAN_F_*
IFLA_IPVLAN_MODE = 1
IFLA_IPVLAN_FLAGS = 2
MODES = {"l2": 0, "l3": 1, "l3s": 2}
FLAGS = {"bridge": 0, "private": 1, "vepa": 2}
DEFAULT_MODE = "l2"
DEFAULT_FLAG = "bridge"


def info_data(config: dict[str, Any]) -> bytes:
    # Always both: a link made without a mode is l3, and takes its parent's other links along.
    return u16(IFLA_IPVLAN_MODE, MODES[_mode(config)]) + u16(IFLA_IPVLAN_FLAGS, FLAGS[_flag(config)])


def mac(request: Request) -> bytes:
    """None of its own: one asked for is not ours to refuse, since runtimes ask all plugins of a node alike."""
    return b""


def difference(config: dict[str, Any], link: Link) -> str:
    wanted, found = use(config), use_of(link)
    return "" if wanted == found else f"it is {found}, not {wanted}"


def use(config: dict[str, Any]) -> str:
    """One mode and flag holds for all of a parent's links (ipvlan_set_port_mode, drivers/net/ipvlan)."""
    return f"{NAME} {_mode(config)} {_flag(config)}"


def use_of(link: Link) -> str:
    mode, flag = (
        next((name for name, number in table.items() if number == found), str(found))
        for table, found in ((MODES, link.number(IFLA_IPVLAN_MODE)), (FLAGS, link.number(IFLA_IPVLAN_FLAGS)))
    )
    return f"{NAME} {mode} {flag}"


def is_routed(config: dict[str, Any]) -> bool:
    return _mode(config) != DEFAULT_MODE


def _mode(config: dict[str, Any]) -> str:
    return config.get("mode") or DEFAULT_MODE


def _flag(config: dict[str, Any]) -> str:
    return config.get("flag") or DEFAULT_FLAG
