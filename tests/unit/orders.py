"""The stable order of addresses, written once more from its description, with other means."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import count
from math import gcd

_MASK = 2**64 - 1


def number(data: bytes, nth: int = 0) -> int:
    """FNV-1a of 64 bits (draft-eastlake-fnv), or the nth behind it, finished as MurmurHash3 is (fmix64)."""
    h = reduce(lambda value, byte: ((value ^ byte) * (2**40 + 2**8 + 0xB3)) & _MASK, data, 14695981039346656037)
    h = (h + nth) % 2**64
    h = ((h ^ h >> 33) * 0xFF51AFD7ED558CCD) & _MASK
    h = ((h ^ h >> 33) * 0xC4CEB9FE1A85EC53) & _MASK
    return h ^ h >> 33


def stable_order(owner: Sequence[str], pool: Sequence[str]) -> list[str]:
    """pool: what can be chosen, in ascending order."""
    whom, size = "\0".join(owner).encode(), len(pool)
    wanted = number(whom, 1) % size or 1
    step = next(n for n in count(wanted) if gcd(n, size) == 1)
    return [pool[(number(whom) + i * step) % size] for i in range(size)]
