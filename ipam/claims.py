"""How the nodes of one LAN come to addresses that no other of them gives: the protocol of lan-local, without any I/O.

A domain is one LAN. An engine (etcd) has a record for each address that somebody claims, and one for each node; a node
gives containers addresses that it holds, by a file of its own (ipam.held). Six rules keep an address from being given
by two nodes, whatever is lost, delayed, killed or without power at any point:

R1  Claim at the engine first (there must be no record), then write held.
R2  Give back: take it out of held, lasting, and only then delete the record, compared with the revision held.
R3  A claim that is ours but not in held is taken up only by rewriting it, compared with the revision read: that makes
    every older deletion that is still under way miss.
R4  A lease is written only under the lock of the leases, for an address in held; an address leaves held only under that
    lock and without a lease.
R5  Claims do not expire.
R6  One operation of a node and domain at a time: its lock is held from before held is read until all is written.

So: who runs has a lease, who has a lease has it for an address in held, what is in held has a record that names this
node, and a record names one. A claim of unknown outcome is just one that is ours but not in held. That it is so is
searched through, with this code, by tests/unit/test_lan_claims_model.py.

An operation is a generator. It yields requests and is sent their answers: four verbs that an engine carries out (List,
Claim, TakeUp, GiveBack), and two for this node's file (Keep, Drop). It returns its outcome or raises CniError. Nothing
here reads a clock, and chance comes in with a Member. ipam.contact does what is requested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from random import Random
from typing import NamedTuple

from cni_core.address import Address
from cni_core.errors import ADDRESS_UNAVAILABLE, COMMAND_REFUSED, POOL_EXHAUSTED, TRY_AGAIN_LATER, CniError
from ipam.domain import Domain, Node, Owner, Registration, only, owner_of, registration_of, to_text
from ipam.held import Held
from ipam.nodes import all_claims, bar, barred_by, survey
from ipam.pool import Pool, address_of
from ipam.verbs import (
    Away,
    Claim,
    Drop,
    GiveBack,
    Guards,
    Keep,
    List,
    Operation,
    Record,
    TakeUp,
    carry_out,
    chunks,
    expect,
    look_up,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ipam.pool import Span

# What is asked for, and what comes of it


class Need(NamedTuple):
    """What an attachment wants of one range set: an address of the pool, or the one asked for, or (unwanted) none."""

    pool: Pool
    asked: Address | None = None
    is_wanted: bool = True


class Outcome(NamedTuple):
    """held: as written; lost: addresses that this node held and others have now, with those; unclaimed: of each pool,
    how many addresses nobody has (of tidy alone).
    """

    held: Held
    lost: tuple[tuple[Address, Owner], ...] = ()
    unclaimed: tuple[int, ...] = ()


MOST_AHEAD = 8

_FIRST_WINDOW = 256
_LARGEST_WINDOW = 4096
_ROUNDS = 8  # another node was faster, or a record changed between two requests


def ahead(free: int, nodes: int, most: int = MOST_AHEAD) -> int:
    """How many free addresses a node keeps, where so many are unclaimed.

    The scarcer they are, the fewer: 0 means that each ADD asks, and no address is out of reach. Half of what is free
    may be kept in all, so that of 20 addresses on 5 nodes nothing is refused while one is free.
    """
    return min(most, max(free, 0) // (2 * max(nodes, 1)))


class _View(NamedTuple):
    """What one List tells: see Member._look."""

    revision: int
    registration: Record | None
    bar: Record | None
    witness: Record | None
    claims: dict[Address, tuple[Owner, int]]
    claimed: list[int]  # of each pool
    nodes: int


class _Place:
    """Where in a pool to look for unclaimed addresses, and how far."""

    def __init__(self, pool: Pool, start: int) -> None:
        self._pool = pool
        self.move(start)

    def move(self, start: int) -> None:
        self._start, self._count, self._passed = start, _FIRST_WINDOW, 0
        self._cut()

    def _cut(self) -> None:
        self.spans, self._covered = self._pool.window(self._start, self._count)

    def go_on(self) -> bool:
        """To what follows, where all is claimed here; False where that was all of the pool."""
        self._passed += self._covered
        self._start += self._covered
        self._count = min(4 * self._count, _LARGEST_WINDOW)
        self._cut()
        return self._passed < self._pool.size

    def addresses(self) -> Iterator[Address]:
        return (address_of(number) for first, last in self.spans for number in range(first, last + 1))


class Member:
    """A network of a node in a domain. Its operations are to be run one at a time for all networks of the node (R6).

    most_ahead: 0 to 64. random: for names, and for where to look after another node was faster.
    """

    def __init__(
        self,
        domain: Domain,
        node: Node,
        network: str,
        data_dir: str,
        random: Random,
        most_ahead: int = MOST_AHEAD,
    ) -> None:
        self._domain = domain
        self._engine = domain.engine
        self._node = node
        self._network = network
        self._data_dir = data_dir
        self._random = random
        self._most_ahead = most_ahead

    # Operations

    def acquire(self, held: Held | None, needs: Sequence[Need], taken: Collection[Address]) -> Operation[Outcome]:
        """Addresses for an attachment, where held has none, or is of an earlier boot: verifies held first.

        needs: of each range set; taken: the addresses that have leases now. Of every set wanted, held then has an
        address without a lease, or the one asked for. Another process may be faster to lease it: ask again. CniError
        POOL_EXHAUSTED, ADDRESS_UNAVAILABLE, TRY_AGAIN_LATER (Away, or claiming is barred), COMMAND_REFUSED where
        another host has registered this node's name.
        """
        try:
            return (yield from self._acquire(held, needs, taken))
        except Away as away:
            # offlineBoot: what was held when the host went down is given unverified. Not where held was set aside.
            if held and held.boot not in ("", self._node.boot) and self._node.offline:
                held = held.but(boot=self._node.boot, is_verified=False)
                yield Keep(held)
                if not _lacking(held, needs, taken):
                    return Outcome(held)
            elif held and held.claims and held.boot != self._node.boot:
                raise Away(
                    away.why,
                    f"what this host held must be verified after its start, and {self._engine} cannot be asked: "
                    f"{away.why}",
                ) from None
            raise Away(
                away.why,
                f"no address of this host is free, and {self._engine} cannot be asked for more: {away.why}",
            ) from None

    def _acquire(self, held: Held | None, needs: Sequence[Need], taken: Collection[Address]) -> Operation[Outcome]:
        pools = [need.pool for need in needs]
        places = {i: _Place(need.pool, self._start(need.pool, held)) for i, need in enumerate(needs)}
        owners: dict[Address, Owner] = {}  # of all that was seen claimed
        lost: dict[Address, Owner] = {}
        rounds = 0
        while rounds < _ROUNDS:
            lacking = _lacking(held, needs, taken) if held and self._is_ready(held) else range(len(needs))
            if held and not lacking:
                return Outcome(held, tuple(lost.items()))
            chosen = [i for i in lacking if needs[i].is_wanted and not needs[i].asked]
            view = yield from self._look(held, pools, [span for i in chosen for span in places[i].spans])
            held = held or self._new(view)
            if self._is_doubtful(held, view):
                held, more = yield from self._verify(held, view)
                lost |= more
                rounds += 1
                continue
            self._refuse_barred(view)
            held = held.but(ahead=self._ahead(pools, view))
            owners |= {address: owner for address, (owner, _) in view.claims.items()}
            asked = [address for i in lacking if (address := needs[i].asked)]
            if asked:
                held = yield from self._take(held, asked, self._guards(view))
                continue
            held = yield from self._take_up_orphans(held, view)
            if len(_lacking(held, needs, taken)) < len(lacking):
                continue
            wanted: list[Address] = []
            for i in chosen:
                found = _unclaimed(places[i], view, max(1, held.ahead[i]))
                wanted += found
                if not found and not places[i].go_on():
                    raise self._exhausted(pools[i], owners)
            won = yield from self._claim(held, wanted, self._guards(view))
            if won:
                held = _with(held, won)
                yield Keep(held)  # R1
            if len(won) < len(wanted):  # another node was faster
                rounds += 1
                for i in chosen:
                    places[i].move(self._random.randrange(pools[i].size))
        raise CniError(TRY_AGAIN_LATER, f"other nodes of {self._domain.name} were faster {_ROUNDS} times in a row")

    def prefer(
        self,
        held: Held | None,
        pools: Sequence[Pool],
        wishes: Sequence[Sequence[Address]],
        taken: Collection[Address],
    ) -> Operation[Outcome]:
        """Of each of the wishes the first address that can be had.

        It is claimed as one that is asked for, so that it is given back when its container is gone. Where none can be
        had, that is no error: acquire has others. CniError as acquire.
        """
        held, view, lost = yield from self._open(held, pools)
        before = held
        self._refuse_barred(view)
        held = held.but(ahead=self._ahead(pools, view))
        chosen = set[Address]()
        for wish in wishes:
            free = [address for address in wish if address not in taken]
            listing = yield from look_up(List(tuple(only(self._domain.address(one)) for one in free)), self._engine)
            for address, records in zip(free, listing.records, strict=True):
                if address in held.claims:
                    chosen.add(address)
                    break
                if records and not self._is_ours(held, owner_of(records[0])):
                    continue
                won, _ = yield from self._make_ours(held, [address], self._guards(view))
                if won:
                    held = _with(held, won)
                    held = held.but(fixed=held.fixed | won.keys())
                    yield Keep(held)  # R1
                    break
        # Wishes do not use up what is kept ahead: where addresses have become scarce, it is in the way of others'.
        back = [address for address in held.surplus(pools, taken) if address not in held.fixed | chosen]
        if back:
            held = yield from self._give_back(held, back)
        elif held.ahead != before.ahead and held.claims == before.claims:
            yield Keep(held)
        return Outcome(held, tuple(lost.items()))

    def tidy(
        self,
        held: Held | None,
        pools: Sequence[Pool],
        taken: Collection[Address],
        *,
        everywhere: bool = False,
        all_known: bool = False,
    ) -> Operation[Outcome]:
        """Gives back what is more than to be kept (Held.surplus).

        everywhere: looks through the whole domain for claims of ours that held lacks. all_known: every container of the
        host has its lease here (as after GC), so that what a lost state claimed is taken up without waiting for a boot.
        CniError as acquire; where the engine is away, held is as it was, and to be tidied another time.
        """
        held, view, lost = yield from self._open(held, pools)
        before = held
        if all_known:
            held = held.but(wary="")
        if everywhere and not view.bar:
            claims = yield from all_claims(self._domain)
            found = {address: (owner, revision) for address, owner, revision in claims}
            held = yield from self._take_up_orphans(held, view._replace(claims=found))
        held = held.but(ahead=self._ahead(pools, view), seen=max(held.seen, view.revision))
        back = held.surplus(pools, taken)
        if back:
            held = yield from self._give_back(held, back)
        elif (held.wary, held.ahead) != (before.wary, before.ahead):
            yield Keep(held)
        unclaimed = (pool.size - claimed for pool, claimed in zip(pools, view.claimed, strict=True))
        return Outcome(held, tuple(lost.items()), tuple(unclaimed))

    def adopt(self, held: Held | None, addresses: Sequence[Address]) -> Operation[Outcome]:
        """Claims addresses that have leases already. CniError COMMAND_REFUSED naming every one that another has.

        What a lost state of this network had claimed is taken up, too: the lease tells who uses it.
        """
        held, view, lost = yield from self._open(held, ())
        self._refuse_barred(view)
        won, others = yield from self._make_ours(held.but(wary=""), addresses, self._guards(view))
        held = _with(held, won)
        yield Keep(held)  # R1
        others |= lost
        if others:
            both = "; ".join(f"{address} is {owner}'s" for address, owner in others.items())
            raise CniError(
                COMMAND_REFUSED,
                f"containers of this host use addresses that others have: {both}",
                "One of the two must be removed first.",
            )
        return Outcome(held)

    def leave(self, held: Held) -> Operation[None]:
        """Gives back all that held has, and the registration of a node that has nothing else.

        CniError COMMAND_REFUSED where containers remain.
        """
        held = yield from self._give_back(held, list(held.claims))
        if held.claims:
            raise CniError(COMMAND_REFUSED, f"containers of this host still use {', '.join(map(str, held.claims))}")
        _, claims, record = yield from survey(self._domain, self._node.name)
        if record and not claims:
            yield from carry_out(GiveBack(((record.key, record.revision),)), self._engine)

    # What they share

    def _open(self, held: Held | None, pools: Sequence[Pool]) -> Operation[tuple[Held, _View, dict[Address, Owner]]]:
        """A verified held, how things are, and whose some addresses of it turned out to be."""
        lost: dict[Address, Owner] = {}
        for _ in range(_ROUNDS):
            view = yield from self._look(held, pools, ())
            held = held or self._new(view)
            if not self._is_doubtful(held, view):
                return held, view, lost
            held, more = yield from self._verify(held, view)
            lost |= more
        raise self._changing()

    def _look(self, held: Held | None, pools: Sequence[Pool], spans: Iterable[Span]) -> Operation[_View]:
        """One request for all that is to be known: the registration, the bar, what is claimed in spans and of pools.

        The witness is the record of our newest claim. An engine that has lost anything of ours has lost this.
        """
        domain = self._domain
        newest = max(held.claims, key=held.claims.__getitem__, default=None) if held else None
        fixed = [domain.node(self._node.name), domain.bar, *([domain.address(newest)] if newest else [])]
        counts = [domain.span(span) for pool in pools for span in pool.bounds]
        listing = yield from look_up(
            List((*map(only, fixed), *map(domain.span, spans)), (*counts, domain.nodes)), self._engine
        )
        first = [records[0] if records else None for records in listing.records[: len(fixed)]]
        claims = {
            address: (owner, revision)
            for records in listing.records[len(fixed) :]
            for address, owner, revision in domain.claims_of(records)
        }
        numbers = iter(listing.counts)
        claimed = [sum(next(numbers) for _ in pool.bounds) for pool in pools]
        witness = first[2] if newest else None
        return _View(listing.revision, first[0], first[1], witness, claims, claimed, next(numbers))

    def _is_ready(self, held: Held) -> bool:
        return held.boot == self._node.boot and held.is_verified

    def _is_doubtful(self, held: Held, view: _View) -> bool:
        """Whether held must be verified before anything else is done: after a start, and where records are missing."""
        return (
            not self._is_ready(held)
            or self._is_removed(held, view)
            or view.revision < held.seen
            or self._is_witness_other(held, view)
            or _registration(view).boot != self._node.boot
        )

    def _is_removed(self, held: Held, view: _View) -> bool:
        """Somebody removed this node (`cluster forget`); it may have registered again since, for another network."""
        return not view.registration or registration_of(view.registration).id != held.registration

    def _is_witness_other(self, held: Held, view: _View) -> bool:
        newest = max(held.claims.values(), default=0)
        return bool(newest) and (not view.witness or view.witness.revision != newest)

    def _is_restored(self, held: Held, view: _View) -> bool:
        """Whether the engine is as it was at an earlier time: it has forgotten what it had confirmed."""
        if view.revision < held.seen:
            return True
        newest = max(held.claims.values(), default=0)
        if self._is_removed(held, view) or not newest:
            return False
        # A higher revision is of a verification that was cut short.
        return not view.witness or view.witness.revision < newest or not self._is_ours(held, owner_of(view.witness))

    def _verify(self, held: Held, view: _View) -> Operation[tuple[Held, dict[Address, Owner]]]:
        """Registers this node for this boot and makes all that it holds its own anew, each by a comparison (R3).

        The registration's new revision makes a `cluster forget` miss that thinks that this node is off.
        """
        self._refuse_other_host(view)
        if held.boot == self._node.boot and held.is_verified and held.claims:
            held = held.but(boot="")  # nothing is given until it is known whose it is
            yield Keep(held)
        if self._is_restored(held, view):
            yield from bar(self._domain, self._node.name)
        registration = yield from self._register(held, view)
        won, others = yield from self._make_ours(held, list(held.claims))
        held = _with(held, won, seen=0).but(
            boot=self._node.boot, is_verified=True, registration=registration, seen=max(view.revision, *won.values(), 0)
        )
        if others:
            held = expect(Held, (yield Drop(held, tuple(others), with_leases=True)))
        else:
            yield Keep(held)
        return held, others

    def _register(self, held: Held, view: _View) -> Operation[str]:
        """The id under which this node is registered now."""
        node, key = self._node, self._domain.node(self._node.name)
        if not view.registration:
            registration = Registration(self._name(), *node[1:])
            request: Claim | TakeUp = Claim(((key, to_text(registration)),))
        else:
            known = registration_of(view.registration)
            registration = Registration(known.id, *node[1:])
            if registration == known:
                return known.id
            request = TakeUp(((key, to_text(registration), view.registration.revision),))
        if not (yield from carry_out(request, self._engine)).keys:
            raise self._changing()
        return registration.id

    def _refuse_other_host(self, view: _View) -> None:
        mac = registration_of(view.registration).mac if view.registration else self._node.mac
        if mac != self._node.mac:
            raise CniError(
                COMMAND_REFUSED,
                f"{self._node.name} is registered by another host (parent {mac}, this one {self._node.mac})",
                "Give each host a name of its own in its cluster's file; where the other is gone for good, or this one "
                f"has got a new network card, `cluster forget {self._node.name}` first.",
            )

    def _refuse_barred(self, view: _View) -> None:
        if view.bar:
            raise CniError(
                TRY_AGAIN_LATER,
                f"no addresses are claimed in {self._domain.name}: its {self._engine} was restored from a "
                f"backup, as {barred_by(view.bar)} found",
                "Run `cluster sync` on every node, then `cluster open` on one.",
            )

    def _take(self, held: Held, asked: Sequence[Address], guards: Guards) -> Operation[Held]:
        """Just the addresses asked for."""
        won, others = yield from self._make_ours(held, asked, guards)
        if won:
            held = _with(held, won)
            held = held.but(fixed=held.fixed | won.keys())
            yield Keep(held)  # R1
        for address, owner in others.items():
            raise CniError(
                ADDRESS_UNAVAILABLE,
                f"{address} is held by {owner}" if not owner.reserved else f"{address} is {owner}",
                "It is given back when its container is removed there; for a node that is gone for good, "
                "`cluster forget` gives back all that it held.",
            )
        return held

    def _make_ours(
        self, held: Held, addresses: Sequence[Address], guards: Guards = ()
    ) -> Operation[tuple[dict[Address, int], dict[Address, Owner]]]:
        """Claims those that nobody has, rewrites our own (R3): the revisions of both, and who has the others."""
        won: dict[Address, int] = {}
        others: dict[Address, Owner] = {}
        for _ in range(_ROUNDS):
            rest = [address for address in addresses if address not in won and address not in others]
            if not rest:
                return won, others
            for some in chunks(rest):
                listing = yield from look_up(List(tuple(only(self._domain.address(one)) for one in some)), self._engine)
                found = {address: records[0] for address, records in zip(some, listing.records, strict=True) if records}
                ours = {one: record for one, record in found.items() if self._is_ours(held, owner_of(record))}
                others |= {one: owner_of(record) for one, record in found.items() if one not in ours}
                won |= yield from self._claim(held, [one for one in some if one not in found], guards)
                revisions = {one: record.revision for one, record in ours.items()}
                won |= yield from self._take_up(held, revisions, guards)
        raise self._changing()

    def _take_up_orphans(self, held: Held, view: _View) -> Operation[Held]:
        """R3: claims of ours that held lacks, of calls that were killed or had no answer, or of a lost state."""
        orphans = {
            address: revision
            for address, (owner, revision) in view.claims.items()
            if address not in held.claims and self._is_ours(held, owner)
        }
        for some in chunks(list(orphans)):
            won = yield from self._take_up(held, {one: orphans[one] for one in some}, self._guards(view))
            if won:
                held = _with(held, won)
                yield Keep(held)
        return held

    def _is_ours(self, held: Held, owner: Owner) -> bool:
        """Whether a claim is to be given by who has this held.

        One of a lost state may be in use by a container that we know nothing of, until the next boot.
        """
        if owner.node != self._node.name:
            return False
        is_ours = (owner.network, owner.data_dir) == (self._network, self._data_dir)
        return owner.state == held.state or (is_ours and held.wary != self._node.boot)

    def _claim(self, held: Held, addresses: Sequence[Address], guards: Guards) -> Operation[dict[Address, int]]:
        won: dict[Address, int] = {}
        for some in chunks(addresses):
            value = to_text(self._owner(held))
            done = yield from carry_out(
                Claim(tuple((self._domain.address(address), value) for address in some), guards), self._engine
            )
            won |= {address: done.revision for address in some if self._domain.address(address) in done.keys}
        return won

    def _take_up(self, held: Held, revisions: Mapping[Address, int], guards: Guards) -> Operation[dict[Address, int]]:
        if not revisions:
            return {}
        value = to_text(self._owner(held))
        records = tuple((self._domain.address(address), value, revision) for address, revision in revisions.items())
        done = yield from carry_out(TakeUp(records, guards), self._engine)
        return {address: done.revision for address in revisions if self._domain.address(address) in done.keys}

    def _give_back(self, held: Held, addresses: Sequence[Address]) -> Operation[Held]:
        """R2: first out of held, lasting; then the records, each compared with the revision that held had.

        What becomes of the deletions does not matter: a claim that stays is ours, and found by the next who looks.
        """
        rest = expect(Held, (yield Drop(held, tuple(addresses))))
        gone = [(self._domain.address(one), held.claims[one]) for one in held.claims if one not in rest.claims]
        for some in chunks(gone):
            yield GiveBack(tuple(some))
        return rest

    def _ahead(self, pools: Sequence[Pool], view: _View) -> list[int]:
        return [
            ahead(pool.size - claimed, view.nodes, self._most_ahead)
            for pool, claimed in zip(pools, view.claimed, strict=True)
        ]

    def _start(self, pool: Pool, held: Held | None) -> int:
        """Where to look first: behind our newest claim, or at a place of this node's own, so that nodes do not meet."""
        mine = {address: revision for address, revision in held.claims.items() if address in pool} if held else {}
        newest = max(mine, key=mine.__getitem__, default=None)
        if newest:
            return pool.index(newest) + 1
        digest = blake2b(self._node.name.encode(), digest_size=20).digest()
        return int.from_bytes(digest, "big") % max(1, pool.size)

    def _guards(self, view: _View) -> Guards:
        registration = view.registration
        return (
            (self._domain.node(self._node.name), registration.revision if registration else 0),
            (self._domain.bar, 0),
        )

    def _new(self, view: _View) -> Held:
        """Of a network that had none, or lost it. If a boot has passed since this node was last heard of, nothing of
        it runs any more."""
        known = registration_of(view.registration) if view.registration else None
        return Held(self._name(), wary=known.boot if known and known.boot == self._node.boot else "")

    def _name(self) -> str:
        return f"{self._random.getrandbits(64):016x}"

    def _owner(self, held: Held) -> Owner:
        return Owner(self._node.name, self._network, self._data_dir, held.state)

    def _exhausted(self, pool: Pool, owners: Mapping[Address, Owner]) -> CniError:
        count = Counter(str(owner) for address, owner in owners.items() if address in pool)
        by = ", ".join(f"{number} {owner}" for owner, number in sorted(count.items()))
        return CniError(
            POOL_EXHAUSTED,
            f"every address of {pool} is claimed: {by}",
            "`cluster sync` gives back what a node keeps ahead, `cluster forget NODE` what one held that is gone for "
            "good.",
        )

    def _changing(self) -> CniError:
        return CniError(TRY_AGAIN_LATER, f"the claims of {self._node.name} change while they are looked at")


def _registration(view: _View) -> Registration:
    return registration_of(view.registration) if view.registration else Registration("", "", "", "")


def _lacking(held: Held, needs: Sequence[Need], taken: Collection[Address]) -> list[int]:
    """The range sets of which held has not what is needed."""
    return [
        i
        for i, need in enumerate(needs)
        if need.is_wanted and (need.asked not in held.claims if need.asked else not held.free(need.pool, taken))
    ]


def _unclaimed(place: _Place, view: _View, count: int) -> list[Address]:
    """The first so many in a window; fewer where there are no more."""
    return list(islice((address for address in place.addresses() if address not in view.claims), count))


def _with(held: Held, won: Mapping[Address, int], seen: int | None = None) -> Held:
    newest = max(won.values(), default=0)
    return held.but(claims=held.claims | dict(won), seen=max(held.seen if seen is None else seen, newest))
