"""What may be chosen of a range set, as one row of numbered addresses, however many holes it has.

Addresses of both families are numbers of 128 bits here, IPv4 as RFC 4291's mapped addresses (::ffff:0:0/96): one order
for all, and the order of their keys in the engine.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6

from cni_core.address import Address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipam.ranges import RangeSet

    Span = tuple[int, int]  # the first and the last number, both included

_MAPPED = 0xFFFF << 32
_WINDOW_SPANS = 40  # an engine takes a transaction of 128 operations


def number_of(address: Address) -> int:
    return address.value if address.family == AF_INET6 else _MAPPED | address.value


def address_of(number: int) -> Address:
    """ValueError for a number of more than 128 bits."""
    if number >> 128:
        raise ValueError(f"{number:#x} is not an address")
    if number >> 32 == 0xFFFF:
        return Address(AF_INET, number & 0xFFFFFFFF)
    return Address(AF_INET6, number)


class Pool:
    """spans: what may be chosen, in ascending order, none touching another; size: how many addresses that are."""

    __slots__ = ("size", "spans")

    def __init__(self, spans: Iterable[Span]) -> None:
        self.spans = tuple(sorted(spans))
        self.size = sum(last - first + 1 for first, last in self.spans)

    @classmethod
    def of(cls, part: RangeSet) -> Pool:
        return cls(
            (number_of(Address(one.family, first)), number_of(Address(one.family, last)))
            for one in part.ranges
            for first, last in one.chosen
        )

    def __contains__(self, address: Address) -> bool:
        number = number_of(address)
        return any(first <= number <= last for first, last in self.spans)

    def __getitem__(self, index: int) -> Address:
        """IndexError where it has no so many."""
        if index >= 0:
            for first, last in self.spans:
                if index <= last - first:
                    return address_of(first + index)
                index -= last - first + 1
        raise IndexError(index)

    @property
    def bounds(self) -> tuple[Span, ...]:
        """Spans that hold every address of the pool, and where it has many holes, some of those too."""
        return self.spans if len(self.spans) <= 8 else ((self.spans[0][0], self.spans[-1][1]),)

    def index(self, address: Address) -> int:
        """Which of the pool's addresses it is, from 0; for another, the next one's; 0 behind the last."""
        number, before = number_of(address), 0
        for first, last in self.spans:
            if number <= last:
                return before + max(0, number - first)
            before += last - first + 1
        return 0

    def window(self, start: int, count: int) -> tuple[tuple[Span, ...], int]:
        """Spans of count addresses from the one of index start on, round the end to the beginning, and how many.

        They are fewer where the pool is smaller, or has many holes there. In order: the first span has the first.
        """
        count = min(count, self.size)
        found: list[Span] = []
        covered = 0
        for first, last in self._from(start % self.size if self.size else 0):
            if covered == count or len(found) == _WINDOW_SPANS:
                break
            taken = min(last - first + 1, count - covered)
            found.append((first, first + taken - 1))
            covered += taken
        return tuple(found), covered

    def _from(self, start: int) -> Iterator[Span]:
        """The spans from an index on; what of the first one lies before it comes last."""
        before = 0
        for i, (first, last) in enumerate(self.spans):
            if start < before + last - first + 1:
                middle = first + start - before
                yield middle, last
                yield from self.spans[i + 1 :]
                yield from self.spans[:i]
                if first < middle:
                    yield first, middle - 1
                return
            before += last - first + 1

    def __str__(self) -> str:
        return ", ".join(f"{address_of(first)}-{address_of(last)}" for first, last in self.spans)
