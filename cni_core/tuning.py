"""What the network sets of a container's link, in force before the link comes up.

A router may advertise at any moment, and what the kernel takes of that, an address above all, stays. So the plugin
tuning, which a chain calls when all is done, comes too late for these.
"""

from __future__ import annotations

from _socket import AF_INET6

from cni_core import sysctl
from cni_core.address import Address
from cni_core.errors import INVALID_CONFIG, CniError
from cni_core.rtnl.messages import set_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.errors import Path
    from cni_core.network import Network
    from cni_core.result import Result
    from cni_core.rtnl.messages import Link
    from cni_core.task import Task

IFNAME = "IFNAME"  # in the name of a sysctl, whatever the interface is called: as in docker's endpoint.sysctls
KERNEL = "kernel"

# The sysctl of net.ipv6.conf.IFNAME that is 0 by the value of `ra`.
_OFF_BY_RA = {"": "", KERNEL: "", "routes": "autoconf", "off": "accept_ra"}


class Setting:
    """A sysctl as the configuration names it, its value, and which key asks for it."""

    __slots__ = ("key", "name", "value")

    def __init__(self, name: str, value: str, key: Path) -> None:
        self.name = name
        self.value = value
        self.key = key

    def path(self, ifname: str) -> list[str]:
        """Below /proc/sys. An interface name may hold a dot, IFNAME holds none."""
        return [ifname if part == IFNAME else part for part in self.name.split(".")]


def settings(network: Network) -> list[Setting]:
    """In the order in which they are made: the person's own last."""
    found = []
    if not network.ipv6:
        found.append(Setting(f"net.ipv6.conf.{IFNAME}.disable_ipv6", "1", ("ipv6",)))
    off = _OFF_BY_RA[network.ra]
    if off:
        found.append(Setting(f"net.ipv6.conf.{IFNAME}.{off}", "0", ("ra",)))
    return found + [Setting(name, value, ("sysctls", name)) for name, value in network.sysctls.items()]


def refuse_contradictions(network: Network) -> None:
    """CniError INVALID_CONFIG for a token that no advertisement could use."""
    if network.ipv6_token and (not network.ipv6 or network.ra not in ("", KERNEL)):
        raise CniError(
            INVALID_CONFIG,
            "it is the end of addresses that routers' advertisements give, and the network takes none",
            "Leave it out, or `ra` and `ipv6`.",
            path=("ipv6Token",),
        )


def refuse_ipv6(network: Network, addresses: Result) -> None:
    """CniError INVALID_CONFIG for IPv6 in a network that has none."""
    if network.ipv6:
        return
    cidrs = [ip.cidr for ip in addresses.ips] + [route.dst for route in addresses.routes]
    of_ipv6 = next((cidr for cidr in cidrs if cidr.family == AF_INET6), None)
    if of_ipv6:
        raise CniError(INVALID_CONFIG, f"false, and {of_ipv6} is of IPv6", "Leave one of them out.", path=("ipv6",))


def tune(task: Task, link: Link) -> None:
    """Makes the settings, while the link is down, under the name that it has now. CniError."""
    refuse_contradictions(task.network)
    with task.container.entered():
        for setting in settings(task.network):
            try:
                sysctl.write(setting.value, *setting.path(link.name))
            except CniError as error:
                if setting.key[0] == "sysctls":
                    raise CniError(INVALID_CONFIG, error.problem, path=setting.key) from None
                # Without IPv6 in the kernel, or on a link of so small an MTU, there is nothing to be turned off.
                if sysctl.exists("net", "ipv6", "conf", link.name):
                    raise
    if task.network.ipv6_token:
        task.container.rtnl.execute(set_token(link.index, Address.parse(task.network.ipv6_token)))
