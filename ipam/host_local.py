"""host-local: addresses of ranges, leased to attachments of this host."""

from __future__ import annotations

from cni_core.address import Address, Cidr
from cni_core.errors import (
    ADDRESS_UNAVAILABLE,
    CHECK_DIFFERS,
    DATA_DIRECTORY,
    INVALID_CONFIG,
    POOL_EXHAUSTED,
    CniError,
)
from cni_core.files import is_there_a_policy
from cni_core.names import Attachment
from cni_core.result import IP, Result, RouteSpec
from ipam.ranges import Places, RangeSet, assign, range_sets
from ipam.store import DEFAULT_DATA_DIR, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from cni_core.request import Request
    from cni_core.undo import Steps


# After so many taken addresses in a row, one look at the directory is cheaper than trying on.
_TRIES = 8
_NAMED = 3  # of dead containers, in an error


NEEDS_LINK = False


def add(
    request: Request,
    steps: Steps,
    refused: Mapping[Address, str],
    *,
    again: bool = True,
    lease: Callable[[Leasing], list[Address]] | None = None,
) -> Result:
    """One address of each range set, and the configuration's routes and resolvConf.

    again: an attachment that has addresses is given them again. Else it is refused while they are of this boot, as by
    Go's host-local: a plugin that is called twice must not undo, by its second failure, the first call's lease.
    lease: what is to lease them, where not all of the sets may be given.
    """
    lease = lease or _lease_all
    leasing = Leasing(request, range_sets(request), refused, again=again)
    routes = [route_of(i, spec) for i, spec in enumerate(request.ipam.get("routes", []))]
    dns: dict[str, Any] = {}
    if request.ipam.get("resolvConf"):
        from ipam.resolv_conf import dns_of

        dns = dns_of(request.ipam["resolvConf"])
    addresses = steps.take("lease addresses", lambda: lease(leasing), leasing.give_back)
    ips = [_ip(part, address) for part, address in zip(leasing.sets, addresses, strict=True)]
    return Result(ips=ips, routes=routes, dns=dns)


def delete(request: Request) -> None:
    """Releases every address of the attachment."""
    try:
        with store_of(request, create=False) as store:
            store.release_all(_holder(request, store))
    except FileNotFoundError:
        pass  # no directory, no lease


def check(request: Request) -> None:
    """CniError unless the attachment holds a lease, and one of each address of ours that prevResult gives it."""
    try:
        with store_of(request, create=False) as store:
            held = set(store.held_by(_holder(request, store)))
    except FileNotFoundError:
        held = set()
    result = request.prev_result
    given = [ip.cidr.address for ip in result.ips_of(request.ifname, request.netns)] if result else []
    places = Places(range_sets(request))
    lost = [address for address in given if address not in held and places.of(address)]
    if lost or not held:
        raise CniError(
            CHECK_DIFFERS,
            f"container {request.container_id} holds no lease {f'of {lost[0]} ' if lost else ''}for {request.ifname} "
            f"of network {request.name}",
            "Its address may be given to another container.",
        )


def gc(request: Request) -> None:
    """Releases the leases of every attachment that the request does not call valid."""
    valid = request.valid_attachments
    containers = {attachment.container_id for attachment in valid}
    try:
        with store_of(request, create=False) as store:
            for address, holder in store.leases():
                if holder not in valid and (holder.ifname or holder.container_id not in containers):
                    store.release(address)
            store.reindex()
    except FileNotFoundError:
        pass


def status(request: Request) -> None:
    """CniError where a range set has no free address left, or the leases cannot be written."""
    sets = range_sets(request)
    with store_of(request) as store:
        taken = store.taken()
        for part in sets:
            if all(str(address) in taken for address in part.candidates(None)) and not store.holds_earlier_boots():
                raise _exhausted(part)


def subnets(request: Request) -> list[Cidr]:
    return [part.subnet for one in range_sets(request) for part in one.ranges]


def _lease_all(leasing: Leasing) -> list[Address]:
    """One address of each set."""
    request = leasing.request
    try:
        with store_of(request) as store:
            return leasing.lease(store, leasing.sets, leasing.asked)
    except CniError as error:
        if error.code == POOL_EXHAUSTED:  # the leases are unlocked by now: to look at all namespaces takes a while
            error.details += _told_of_the_dead(request.name)
        raise


def _told_of_the_dead(network: str) -> str:
    """Of what leases may be free though an ADD does not take them: it may not see the namespaces of all containers."""
    from cni_core.dead import dead

    try:
        found = [str(attachment) for attachment in dead(network)]
    except CniError:  # what is told is the exhausted pool
        return ""
    if not found:
        return ""
    who = ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
    return f" Of {who} the namespace is gone: `leases release --dead {network}` frees what they had."


def _by_set(
    held: list[Address], places: Places, asked: list[Address | None], refused: Mapping[Address, str]
) -> dict[int, Address]:
    """Of each set the first address held that the attachment can keep: the one that is asked for, if one is."""
    found: dict[int, Address] = {}
    for address in held:
        place = places.of(address)
        if place and asked[place[0]] in (None, address) and address not in refused:
            found.setdefault(place[0], address)
    return found


def _refuse_again(
    attachment: Attachment, store: Store, held: list[Address], sets: list[RangeSet], asked: list[Address | None]
) -> None:
    for i, address in enumerate(held):
        if not store.is_of_an_earlier_boot(attachment, address):
            if address in asked:
                raise _taken(store, address, sets[asked.index(address)])
            raise CniError(
                ADDRESS_UNAVAILABLE,
                f"failed to allocate for range {i}: {address} has been allocated to {attachment.container_id}, "
                "duplicate allocation is not allowed",  # Go's words
            )


def whom(request: Request) -> str:
    """Whom the addresses are for, where their order follows from that; else empty."""
    if request.ipam.get("order") != "stable":
        return ""
    from cni_core import stable

    return stable.owner(request)


class Leasing:
    """Of an address of each range set to the request's attachment.

    asked: of each set, the address that is asked for; refused: those that cannot be given, with the reason; again: as
    add's. given: those that are new, each added before it is leased: a signal may come at once.
    """

    __slots__ = (
        "_held",
        "_owner",
        "_store",
        "_taken",
        "again",
        "asked",
        "given",
        "places",
        "refused",
        "request",
        "sets",
    )

    def __init__(self, request: Request, sets: list[RangeSet], refused: Mapping[Address, str], *, again: bool) -> None:
        """CniError where what is asked for is of no set."""
        self.request = request
        self.sets = sets
        self.places = Places(sets)
        self.asked = assign(sets, self.places, request.ips)
        self.refused = refused
        self.again = again
        self.given: list[Address] = []

    def lease(self, store: Store, parts: list[RangeSet], asked: list[Address | None]) -> list[Address]:
        """An address of each set, for who has the lock of the leases. parts: of each set, what may be chosen.

        The index is written once, at the end: what a killed call has leased, the next one finds (Store.reserve).
        """
        attachment = self.request.attachment
        held = store.held_by(attachment)
        if held and not self.again:
            _refuse_again(attachment, store, held, parts, asked)
        if held:
            store.hold(attachment, held)  # of this boot from now on: not to be taken back for another set
        self._store = store
        self._held = _by_set(held, self.places, asked, self.refused)
        self._owner = whom(self.request)  # whom they are for, in a stable order; empty for the next free one
        self._taken: set[str] | None = None  # the directory, once it was read: while it is locked only we change it
        addresses = [self._one(i, part, address) for i, (part, address) in enumerate(zip(parts, asked, strict=True))]
        if self.given:
            store.hold(attachment, held + self.given)
        return addresses

    def give_back(self) -> None:
        """What is new of it."""
        if self.given:
            attachment = self.request.attachment
            with store_of(self.request) as store:
                held, back = store.held_by(attachment), set(self.given)
                for address in self.given:
                    if store.holder(address) == attachment:  # the index may not know of it yet
                        store.release(address)
                store.hold(attachment, [address for address in held if address not in back])

    def _one(self, index: int, part: RangeSet, asked: Address | None) -> Address:
        """Of range set number index: the address it holds already, the one asked for, or the next free one.

        It holds one where an earlier ADD was killed, or was before a reboot.
        """
        if index in self._held:
            return self._held[index]
        return self._asked(index, part, asked) if asked else self._next_free(index, part)

    def _asked(self, index: int, part: RangeSet, address: Address) -> Address:
        refuse_impossible(part, address)
        if address in self.refused:
            raise CniError(ADDRESS_UNAVAILABLE, f"the address asked for, {address}, {self.refused[address]}")
        self.given.append(address)
        if not self._reserve_or_take_back(index, address):
            raise _taken(self._store, address, part)
        return address

    def _reserve_or_take_back(self, index: int, address: Address) -> bool:
        """Also where somebody of an earlier boot holds it, who is gone."""
        if self._reserve(index, address):
            return True
        holder = self._store.holder(address)
        if not holder or not self._store.is_of_an_earlier_boot(holder, address):
            return False
        self._store.release_all(holder)
        return self._reserve(index, address)

    def _next_free(self, index: int, part: RangeSet) -> Address:
        store = self._store
        while True:
            candidates, tries = self._candidates(index, part)
            for tried, address in enumerate(candidates):
                if tried == tries and self._taken is None:
                    self._taken = store.taken()
                # The first of a stable order may be of its own earlier incarnation, before a reboot.
                own = self._owner and tried == 0
                if address in self.refused or (not own and self._taken and str(address) in self._taken):
                    continue
                self.given.append(address)
                if (self._reserve_or_take_back if own else self._reserve)(index, address):
                    return address
                self.given.pop()
            self._taken = None
            if not store.release_earlier_boots():
                raise _exhausted(part)

    def _reserve(self, index: int, address: Address) -> bool:
        return self._store.reserve(index, address, self.request.attachment)

    def _candidates(self, index: int, part: RangeSet) -> tuple[Iterator[Address], int]:
        """Every address that can be chosen, in order, and how many of them to try before all leases are looked at."""
        if not self._owner:
            return part.candidates(self._store.last(index)), _TRIES
        from ipam import stable

        return stable.candidates(part, self._owner), stable.TRIES


def refuse_impossible(part: RangeSet, address: Address) -> None:
    inside = part.range_of(address)
    why = inside.refusal(address) if inside else f"it is not in {part}"
    if why:
        raise CniError(ADDRESS_UNAVAILABLE, f"the address asked for, {address}, cannot be given: {why}")


def _taken(store: Store, address: Address, part: RangeSet) -> CniError:
    holder = store.holder(address)
    who = (
        f"Container {holder.container_id} has it for {holder.ifname or 'an interface'}"
        if holder
        else "Nobody knows whose"
    )
    return CniError(
        ADDRESS_UNAVAILABLE,
        f"requested IP address {address} is not available in range set {part}",  # Go's words, whole
        f"{who}: the lease is {store.path}/{address}.",
    )


def _exhausted(part: RangeSet) -> CniError:
    return CniError(
        POOL_EXHAUSTED,
        f"no IP addresses available in range set: {part}: {part.size} in use, {part.excluded} excluded, 0 free",
        "Remove containers, or widen the range.",
    )


def _ip(part: RangeSet, address: Address) -> IP:
    inside = part.range_of(address)
    assert inside
    return IP(Cidr(address, inside.subnet.length), inside.gateway)


def route_of(index: int, document: dict[str, object]) -> RouteSpec:
    """One of `routes`, by its place there. CniError for one that no kernel takes."""
    route = RouteSpec.from_json(document)
    if route.dst.address != route.dst.first:
        raise CniError(INVALID_CONFIG, f"{route.dst} has host bits set", path=("ipam", "routes", index, "dst"))
    if route.gw and route.gw.family != route.dst.family:
        problem = f"gw {route.gw} is not of the family of {route.dst}"
        raise CniError(INVALID_CONFIG, problem, path=("ipam", "routes", index))
    return route


def data_dir_of(request: Request, *, create: bool = True) -> str:
    """CniError where the node's administrator does not allow it; without create, FileNotFoundError."""
    data_dir: str = request.ipam.get("dataDir") or ""
    if data_dir and is_there_a_policy():
        _refuse_directory(data_dir, create=create)
    return (data_dir or DEFAULT_DATA_DIR).rstrip("/")


def store_of(request: Request, *, create: bool = True) -> Store:
    return Store(data_dir_of(request, create=create), request.name, create=create)


def _refuse_directory(data_dir: str, *, create: bool) -> None:
    """CniError where the node's administrator does not allow it; of what only takes back, FileNotFoundError.

    Nothing is touched in such a directory, whatever is there. While the administrator's file cannot be used, nothing is
    given, and everything can be taken back.
    """
    from cni_core.policy import of_the_node  # not for a node to pay for that has none

    try:
        why = of_the_node().refuses_directory(data_dir)
    except CniError:
        if create:
            raise
        return
    if why and not create:
        raise FileNotFoundError(data_dir)
    if why:
        raise CniError(DATA_DIRECTORY, f"{data_dir} cannot be used: {why}", path=("ipam", "dataDir"))


def _holder(request: Request, store: Store) -> Attachment:
    """The attachment; if it holds nothing, its container as leases of before CNI 0.7 name it, without the interface."""
    attachment = request.attachment
    return attachment if store.held_by(attachment) else Attachment(attachment.container_id, "")
