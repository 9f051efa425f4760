"""Nodes as directories: held and leases on disk, as a plugin keeps them, and its way through ADD, DEL and sync."""

from __future__ import annotations

from pathlib import Path
from random import Random

from cni_core.address import Address
from cni_core.names import Attachment
from ipam.claims import Member, Need, Outcome
from ipam.contact import Engine, NetworkFiles, node_lock, run
from ipam.domain import Domain, Node
from ipam.pool import Pool, number_of
from ipam.store import Store

LAN = Domain("lan")


def pool(first: str, last: str) -> Pool:
    return Pool([(number_of(Address.parse(first)), number_of(Address.parse(last)))])


class NodeDirectory:
    """A node with one network of one range set."""

    def __init__(self, directory: Path, name: str, part: Pool, random: Random, *, most_ahead: int = 8) -> None:
        self.name = name
        self.directory = str(directory / name)
        self.part = part
        self.boot = "b1"
        self.files = NetworkFiles(self.directory, "net")
        self._random = random
        self._most_ahead = most_ahead
        self._last: Address | None = None

    def member(self) -> Member:
        node = Node(self.name, f"mac-{self.name}", self.boot, "1")
        return Member(LAN, node, "net", self.directory, self._random, self._most_ahead)

    def acquire(self, engine: Engine, asked: Address | None = None) -> Outcome:
        with node_lock(f"{self.directory}/lock"):
            held, taken = self.files.held(), self.files.taken()
            return run(self.member().acquire(held, [Need(self.part, asked)], taken), engine, self.files)

    def tidy(self, engine: Engine, *, everywhere: bool = False) -> Outcome:
        with node_lock(f"{self.directory}/lock"):
            held, taken = self.files.held(), self.files.taken()
            return run(self.member().tidy(held, [self.part], taken, everywhere=everywhere), engine, self.files)

    def lease(self, container: str) -> Address | None:
        """From held, under the lock of the leases (R4); None where nothing is free."""
        with Store(self.directory, "net") as store:
            held = self.files.held()
            if held and held.boot == self.boot:
                taken = store.taken()
                for address in held.claims:
                    if str(address) not in taken and address not in held.fixed:
                        store.reserve(0, address, Attachment(container, "eth0"))
                        store.hold(Attachment(container, "eth0"), [address])
                        return address
        return None

    def release(self, container: str) -> None:
        with Store(self.directory, "net") as store:
            store.release_all(Attachment(container, "eth0"))

    def is_tidy(self) -> bool:
        held = self.files.held()
        return not held or not held.surplus([self.part], self.files.taken())
