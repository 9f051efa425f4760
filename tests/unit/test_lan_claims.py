"""ipam.claims and ipam.nodes over an engine in memory: who gets which address, what is kept ahead, and every error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest

from cni_core.address import Address
from cni_core.errors import (
    ADDRESS_UNAVAILABLE,
    COMMAND_REFUSED,
    LIMITED_CONNECTIVITY,
    POOL_EXHAUSTED,
    TRY_AGAIN_LATER,
    CniError,
)
from ipam import nodes
from ipam.claims import Member, Need, Outcome, ahead
from ipam.contact import run
from ipam.domain import Domain, Node, Owner
from ipam.held import Held
from ipam.pool import Pool, number_of
from ipam.verbs import Answer, Claim, Drop, GiveBack, Keep, List, Record, Refused, Remote, TakeUp, Unknown
from tests.unit.engine import Memory

LAN = Domain("lan")


def ip(text: str) -> Address:
    return Address.parse(text)


def pool(first: str, last: str) -> Pool:
    return Pool([(number_of(ip(first)), number_of(ip(last)))])


class Net:
    """A network of a node: its held and leases in memory, and the operations of its member, carried out."""

    def __init__(
        self,
        engine: Any,
        name: str,
        *pools: Pool,
        boot: str = "b1",
        mac: str = "",
        offline: bool = False,
        most_ahead: int = 8,
        network: str = "net",
    ) -> None:
        self.engine, self.name, self.pools, self.boot = engine, name, pools, boot
        self.mac, self.offline = mac or f"52:54:00:00:00:{name}", offline
        self.most_ahead, self.network = most_ahead, network
        self.held: Held | None = None
        self.leases: set[Address] = set()
        self.written: list[str] = []

    def member(self) -> Member:
        node = Node(self.name, self.mac, self.boot, "1", self.offline)
        seed = Random(f"{self.name} {self.network} {self.engine.revision}")
        return Member(LAN, node, self.network, "/data", seed, self.most_ahead)

    def do(self, request: Keep | Drop) -> Held | None:
        kept = self.leases if isinstance(request, Drop) and not request.with_leases else set[Address]()
        gone = request.addresses if isinstance(request, Drop) else ()
        self.held = Held.parse(str(request.held.without(set(gone) - kept)))
        self.written.append(type(request).__name__)
        return self.held if isinstance(request, Drop) else None

    def acquire(self, *asked: str | None, wanted: Sequence[bool] = ()) -> Outcome:
        texts = asked or (None,) * len(self.pools)
        needs = [
            Need(one, ip(text) if text else None, is_wanted)
            for one, text, is_wanted in zip(self.pools, texts, wanted or (True,) * len(self.pools), strict=True)
        ]
        return run(self.member().acquire(self.held, needs, self.leases), self.engine, self)

    def add(self) -> list[Address]:
        """As ADD does it: from held where that has one."""
        given = []
        for one in self.pools:
            free = self.held.free(one, self.leases) if self.held and self.held.boot == self.boot else []
            if not free:
                self.acquire()
                assert self.held
                free = self.held.free(one, self.leases)
            self.leases.add(free[0])
            given.append(free[0])
        return given

    def tidy(self, **how: bool) -> Outcome:
        return run(self.member().tidy(self.held, self.pools, self.leases, **how), self.engine, self)

    def reboot(self, boot: str) -> None:
        self.boot = boot
        self.leases.clear()

    @property
    def claims(self) -> dict[str, int]:
        return {str(address): revision for address, revision in (self.held.claims if self.held else {}).items()}


class Failing(Memory):
    """answers: instead of what an engine says, by the kind of request; is_done: though it is carried out."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[type, Answer] = {}
        self.is_done = False

    def do(self, request: Remote) -> Answer:
        answer = self.answers.get(type(request))
        if answer is None:
            return super().do(request)
        if self.is_done:
            super().do(request)
        return answer


@pytest.fixture
def engine() -> Memory:
    return Memory()


def refused(code: int, call: Callable[..., object], *args: Any, **how: Any) -> CniError:
    with pytest.raises(CniError) as error:
        call(*args, **how)
    assert error.value.code == code, error.value.msg
    return error.value


def claimed(engine: Memory) -> dict[str, str]:
    return {str(address): str(owner) for address, owner, _ in LAN.claims_of(engine.range(LAN.addresses))}


SMALL = pool("10.0.0.1", "10.0.0.6")
ROOMY = pool("10.0.0.1", "10.0.3.254")


# Acquiring


def test_the_keys_are_in_the_order_of_addresses() -> None:
    assert LAN.address(ip("192.168.50.17")) == "/cni/v1/lan/a/00000000000000000000ffffc0a83211"
    assert LAN.address(ip("fd00::1")) == "/cni/v1/lan/a/fd000000000000000000000000000001"
    assert LAN.node("n1") == "/cni/v1/lan/n/n1"


def test_the_first_address_registers_claims_ahead_and_writes_held_in_this_order(engine: Memory) -> None:
    net = Net(engine, "n1", ROOMY)
    net.acquire()
    assert net.held
    assert len(net.claims) == 8
    assert [type(one).__name__ for one in engine.requests] == ["List", "Claim", "List", "Claim"]
    assert net.written == ["Keep", "Keep"]
    assert set(claimed(engine).values()) == {"n1 (network net)"}
    assert engine.records[LAN.node("n1")].value == (
        f'{{"id": "{net.held.registration}", "mac": "52:54:00:00:00:n1", "boot": "b1", "version": "1"}}'
    )


def test_a_second_contact_costs_two_requests_and_goes_on_behind_the_last(engine: Memory) -> None:
    net = Net(engine, "n1", ROOMY)
    first = [net.add()[0] for _ in range(8)]
    engine.requests.clear()
    second = net.add()[0]
    assert [type(one).__name__ for one in engine.requests] == ["List", "Claim"]
    assert ROOMY.index(second) == (ROOMY.index(first[-1]) + 1) % ROOMY.size


@pytest.mark.parametrize(
    ("free", "hosts", "most", "kept"),
    [
        (1000, 5, 8, 8),
        (80, 5, 8, 8),
        (79, 5, 8, 7),
        (20, 5, 8, 2),
        (9, 5, 8, 0),
        (0, 5, 8, 0),
        (-3, 1, 8, 0),
        (4, 0, 8, 2),
        (1000, 5, 64, 64),
        (1000, 5, 0, 0),
    ],
)
def test_how_many_are_kept_ahead(free: int, hosts: int, most: int, kept: int) -> None:
    assert ahead(free, hosts, most) == kept


def test_of_a_scarce_pool_every_address_is_given_and_none_twice(engine: Memory) -> None:
    nets = [Net(engine, f"n{i}", SMALL) for i in range(3)]
    for net in nets:
        net.tidy()  # who is alone keeps more
    given = [net.add()[0] for net in (*nets, *nets)]
    assert len(set(given)) == SMALL.size
    error = refused(POOL_EXHAUSTED, nets[0].add)
    assert error.msg == (
        "every address of 10.0.0.1-10.0.0.6 is claimed: 2 n0 (network net), 2 n1 (network net), 2 n2 (network net)"
    )


def test_an_address_that_is_free_is_found_in_a_pool_of_many_windows(engine: Memory) -> None:
    other = Net(engine, "n1", pool("10.0.0.1", "10.0.19.254"), most_ahead=0)
    other.acquire()
    value = next(iter(engine.range(LAN.addresses))).value
    for number in range(number_of(ip("10.0.0.1")), number_of(ip("10.0.19.254")) + 1):
        key = f"/cni/v1/lan/a/{number:032x}"
        engine.records[key] = Record(key, value, 1)
    del engine.records[LAN.address(ip("10.0.7.77"))]
    net = Net(engine, "n2", pool("10.0.0.1", "10.0.19.254"))
    assert list(map(str, net.add())) == ["10.0.7.77"]
    refused(POOL_EXHAUSTED, net.add)


def test_both_families_come_in_one_claim(engine: Memory) -> None:
    net = Net(engine, "n1", SMALL, pool("fd00::1", "fd00::ffff"))
    four, six = net.add()
    assert (four in SMALL, six in SMALL) == (True, False)
    assert net.held
    assert net.held.ahead == (3, 8)
    assert sum(isinstance(one, Claim) for one in engine.requests) == 2  # the node, and both sets


def test_nodes_begin_at_places_of_their_own(engine: Memory) -> None:
    nets = [Net(engine, f"n{i}", ROOMY) for i in range(20)]
    for net in nets:
        net.acquire()
    asked = sum(len(one.records) for one in engine.requests if isinstance(one, Claim))
    assert asked == 20 + 20 * 8  # nobody lost any


def test_after_another_was_faster_it_looks_elsewhere_and_keeps_what_it_won() -> None:
    class Racing(Memory):
        """Before a claim, another node claims all but the last of its addresses, as long as there are orders to."""

        left = 1

        def do(self, request: Remote) -> Answer:
            if isinstance(request, Claim) and "/a/" in request.records[0][0] and self.left:
                self.left -= 1
                for key, _ in request.records[:-1]:
                    super().do(Claim(((key, '{"node": "n2", "network": "net"}'),)))
            return super().do(request)

    engine = Racing()
    net = Net(engine, "n1", ROOMY)
    net.acquire()
    assert len(net.claims) == 1


def test_where_others_are_always_faster_it_says_so() -> None:
    class Racing(Memory):
        def do(self, request: Remote) -> Answer:
            if isinstance(request, Claim) and "/a/" in request.records[0][0]:
                for key, _ in request.records:
                    super().do(Claim(((key, '{"node": "n2", "network": "net"}'),)))
            return super().do(request)

    error = refused(TRY_AGAIN_LATER, Net(Racing(), "n1", ROOMY).acquire)
    assert error.msg == "other nodes of lan were faster 8 times in a row"


# An address that is asked for


def test_an_address_asked_for_is_claimed_alone_and_given_back_when_it_is_free(engine: Memory) -> None:
    net = Net(engine, "n1", ROOMY)
    net.acquire("10.0.2.2")
    assert list(net.claims) == ["10.0.2.2"]
    assert net.held
    assert net.held.free(ROOMY, ()) == []  # never chosen for another
    net.leases.add(ip("10.0.2.2"))
    net.tidy()
    assert list(net.claims) == ["10.0.2.2"]
    net.leases.clear()
    net.tidy()
    assert claimed(engine) == {}


def test_an_address_that_another_has_is_refused_with_its_holder(engine: Memory) -> None:
    Net(engine, "n2", ROOMY).acquire("10.0.2.2")
    run(nodes.reserve(LAN, [ip("10.0.2.3")], Owner(reserved="printer")), engine)
    run(nodes.reserve(LAN, [ip("10.0.2.4")], Owner(host="n3")), engine)
    net = Net(engine, "n1", ROOMY)
    assert refused(ADDRESS_UNAVAILABLE, net.acquire, "10.0.2.2").msg == "10.0.2.2 is held by n2 (network net)"
    assert refused(ADDRESS_UNAVAILABLE, net.acquire, "10.0.2.3").msg == "10.0.2.3 is reserved for printer"
    assert refused(ADDRESS_UNAVAILABLE, net.acquire, "10.0.2.4").msg == "10.0.2.4 is held by n3 (host)"


# Giving back


def test_giving_back_shortens_held_before_it_deletes(engine: Memory) -> None:
    net = Net(engine, "n1", ROOMY)
    for _ in range(17):
        net.add()
    net.written.clear()
    engine.requests.clear()
    assert net.tidy().held.surplus([ROOMY], net.leases) == []
    assert net.written == []
    last = sorted(net.leases, key=str)[:12]
    net.leases -= set(last)
    order: list[str] = []

    class Noting:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def do(self, request: Any) -> Any:
            order.append(type(request).__name__)
            return self.inner.do(request)

    run(net.member().tidy(net.held, net.pools, net.leases), Noting(engine), Noting(net))
    assert order == ["List", "Drop", "GiveBack"]
    assert net.held
    assert len(net.held.free(ROOMY, net.leases)) == 8
    assert set(claimed(engine)) == set(net.claims)


def test_an_address_that_was_leased_meanwhile_stays(engine: Memory) -> None:
    net = Net(engine, "n1", ROOMY, most_ahead=0)
    address = net.add()[0]
    stale = run(net.member().tidy(net.held, net.pools, ()), engine, net)  # as it was before the lease
    assert address in stale.held.claims
    assert set(claimed(engine)) == {str(address)}


def test_what_became_of_a_deletion_does_not_matter() -> None:
    engine = Failing()
    net = Net(engine, "n1", ROOMY, most_ahead=0)
    address = net.add()[0]
    net.leases.clear()
    engine.answers[GiveBack] = Unknown("lost")
    net.tidy()
    assert net.claims == {}
    assert set(claimed(engine)) == {str(address)}
    engine.answers.clear()
    net.tidy(everywhere=True)
    assert claimed(engine) == {}


# Unknown outcomes, and what an engine that is away means


@pytest.mark.parametrize("is_done", [False, True])
def test_a_claim_of_unknown_outcome_is_taken_up_by_rewriting_it(is_done: bool) -> None:
    engine = Failing()
    net = Net(engine, "n1", SMALL)
    net.tidy()
    engine.answers[Claim], engine.is_done = Unknown("https://a:2379: no answer in 1 s"), is_done
    error = refused(TRY_AGAIN_LATER, net.acquire)
    assert error.msg == (
        "no address of this host is free, and etcd cannot be asked for more: https://a:2379: no answer in 1 s"
    )
    assert net.claims == {}
    orphans = {address: revision for address, _, revision in LAN.claims_of(engine.range(LAN.addresses))}
    assert bool(orphans) == is_done
    engine.answers.clear()
    engine.requests.clear()
    net.acquire()
    assert any(isinstance(one, TakeUp) for one in engine.requests) == is_done
    assert all(net.claims[str(address)] > revision for address, revision in orphans.items())  # R3


def test_at_boot_held_is_verified_before_it_is_given_from() -> None:
    engine = Failing()
    net = Net(engine, "n1", ROOMY)
    net.add()
    before = net.claims
    net.reboot("b2")
    engine.answers[List] = Refused("https://a:2379: connection refused")
    error = refused(TRY_AGAIN_LATER, net.acquire)
    assert error.msg == (
        "what this host held must be verified after its start, and etcd cannot be asked: "
        "https://a:2379: connection refused"
    )
    assert net.held
    assert net.held.boot == "b1"
    engine.answers.clear()
    assert net.acquire().lost == ()
    assert net.held.boot == "b2"
    assert net.claims.keys() == before.keys()
    assert all(net.claims[address] > revision for address, revision in before.items())


def test_offline_boot_gives_what_was_held_and_verifies_later() -> None:
    engine = Failing()
    net = Net(engine, "n1", ROOMY, offline=True)
    net.add()
    net.reboot("b2")
    engine.answers[List] = Refused("away")
    net.acquire()
    assert net.held
    assert (net.held.boot, net.held.is_verified) == ("b2", False)
    engine.answers.clear()
    net.tidy()
    assert net.held.is_verified


# Registration


def test_another_host_of_the_same_name_is_refused(engine: Memory) -> None:
    Net(engine, "n1", ROOMY, mac="52:54:00:00:00:01").acquire()
    error = refused(COMMAND_REFUSED, Net(engine, "n1", ROOMY, mac="52:54:01:00:00:01").acquire)
    assert error.msg == "n1 is registered by another host (parent 52:54:00:00:00:01, this one 52:54:01:00:00:01)"


def test_a_lost_state_is_taken_up_after_the_next_boot_only(engine: Memory) -> None:
    net = Net(engine, "n1", SMALL)
    lost = net.add()[0]
    net.held = None  # containers may run, and nobody knows of them
    net.leases.clear()
    net.acquire()
    assert str(lost) not in net.claims
    net.tidy(everywhere=True)
    assert str(lost) not in net.claims
    net.reboot("b2")
    net.acquire()
    net.tidy(everywhere=True)
    assert set(claimed(engine)) == set(net.claims)
    assert len(net.claims) <= 6


def test_a_lost_state_of_an_earlier_boot_is_taken_up_at_once(engine: Memory) -> None:
    net = Net(engine, "n1", SMALL)
    lost = net.add()[0]
    net.held = None
    net.reboot("b2")
    net.tidy(everywhere=True)
    assert str(lost) not in claimed(engine) or str(lost) in net.claims
    assert set(claimed(engine)) == set(net.claims)


def test_a_gc_that_knows_every_container_need_not_wait(engine: Memory) -> None:
    net = Net(engine, "n1", SMALL)
    net.add()
    net.held = None
    net.leases.clear()
    net.tidy(everywhere=True, all_known=True)
    assert set(claimed(engine)) == set(net.claims)


def test_two_networks_of_a_node_do_not_take_each_others(engine: Memory) -> None:
    one, two = Net(engine, "n1", SMALL), Net(engine, "n1", SMALL, network="other")
    given = [one.add()[0], two.add()[0], one.add()[0], two.add()[0]]
    assert len(set(given)) == 4
    two.tidy(everywhere=True)
    assert not set(one.claims) & set(two.claims)


# Nodes that are gone, and engines that were restored


def test_a_node_that_is_off_is_forgotten(engine: Memory) -> None:
    net, other = Net(engine, "n1", SMALL), Net(engine, "n2", SMALL)
    net.add()
    other.add()
    node, claims, record = run(nodes.survey(LAN, "n1"), engine)
    assert {str(address) for address, _, _ in claims} == set(net.claims)
    assert run(nodes.forget(LAN, node, claims, record), engine) == len(claims)
    assert set(claimed(engine)) == set(other.claims)
    # It comes back, and holds what nobody else has taken since.
    taken = other.claims
    net.reboot("b2")
    assert net.acquire().lost == ()
    assert not set(net.claims) & set(taken)


@pytest.mark.parametrize("guards", [True, False])
def test_a_node_that_came_back_wins_over_who_forgets_it(guards: bool) -> None:
    engine = Memory(guards=guards)
    net = Net(engine, "n1", SMALL)
    net.add()
    node, claims, record = run(nodes.survey(LAN, "n1"), engine)
    net.reboot("b2")
    net.acquire()
    error = refused(COMMAND_REFUSED, lambda: run(nodes.forget(LAN, node, claims, record), engine))
    assert error.msg == "n1 has come back: nothing of it that it uses was removed"
    assert set(claimed(engine)) == set(net.claims)
    # Even where it comes back after the registration was removed.
    node, claims, record = run(nodes.survey(LAN, "n1"), engine)
    assert record
    engine.do(GiveBack(((record.key, record.revision),)))
    net.reboot("b3")
    net.acquire()
    refused(COMMAND_REFUSED, lambda: run(nodes.forget(LAN, node, claims, None), engine))
    assert set(claimed(engine)) == set(net.claims)


def test_a_node_that_may_give_before_it_asks_is_forgotten_only_on_somebodys_word(engine: Memory) -> None:
    net = Net(engine, "n1", SMALL, offline=True)
    net.add()
    found = run(nodes.survey(LAN, "n1"), engine)
    assert "offlineBoot" in refused(COMMAND_REFUSED, lambda: run(nodes.forget(LAN, *found), engine)).msg
    assert run(nodes.forget(LAN, *found, is_surely_off=True), engine) == len(net.claims)


def test_a_living_node_that_was_removed_says_whose_its_addresses_are_now(engine: Memory) -> None:
    net, other = Net(engine, "n1", SMALL), Net(engine, "n2", SMALL)
    address = net.add()[0]
    run(nodes.forget(LAN, *run(nodes.survey(LAN, "n1"), engine)), engine)
    other.acquire(str(address))
    outcome = net.tidy()
    assert [(str(one), str(owner)) for one, owner in outcome.lost] == [(str(address), "n2 (network net)")]
    assert str(address) not in net.claims
    assert not engine.range((LAN.bar, LAN.bar + "\0"))
    error = nodes.removed(LAN, outcome.lost)
    assert error.code == LIMITED_CONNECTIVITY
    assert f"{address} (n2 (network net))" in error.msg


@pytest.mark.parametrize("catches_up", [False, True])
def test_an_engine_that_was_restored_is_noticed_and_barred(engine: Memory, catches_up: bool) -> None:
    net, other = Net(engine, "n1", SMALL, most_ahead=0), Net(engine, "n2", SMALL, most_ahead=0)
    net.add()
    other.acquire()
    backup = dict(engine.records), engine.revision
    second = net.add()[0]
    engine.records, engine.revision = dict(backup[0]), backup[1] + (50 if catches_up else 0)
    error = refused(TRY_AGAIN_LATER, net.add)
    assert error.msg == "no addresses are claimed in lan: its etcd was restored from a backup, as n1 found"
    assert claimed(engine)[str(second)] == "n1 (network net)"  # asserted anew
    assert refused(TRY_AGAIN_LATER, other.acquire, "10.0.0.1").msg == error.msg
    other.tidy(everywhere=True)  # cluster sync
    assert run(nodes.reopen(LAN), engine)
    assert not run(nodes.reopen(LAN), engine)
    net.add()
    assert not set(net.claims) & set(other.claims)


def test_two_that_hold_one_address_after_a_restore_are_both_named(engine: Memory) -> None:
    net, other = Net(engine, "n1", SMALL), Net(engine, "n2", SMALL)
    other.tidy()
    backup = dict(engine.records), engine.revision
    net.acquire("10.0.0.2")
    net.leases.add(ip("10.0.0.2"))
    engine.records, engine.revision = dict(backup[0]), backup[1]
    other.acquire("10.0.0.2")
    outcome = net.tidy()
    assert [(str(one), str(owner)) for one, owner in outcome.lost] == [("10.0.0.2", "n2 (network net)")]


# For people


def test_what_has_leases_already_is_adopted_or_named_with_its_holder(engine: Memory) -> None:
    other = Net(engine, "n2", SMALL)
    other.acquire("10.0.0.3")
    net = Net(engine, "n1", SMALL)
    error = refused(
        COMMAND_REFUSED, lambda: run(net.member().adopt(None, [ip("10.0.0.2"), ip("10.0.0.3")]), engine, net)
    )
    assert error.msg == "containers of this host use addresses that others have: 10.0.0.3 is n2 (network net)'s"
    assert list(net.claims) == ["10.0.0.2"]
    run(net.member().adopt(net.held, [ip("10.0.0.2"), ip("10.0.0.4")]), engine, net)
    assert list(net.claims) == ["10.0.0.2", "10.0.0.4"]


def test_many_are_adopted_in_requests_that_an_etcd_takes(engine: Memory) -> None:
    net = Net(engine, "n1", ROOMY)
    every = [ip(f"10.0.1.{i}") for i in range(1, 251)]
    run(net.member().adopt(None, every), engine, net)
    assert len(net.claims) == 250
    net.reboot("b2")
    net.acquire()
    assert len(net.claims) >= 250
    for request in engine.requests:
        size = len(request.ranges) + len(request.counts) if isinstance(request, List) else len(request.records)
        assert size <= 120


def test_leaving_gives_everything_back(engine: Memory) -> None:
    net = Net(engine, "n1", SMALL)
    address = net.add()[0]
    assert net.held
    held = net.held
    error = refused(COMMAND_REFUSED, lambda: run(net.member().leave(held), engine, net))
    assert error.msg == f"containers of this host still use {address}"
    net.leases.clear()
    run(net.member().leave(net.held), engine, net)
    assert engine.records == {}


def test_what_is_reserved_is_given_by_nobody_until_it_is_released(engine: Memory) -> None:
    printer = Owner(reserved="printer")
    run(nodes.reserve(LAN, [ip("10.0.0.1"), ip("10.0.0.2")], printer), engine)
    run(nodes.reserve(LAN, [ip("10.0.0.1")], printer), engine)  # again
    net = Net(engine, "n1", SMALL)
    given = [net.add()[0] for _ in range(4)]
    assert not {ip("10.0.0.1"), ip("10.0.0.2")} & set(given)
    refused(POOL_EXHAUSTED, net.add)
    error = refused(ADDRESS_UNAVAILABLE, lambda: run(nodes.reserve(LAN, given[:1], printer), engine))
    assert error.msg == f"not reserved: {given[0]} is n1 (network net)'s"
    assert run(nodes.release(LAN, [ip("10.0.0.1"), *given], printer), engine) == 1
    assert list(map(str, net.add())) == ["10.0.0.1"]


def test_a_record_that_nobody_understands_is_somebodys(engine: Memory) -> None:
    for address, value in (("10.0.0.1", "}"), ("10.0.0.2", '"text"'), ("10.0.0.3", '{"later": 1}')):
        engine.do(Claim(((LAN.address(ip(address)), value),)))
    engine.do(Claim((("/cni/v1/lan/a/zz", "x"),)))
    net = Net(engine, "n1", pool("10.0.0.1", "10.0.0.4"))
    assert list(map(str, net.add())) == ["10.0.0.4"]
    refused(POOL_EXHAUSTED, net.add)
    net.tidy(everywhere=True)


def test_more_claims_than_a_page_are_all_found(engine: Memory) -> None:
    net = Net(engine, "n1", ROOMY)
    run(net.member().adopt(None, [ip(f"10.0.{i // 250}.{i % 250 + 1}") for i in range(1000)]), engine, net)
    registrations, claims = run(nodes.everything(LAN), engine)
    assert (list(registrations), len(claims)) == (["n1"], 1000)
    run(net.member().adopt(net.held, [ip("10.0.3.254")]), engine, net)
    assert len(run(nodes.everything(LAN), engine)[1]) == 1001
