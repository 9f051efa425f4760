"""IPv6 duplicate address detection on a new link: fast, at the kernel's own pace, or off.

Fast is real detection: one probe is sent and RETRANS_TIMER waited for an answer (RFC 4862, 5.4), but with the link's
timer set to 10 ms instead of 1 s. On a wire, a duplicate answers in well under that. The timer also paces neighbour
resolution, so it is set back when the addresses have settled.
"""

from __future__ import annotations

from cni_core import sysctl
from cni_core.errors import DUPLICATE_ADDRESS, TRY_AGAIN_LATER, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.rtnl.socket import Rtnl

FAST, KERNEL, OFF = "fast", "kernel", "off"

_FAST_RETRANS_MS = "10"
_POLL_SECONDS = 0.002
_LIMIT_SECONDS = 10.0


class Timers:
    """The link's timers of detection (net.ipv6.*.IFNAME), as they were before prepare."""

    __slots__ = ("policy", "retrans_time_ms", "solicitation_delay")

    def __init__(self, policy: str) -> None:
        self.policy = policy

    def prepare(self, ifname: str) -> None:
        """Before the link is up, by the name it has then."""
        if self.policy == OFF:
            sysctl.write("0", "net", "ipv6", "conf", ifname, "accept_dad")
        elif self.policy == FAST:
            self.retrans_time_ms = sysctl.read("net", "ipv6", "neigh", ifname, "retrans_time_ms")
            self.solicitation_delay = sysctl.read("net", "ipv6", "conf", ifname, "router_solicitation_delay")
            sysctl.write(_FAST_RETRANS_MS, "net", "ipv6", "neigh", ifname, "retrans_time_ms")
            sysctl.write("0", "net", "ipv6", "conf", ifname, "router_solicitation_delay")

    def restore(self, ifname: str) -> None:
        """When the addresses have settled."""
        if self.policy == FAST:
            sysctl.write(self.retrans_time_ms, "net", "ipv6", "neigh", ifname, "retrans_time_ms")
            sysctl.write(self.solicitation_delay, "net", "ipv6", "conf", ifname, "router_solicitation_delay")


def settle(rtnl: Rtnl, index: int) -> None:
    """Returns when every address on the link is usable.

    CniError: DUPLICATE_ADDRESS where another host has one, TRY_AGAIN_LATER where detection does not end in ten seconds.
    """
    from time import monotonic, sleep  # reads /etc/localtime: not for a call that waits for nothing

    deadline = monotonic() + _LIMIT_SECONDS
    while True:
        addresses = rtnl.addresses(index)
        for address in addresses:
            if address.duplicate:
                raise CniError(
                    DUPLICATE_ADDRESS,
                    f"address {address.cidr.address} is in use by another host on the link",
                    "Exclude it from the range, or find the host that has it: ip -6 neigh",
                )
        tentative = [str(address.cidr.address) for address in addresses if address.tentative]
        if not tentative:
            return
        if monotonic() > deadline:
            raise CniError(
                TRY_AGAIN_LATER, f"duplicate address detection of {', '.join(tentative)} did not end in ten seconds"
            )
        sleep(_POLL_SECONDS)
