"""May a network use a parent now? One parent, one kind: macvlan and ipvlan cannot share a link, passthru shares with
nobody, and one ipvlan mode and flag holds for all of a parent's links, whom the kernel would switch without a word.

The records tell of our own attachments, the kernel (cni_core.uppers) of everybody's; here is only decided, where the
records alone do not allow it (shared.is_evident).
"""

from __future__ import annotations

from cni_core.errors import PARENT_UNUSABLE, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    from cni_core.contracts import LinkKind
    from cni_core.names import Attachment
    from cni_core.network import Network
    from cni_core.rtnl.messages import Link

    class Recorded(Protocol):
        """What is recorded of the parents (records.Records)."""

        def use(self, parent: str) -> str: ...

        def busy(self, parent: str) -> bool: ...

        def users(self, used: str) -> list[tuple[Attachment, str]]: ...

    class Asked(Protocol):
        """What the kernel tells of the parent's links (uppers.Uppers)."""

        @property
        def parent(self) -> Link: ...

        def admit(self, kind: str) -> bool: ...

        @property
        def are_none(self) -> bool: ...


class Claim:
    """A network's claim on the parent of a key, to use it as `use` (LinkKind.use)."""

    __slots__ = ("_key", "_kind", "_records", "use")

    def __init__(self, kind: LinkKind, network: Network, key: str, records: Recorded) -> None:
        self._kind = kind
        self._key = key
        self._records = records
        self.use = kind.use(network)

    def settle(self, uppers: Asked, there: Callable[[], Iterable[Link]]) -> list[Attachment]:
        """The attachments whose records are to be forgotten, because they are dead: nobody is on the parent.

        there: the links on the parent, wherever they are. CniError PARENT_UNUSABLE where the parent is in use as
        something else, naming by whom.
        """
        recorded = self._records.use(self._key)
        if recorded:
            users = self._records.users(self._key)
            # Where no link is left and none is being made, the records are of containers that died without a DEL.
            if self._records.busy(self._key) or not uppers.are_none:
                raise refusal(uppers.parent, self.use, recorded, users)
            return [attachment for attachment, _ in users]
        if not uppers.admit("macvlan"):
            others = [link for link in there() if link.kind == self._kind.NAME]
            found = {self._kind.use_of(link) for link in others}
            if found != {self.use}:
                own = [link.name for link in others if link.parent_nsid is None]
                whose = f"the host's own {', '.join(own)}" if own else ""
                raise refusal(uppers.parent, self.use, " and ".join(sorted(found)), [], whose)
        return []

    def refuse_newcomer(self, uppers: Asked) -> None:
        """CniError PARENT_UNUSABLE where no first attachment could join now, whoever is on the parent."""
        fits = uppers.admit("macvlan")
        if self._kind.SWITCHES_OTHERS:  # those of its own use hinder a macvlan alone
            fits = not fits or uppers.admit("ipvlan")
        if not fits:
            raise refusal(uppers.parent, self.use, "", [])


def refusal(parent: Link, wanted: str, found: str, users: list[tuple[Attachment, str]], whose: str = "") -> CniError:
    """The error for a parent that is used as something else, by us or (users empty) by somebody else."""
    who = ", ".join(f"{attachment} of network {network}" for attachment, network in users) or whose
    return CniError(
        PARENT_UNUSABLE,
        f"{parent.name} is in use as {found or 'another kind of link'} by {who or 'somebody else'}: "
        f"{wanted} cannot share it",
        "A parent carries macvlan or ipvlan; of macvlan, passthru shares with nobody; of ipvlan, one mode and flag "
        "holds for all. Use another parent (a VLAN of it will do), or the mode that is there.",
        path=("master",),
    )
