"""Ranges and range sets: what of a subnet may be given out, as a few intervals of addresses, never enumerated.

Two bounds differ, as in Go's host-local and in Docker: rangeStart and rangeEnd bound every address; ipRange bounds
those that we choose, and one that is asked for may lie outside it.
"""

from __future__ import annotations

from _socket import AF_INET

from cni_core.address import Address, Cidr
from cni_core.errors import ADDRESS_UNAVAILABLE, INCOMPATIBLE_VERSION, INVALID_CONFIG, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from cni_core.request import Request

    Interval = tuple[int, int]  # the first and the last value, both included


_NOT_ALL = "failed to allocate all requested IPs"  # the words of Go's host-local


class Range:
    """One range of a set: subnet; start and end, the lowest and highest address that may be given; gateway or None.

    chosen: the intervals that addresses are chosen from, in ascending order.
    """

    __slots__ = ("aux", "chosen", "end", "exclude", "gateway", "start", "subnet")

    def __init__(self, config: dict[str, Any]) -> None:
        """From what the schema calls a range. CniError for a contradiction in it, naming both sides."""
        self.subnet = _subnet("subnet", config["subnet"])
        self.gateway = self._gateway(config.get("gateway"))
        self.start = self._bound(config, "rangeStart", self._lowest)
        self.end = self._bound(config, "rangeEnd", self._highest)
        if self.start.value > self.end.value:
            raise _contradiction(f"rangeStart {self.start} is after rangeEnd {self.end}")
        aux = config.get("auxAddresses", {})
        self.aux = {name: self._inside(f"the auxiliary address {name!r},", text) for name, text in aux.items()}
        self.exclude = [self._excluded(text) for text in config.get("exclude", [])]
        part = self._part("ipRange", config["ipRange"]) if config.get("ipRange") else self.subnet
        self.chosen = self._intervals(part)

    @property
    def family(self) -> int:
        return self.subnet.family

    @property
    def _every_address_is_a_hosts(self) -> bool:
        """/31 and /127 have no network or broadcast address (RFC 3021, RFC 6164), /32 and /128 just one address."""
        return self.subnet.length >= self.subnet.address.bits - 1

    @property
    def _lowest(self) -> Address:
        return self.subnet.first if self._every_address_is_a_hosts else _next(self.subnet.first)

    @property
    def _highest(self) -> Address:
        if self.family == AF_INET and not self._every_address_is_a_hosts:
            return Address(self.family, self.subnet.last.value - 1)
        return self.subnet.last

    def _gateway(self, text: str | None) -> Address | None:
        if text == "none":
            return None
        if not text:
            return None if self._every_address_is_a_hosts else _next(self.subnet.first)
        gateway = Address.parse(text)
        if gateway.family != self.family:
            raise _contradiction(f"gateway {gateway} is not of the family of subnet {self.subnet}")
        return gateway

    def _bound(self, config: dict[str, Any], key: str, default: Address) -> Address:
        return self._inside(key, config[key]) if config.get(key) else default

    def _inside(self, key: str, text: str) -> Address:
        address = Address.parse(text)
        if address not in self.subnet:
            raise _contradiction(f"{key} {address} is not in subnet {self.subnet}")
        return address

    def _part(self, key: str, text: str) -> Cidr:
        return self._inner(key, _subnet(key, text))

    def _excluded(self, text: str) -> Cidr:
        """A part of the subnet, with host bits or without, or one address: as users of whereabouts write it."""
        if "/" in text:
            return self._inner("exclude", Cidr.parse(text).subnet)
        address = Address.parse(text)
        return self._inner("exclude", Cidr(address, address.bits))

    def _inner(self, key: str, part: Cidr) -> Cidr:
        if part.first not in self.subnet or part.last not in self.subnet:
            raise _contradiction(f"{key} {part} is not inside subnet {self.subnet}")
        return part

    def _intervals(self, part: Cidr) -> list[Interval]:
        first = max(part.first.value, self.start.value, self._lowest.value)
        last = min(part.last.value, self.end.value, self._highest.value)
        taken = [(address.value, address.value) for address in self.aux.values()]
        taken += [(cidr.first.value, cidr.last.value) for cidr in self.exclude]
        if self.gateway:
            taken.append((self.gateway.value, self.gateway.value))
        return list(_without((first, last), sorted(taken)))

    def __contains__(self, address: Address) -> bool:
        return address.family == self.family and self.start.value <= address.value <= self.end.value

    def refusal(self, address: Address) -> str:
        """Why an address between the bounds is never given out, in words; empty if it may be."""
        if address == self.gateway:
            return f"it is the gateway of {self.subnet}"
        for name, aux in self.aux.items():
            if address == aux:
                return f"it is the auxiliary address {name!r}"
        for cidr in self.exclude:
            if address in cidr:
                return f"{cidr} is excluded"
        if not self._lowest.value <= address.value <= self._highest.value:
            return f"it is the {'network' if address == self.subnet.first else 'broadcast'} address of {self.subnet}"
        return ""

    def only(self, addresses: Iterable[Address]) -> Range:
        """The same range, of which no others can be chosen than those of these that could be."""
        part = object.__new__(Range)
        for name in self.__slots__:
            setattr(part, name, getattr(self, name))
        values = sorted(address.value for address in addresses if address.family == self.family)
        part.chosen = [(one, one) for one in values if any(first <= one <= last for first, last in self.chosen)]
        return part

    def __str__(self) -> str:
        return f"{self.start}-{self.end}"


class RangeSet:
    """Ranges of one family, tried in order; each attachment gets one address of each set."""

    __slots__ = ("ranges",)

    def __init__(self, config: list[dict[str, Any]]) -> None:
        self.ranges = [Range(part) for part in config]
        families = {part.family for part in self.ranges}
        if len(families) > 1:
            raise _contradiction(f"range set {self} mixes IPv4 and IPv6")

    @property
    def family(self) -> int:
        return self.ranges[0].family

    def range_of(self, address: Address) -> Range | None:
        """The range that has the address between its bounds."""
        return next((part for part in self.ranges if address in part), None)

    def only(self, addresses: Iterable[Address]) -> RangeSet:
        """The same set, of which no others can be chosen than those of these that could be."""
        part = object.__new__(RangeSet)
        part.ranges = [one.only(addresses) for one in self.ranges]
        return part

    @property
    def size(self) -> int:
        """How many addresses can be chosen."""
        return sum(last - first + 1 for part in self.ranges for first, last in part.chosen)

    @property
    def excluded(self) -> int:
        """How many addresses between the bounds cannot be chosen."""
        return sum(part.end.value - part.start.value + 1 for part in self.ranges) - self.size

    def candidates(self, last: Address | None) -> Iterator[Address]:
        """Every address that can be chosen, once: round robin, from the one behind last (None: from the first)."""
        where = self.ranges.index(inside) if last and (inside := self.range_of(last)) else -1
        pivot = last.value if last else 0
        behind: list[Interval] = []
        before: list[Interval] = []
        for i, part in enumerate(self.ranges):
            for first, end in part.chosen:
                if i != where:
                    (behind if i > where else before).append((first, end))
                else:
                    before.append((first, min(end, pivot)))
                    behind.append((max(first, pivot + 1), end))
        for first, end in behind + before:
            for value in range(first, end + 1):
                yield Address(self.family, value)

    def __str__(self) -> str:
        return ",".join(str(part) for part in self.ranges)


def range_sets(request: Request) -> list[RangeSet]:
    """The request's range sets: the runtime's, the flat old form, then `ranges`, as in Go's host-local. CniError."""
    ipam = request.ipam
    flat = [[ipam]] if ipam.get("subnet") else []
    configured: list[list[dict[str, Any]]] = request.ip_ranges + flat + ipam.get("ranges", [])
    if not configured:
        raise CniError(INVALID_CONFIG, f"{ipam.get('type', 'host-local')} needs a subnet or ranges", path=("ipam",))
    sets = [RangeSet(part) for part in configured]
    _refuse_overlaps(sets)
    families = [part.family for part in sets]
    if request.cni_version < "0.3.0" and len(families) != len(set(families)):
        problem = f"CNI version {request.cni_version} does not support more than 1 address per family"  # Go's words
        raise CniError(INCOMPATIBLE_VERSION, problem)
    return sets


class Places:
    """Where an address belongs: by bisection, since there may be thousands of ranges, and of addresses to be asked for.

    No two of the ranges overlap.
    """

    __slots__ = ("_ordered",)

    def __init__(self, sets: list[RangeSet]) -> None:
        self._ordered = _ordered(sets)

    def of(self, address: Address) -> tuple[int, Range] | None:
        """The number of the set, and its range that has the address between its bounds; None where no range has."""
        low, high = 0, len(self._ordered)
        while low < high:
            middle = (low + high) // 2
            if self._ordered[middle][:2] <= (address.family, address.value):
                low = middle + 1
            else:
                high = middle
        _, _, number, _, part = self._ordered[low - 1]
        return (number, part) if low and address in part else None


def assign(sets: list[RangeSet], places: Places, asked: list[Address]) -> list[Address | None]:
    """For each set the address asked for of it, if any. CniError where one belongs to no set, or two to one."""
    assigned: list[Address | None] = [None] * len(sets)
    for address in asked:
        found = places.of(address)
        if found is None:
            ranges = "; ".join(str(part) for part in sets)
            raise CniError(ADDRESS_UNAVAILABLE, f"{_NOT_ALL}: {address} is in no range: {ranges}")
        where = found[0]
        if assigned[where]:
            problem = (
                f"{_NOT_ALL}: {address} and {assigned[where]} are both of range set {sets[where]}, which gives one"
            )
            raise CniError(ADDRESS_UNAVAILABLE, problem)
        assigned[where] = address
    return assigned


def _ordered(sets: list[RangeSet]) -> list[tuple[int, int, int, int, Range]]:
    """All ranges, each with its family, its start, its set's number and its own there, in order of their starts."""
    return sorted(
        (
            (part.family, part.start.value, i, j, part)
            for i, one in enumerate(sets)
            for j, part in enumerate(one.ranges)
        ),
        key=lambda entry: entry[:4],
    )


def _refuse_overlaps(sets: list[RangeSet]) -> None:
    """Within a set or between two: where any overlap, two that follow one another in order of their starts do."""
    ordered = _ordered(sets)
    for (_, _, i, _, one), (_, _, j, _, other) in zip(ordered, ordered[1:], strict=False):
        if other.start in one:
            raise _contradiction(f"range {one} of set {i} and range {other} of set {j} overlap")


def _without(interval: Interval, taken: Iterable[Interval]) -> Iterator[Interval]:
    """What is left of an interval without those taken, which are in ascending order."""
    first, last = interval
    for taken_first, taken_last in taken:
        if taken_first > last:
            break
        if first < taken_first:
            yield first, taken_first - 1
        first = max(first, taken_last + 1)
    if first <= last:
        yield first, last


def _subnet(key: str, text: str) -> Cidr:
    cidr = Cidr.parse(text)
    if cidr.address != cidr.first:
        raise _contradiction(f"{key} {cidr} has host bits set; the network is {cidr.subnet}")
    return cidr


def _next(address: Address) -> Address:
    return Address(address.family, address.value + 1)


def _contradiction(what: str) -> CniError:
    return CniError(INVALID_CONFIG, what, path=("ipam",))
