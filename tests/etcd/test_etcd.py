"""ipam.etcd on a real etcd: the four verbs against the engine in memory, TLS, authentication, members that fail."""

from __future__ import annotations

import os
import shutil
import stat
import time
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGSTOP

import pytest

from cni_core.address import Address
from cni_core.errors import INVALID_CONFIG, TRY_AGAIN_LATER, CniError
from ipam import nodes
from ipam.contact import run
from ipam.domain import Owner, to_text
from ipam.etcd import Etcd, refuse_weak
from ipam.verbs import Answer, Claim, Done, GiveBack, Guards, List, Listing, Refused, Remote, TakeUp, Unknown
from tests.etcd.members import Authority, Members
from tests.etcd.nodes import LAN, NodeDirectory, pool
from tests.unit.engine import Memory

EVERYTHING = List((("/", "0"),))


def claimed(etcd: Etcd) -> dict[str, str]:
    _, claims = run(nodes.everything(LAN), etcd)
    return {str(address): owner.node for address, owner, _ in claims}


# The verbs


def test_it_answers_as_the_engine_in_memory_does(one: Members) -> None:
    random, memory = Random(1), Memory()
    with one.client(patience=60) as etcd:
        for _ in range(400):
            request = some_request(random, memory)
            assert etcd.do(request) == memory.do(request), request
        assert etcd.do(EVERYTHING) == memory.do(EVERYTHING)
    assert {type(request) for request in memory.requests} == {List, Claim, TakeUp, GiveBack}


def some_request(random: Random, memory: Memory) -> Remote:
    keys = random.sample([f"/k{i}" for i in range(8)], random.randint(1, 4))

    def revision(key: str) -> int:
        record = memory.records.get(key)
        return record.revision if record and random.random() < 0.7 else random.randint(0, memory.revision)

    guards: Guards = tuple((key, revision(key)) for key in random.sample(["/k1", "/none"], random.randint(0, 1)))
    value = random.choice(["", "x", "ä\0\n", "long" * 1000])
    verb = random.choice([List, Claim, TakeUp, GiveBack])
    if verb is Claim:
        return Claim(tuple((key, value) for key in keys), guards)
    if verb is TakeUp:
        return TakeUp(tuple((key, value, revision(key) or 1) for key in keys), guards)
    if verb is GiveBack:
        return GiveBack(tuple((key, revision(key) or 1) for key in keys), guards)
    return List((("/k2", "/k5"), (keys[0], f"{keys[0]}\0")), (("/", "0"),), random.choice([0, 1, 2]))


def test_the_largest_requests_are_taken(one: Members) -> None:
    records = tuple((f"/{i}", "v") for i in range(100))
    with one.client() as etcd:
        done = etcd.do(Claim(records, (("/none", 0), ("/other", 0))))
        assert isinstance(done, Done)
        assert len(done.keys) == 100
        ranges = tuple((key, f"{key}\0") for key, _ in records)
        assert isinstance(etcd.do(List(ranges, ranges[:20])), Listing)


def test_its_version_is_one_that_keeps_what_it_confirms(one: Members) -> None:
    with one.client() as etcd:
        version = etcd.version()
    assert version.startswith("3.")
    refuse_weak(version)


# TLS and authentication


@pytest.mark.parametrize(
    ("which", "text"),
    [
        ("other ca", "its certificate is not accepted: "),
        ("no certificate", "TLS: "),
        ("other client", "TLS: "),
        ("expired", "TLS: "),
    ],
)
def test_tls_is_checked_on_both_sides(
    one: Members, authority: Authority, tmp_path: Path, which: str, text: str
) -> None:
    other = Authority(tmp_path / "other")
    ca, cert = "", None
    if which == "other ca":
        ca = other.ca
    elif which == "no certificate":
        cert = ("", "")
    elif which == "other client":
        cert = other.certificate("stranger")
    else:
        cert = authority.certificate(f"expired-{tmp_path.name}", days=-1)
    with one.client(ca=ca, cert=cert) as etcd:
        answer = etcd.do(EVERYTHING)
    assert isinstance(answer, (Refused, Unknown))
    assert answer.why.startswith(f"{one.endpoints[0]}: {text}"), answer
    with one.client() as etcd:
        assert isinstance(etcd.do(EVERYTHING), Listing)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("nothing")
    for ca, cert in ((str(tmp_path / "ca"), ""), ("", str(tmp_path / "none"))):
        with pytest.raises(CniError) as error:
            Etcd(["https://127.0.0.1:1"], ca=ca, cert=cert)
        assert error.value.code == INVALID_CONFIG
        assert str(tmp_path) in error.value.msg


def test_a_user_gets_a_token_that_is_kept_and_renewed(one: Members, authority: Authority, tmp_path: Path) -> None:
    for name, role in (("root", "root"), ("node", "claims")):
        one.call("/v3/auth/user/add", {"name": name, "password": f"{name}-password"})
        one.call("/v3/auth/role/add", {"name": role})
        if name == "node":
            both = {"key": "L2NuaS92MS8=", "range_end": "L2NuaS92MTA="}  # /cni/v1/ to /cni/v10
            one.call("/v3/auth/role/grant", {"name": role, "perm": {"permType": "READWRITE", **both}})
        one.call("/v3/auth/user/grant", {"user": name, "role": role})
    one.call("/v3/auth/enable", {})

    tokens = tmp_path / "tokens"
    claim = Claim((("/cni/v1/x", "1"),))

    def contact(request: Remote, password: str = "node-password") -> Answer:
        with one.client(user="node", password=password, token_dir=str(tokens)) as etcd:
            return etcd.do(request)

    assert isinstance(contact(claim), Done)
    token = (tokens / "token").read_text()
    assert stat.S_IMODE(os.stat(tokens / "token").st_mode) == 0o600
    assert isinstance(contact(claim), Done)
    assert (tokens / "token").read_text() == token  # not asked for again
    (tokens / "token").write_text("expired.1")
    assert isinstance(contact(claim), Done)
    assert (tokens / "token").read_text() not in ("expired.1", token)
    assert contact(List((("/other", "/othes"),))) == Refused(f"{one.endpoints[0]}: etcdserver: permission denied")
    (tokens / "token").unlink()
    wrong = contact(claim, "wrong")
    assert isinstance(wrong, Refused)
    assert "authentication failed" in wrong.why
    with one.client(cert=authority.certificate(f"cn-{tmp_path.name}", subject="/CN=node")) as etcd:
        answer = etcd.do(claim)
    assert isinstance(answer, Refused)
    assert "HTTP 400: CommonName of client sending a request against gateway will be ignored" in answer.why


# Members that fail


def test_where_nobody_listens_nothing_was_done(one: Members) -> None:
    one.kill(0)
    with one.client() as etcd:
        assert etcd.do(Claim((("/x", "1"),))) == Refused(f"{one.endpoints[0]}: connection refused")


def test_a_member_that_is_stopped_leaves_it_open_and_the_next_is_asked(three: Members) -> None:
    follower = (three.leader() + 1) % 3
    three.signal(follower, SIGSTOP)
    with three.client(first=follower) as etcd:
        answer = etcd.do(Claim((("/x", "1"),)))
    assert isinstance(answer, Done), answer
    for i in {0, 1, 2} - {follower}:
        three.signal(i, SIGSTOP)
    with three.client() as etcd:
        answer = etcd.do(Claim((("/y", "1"),)))
    assert isinstance(answer, (Refused, Unknown))
    assert answer.why.count("no answer in ") == 2  # a second each, and two in all
    assert answer.why.count("no time was left") == 1


def test_what_was_given_up_is_done_later_and_taken_up(three: Members, tmp_path: Path) -> None:
    """The trap: without a quorum a claim has no answer, and is carried out when there is one again."""
    node = NodeDirectory(tmp_path, "n1", pool("10.0.0.1", "10.0.0.1"), Random(1))
    with three.client() as etcd:
        node.tidy(etcd)  # registered
    owner = Owner("n1", "net", node.directory, held_state(node))
    request = Claim(((LAN.address(Address.parse("10.0.0.1")), to_text(owner)),))
    leader = three.leader()
    followers = [i for i in range(3) if i != leader]
    for i in followers:
        three.signal(i, SIGSTOP)
    with three.client(endpoints=[three.endpoints[leader]]) as etcd:
        assert isinstance(etcd.do(request), Unknown)
    for i in followers:
        three.signal(i, SIGCONT)
    three.heal()
    with three.client(patience=10) as etcd:
        deadline = time.monotonic() + 10
        while not claimed(etcd) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert claimed(etcd) == {"10.0.0.1": "n1"}
        before = [revision for _, _, revision in run(nodes.everything(LAN), etcd)[1]]
        held = node.acquire(etcd).held
    assert list(held.claims.values()) > before


class Losing:
    """An engine whose deletions are under way for as long as the test likes; and which, without R3, takes up a claim
    without rewriting it.
    """

    def __init__(self, etcd: Etcd, *, r3: bool) -> None:
        self._etcd = etcd
        self._r3 = r3
        self.late: list[Remote] = []

    def do(self, request: Remote) -> Answer:
        if isinstance(request, GiveBack):
            self.late.append(request)
            return Unknown("late")
        if isinstance(request, TakeUp) and not self._r3 and "/a/" in request.records[0][0]:
            return Done(frozenset(key for key, *_ in request.records), request.records[0][2])
        return self._etcd.do(request)


@pytest.mark.parametrize("r3", [True, False])
def test_a_late_deletion_misses_what_was_taken_up(one: Members, tmp_path: Path, r3: bool) -> None:
    """Without R3, the control, two nodes have the address."""
    part = pool("10.0.0.1", "10.0.0.1")
    first, second = (NodeDirectory(tmp_path, f"n{i}", part, Random(i), most_ahead=0) for i in (1, 2))
    with one.client(patience=60) as etcd:
        losing = Losing(etcd, r3=r3)
        first.acquire(losing)
        assert not first.tidy(losing).held.claims
        first.acquire(losing)
        assert str(first.lease("c1")) == "10.0.0.1"
        [deletion] = losing.late
        etcd.do(deletion)
        if r3:
            with pytest.raises(CniError, match=r"every address of 10.0.0.1-10.0.0.1 is claimed: 1 n1 \(network net\)"):
                second.acquire(etcd)
        else:
            second.acquire(etcd)
            assert str(second.lease("c1")) == "10.0.0.1"


def held_state(node: NodeDirectory) -> str:
    held = node.files.held()
    assert held
    return held.state


def test_a_leader_that_is_killed_costs_a_contact_or_two(three: Members, tmp_path: Path) -> None:
    node = NodeDirectory(tmp_path, "n1", pool("10.0.0.1", "10.0.3.254"), Random(1), most_ahead=0)
    with three.client() as etcd:
        node.acquire(etcd)
    node.lease("c1")
    three.kill(three.leader())
    for _ in range(10):
        try:
            with three.client() as etcd:
                node.acquire(etcd)
            break
        except CniError as error:
            assert error.code == TRY_AGAIN_LATER
    assert node.lease("c2")


def test_a_data_directory_of_yesterday_is_noticed(one: Members, tmp_path: Path) -> None:
    part = pool("10.0.0.1", "10.0.0.9")
    first, second = (NodeDirectory(tmp_path, f"n{i}", part, Random(i), most_ahead=0) for i in (1, 2))
    with one.client() as etcd:
        first.acquire(etcd)
        second.acquire(etcd)
    first.lease("c1")
    one.kill(0)
    shutil.copytree(one.data(0), tmp_path / "backup")
    one.heal()
    with one.client() as etcd:
        first.acquire(etcd)
    newest = first.lease("c2")
    one.kill(0)
    shutil.rmtree(one.data(0))
    shutil.copytree(tmp_path / "backup", one.data(0))
    one.heal()
    with one.client(patience=10) as etcd:
        with pytest.raises(CniError, match="restored from a backup, as n1 found"):
            first.acquire(etcd)
        assert claimed(etcd)[str(newest)] == "n1"
        second.lease("d1")
        with pytest.raises(CniError, match="restored from a backup, as n1 found"):
            second.acquire(etcd)
        for node in (first, second):
            node.tidy(etcd, everywhere=True)
        assert run(nodes.reopen(LAN), etcd)
        first.acquire(etcd)
        assert first.lease("c3")
