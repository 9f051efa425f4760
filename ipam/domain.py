"""The records that nodes of one LAN have in an engine: their keys, and whose an address is.

/cni/v1/DOMAIN/a/ADDRESS (32 hexadecimal digits, so that the order of keys is that of addresses), n/NODE, and bar.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from cni_core.address import Address
from ipam.pool import address_of, number_of
from ipam.verbs import KeyRange, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ipam.pool import Span


class Owner(NamedTuple):
    """Whose an address is, as its record says it.

    node and network: a network of a node, which keeps it in the held of data_dir whose state is the name given there.
    host: a node whose own address it is. reserved: what it is kept for, by a person.
    """

    node: str = ""
    network: str = ""
    data_dir: str = ""
    state: str = ""
    host: str = ""
    reserved: str = ""

    def __str__(self) -> str:
        if self.node:
            return f"{self.node} (network {self.network})"
        return f"{self.host} (host)" if self.host else f"reserved for {self.reserved}"


class Registration(NamedTuple):
    """A node. id: random, another each time it registers; mac: of the parent; offline: it may give before verifying."""

    id: str
    mac: str
    boot: str
    version: str
    offline: bool = False


class Bar(NamedTuple):
    """by: the node that found it necessary, or a person."""

    by: str


class Node(NamedTuple):
    """This host: as in Registration; boot is the running kernel's boot id."""

    name: str
    mac: str
    boot: str
    version: str
    offline: bool = False


class Domain(NamedTuple):
    """One LAN; the keys of its records. Several networks over one subnet are of one domain."""

    name: str
    engine: str = "etcd"

    @property
    def _prefix(self) -> str:
        return f"/cni/v1/{self.name}/"

    def address(self, address: Address) -> str:
        return self._number(number_of(address))

    def _number(self, number: int) -> str:
        return f"{self._prefix}a/{number:032x}"

    def claims_of(self, records: Iterable[Record]) -> Iterator[tuple[Address, Owner, int]]:
        """Each address with who has it, at which revision; a key that names no address is nobody's claim."""
        for record in records:
            try:
                address = address_of(int(record.key.rpartition("/")[2], 16))
            except ValueError:
                continue
            yield address, owner_of(record), record.revision

    def node(self, name: str) -> str:
        return f"{self._prefix}n/{name}"

    @property
    def bar(self) -> str:
        """A record that keeps everybody from claiming."""
        return f"{self._prefix}bar"

    @property
    def addresses(self) -> KeyRange:
        return f"{self._prefix}a/", f"{self._prefix}a0"

    @property
    def nodes(self) -> KeyRange:
        return f"{self._prefix}n/", f"{self._prefix}n0"

    def span(self, span: Span) -> KeyRange:
        return self._number(span[0]), f"{self._number(span[1])}\0"


def only(key: str) -> KeyRange:
    return key, f"{key}\0"


def to_text(value: Owner | Registration | Bar) -> str:
    return json.dumps({name: member for name, member in value._asdict().items() if member})


def owner_of(record: Record) -> Owner:
    """A claim that nobody understands is somebody's all the same."""
    return Owner(**members_of(record, Owner._fields) or {"reserved": "unknown"})


def registration_of(record: Record) -> Registration:
    return Registration(**{"id": "", "mac": "", "boot": "", "version": ""} | members_of(record, Registration._fields))


def members_of(record: Record, names: Sequence[str]) -> dict[str, Any]:
    """What a value has of these; what a later version may have added is passed over, and what is no object."""
    try:
        document = json.loads(record.value)
    except ValueError:
        return {}
    return {name: document[name] for name in names if name in document} if isinstance(document, dict) else {}
