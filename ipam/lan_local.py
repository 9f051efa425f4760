"""lan-local: addresses that no other host of the LAN gives, leased as host-local leases them.

A node leases what it holds (ipam.held), and asks nobody. Where that is not enough, ipam.asking is imported, which only
the full program has: what the launcher did is undone, and the call begins anew there.
"""

from __future__ import annotations

from cni_core.errors import (
    CHECK_DIFFERS,
    INVALID_CONFIG,
    LIMITED_CONNECTIVITY,
    NOT_AVAILABLE,
    POOL_EXHAUSTED,
    TRY_AGAIN_LATER,
    CniError,
)
from ipam import host_local
from ipam.held import HeldFile
from ipam.host_local import subnets
from ipam.ranges import RangeSet, range_sets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_core.address import Address
    from cni_core.request import Request
    from cni_core.result import Result
    from cni_core.undo import Steps
    from ipam.held import Held
    from ipam.host_local import Leasing
    from ipam.pool import Pool
    from ipam.store import Store

__all__ = ["NEEDS_LINK", "add", "check", "delete", "gc", "status", "subnets"]

NEEDS_LINK = False

_WISHES = 8  # of a stable order: the addresses that it prefers to what is held
_TRIES = 8  # another call may lease what was claimed for this one
_MINUTE = 60.0


def add(request: Request, steps: Steps, refused: Mapping[Address, str], *, again: bool = True) -> Result:
    """As host_local.add; also CniError of ipam.claims where the cluster must be asked."""
    cluster_of(request)
    return host_local.add(request, steps, refused, again=again, lease=_lease_all)


def delete(request: Request) -> None:
    """Releases every address of the attachment, and gives the cluster back what is too much."""
    host_local.delete(request)
    if _has_surplus(request):
        from ipam import asking

        asking.give_back(request)


def check(request: Request) -> None:
    """As host_local.check; and the addresses must be this node's."""
    host_local.check(request)
    with host_local.store_of(request) as store:
        held = held_of(request)
        foreign = [one for one in store.held_by(request.attachment) if not held or one not in held.claims]
    if foreign:
        raise CniError(
            CHECK_DIFFERS,
            f"{foreign[0]}, which {request.ifname} of container {request.container_id} has, is not held by this node "
            f"in cluster {request.ipam.get('cluster')}",
            "Another host may have given it to a container of its own.",
        )


def gc(request: Request) -> None:
    """Releases what no valid attachment owns, and takes up again what a lost state had claimed."""
    host_local.gc(request)
    try:
        held = held_of(request)
    except CniError:
        return
    if held and (held.wary or _has_surplus(request)):
        from ipam import asking

        asking.give_back(request, all_known=True)


def status(request: Request) -> None:
    """CniError where a range set has no free address that this node holds, and the cluster did not give any either.

    It is asked once a minute at most. LIMITED_CONNECTIVITY: containers have addresses that are not this node's.
    """
    cluster, sets = cluster_of(request), range_sets(request)
    lacking, strays, is_too_much = _state(request, sets)
    if not (lacking or strays or is_too_much):
        return
    from ipam import last_contact

    note = last_contact.read(cluster, f"status.{request.name}")
    if note and note.age < _MINUTE:
        why = note.why
    else:
        from ipam import asking

        why = asking.look(request, sets)
        lacking, strays, _ = _state(request, sets)
    if strays:
        raise CniError(
            LIMITED_CONNECTIVITY,
            f"containers of this host use addresses that cluster {cluster} does not have as this node's, so that "
            f"others may have them now: {', '.join(map(str, strays))}",
            f"This node was removed from the cluster, or its state was lost. {why or 'Remove these containers.'}",
        )
    if lacking and why:
        raise CniError(NOT_AVAILABLE, f"no address that this host holds is free: {why}")


# What the full program's part uses, too


def cluster_of(request: Request) -> str:
    cluster: str = request.ipam.get("cluster") or ""
    if not cluster:
        mend = "`cluster join` makes one known to this node."
        raise CniError(INVALID_CONFIG, "lan-local needs the name of a cluster", mend, path=("ipam", "cluster"))
    return cluster


def held_of(request: Request) -> Held | None:
    """What this node holds for the network; None for nothing. To be believed under the lock of the leases (R4)."""
    try:
        with HeldFile(host_local.data_dir_of(request, create=False), request.name, create=False) as file:
            return file.read()
    except FileNotFoundError:
        return None


def pools_of(sets: list[RangeSet]) -> list[Pool]:
    from ipam.pool import Pool  # not for an ADD to pay for

    return [Pool.of(part) for part in sets]


def _lease_all(leasing: Leasing) -> list[Address]:
    """Of what this node holds. What a round without success leased stays the attachment's in the next."""
    request, sets, asked = leasing.request, leasing.sets, leasing.asked
    for part, address in zip(sets, asked, strict=True):
        if address:
            host_local.refuse_impossible(part, address)
    wishes = _wishes(leasing)
    for tries in range(_TRIES):
        with host_local.store_of(request) as store:
            held = held_of(request)
            if held and held.boot == store.boot:
                strays = [one for one in store.held_by(request.attachment) if one not in held.claims]
                if tries and leasing.again:  # the cluster was asked: they are another's
                    _drop(request, store, strays)
                chosen = _granted(leasing, store, held, wishes, is_last=tries > 0) if wishes else asked
                if chosen and (tries or not strays) and all(one is None or one in held.claims for one in chosen):
                    ours = [part.only(held.claims.keys() - held.fixed) for part in sets]
                    try:
                        return leasing.lease(store, ours, chosen)
                    except CniError as error:
                        if error.code != POOL_EXHAUSTED:
                            raise
                    leasing.again = True  # what this call has leased of other sets
        from ipam import asking

        asking.acquire(leasing, wishes)
    raise CniError(TRY_AGAIN_LATER, f"other calls were faster {_TRIES} times in a row")


def _wishes(leasing: Leasing) -> list[list[Address]]:
    """Of each set the first addresses of a stable order over all of it, whoever holds them; empty without that order.

    What is held changes from ADD to ADD: an order over that alone would lead to another address each time.
    """
    owner = host_local.whom(leasing.request)
    if not owner:
        return []
    from ipam import stable

    return [
        [] if asked else stable.first(part, owner, _WISHES, leasing.refused)
        for part, asked in zip(leasing.sets, leasing.asked, strict=True)
    ]


def _granted(
    leasing: Leasing, store: Store, held: Held, wishes: list[list[Address]], *, is_last: bool
) -> list[Address | None]:
    """What to ask of each set: the first of its wishes that is held and free; None for any. Empty where the cluster is
    to be asked first: before it was (is_last), nothing but the first wish will do.
    """
    chosen = list(leasing.asked)
    taken = store.taken()
    has = {place[0] for one in store.held_by(leasing.request.attachment) if (place := leasing.places.of(one))}
    for i, wish in enumerate(wishes):
        if not wish or i in has:
            continue
        free = (one for one in (wish if is_last else wish[:1]) if one in held.claims and _is_free(store, taken, one))
        chosen[i] = next(free, None)
        if not chosen[i] and not is_last:
            return []
    return chosen


def _is_free(store: Store, taken: set[str], address: Address) -> bool:
    """Also where somebody of an earlier boot has it."""
    if str(address) not in taken:
        return True
    holder = store.holder(address)
    return bool(holder and store.is_of_an_earlier_boot(holder, address))


def _drop(request: Request, store: Store, strays: list[Address]) -> None:
    if strays:
        rest = [one for one in store.held_by(request.attachment) if one not in strays]
        for address in strays:
            store.release(address)
        store.hold(request.attachment, rest)


def _has_surplus(request: Request) -> bool:
    """Whether this node holds more than it is to keep; False where that cannot be told."""
    try:
        held = held_of(request)
        if not held:
            return False
        pools = pools_of(range_sets(request))
        with host_local.store_of(request, create=False) as store:
            taken = store.taken()
    except (CniError, FileNotFoundError):
        return False
    return bool(held.surplus(pools, {one for one in held.claims if str(one) in taken}))


def _state(request: Request, sets: list[RangeSet]) -> tuple[bool, list[Address], bool]:
    """Whether a set has no free address, which leases are for addresses that are not held, and whether too much is."""
    with host_local.store_of(request) as store:
        held = held_of(request)
        if not held or held.boot != store.boot:
            return True, [], False
        in_use = set(store.in_use())
        strays = sorted((one for one in in_use if one not in held.claims and store.holder(one)), key=str)
    pools = pools_of(sets)
    lacking = not all(held.free(pool, in_use) for pool in pools)
    return lacking, strays, bool(held.surplus(pools, in_use))
