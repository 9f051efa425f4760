"""The rules R1 to R6, searched through: every order of events that some bounds allow, over the protocol's own code.

Two nodes, an engine, and all that may go wrong between them: a request is delayed as long as it likes, or lost; an
answer is lost; a call is killed anywhere; a process stalls anywhere; the power goes, and with it every lease, and what
was not synced. Each step of ipam.claims is taken by running its generator with the answers so far, so what is searched
through is what is shipped. The engine here compares no guards: the rules must do without (ipam.verbs).

Then the same with one rule broken, by changing what surrounds the protocol: each time an address must be found that
two nodes give. A search that cannot find those would find nothing in the rules either.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any, NamedTuple

import pytest

from cni_core.address import Address
from cni_core.errors import CniError
from ipam.claims import Member, Need
from ipam.domain import Domain, Node, Owner, Registration, owner_of, to_text
from ipam.held import Held
from ipam.nodes import forget, survey
from ipam.pool import Pool, number_of
from ipam.verbs import (
    Answer,
    Claim,
    Done,
    Drop,
    GiveBack,
    Keep,
    List,
    Operation,
    Record,
    Refused,
    TakeUp,
    Unknown,
)
from tests.unit.engine import Memory

DOMAIN = Domain("lan")
FIRST = Address.parse("10.0.0.1")
NAMES = ("a", "b")

State = tuple[Any, ...]


class Rules(NamedTuple):
    """What the world is like; by default as it should be. Each change breaks a rule."""

    deletes_first: bool = False  # not R2: the record is deleted before the address is out of held
    deletes_blindly: bool = False  # not R2: whatever the revision
    adopts_by_reading: bool = False  # not R3: without rewriting the record
    syncs: bool = True  # R2: what is out of held stays out
    expires: bool = False  # not R5
    locks: bool = True  # R6
    verifies: bool = True  # held, at the first call of a boot
    removes_the_living: bool = False  # the operator, a node that is on
    is_wary: bool = True  # a node that lost its state takes up no claims of this boot


class Bounds(NamedTuple):
    """How far the search goes."""

    addresses: int = 1
    revisions: int = 6  # of the engine
    flying: int = 1  # requests of killed calls under way
    boots: int = 2  # of node a; b stays on
    operator: bool = False  # may remove a while it is off
    state_losses: int = 0  # of a
    b_gives_back: bool = False
    holds: bool = False  # a holds the first address from the start
    wishes: bool = False  # a stable order: any address is asked for before what is held is given
    states: int = 10**6


class Process(NamedTuple):
    """An operation under way: what it began with, and the answers that it got."""

    kind: str  # acquire, tidy, forget
    node: int
    boot: int
    held: str
    taken: tuple[Address, ...]
    answers: tuple[Answer, ...] = ()


class Computer(NamedTuple):
    """A node. boot 0: it is off. disk: held after a power cut. running: what its containers use, leased: by its leases.

    Where its state is lost, containers run without leases.
    """

    boot: int
    boots: int
    held: str
    disk: str
    leased: tuple[Address, ...]
    running: tuple[Address, ...]
    processes: tuple[int, ...]
    losses: int = 0


class World(NamedTuple):
    """Records, requests and processes are numbers of Search.known: a number is compared faster."""

    records: int
    revision: int
    flying: tuple[int, ...]
    computers: tuple[Computer, ...]
    operator: int | None = None


Records = tuple[Record, ...]
IS_OFF = "is it off?"  # what the operator asks the world


class Duplicate(Exception):
    pass


class Search:
    def __init__(self, rules: Rules, bounds: Bounds) -> None:
        self.rules = rules
        self.bounds = bounds
        self.pool = Pool([(number_of(FIRST), number_of(FIRST) + bounds.addresses - 1)])
        self.step = cache(self._step)
        self.carried_out = cache(self._carried_out)
        self.parsed = cache(Held.parse)
        self.number = cache(self._number)
        self.owners = cache(self._owners)
        self.known: list[Any] = []

    def run(self) -> int:
        """How many states there are. Duplicate with the way to one where two nodes use an address, or may."""
        start = self.start()
        came: dict[World, World | None] = {start: None}
        todo = [start]
        while todo:
            found: list[World] = []
            for world in todo:
                for after in self.events(world):
                    if after not in came:
                        came[after] = world
                        wrong = self.wrong(after)
                        if wrong:
                            raise Duplicate(f"{wrong}\n{self.way(came, after)}")
                        found.append(after)
                        assert len(came) < self.bounds.states, "the search is larger than it was"
            todo = found
        return len(came)

    def start(self) -> World:
        records, computers = [], []
        for i, name in enumerate(NAMES):
            registration = Registration("r", f"mac-{name}", "1", "")
            records.append(Record(DOMAIN.node(name), to_text(registration), 1))
            claims = {FIRST: 1} if self.bounds.holds and i == 0 else {}
            records += [Record(DOMAIN.address(one), to_text(self.owner(name, f"s-{name}")), 1) for one in claims]
            held = str(Held(f"s-{name}", registration="r", boot="1", seen=1, ahead=[0], claims=claims))
            computers.append(Computer(1, 1 if i == 0 else self.bounds.boots, held, held, (), (), ()))
        return World(self.number(tuple(sorted(records))), 1, (), tuple(computers))

    def _number(self, what: Any) -> int:
        self.known.append(what)
        return len(self.known) - 1

    def way(self, came: dict[World, World | None], world: World | None) -> str:
        steps: list[str] = []
        while world:
            claims = [f"{owner_of(one)} {one.revision}" for one in self.known[world.records] if "/a/" in one.key]
            flying = [self.known[number] for number in world.flying]
            waiting = [self.known[self.step(one) or 0] for computer in world.computers for one in computer.processes]
            steps.append(f"claims {claims} flying {flying} next {waiting} {world.computers}")
            world = came[world]
        return "\n".join(reversed(steps))

    # What must never be

    def wrong(self, world: World) -> str:
        a, b = world.computers
        twice = set(a.running) & set(b.running)
        if twice or len(set(a.running)) < len(a.running):
            return f"{a.running} and {b.running} run"
        if self.rules != Rules():
            return ""  # a broken rule must lead to a duplicate, not just to its cause
        owners = self.owners(world.records)
        for name, computer in zip(NAMES, world.computers, strict=True):
            held = self.held(computer)
            if not set(computer.leased) <= held.claims.keys():
                return f"{name} has a lease that is not in held"
            for address, revision in held.claims.items():
                owner = owners.get(DOMAIN.address(address))
                if (
                    computer.boot
                    and held.boot == str(computer.boot)
                    and owner != (self.owner(name, held.state), revision)
                ):
                    return f"{name} holds {address}@{revision}, which is {owner}"
        return ""

    def _owners(self, records: int) -> dict[str, tuple[Owner, int]]:
        return {record.key: (owner_of(record), record.revision) for record in self.known[records]}

    def owner(self, name: str, state: str) -> Owner:
        return Owner(name, "net", "/data", state)

    def held(self, computer: Computer) -> Held:
        held = self.parsed(computer.held) if computer.held else Held("")
        return held if self.rules.verifies else held.but(boot=str(computer.boot))

    # What may happen next

    def events(self, world: World) -> Iterator[World]:
        for i, computer in enumerate(world.computers):
            yield from self.local(world, i, computer)
            for process in set(computer.processes):
                rest = list(computer.processes)
                rest.remove(process)
                yield from self.goes_on(world, i, process, tuple(rest))
                yield from self.dies(world, i, process, tuple(rest))
        for request in set(world.flying):
            left = list(world.flying)
            left.remove(request)
            lost = world._replace(flying=tuple(left))
            yield lost
            yield from self.arrives(lost, request)
        if self.rules.expires:
            records = self.known[world.records]
            for record in records:
                if "/a/" in record.key:
                    yield world._replace(records=self.number(tuple(one for one in records if one != record)))
        if self.bounds.operator:
            yield from self.operates(world)

    def local(self, world: World, i: int, computer: Computer) -> Iterator[World]:
        """What needs no engine: ADD from held, DEL, a call that begins, and the switch."""

        def with_(**changes: Any) -> World:
            return _with(world, i, computer._replace(**changes))

        if not computer.boot:
            yield with_(boot=computer.boots + 1, boots=computer.boots + 1)
            return
        held = self.held(computer)
        free = [address for address in held.claims if address not in computer.leased]
        if held.boot == str(computer.boot):
            for address in free:  # R4
                running = tuple(sorted((*computer.running, address), key=str))
                yield with_(leased=tuple(sorted((*computer.leased, address), key=str)), running=running)
        for address in set(computer.running):
            left = list(computer.running)
            left.remove(address)
            yield with_(leased=tuple(one for one in computer.leased if one != address), running=tuple(left))
        if len(computer.processes) < (1 if self.rules.locks else 2):
            for kind in ("acquire", "tidy") if i == 0 or self.bounds.b_gives_back else ("acquire",):
                if kind == "tidy" or held.boot != str(computer.boot) or not free or self.bounds.wishes:
                    text = str(held) if computer.held else ""
                    process = self.number(Process(kind, i, computer.boot, text, computer.leased))
                    if self.rules.locks:
                        # Nothing else of the node moves before it has the answer to its first question: as one event.
                        yield from self.goes_on(world, i, process, ())
                    else:
                        yield with_(processes=tuple(sorted((*computer.processes, process))))
        if not self.rules.syncs and computer.disk != computer.held:
            yield with_(disk=computer.held)
        if i == 0 and computer.boots < self.bounds.boots:
            flying = [self.step(process) for process in computer.processes]
            off = computer._replace(boot=0, held=computer.disk, leased=(), running=(), processes=())
            yield self.flies(_with(world, i, off), flying)
        if i == 0 and computer.losses < self.bounds.state_losses and not computer.processes:
            yield with_(held="", disk="", leased=(), losses=computer.losses + 1)

    def goes_on(self, world: World, i: int, process: int, rest: tuple[int, ...]) -> Iterator[World]:
        """The process gets the answer to what it requests. It had stalled for as long as others did something."""
        number = self.step(process)
        assert number is not None
        request = self.known[number]
        computer = world.computers[i]
        if isinstance(request, (Keep, Drop)):
            held = request.held
            answer: Answer = None
            if isinstance(request, Drop):
                kept = () if request.with_leases else computer.leased
                answer = held = held.without(one for one in request.addresses if one not in kept)
            disk = str(held) if self.rules.syncs else computer.disk
            yield self.then(_with(world, i, computer._replace(held=str(held), disk=disk)), i, process, answer, rest)
        else:
            records, revision, answer = self.carried_out(world.records, world.revision, number)
            if revision <= self.bounds.revisions:
                yield self.then(world._replace(records=records, revision=revision), i, process, answer, rest)
            if not isinstance(request, List):
                # Its answer is lost, or late: the request may still be under way, or never arrive.
                yield self.then(world, i, process, Refused("away"), rest)
                unknown = self.then(world, i, process, Unknown("lost"), rest)
                yield from self.bounded(self.flies(unknown, [number]))

    def dies(self, world: World, i: int, process: int, rest: tuple[int, ...]) -> Iterator[World]:
        request = self.step(process)
        killed = _with(world, i, world.computers[i]._replace(processes=rest))
        yield killed
        yield from self.bounded(self.flies(killed, [request]))

    def then(self, world: World, i: int, process: int, answer: Answer, rest: tuple[int, ...]) -> World:
        process = self.answered(process, answer)
        processes = rest if self.step(process) is None else tuple(sorted((*rest, process)))
        return _with(world, i, world.computers[i]._replace(processes=processes))

    def answered(self, process: int, answer: Answer) -> int:
        known: Process = self.known[process]
        return self.number(known._replace(answers=(*known.answers, answer)))

    def flies(self, world: World, requests: list[int | None]) -> World:
        changes = [one for one in requests if one and isinstance(self.known[one], (Claim, TakeUp, GiveBack))]
        return world._replace(flying=tuple(sorted((*world.flying, *changes))))

    def bounded(self, world: World) -> Iterator[World]:
        if len(world.flying) <= self.bounds.flying:
            yield world

    def arrives(self, world: World, request: int) -> Iterator[World]:
        records, revision, _ = self.carried_out(world.records, world.revision, request)
        if revision <= self.bounds.revisions:
            yield world._replace(records=records, revision=revision)

    def operates(self, world: World) -> Iterator[World]:
        """A person, who has somebody's word that node a is off."""
        is_off = not world.computers[0].boot or self.rules.removes_the_living
        if world.operator is None:
            yield world._replace(operator=self.number(Process("forget", 0, 0, "", ())))
            return
        request = self.step(world.operator)
        if request is None:
            return
        if self.known[request] == IS_OFF:
            if is_off:
                yield world._replace(operator=self.answered(world.operator, None))
            return
        records, revision, answer = self.carried_out(world.records, world.revision, request)
        if revision <= self.bounds.revisions:
            process = self.answered(world.operator, answer)
            yield world._replace(records=records, revision=revision, operator=process)

    # What is requested, and what an engine does

    def _step(self, number: int) -> int | None:
        """What a process requests next; None if it has ended."""
        process: Process = self.known[number]
        operation = self.operation(process)
        for answer in (None, *process.answers):
            try:
                request = operation.send(answer)
            except (StopIteration, CniError):
                return None
        return self.number(request)

    def operation(self, process: Process) -> Operation[Any]:
        if process.kind == "forget":
            return _forgetting()
        name = NAMES[process.node]
        node = Node(name, f"mac-{name}", str(process.boot), "")
        # A lost state is followed by one of another name.
        member = Member(DOMAIN, node, "net", "/data", Random(f"{name} {process.boot} {process.answers[:1]}"))
        held = Held.parse(process.held) if process.held else None
        if process.kind == "acquire" and self.bounds.wishes:
            wish = [self.pool[i] for i in range(self.pool.size)]
            operation: Operation[Any] = member.prefer(held, [self.pool], [wish], process.taken)
        elif process.kind == "acquire":
            operation = member.acquire(held, [Need(self.pool)], process.taken)
        else:
            operation = member.tidy(held, [self.pool], process.taken, everywhere=True)
        if not self.rules.is_wary:
            operation = _unwary(operation)
        return _deleting_first(operation) if self.rules.deletes_first else operation

    def _carried_out(self, number: int, revision: int, requested: int) -> tuple[int, int, Answer]:
        records: Records = self.known[number]
        request = self.known[requested]
        engine = Memory(records, revision, guards=False)
        if self.rules.deletes_blindly and isinstance(request, GiveBack):
            there = [key for key, _ in request.records if key in engine.records]
            request = GiveBack(tuple((key, engine.records[key].revision) for key in there))
        if self.rules.adopts_by_reading and isinstance(request, TakeUp) and "/a/" in request.records[0][0]:
            is_same = all(engine.is_at(key, seen) for key, _, seen in request.records)
            keys = frozenset(record[0] for record in request.records) if is_same else frozenset[str]()
            return number, revision, Done(keys, request.records[0][2])
        answer = engine.do(request)
        return self.number(tuple(sorted(engine.records.values()))), engine.revision, answer


def _forgetting() -> Operation[int]:
    node, claims, record = yield from survey(DOMAIN, NAMES[0])
    yield IS_OFF  # type: ignore[misc]
    return (yield from forget(DOMAIN, node, claims, record))


def _deleting_first(operation: Operation[Any]) -> Operation[Any]:
    """Each Drop behind the GiveBack that follows it."""
    answer: Answer = None
    while True:
        try:
            request = operation.send(answer)
        except StopIteration as stop:
            return stop.value
        if isinstance(request, Drop):
            deletion = operation.send(request.held.without(request.addresses))
            answer = yield deletion
            yield request
        else:
            answer = yield request


def _unwary(operation: Operation[Any]) -> Operation[Any]:
    """Writes a held that does not know that the one before it was lost."""
    answer: Answer = None
    while True:
        try:
            request = operation.send(answer)
        except StopIteration as stop:
            return stop.value
        if isinstance(request, (Keep, Drop)):
            request = request._replace(held=request.held.but(wary=""))
        answer = yield request


def _with(world: World, i: int, computer: Computer) -> World:
    computers = list(world.computers)
    computers[i] = computer
    return world._replace(computers=tuple(computers))


AS_BUILT = {
    "killed calls, a late request": Bounds(revisions=5, boots=1),
    "two late requests": Bounds(revisions=4, boots=1, flying=2),
    "both give back": Bounds(revisions=4, boots=1, b_gives_back=True),
    "two addresses": Bounds(addresses=2, revisions=3, boots=1),
    "a stable order": Bounds(revisions=4, boots=1, b_gives_back=True, wishes=True),
    "a stable order over two": Bounds(addresses=2, revisions=3, boots=1, wishes=True),
    "power cuts": Bounds(revisions=4, boots=2, holds=True),
    "a node that is off is removed": Bounds(revisions=4, boots=2, flying=0, operator=True, holds=True),
    "lost state": Bounds(revisions=4, boots=2, flying=0, state_losses=1, holds=True),
}

BROKEN = {
    "R2: deleted before it is out of held": (Rules(deletes_first=True), Bounds(revisions=4, boots=1)),
    "R2: deleted whatever its revision": (Rules(deletes_blindly=True), Bounds(revisions=5, boots=1)),
    "R2: not synced, and given before held is verified": (
        Rules(syncs=False, verifies=False),
        Bounds(revisions=4, boots=2, flying=0),
    ),
    "R3: adopted by reading": (Rules(adopts_by_reading=True), Bounds(revisions=5, boots=1)),
    "R5: claims expire": (Rules(expires=True), Bounds(revisions=4, boots=1)),
    "R3, of a stable order": (Rules(adopts_by_reading=True), Bounds(revisions=5, boots=1, wishes=True)),
    "R6: no lock": (Rules(locks=False), Bounds(revisions=5, boots=1, flying=0)),
    "given before held is verified": (
        Rules(verifies=False),
        Bounds(revisions=4, boots=2, flying=0, operator=True, holds=True),
    ),
    "the operator removes a living node": (
        Rules(removes_the_living=True),
        Bounds(revisions=6, boots=1, flying=0, operator=True),
    ),
    "a lost state's claims taken up at once": (
        Rules(is_wary=False),
        Bounds(revisions=4, boots=1, flying=0, state_losses=1),
    ),
}


@pytest.mark.parametrize("bounds", AS_BUILT.values(), ids=AS_BUILT)
def test_no_order_of_events_gives_two_nodes_one_address(bounds: Bounds) -> None:
    assert Search(Rules(), bounds).run() > 1000


@pytest.mark.parametrize(("rules", "bounds"), BROKEN.values(), ids=BROKEN)
def test_whatever_rule_is_broken_two_nodes_give_one_address(rules: Rules, bounds: Bounds) -> None:
    with pytest.raises(Duplicate):
        Search(rules, bounds).run()


def test_offline_boot_is_safe_by_the_sync_alone_while_nobody_is_removed() -> None:
    assert Search(Rules(verifies=False), Bounds(revisions=4, boots=2, flying=0)).run() > 1000
