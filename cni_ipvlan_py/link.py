"""The ipvlan kind of link: its modes and flags, its IFLA_INFO_DATA. Its hardware address is the parent's."""

from __future__ import annotations

from cni_core.rtnl.messages import u16
from cni_core.schema.validators import ipvlan as accepts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.network import Network
    from cni_core.request import Request
    from cni_core.rtnl.messages import Link

__all__ = [
    "HAS_OWN_MAC",
    "LIES_FLAT_ON",
    "NAME",
    "SWITCHES_OTHERS",
    "TAKES_OVER",
    "accepts",
    "difference",
    "info_data",
    "is_exclusive",
    "is_routed",
    "mac",
    "use",
    "use_of",
]

NAME = "ipvlan"
LIES_FLAT_ON = ("ipvlan", "ipvtap")
HAS_OWN_MAC = False
SWITCHES_OTHERS = True
TAKES_OVER = True

# linux/if_link.h: IFLA_IPVLAN_*, enum ipvlan_mode, IPVLAN_F_*
IFLA_IPVLAN_MODE = 1
IFLA_IPVLAN_FLAGS = 2
MODES = {"l2": 0, "l3": 1, "l3s": 2}
FLAGS = {"bridge": 0, "private": 1, "vepa": 2}
DEFAULT_MODE = "l2"
DEFAULT_FLAG = "bridge"


def info_data(network: Network) -> bytes:
    # Always both: a link made without a mode is l3, and takes its parent's other links along.
    return u16(IFLA_IPVLAN_MODE, MODES[_mode(network)]) + u16(IFLA_IPVLAN_FLAGS, FLAGS[_flag(network)])


def mac(request: Request, network: Network) -> bytes:
    """None of its own: one asked for is not ours to refuse, since runtimes ask all plugins of a node alike."""
    return b""


def difference(network: Network, link: Link) -> str:
    wanted, found = use(network), use_of(link)
    return "" if wanted == found else f"it is {found}, not {wanted}"


def use(network: Network) -> str:
    """One mode and flag holds for all of a parent's links (ipvlan_set_port_mode, drivers/net/ipvlan)."""
    return f"{NAME} {_mode(network)} {_flag(network)}"


def use_of(link: Link) -> str:
    mode, flag = (
        next((name for name, number in table.items() if number == found), str(found))
        for table, found in ((MODES, link.number(IFLA_IPVLAN_MODE)), (FLAGS, link.number(IFLA_IPVLAN_FLAGS)))
    )
    return f"{NAME} {mode} {flag}"


def is_exclusive(network: Network) -> bool:
    return False


def is_routed(network: Network) -> bool:
    return _mode(network) != DEFAULT_MODE


def _mode(network: Network) -> str:
    return network.mode or DEFAULT_MODE


def _flag(network: Network) -> str:
    return network.flag or DEFAULT_FLAG
