"""One contact of this node with the engine: an operation of ipam.claims, carried out.

The order of locks: the node's first (R6), then that of the leases, for as long as held is shortened (R4); whoever has
the latter never waits for the engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from cni_core.address import Address
from cni_core.files import Directory
from ipam.held import Held, HeldFile
from ipam.store import Store
from ipam.verbs import Answer, Drop, Keep, Operation, Remote

T = TypeVar("T")


class Engine(Protocol):
    """Carries out the four verbs; never raises for what the engine or the way to it does."""

    def do(self, request: Remote) -> Answer: ...


class Files(Protocol):
    def do(self, request: Keep | Drop) -> Held | None: ...


@contextmanager
def node_lock(directory: str) -> Iterator[None]:
    """R6: held for a whole contact, of whichever network of a node and domain. CniError TRY_AGAIN_LATER after 30 s."""
    with Directory(directory, create=True) as files:
        lock = files.lock()
        try:
            yield
        finally:
            os.close(lock)


class NetworkFiles:
    """Held and the leases of one network, for who has the node's lock."""

    def __init__(self, data_dir: str, network: str) -> None:
        self._data_dir = data_dir
        self._network = network

    def held(self) -> Held | None:
        with HeldFile(self._data_dir, self._network) as file:
            return file.read()

    def taken(self) -> set[Address]:
        """The addresses that have leases."""
        with Store(self._data_dir, self._network) as store:
            return set(_addresses(store.taken()))

    def do(self, request: Keep | Drop) -> Held | None:
        with HeldFile(self._data_dir, self._network) as file:
            if isinstance(request, Keep):
                file.write(request.held)
                return None
            # R4: who leases an address has this lock, and reads held under it.
            with Store(self._data_dir, self._network) as store:
                taken = set() if request.with_leases else store.taken()
                held = request.held.without(one for one in request.addresses if str(one) not in taken)
                file.write(held)
                return held


def run(operation: Operation[T], engine: Engine, files: Files | None = None) -> T:
    """The operation's outcome. CniError as it raises. files: None for an operation that has none."""
    answer: Answer = None
    while True:
        try:
            request = operation.send(answer)
        except StopIteration as stop:
            outcome: T = stop.value
            return outcome
        if isinstance(request, (Keep, Drop)):
            assert files
            answer = files.do(request)
        else:
            answer = engine.do(request)


def _addresses(names: set[str]) -> Iterator[Address]:
    for name in names:
        try:
            yield Address.parse(name)
        except ValueError:
            continue  # lock, last_reserved_ip.N, and whatever else people put there
