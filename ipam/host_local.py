"""host-local: addresses of ranges, leased to attachments of this host."""

from __future__ import annotations

from cni_core.address import Address, Cidr
from cni_core.errors import ADDRESS_UNAVAILABLE, CHECK_DIFFERS, INVALID_CONFIG, POOL_EXHAUSTED, CniError
from cni_core.result import IP, Result, RouteSpec
from ipam.ranges import RangeSet, assign, range_sets
from ipam.store import DEFAULT_DATA_DIR, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cni_core.request import Request
    from ipam.index import Attachment

# After so many taken addresses in a row, one look at the directory is cheaper than trying on.
_TRIES = 8


def add(request: Request, undo: list[Callable[[], None]]) -> Result:
    """One address of each range set, and the configuration's routes and resolvConf."""
    sets = range_sets(request)
    asked = assign(sets, request.ips)
    routes = [route_of(i, spec) for i, spec in enumerate(request.ipam.get("routes", []))]
    dns: dict[str, Any] = {}
    if request.ipam.get("resolvConf"):
        from ipam.resolv_conf import dns_of

        dns = dns_of(request.ipam["resolvConf"])
    given: list[Address] = []
    undo.append(lambda: _give_back(request, given))
    with _store(request) as store:
        held = store.held_by(_attachment(request))
        if held:
            store.hold(_attachment(request), held)  # of this boot from now on: not to be taken back for another set
        addresses = [_lease(request, store, i, sets[i], asked[i], held, given) for i in range(len(sets))]
    ips = [_ip(part, address) for part, address in zip(sets, addresses, strict=True)]
    return Result(ips=ips, routes=routes, dns=dns)


def delete(request: Request) -> None:
    """Releases every address of the attachment."""
    try:
        with _store(request, create=False) as store:
            store.release_all(_holder(request, store))
    except FileNotFoundError:
        pass  # no directory, no lease


def check(request: Request) -> None:
    """CniError unless the attachment holds a lease, and one of each address of ours that prevResult gives it."""
    try:
        with _store(request, create=False) as store:
            held = store.held_by(_holder(request, store))
    except FileNotFoundError:
        held = []
    result = request.prev_result
    given = [ip.cidr.address for ip in result.ips_of(request.ifname, request.netns)] if result else []
    sets = range_sets(request)
    lost = [address for address in given if address not in held and any(part.range_of(address) for part in sets)]
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
    containers = {container_id for container_id, _ in valid}
    try:
        with _store(request, create=False) as store:
            for address, (container_id, ifname) in store.leases():
                if (container_id, ifname) not in valid and (ifname or container_id not in containers):
                    store.release(address)
            store.reindex()
    except FileNotFoundError:
        pass


def status(request: Request) -> None:
    """CniError where a range set has no free address left, or the leases cannot be written."""
    sets = range_sets(request)
    with _store(request) as store:
        taken = store.taken()
        for part in sets:
            if all(str(address) in taken for address in part.candidates(None)) and not store.holds_earlier_boots():
                raise _exhausted(part)


def subnets(request: Request) -> list[Cidr]:
    return [part.subnet for one in range_sets(request) for part in one.ranges]


def _lease(
    request: Request,
    store: Store,
    index: int,
    part: RangeSet,
    asked: Address | None,
    held: list[Address],
    given: list[Address],
) -> Address:
    """The attachment's address of one range set: the one it holds already, the one asked for, or the next free one.

    It holds one where an earlier ADD was killed, or was before a reboot. What is new is added to held, and to given
    before it is leased: a signal may come at once.
    """
    attachment = _attachment(request)
    mine = [address for address in held if part.range_of(address) and asked in (None, address)]
    if mine:
        return mine[0]
    if asked:
        _refuse_impossible(part, asked)
        given.append(asked)
        if not store.reserve(index, asked, attachment):
            raise _taken(store, asked, part)
    address = asked or _next_free(store, index, part, attachment, given)
    held.append(address)
    store.hold(attachment, held)
    return address


def _next_free(store: Store, index: int, part: RangeSet, attachment: Attachment, given: list[Address]) -> Address:
    while True:
        taken: set[str] = set()
        for tried, address in enumerate(part.candidates(store.last(index))):
            if tried == _TRIES:
                taken = store.taken()
            if str(address) in taken:
                continue
            given.append(address)
            if store.reserve(index, address, attachment):
                return address
            given.pop()
        if not store.release_earlier_boots():
            raise _exhausted(part)


def _give_back(request: Request, given: list[Address]) -> None:
    if given:
        attachment = _attachment(request)
        with _store(request) as store:
            held = store.held_by(attachment)
            for address in given:
                if store.holder(address) == attachment:  # the index may not know of it yet
                    store.release(address)
            store.hold(attachment, [address for address in held if address not in given])


def _refuse_impossible(part: RangeSet, address: Address) -> None:
    inside = part.range_of(address)
    why = inside.refusal(address) if inside else f"it is not in {part}"
    if why:
        raise CniError(ADDRESS_UNAVAILABLE, f"the address asked for, {address}, cannot be given: {why}")


def _taken(store: Store, address: Address, part: RangeSet) -> CniError:
    container_id, ifname = store.holder(address) or ("", "")
    who = (
        f"container {container_id} has it for {ifname or 'an interface'}" if container_id else "its lease is unreadable"
    )
    return CniError(
        ADDRESS_UNAVAILABLE,
        f"requested IP address {address} is not available in range set {part}: {who}",
        f"The lease is {store.path}/{address}.",
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
        raise CniError(INVALID_CONFIG, f"ipam.routes[{index}].dst: {route.dst} has host bits set")
    if route.gw and route.gw.family != route.dst.family:
        raise CniError(INVALID_CONFIG, f"ipam.routes[{index}]: gw {route.gw} is not of the family of {route.dst}")
    return route


def _store(request: Request, *, create: bool = True) -> Store:
    data_dir: str = request.ipam.get("dataDir") or DEFAULT_DATA_DIR
    return Store(data_dir.rstrip("/"), request.name, create=create)


def _attachment(request: Request) -> Attachment:
    return request.container_id, request.ifname


def _holder(request: Request, store: Store) -> Attachment:
    """The attachment; if it holds nothing, its container as leases of before CNI 0.7 name it, without the interface."""
    attachment = _attachment(request)
    return attachment if store.held_by(attachment) else (request.container_id, "")
