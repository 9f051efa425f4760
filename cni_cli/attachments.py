"""The attachments of a network with all that the kernel tells of them, for `network inspect`, `graph` and `metrics`."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import stat

from cni_cli.attached import gone, recorded
from cni_cli.clashes import subnets_of
from cni_cli.conflists import Network
from cni_cli.kernel import InterfaceAddress, Kernel, Link
from cni_cli.leases import ALIVE, DEAD, Lease, is_of, with_length
from cni_core.errors import CniError
from cni_core.hostaccess import host_end
from cni_core.names import Attachment
from cni_core.namespaces import paths
from cni_core.netns import Place
from cni_core.records import Record

UNSEEN = "unseen"  # beside ALIVE and DEAD


@dataclass(frozen=True)
class Attached:
    """One attachment, in the words of the JSON and of the tables.

    namespace is a path of the container's network namespace, empty where it is not seen; state is alive, gone (its
    container died without a DEL) or unseen (it may be where this process cannot look). addresses have their length;
    of one that is gone they are those of its leases. vlan is 0 for none; mac, parent are empty where they are not seen.
    """

    network: str
    container: str
    interface: str
    namespace: str
    state: str
    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    vlan: int
    host_access: bool
    parent: str

    def as_json(self) -> dict[str, object]:
        return {
            "container": self.container,
            "interface": self.interface,
            "namespace": self.namespace,
            "state": self.state,
            "mac": self.mac,
            "addresses": list(self.addresses),
            "gateways": list(self.gateways),
            "vlan": self.vlan,
            "hostAccess": self.host_access,
        }


class Attachments:
    """What is looked up once for all networks: who is recorded, and the namespaces that are seen. Use as a context."""

    def __init__(self) -> None:
        self._host = Place.host()
        self._kernel = Kernel()
        self._recorded = recorded()
        self._paths: dict[int, str] | None = None

    def __enter__(self) -> Attachments:
        return self

    def __exit__(self, *_: object) -> None:
        self._kernel.__exit__()
        self._host.close()

    def of(self, network: Network, leases: list[Lease]) -> list[Attached]:
        """leases: of the network."""
        dead = gone(network.name)
        return [
            self._one(network, attachment, record, leases, is_gone=attachment in dead)
            for attachment, record in self._recorded
            if record.network == network.name
        ]

    def _one(
        self, network: Network, attachment: Attachment, record: Record, leases: list[Lease], *, is_gone: bool
    ) -> Attached:
        path = "" if is_gone else self._path_of(record)
        link, addresses, gateways = self._inside(path, attachment) if path else (None, [], ())
        lower = self._kernel.link(index=link.parent) if link and link.parent else None
        subnets = subnets_of(network.config)
        leased = tuple(with_length(lease.address, subnets) for lease in leases if is_of(lease, attachment))
        return Attached(
            network.name,
            attachment.container_id,
            attachment.ifname,
            path,
            DEAD if is_gone else ALIVE if path else UNSEEN,
            link.mac if link else "",
            tuple(str(one.cidr) for one in addresses if not _is_link_local(one)) if link else leased,
            gateways,
            (lower.vlan if lower else 0) or network.values.vlan,
            host_access=bool(self._kernel.link(host_end(attachment))),
            parent=lower.name if lower else "",
        )

    def _path_of(self, record: Record) -> str:
        """By which the namespace of a record can be entered: where the runtime had it, or where else it is seen."""
        if record.path and record.namespace and _inode(record.path) == record.namespace:
            return record.path
        if self._paths is None:
            self._paths = {_inode(path): path for path in paths()}
        return self._paths.get(record.namespace, "") if record.namespace else ""

    def _inside(self, path: str, attachment: Attachment) -> tuple[Link | None, list[InterfaceAddress], tuple[str, ...]]:
        """Its link, the addresses on it, and the next hops of the default routes by it."""
        try:
            with self._entered(path) as inside:
                link = inside.link(attachment.ifname)
                if not link:
                    return None, [], ()
                routes = [route for family in (AF_INET, AF_INET6) for route in inside.routes(family)]
                mine = [route for route in routes if route.dst.length == 0 and link.index in route.links]
                hops = dict.fromkeys(str(gateway) for route in mine for gateway in route.gateways)
                return link, inside.addresses(link), tuple(hops)
        except (CniError, OSError):  # it went meanwhile
            return None, [], ()

    @contextmanager
    def _entered(self, path: str) -> Iterator[Kernel]:
        with self._host.container(path) as place, Kernel(place) as kernel:
            yield kernel


def _inode(path: str) -> int:
    try:
        return stat(path).st_ino
    except OSError:
        return 0


def _is_link_local(address: InterfaceAddress) -> bool:
    return str(address.cidr).startswith("fe80:")
