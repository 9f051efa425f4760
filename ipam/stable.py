"""The stable order: in which an attachment is offered the addresses of a range set, by whom it is for alone.

A container that comes back is offered the same ones again, and gets its own unless somebody took it meanwhile. Each has
an order of its own, so that in a pool of which 95 of 100 addresses are taken one in twenty tries finds a free one.
"""

from __future__ import annotations

from cni_core import stable
from ipam.pool import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from cni_core.address import Address
    from ipam.ranges import RangeSet

# After so many taken addresses, one look at the directory is cheaper: with 95 of 100 taken, one ADD in 27 comes to it.
TRIES = 64


def candidates(part: RangeSet, owner: str) -> Iterator[Address]:
    """Every address that can be chosen, once. owner: cni_core.stable.owner's.

    From one address on by steps of a length that has no divisor in common with their number: all come before one comes
    again (double hashing).
    """
    pool = Pool.of(part)
    if not pool.size:
        return
    at = stable.number(owner) % pool.size
    step = stable.number(owner, 1) % pool.size or 1
    while _common_divisor(step, pool.size) != 1:
        step += 1
    for _ in range(pool.size):
        yield pool[at]
        at = (at + step) % pool.size


def first(part: RangeSet, owner: str, count: int, refused: Container[Address]) -> list[Address]:
    """The first so many candidates that can be given; fewer where there are no more."""
    found: list[Address] = []
    for tried, address in enumerate(candidates(part, owner)):
        if tried == TRIES or len(found) == count:
            break
        if address not in refused:
            found.append(address)
    return found


def _common_divisor(one: int, other: int) -> int:
    while other:
        one, other = other, one % other
    return one
