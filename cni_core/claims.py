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

        def has_living(self, parent: str, besides: Attachment) -> bool: ...

    class Asked(Protocol):
        """What the kernel tells of the parent's links (uppers.Uppers)."""

        @property
        def parent(self) -> Link: ...

        def admit(self, kind: str) -> bool: ...

        @property
        def are_none(self) -> bool: ...


class Claim:
    """A network's claim on the parent of a key, for an attachment, to use it as `use` (LinkKind.use)."""

    __slots__ = ("_attachment", "_key", "_kind", "_network", "_records", "use")

    def __init__(self, kind: LinkKind, network: Network, key: str, records: Recorded, attachment: Attachment) -> None:
        self._kind = kind
        self._network = network
        self._key = key
        self._records = records
        self._attachment = attachment
        self.use = kind.use(network)

    def settle(self, uppers: Asked, there: Callable[[], Iterable[Link]]) -> list[Attachment]:
        """The attachments whose records are to be forgotten, because they are dead: no link of theirs is on the parent.

        there: the links on the parent, wherever they are seen. CniError PARENT_UNUSABLE where the parent is in use as
        something else, naming by whom.
        """
        recorded = self._records.use(self._key)
        users = self._records.users(self._key) if recorded else []
        may_share = recorded == self.use and not self._kind.is_exclusive(self._network)
        busy = bool(recorded) and self._records.busy(self._key)  # an ADD runs, and its link may be yet to come
        if busy and not may_share:
            raise refusal(uppers.parent, self.use, recorded, users)
        if recorded and not busy and is_unused(recorded, uppers):
            return [attachment for attachment, _ in users]
        if recorded and not may_share and self._records.has_living(self._key, self._attachment):
            raise refusal(uppers.parent, self.use, recorded, users)
        if not recorded and uppers.admit("macvlan"):
            return []
        # Whatever is there, no living container of ours is known to have it.
        links = list(there())
        others = [link for link in links if link.kind == self._kind.NAME]
        found = {self._kind.use_of(link) for link in others}
        if self._kind.SWITCHES_OTHERS and (found == {self.use} or (may_share and not found)):
            return []
        if recorded and not found:
            raise refusal(uppers.parent, self.use, recorded, users)
        own = [link.name for link in others if link.parent_nsid is None]
        whose = f"the host's own {', '.join(own)}" if own else ""
        raise refusal(uppers.parent, self.use, " and ".join(sorted(found)), [], whose)

    def refuse_newcomer(self, uppers: Asked) -> None:
        """CniError PARENT_UNUSABLE where no first attachment could join now, whoever is on the parent."""
        fits = uppers.admit("macvlan")
        if self._kind.SWITCHES_OTHERS:  # those of its own use hinder a macvlan alone
            fits = not fits or uppers.admit("ipvlan")
        if not fits:
            raise refusal(uppers.parent, self.use, "", [])


def is_unused(recorded: str, uppers: Asked) -> bool:
    """Whether the kernel lets in what it could not, if the parent were in use as is recorded.

    Neither an ipvlan nor a macvlan of mode passthru lets a macvlan in.
    """
    return uppers.are_none if recorded == "macvlan" else uppers.admit("macvlan")


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
