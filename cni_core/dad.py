"""IPv6 duplicate address detection on a new link: fast, at the kernel's own pace, or off.

Fast is real detection (RFC 4862, 5.4): two questions, and 50 ms waited for an answer to each, in place of one question
and 1 s. A host that answers within 100 ms of the first is found: one on a wire answers in less than one, one that
sleeps or is on Wi-Fi in some tens. Who has slower ones takes the kernel's pace. The timer also paces the resolution of
neighbours, so it is set back when the addresses have settled.
"""

from __future__ import annotations

from cni_core import sysctl
from cni_core.errors import TRY_AGAIN_LATER, CniError
from cni_core.lent import Lent
from cni_core.taken import Duplicate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.rtnl.socket import Rtnl

FAST, KERNEL, OFF = "fast", "kernel", "off"

_FAST = (
    ("ipv6", "neigh", "retrans_time_ms", "50"),
    ("ipv6", "conf", "dad_transmits", "2"),
    ("ipv6", "conf", "router_solicitation_delay", "0"),  # the longest random delay before the first question, too
)
_FAST_SECONDS = 0.1
# Between two looks: few while detection cannot have ended, for each costs as much as some messages.
_SELDOM_SECONDS = 0.01
_OFTEN_SECONDS = 0.002
_LIMIT_SECONDS = 10.0


class Timers:
    """The link's timers of detection (net.ipv6.*.IFNAME), which restore sets as they were before prepare."""

    __slots__ = ("_lent", "policy")

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self._lent = Lent(_FAST if policy == FAST else ())

    def prepare(self, ifname: str) -> None:
        """Before the link is up, by the name it has then."""
        if self.policy == OFF:
            sysctl.write("0", "net", "ipv6", "conf", ifname, "accept_dad")
        self._lent.set(ifname)

    def restore(self, ifname: str) -> None:
        """When the addresses have settled."""
        self._lent.give_back(ifname)


def settle(rtnl: Rtnl, index: int) -> None:
    """Returns when every address on the link is usable.

    CniError: Duplicate where another host has one, TRY_AGAIN_LATER where detection does not end in ten seconds.
    """
    from time import monotonic, sleep  # reads /etc/localtime: not for a call that waits for nothing

    began = monotonic()
    while True:
        addresses = rtnl.addresses(index)
        for address in addresses:
            if address.duplicate:
                raise Duplicate(
                    address.cidr.address,
                    "another host on the link",
                    "Exclude it from the range, or find the host that has it: ip -6 neigh",
                )
        tentative = [str(address.cidr.address) for address in addresses if address.tentative]
        if not tentative:
            return
        waited = monotonic() - began
        if waited > _LIMIT_SECONDS:
            raise CniError(
                TRY_AGAIN_LATER, f"duplicate address detection of {', '.join(tentative)} did not end in ten seconds"
            )
        sleep(_SELDOM_SECONDS if waited < _FAST_SECONDS - _SELDOM_SECONDS else _OFTEN_SECONDS)
