"""Operations on a domain that are of no node: for people, by the commands for clusters."""

from __future__ import annotations

from collections.abc import Sequence

from cni_core.address import Address
from cni_core.errors import ADDRESS_UNAVAILABLE, COMMAND_REFUSED, LIMITED_CONNECTIVITY, CniError
from ipam.domain import Bar, Domain, Owner, members_of, only, owner_of, registration_of, to_text
from ipam.verbs import Claim, GiveBack, List, Operation, Record, carry_out, chunks, look_up

_PAGE = 1000


def everything(domain: Domain) -> Operation[tuple[dict[str, Record], list[tuple[Address, Owner, int]]]]:
    """The registrations by name, and every claim with its revision."""
    listing = yield from look_up(List((domain.nodes,)), domain.engine)
    nodes = {record.key.rpartition("/")[2]: record for record in listing.records[0]}
    return nodes, (yield from all_claims(domain))


def survey(domain: Domain, node: str) -> Operation[tuple[str, list[tuple[Address, Owner, int]], Record | None]]:
    """What a node has, to be asked on the wire before it is forgotten: its name, claims and registration.

    That the node is off must be found out after this: one that comes back in between would lose what it has verified.
    """
    nodes, claims = yield from everything(domain)
    mine = [claim for claim in claims if node in (claim[1].node, claim[1].host)]
    return node, mine, nodes.get(node)


def forget(
    domain: Domain,
    node: str,
    claims: Sequence[tuple[Address, Owner, int]],
    record: Record | None,
    *,
    is_surely_off: bool = False,
) -> Operation[int]:
    """Removes a node that is off, as survey found it; how many addresses are unclaimed by that.

    CniError COMMAND_REFUSED where it has been heard of since, or may give addresses at its next boot before it asks,
    and nobody says that it is surely off.
    """
    back = CniError(
        COMMAND_REFUSED, f"{node} has come back: nothing of it that it uses was removed", "Turn it off, or leave it."
    )
    if record:
        if registration_of(record).offline and not is_surely_off:
            raise CniError(
                COMMAND_REFUSED,
                f"{node} gives what it held at its next start even if {domain.engine} is away (offlineBoot)",
                f"If it will never start again as it was: cluster forget {node} --after-offline.",
            )
        if not (yield from carry_out(GiveBack(((record.key, record.revision),)), domain.engine)).keys:
            raise back
    removed = 0
    for some in chunks(claims):
        records = tuple((domain.address(address), revision) for address, _, revision in some)
        done = yield from carry_out(GiveBack(records, ((domain.node(node), 0),)), domain.engine)
        removed += len(done.keys)
        if len(done.keys) < len(records):
            raise back
    return removed


def reserve(domain: Domain, addresses: Sequence[Address], owner: Owner) -> Operation[None]:
    """Keeps every node from giving addresses: for a host's own (Owner.host), or for a machine that is no node's.

    CniError ADDRESS_UNAVAILABLE naming every address that another has; the others are reserved.
    """
    others: list[str] = []
    for some in chunks(addresses):
        keys = {domain.address(address): address for address in some}
        yield from carry_out(Claim(tuple((key, to_text(owner)) for key in keys)), domain.engine)
        listing = yield from look_up(List(tuple(map(only, keys))), domain.engine)
        for key, records in zip(keys, listing.records, strict=True):
            if not records or owner_of(records[0]) != owner:
                others.append(f"{keys[key]} {_whose(owner_of(records[0])) if records else 'changed'}")
    if others:
        raise CniError(ADDRESS_UNAVAILABLE, f"not reserved: {'; '.join(others)}")


def _whose(owner: Owner) -> str:
    return f"is {owner}" if owner.reserved else f"is {owner}'s"


def release(domain: Domain, addresses: Sequence[Address], owner: Owner) -> Operation[int]:
    """Undoes reserve; how many there were."""
    count = 0
    for some in chunks(addresses):
        listing = yield from look_up(List(tuple(only(domain.address(one)) for one in some)), domain.engine)
        mine = [record for records in listing.records for record in records if owner_of(record) == owner]
        if mine:
            done = yield from carry_out(GiveBack(tuple((one.key, one.revision) for one in mine)), domain.engine)
            count += len(done.keys)
    return count


def bar(domain: Domain, by: str) -> Operation[None]:
    """Nobody claims any more, until somebody opens: after an engine was restored. Whoever was first is named."""
    yield from carry_out(Claim(((domain.bar, to_text(Bar(by))),)), domain.engine)


def barred_by(record: Record) -> str:
    return str(members_of(record, Bar._fields).get("by", "somebody"))


def reopen(domain: Domain) -> Operation[bool]:
    """Whether it had been barred."""
    listing = yield from look_up(List((only(domain.bar),)), domain.engine)
    for record in listing.records[0]:
        yield from carry_out(GiveBack(((record.key, record.revision),)), domain.engine)
    return bool(listing.records[0])


def removed(domain: Domain, lost: Sequence[tuple[Address, Owner]]) -> CniError:
    """For STATUS, where containers run on what a verification found others to have."""
    both = ", ".join(f"{address} ({owner})" for address, owner in lost)
    return CniError(
        LIMITED_CONNECTIVITY,
        f"this node was removed from cluster {domain.name}, or its {domain.engine} was restored; addresses that it "
        f"used are others' now: {both}",
        "Remove the containers that have them here.",
    )


def all_claims(domain: Domain) -> Operation[list[tuple[Address, Owner, int]]]:
    """Every claim, page by page: not of one moment."""
    found: list[tuple[Address, Owner, int]] = []
    start, end = domain.addresses
    while True:
        listing = yield from look_up(List(((start, end),), limit=_PAGE), domain.engine)
        page = listing.records[0]
        found += domain.claims_of(page)
        if len(page) < _PAGE:
            return found
        start = f"{page[-1].key}\0"
