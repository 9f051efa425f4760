"""The macvlan kind of link: its modes, its hardware address, its IFLA_INFO_DATA."""

from __future__ import annotations

from cni_core.address import format_mac, parse_mac
from cni_core.errors import INVALID_CONFIG, CniError
from cni_core.rtnl.messages import u32
from cni_core.schema.validators import macvlan as accepts

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

NAME = "macvlan"
LIES_FLAT_ON = ("macvlan", "macvtap")
HAS_OWN_MAC = True
SWITCHES_OTHERS = False
TAKES_OVER = False

# linux/if_link.h: IFLA_MACVLAN_*, enum macvlan_mode
IFLA_MACVLAN_MODE = 1
IFLA_MACVLAN_BC_QUEUE_LEN = 7
MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
PASSTHRU = "passthru"
DEFAULT_MODE = "bridge"


def info_data(network: Network) -> bytes:
    data = u32(IFLA_MACVLAN_MODE, MODES[_mode(network)])
    if network.bc_queue_length:
        data += u32(IFLA_MACVLAN_BC_QUEUE_LEN, network.bc_queue_length)
    return data


def mac(request: Request, network: Network) -> bytes:
    """The address asked for: of one host, not a group's (bit 0 of the first byte) and not zero. CniError."""
    asked = request.mac or network.mac
    address = parse_mac(asked) if asked else b""
    if address and (address[0] & 1 or not any(address)):
        raise CniError(INVALID_CONFIG, f"{format_mac(address)} is not the address of a single host", path=("mac",))
    if address and _mode(network) == PASSTHRU:  # the kernel would ignore it (macvlan_common_newlink)
        problem = f"in passthru the container has the parent's hardware address, not {format_mac(address)}"
        raise CniError(INVALID_CONFIG, problem, "Set the parent's: ip link set PARENT address …", path=("mac",))
    return address


def difference(network: Network, link: Link) -> str:
    wanted, found = _mode(network), link.number(IFLA_MACVLAN_MODE)
    if MODES[wanted] == found:
        return ""
    name = next((name for name, number in MODES.items() if number == found), str(found))
    return f"the mode is {name}, not {wanted}"


def use(network: Network) -> str:
    """Modes may differ among a parent's links, but for passthru, which is alone on it."""
    return f"{NAME} {PASSTHRU}" if _mode(network) == PASSTHRU else NAME


def use_of(link: Link) -> str:
    return f"{NAME} {PASSTHRU}" if link.number(IFLA_MACVLAN_MODE) == MODES[PASSTHRU] else NAME


def is_exclusive(network: Network) -> bool:
    return _mode(network) == PASSTHRU


def is_routed(network: Network) -> bool:
    return False


def _mode(network: Network) -> str:
    return network.mode or DEFAULT_MODE
