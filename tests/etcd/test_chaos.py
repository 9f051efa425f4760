"""Chaos: an etcd of three whose members are killed and stopped, calls that end anywhere, requests that are late.

A table says who uses which address. That a node which breaks a rule is found out, tests/unit/test_lan_claims_model.py
shows, and test_etcd.py on a real etcd.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGSTOP

import pytest

from cni_core.errors import CniError
from ipam import nodes
from ipam.contact import run
from ipam.etcd import Etcd
from ipam.verbs import Answer, GiveBack, List, Remote, TakeUp, Unknown
from tests.etcd.members import Members
from tests.etcd.nodes import LAN, NodeDirectory, pool

SECONDS = 15
NODES = 6
POOL = pool("10.0.0.1", "10.0.0.24")


class Killed(Exception):
    pass


class Table:
    """Who uses an address now; twice: those that two used at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: dict[str, str] = {}
        self.twice: list[str] = []
        self.counts = Counter[str]()

    def use(self, address: str, who: str) -> None:
        with self._lock:
            if address in self._users:
                self.twice.append(f"{address}: {self._users[address]} and {who}")
            self._users[address] = who

    def leave(self, address: str, who: str) -> None:
        with self._lock:
            if self._users.get(address) == who:
                del self._users[address]

    def note(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1


class Unlucky:
    """An engine on a bad day: the call is killed before or behind a request, or the request is on its way for long."""

    def __init__(self, members: Members, random: Random, table: Table, late: list[threading.Thread]) -> None:
        self._members, self._random, self._table, self._late = members, random, table, late
        self.etcd = self._client()

    def _client(self) -> Etcd:
        patience = self._random.choice([0.02, 0.1, 0.5, 1.0, 2.0, 2.0])
        return self._members.client(first=self._random.randrange(3), patience=patience)

    def do(self, request: Remote) -> Answer:
        fate = self._random.random()
        if fate < 0.05:
            self._table.note("killed before a request")
            raise Killed
        if not isinstance(request, List) and fate < 0.15:
            self._table.note("late requests")
            self._send_late(request)
            if fate < 0.10:
                raise Killed
            return Unknown("late")
        answer = self.etcd.do(request)
        if isinstance(answer, Unknown):
            self._table.note("unknown outcomes")
        if fate > 0.97:
            self._table.note("killed after a request")
            raise Killed
        if isinstance(request, TakeUp):
            self._table.note("taken up")
        if isinstance(request, GiveBack):
            self._table.note("given back")
        return answer

    def _send_late(self, request: Remote) -> None:
        delay = self._random.uniform(0.01, 0.6)

        def send() -> None:
            time.sleep(delay)
            with self._members.client(patience=2) as etcd:
                etcd.do(request)

        thread = threading.Thread(target=send)
        thread.start()
        self._late.append(thread)


class Chaos:
    def __init__(self, members: Members, directory: Path, seed: int) -> None:
        self.members = members
        self.table = Table()
        self.nodes = [NodeDirectory(directory, f"n{i}", POOL, Random(seed + i), most_ahead=2) for i in range(NODES)]
        self.until = 0.0
        self.failures: list[BaseException] = []
        self._seed = seed
        self._late: list[threading.Thread] = []

    def run(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        threads = [threading.Thread(target=self._guarded, args=(self._live, i)) for i in range(NODES)]
        threads.append(threading.Thread(target=self._guarded, args=(self._torment, -1)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.members.heal()
        for thread in self._late:
            thread.join()

    def _guarded(self, work: object, i: int) -> None:
        try:
            assert callable(work)
            work(Random(self._seed * 1000 + i), i)
        except BaseException as error:
            self.failures.append(error)
            raise

    def _live(self, random: Random, i: int) -> None:
        node, running, number = self.nodes[i], dict[str, str](), 0
        while time.monotonic() < self.until and not self.failures:
            engine = Unlucky(self.members, random, self.table, self._late)
            try:
                what = random.random()
                if what < 0.5 and len(running) < 6:
                    number += 1
                    container = f"c{number}"
                    address = node.lease(container)
                    if not address:
                        node.acquire(engine)
                        address = node.lease(container)
                    if address:
                        self.table.use(str(address), f"{node.name}/{container}")
                        running[container] = str(address)
                        self.table.note("ADDs")
                elif what < 0.9 and running:
                    container = random.choice(sorted(running))
                    self.table.leave(running.pop(container), f"{node.name}/{container}")
                    node.release(container)
                    if not node.is_tidy():
                        node.tidy(engine)
                elif what < 0.95:
                    node.tidy(engine, everywhere=True)
                elif what > 0.99:
                    self.table.note("reboots")
                    for container, used in running.items():
                        self.table.leave(used, f"{node.name}/{container}")
                        node.release(container)
                    running.clear()
                    node.boot = f"b{number}"
            except Killed:
                self.table.note("killed calls")
            except CniError:
                self.table.note("failed calls")
            finally:
                engine.etcd.close()

    def _torment(self, random: Random, _: int) -> None:
        while time.monotonic() < self.until:
            time.sleep(random.uniform(0.3, 0.8))
            member = random.randrange(3)
            what = random.choice(["killed", "stopped", "stopped", "no quorum"])
            self.table.note(f"members {what}")
            if what == "killed":
                self.members.kill(member)
                time.sleep(random.uniform(0, 0.4))
                self.members.start(member)
            else:
                victims = [member, (member + 1) % 3][: 2 if what == "no quorum" else 1]
                for one in victims:
                    self.members.signal(one, SIGSTOP)
                time.sleep(random.uniform(0.2, 1.0))
                for one in victims:
                    self.members.signal(one, SIGCONT)


def test_chaos_gives_no_address_twice_and_all_is_found_again(
    three: Members, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chaos = Chaos(three, tmp_path, 1)
    chaos.run(SECONDS)
    with capsys.disabled():
        print(f"\n{dict(chaos.table.counts)}")
    assert not chaos.failures
    assert chaos.table.twice == []
    for what in ("ADDs", "killed calls", "late requests", "unknown outcomes", "taken up", "given back", "reboots"):
        assert chaos.table.counts[what] > 0, what
    # One sync each, and held is what etcd has of the node: nothing is lost, nothing too much.
    with three.client(patience=60) as etcd:
        for node in chaos.nodes:
            node.tidy(etcd, everywhere=True)
        _, claims = run(nodes.everything(LAN), etcd)
    for node in chaos.nodes:
        held = node.files.held()
        assert held
        assert held.claims == {address: revision for address, owner, revision in claims if owner.node == node.name}
        assert node.files.taken() <= held.claims.keys()
