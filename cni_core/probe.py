"""Whether somebody on the LAN has an IPv4 address that a container is to get: the question of RFC 5227.

The kernel asks, by its neighbour table: an entry that is wanted (NTF_USE) makes it ask on the wire, and tells who
answered. A packet socket could ask, too, but takes 12 to 16 ms to close.

A macvlan link asks for itself, before it has an IPv4 address: in the name of 0.0.0.0 then, as RFC 5227 has it, unless
the container has an address on another link; hosts answer in that one's name as well. An ipvlan link gets no answers to
an address that it does not have, so its parent asks, in the host's name.

Who answers in 30 ms is heard; where IPv6's detection takes longer, in that time. Two who ask for the same address at
once do not hear each other: nobody answers for what he does not have yet.
"""

from __future__ import annotations

from cni_core.address import format_mac
from cni_core.errors import TRY_AGAIN_LATER, CniError
from cni_core.lent import Lent
from cni_core.rtnl.neighbours import ask_neighbour, del_neighbour
from cni_core.taken import Duplicate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_core.address import Address
    from cni_core.result import Result
    from cni_core.rtnl.messages import Link
    from cni_core.rtnl.socket import Rtnl
    from cni_core.undo import Steps

MOST = 8  # addresses in a row that others have, before ADD gives up

_SECONDS = 0.03
_LOOK_SECONDS = 0.005
# Three questions in that time, where the kernel would ask one in a second.
_FAST = (("ipv4", "neigh", "retrans_time_ms", "10"), ("ipv4", "neigh", "mcast_solicit", "3"))


class Question:
    """Who on the LAN of a parent has one of the addresses? link: which asks, the container's or the parent itself."""

    __slots__ = ("_addresses", "_asked", "_began", "_lent", "_link", "_parent", "_rtnl")

    def __init__(self, rtnl: Rtnl, link: Link, addresses: Sequence[Address], parent: Link) -> None:
        self._rtnl = rtnl
        self._link = link
        self._addresses = addresses
        self._parent = parent
        self._asked: list[Address] = []
        self._began = 0.0
        self._lent = Lent(_FAST)

    def hurry(self, ifname: str) -> None:
        """Sets the timers of a link that is the container's own, by the name that it has now; finish sets them back."""
        self._lent.set(ifname)

    def ask(self) -> None:
        """When the link is up. What the kernel believes of an address from earlier on is asked anew."""
        from time import monotonic  # reads /etc/localtime: not for a call that waits for nothing

        for address in self._addresses:
            known = self._rtnl.neighbour(self._link.index, address)
            if known and known.is_certain:
                continue
            if known:
                self._forget([address])
            self._asked.append(address)
        self._rtnl.execute(*[ask_neighbour(self._link.index, address) for address in self._asked])
        self._began = monotonic()

    def wait(self) -> None:
        """Returns when nobody has answered for long enough. Duplicate, with the hardware address that answered."""
        from time import monotonic, sleep

        while True:
            waited = monotonic() - self._began
            for address in self._addresses:
                known = self._rtnl.neighbour(self._link.index, address)
                if known and known.answered:
                    who = f"{format_mac(known.mac)} on {self._parent.name}"
                    raise Duplicate(address, who, "Exclude it from the range, or see to the host that has it.")
            if waited >= _SECONDS:
                return
            sleep(min(_LOOK_SECONDS, _SECONDS - waited))

    def finish(self, ifname: str = "") -> None:
        """Forgets what was asked, and sets the timers back by the name that the link has then."""
        self._forget(self._asked)
        self._lent.give_back(ifname)

    def _forget(self, addresses: Sequence[Address]) -> None:
        try:
            self._rtnl.execute(*[del_neighbour(self._link.index, address) for address in addresses])
        except CniError as error:
            if not error.errno:  # else the kernel has forgotten it by itself
                raise


def refuse_taken(rtnl: Rtnl, parent: Link, addresses: Sequence[Address]) -> None:
    """Asks from the parent, at the host's own pace: once. Duplicate."""
    question = Question(rtnl, parent, addresses, parent)
    try:
        question.ask()
        question.wait()
    finally:
        question.finish()


def until_free(
    attempt: Callable[[Mapping[Address, str]], Result],
    steps: Steps,
    may_change: Callable[[Address], bool],
    say: Callable[[str], None],
) -> Result:
    """What attempt gives, which is called anew without the addresses that others turned out to have, each with who.

    Its steps are taken back before. may_change: whether another address will do in place of one. CniError: Duplicate
    where none will, TRY_AGAIN_LATER after MOST of them.
    """
    mark = steps.mark()
    taken: dict[Address, str] = {}
    while True:
        try:
            return attempt(taken)
        except Duplicate as error:
            if not may_change(error.address):
                raise
            taken[error.address] = f"is in use by {error.who}"
            if len(taken) == MOST:
                problem = f"others on the link have {MOST} addresses in a row: {_list(taken)}"
                raise CniError(TRY_AGAIN_LATER, problem, "Exclude what the network does not own.") from None
            failures = steps.back(mark)
            if failures:
                error.details += f" Not undone: {'; '.join(f'{name}: {why}' for name, why in failures)}."
                raise
            say(f"{error.problem}: another is chosen")
        except CniError as error:
            if taken:
                error.details = f"{error.details} Of the free ones, others on the link have {_list(taken)}.".lstrip()
            raise


def _list(taken: Mapping[Address, str]) -> str:
    return "; ".join(f"{address} {why}" for address, why in taken.items())
