"""`leases`: who has which address, since when, of which boot; and giving one back by hand."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cni_cli.conflists import Network, add_directory, networks_in
from cni_cli.errors import CommandError
from cni_cli.table import table
from cni_core.address import Address
from cni_core.registry import Registry
from cni_core.schema.formats import is_cni_name
from ipam.index import UNKNOWN_BOOT, boot_id
from ipam.store import DEFAULT_DATA_DIR, Store

if TYPE_CHECKING:
    from ipam.index import Attachment


@dataclass(frozen=True)
class Lease:
    """since: local time, ISO 8601; boot: "this", "earlier", or "unknown" where Go's plugins gave it."""

    network: str
    address: str
    container: str
    interface: str
    since: str
    boot: str


def add_to(commands: Any, kind: str) -> None:
    parser = commands.add_parser("leases", help="tell who has which address, or give one back")
    parser.add_argument("what", nargs="*", metavar="NETWORK", help="only of that network; or: release NETWORK ADDRESS")
    add_directory(parser)
    parser.add_argument("--data-dir", metavar="DIRECTORY", help="of leases (default: those of the networks)")
    parser.add_argument("--force", action="store_true", help="release although the container is attached")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.what[:1] == ["release"]:
        if len(options.what) != 3:
            raise CommandError("release what?", "leases release NETWORK ADDRESS")
        return release(options, *options.what[1:])
    if len(options.what) > 1:
        raise CommandError(f"one network, or all: {' '.join(options.what)}")
    if options.what and not is_cni_name(options.what[0]):
        raise CommandError(f"{options.what[0]!r} cannot be a network's name")
    found = [lease for directory in _directories(options) for lease in leases_in(directory, *options.what)]
    if options.json:
        print(json.dumps([asdict(lease) for lease in found], indent=2))
    else:
        rows = [(x.network, x.address, x.container, x.interface, x.since, x.boot) for x in found]
        print(table(("NETWORK", "ADDRESS", "CONTAINER", "INTERFACE", "SINCE", "BOOT"), rows))
    return 0


def release(options: argparse.Namespace, network: str, text: str) -> int:
    """CommandError where nobody has the address, or somebody who is attached."""
    try:
        address = Address.parse(text)
    except ValueError:
        raise CommandError(f"{text} is not an IP address") from None
    for directory in _directories(options):
        for lease in leases_in(directory, network):
            if lease.address == str(address):
                if not options.force and _is_attached(lease):
                    raise CommandError(
                        f"{text} is {lease.container}'s, whose {lease.interface} is attached",
                        "Remove the container; or, if you are sure, --force.",
                    )
                with Store(directory, network, create=False) as store:
                    store.release(address)
                print(f"released {text}, which {lease.container} {lease.interface} had")
                return 0
    raise CommandError(f"nobody has {text} of network {network}", "`leases` lists all.")


def _is_attached(lease: Lease) -> bool:
    try:
        with Registry(create=False) as registry:
            return f"{lease.container}:{lease.interface}" in registry.of_network(lease.network)
    except FileNotFoundError:  # nothing was attached since the boot
        return False


def _directories(options: argparse.Namespace) -> list[str]:
    return [options.data_dir] if options.data_dir else data_directories(networks_in(options.dir))


def data_directories(networks: list[Network]) -> list[str]:
    """Where the leases of these networks may lie, and those of networks whose file is gone."""
    return list(dict.fromkeys([DEFAULT_DATA_DIR, *(network.data_dir for network in networks if network.data_dir)]))


def leases_in(directory: str, network: str = "") -> Iterator[Lease]:
    """Of one network, or all, in the order of their addresses."""
    try:
        names = [network] if network else sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except FileNotFoundError:
        return
    for name in names:
        yield from leases_of(directory, name)


def leases_of(data_dir: str, network: str) -> list[Lease]:
    """The leases of one network."""
    try:
        store = Store(data_dir, network, create=False)
    except FileNotFoundError:
        return []
    found = []
    now = boot_id()
    with store:
        for address, (container, interface) in sorted(store.leases(), key=_order):
            boot = store.boot_of((container, interface), address)
            since = datetime.fromtimestamp(Path(data_dir, network, str(address)).stat().st_mtime)
            told = {now: "this", UNKNOWN_BOOT: "unknown"}.get(boot, "earlier")
            found.append(Lease(network, str(address), container, interface, since.isoformat(" ", "seconds"), told))
    return found


def _order(lease: tuple[Address, Attachment]) -> tuple[int, bytes]:
    return lease[0].family, lease[0].packed
