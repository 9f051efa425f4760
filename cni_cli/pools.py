"""How much of a network can be given, and how much is: per range set, by what may be chosen rather than by subnets."""

from __future__ import annotations

from dataclasses import dataclass

from cni_cli.conflists import Network
from cni_cli.kinds import request_of
from cni_cli.leases import Lease
from cni_core.address import Address
from ipam.ranges import Range, RangeSet, range_sets

_READABLE = 10**7  # more than that nobody counts
_SHOWN = 4  # of the intervals, in a line


@dataclass(frozen=True)
class PoolUse:
    """can_give: the intervals that are chosen from, as 10.1.0.2-10.1.0.254; size: how many addresses these have; used:
    how many of them are leased."""

    family: str
    can_give: tuple[str, ...]
    size: int
    used: int

    @property
    def free(self) -> int:
        return self.size - self.used

    def __str__(self) -> str:
        more = f" and {len(self.can_give) - _SHOWN} more" if len(self.can_give) > _SHOWN else ""
        where = ", ".join(self.can_give[:_SHOWN]) + more or "nothing"
        return f"{where}: {self.used:,} of {count(self.size)} given, {count(self.free)} free"

    def as_json(self) -> dict[str, object]:
        return {
            "family": self.family,
            "canGive": list(self.can_give),
            "size": self.size,
            "used": self.used,
            "free": self.free,
        }


def of_network(network: Network, leases: list[Lease]) -> list[PoolUse]:
    """leases: of the network. One for each of its range sets; none where another IPAM plugin has its addresses."""
    if not network.data_dir:
        return []
    given = [Address.parse(lease.address) for lease in leases]
    return [
        PoolUse(
            "IPv6" if ":" in str(part.ranges[0].start) else "IPv4",
            can_give(part),
            part.size,
            sum(may_choose(part.ranges, address) for address in given),
        )
        for part in range_sets(request_of(network.config))
    ]


def may_choose(ranges: list[Range], address: Address) -> bool:
    """One that was asked for may be outside of what is chosen from, and takes nothing from the pool."""
    return any(
        part.family == address.family and first <= address.value <= last
        for part in ranges
        for first, last in part.chosen
    )


def can_give(part: RangeSet) -> tuple[str, ...]:
    spans = [
        (Address(one.family, first), Address(one.family, last)) for one in part.ranges for first, last in one.chosen
    ]
    return tuple(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def count(number: int) -> str:
    """1,022; of an IPv6 subnet about 2^64."""
    if number < _READABLE:
        return f"{number:,}"
    power = number.bit_length() - 1
    power += (number >> (power - 1)) == 3  # to the nearer one
    return f"{'' if number == 1 << power else 'about '}2^{power}"
