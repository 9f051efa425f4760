"""What an operation of the protocol (ipam.claims) requests, and what it is answered.

Four verbs are an engine's: List, Claim, TakeUp, GiveBack; whatever can carry them out can be one (ipam.etcd). Two are
for this node's file: Keep and Drop. Keys and values are text; a revision grows with every change of the whole engine.

Guards are further records (key, revision, 0 for none) that must be so for anything to be done. An engine that cannot
compare several records at once may leave them out: no rule needs them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple, TypeVar

from cni_core.address import Address
from cni_core.errors import TRY_AGAIN_LATER, CniError
from ipam.held import Held

KeyRange = tuple[str, str]  # from the first key on, up to but without the second
Guards = tuple[tuple[str, int], ...]


class List(NamedTuple):
    """The records of ranges of keys, at most limit of each (0: all), and how many others have; all as of one moment."""

    ranges: tuple[KeyRange, ...]
    counts: tuple[KeyRange, ...] = ()
    limit: int = 0


class Claim(NamedTuple):
    """Make records (key, value), each if there is none of its key."""

    records: tuple[tuple[str, str], ...]
    guards: Guards = ()


class TakeUp(NamedTuple):
    """Rewrite records (key, value, revision), each if it still has that revision."""

    records: tuple[tuple[str, str, int], ...]
    guards: Guards = ()


class GiveBack(NamedTuple):
    """Delete records (key, revision), each if it still has that revision."""

    records: tuple[tuple[str, int], ...]
    guards: Guards = ()


class Keep(NamedTuple):
    """Write held, lasting. Nothing that was in it is missing. Answered by None."""

    held: Held


class Drop(NamedTuple):
    """Write held without addresses, lasting, under the lock of the leases: without those that have no lease (R4).

    with_leases: also those that have one, which somebody else has, too. Answered by what was written, a Held.
    """

    held: Held
    addresses: tuple[Address, ...]
    with_leases: bool = False


Remote = List | Claim | TakeUp | GiveBack
Request = Remote | Keep | Drop


# Answers


class Record(NamedTuple):
    key: str
    value: str
    revision: int


class Listing(NamedTuple):
    """records: of each range, in the order of keys; counts: of each range to be counted; revision: the engine's."""

    records: tuple[tuple[Record, ...], ...]
    counts: tuple[int, ...]
    revision: int


class Done(NamedTuple):
    """keys: the records for which it was done; their revision. For the others, the comparison failed."""

    keys: frozenset[str]
    revision: int


class Refused(NamedTuple):
    """Not done, and never will be."""

    why: str


class Unknown(NamedTuple):
    """Perhaps done, perhaps not yet: a request that is under way is carried out at any later time."""

    why: str


Answer = Listing | Done | Refused | Unknown | Held | None

T = TypeVar("T")
Operation = Generator[Request, Answer, T]

AT_ONCE = 100  # records in one request: an etcd takes 128 operations


class Away(CniError):
    """The engine cannot be asked, or did not say what became of a request. why: for each of its endpoints."""

    def __init__(self, why: str, msg: str) -> None:
        super().__init__(TRY_AGAIN_LATER, msg, "Addresses that this host holds are given and taken back all the same.")
        self.why = why


def look_up(request: List, engine: str) -> Operation[Listing]:
    answer = yield request
    if isinstance(answer, (Refused, Unknown)):
        raise _away(answer, engine)
    return expect(Listing, answer)


def carry_out(request: Claim | TakeUp | GiveBack, engine: str) -> Operation[Done]:
    """Away for an outcome that is unknown, too: what is ours in spite of that, R3 finds."""
    if not request.records:
        return Done(frozenset(), 0)
    answer = yield request
    if isinstance(answer, (Refused, Unknown)):
        raise _away(answer, engine)
    return expect(Done, answer)


def _away(answer: Refused | Unknown, engine: str) -> Away:
    return Away(answer.why, f"{engine} cannot be asked: {answer.why}")


def expect(kind: type[T], answer: object) -> T:
    assert isinstance(answer, kind), f"{answer!r} is no {kind.__name__}"
    return answer


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[i : i + AT_ONCE] for i in range(0, len(items), AT_ONCE))
