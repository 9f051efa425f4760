"""`leases`: who has which address, since when, of which boot; and giving one back by hand."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cni_cli.attached import GONE, attached, gone
from cni_cli.clashes import subnets_of
from cni_cli.conflists import Network, add_directory, find, networks_in
from cni_cli.errors import CommandError
from cni_cli.kinds import has_leases, link_kind
from cni_cli.table import table
from cni_core.address import Address, Cidr
from cni_core.attach import Attachments
from cni_core.config import LATEST
from cni_core.errors import IN_USE
from cni_core.names import Attachment
from cni_core.request import Request
from cni_core.schema.formats import is_cni_name
from ipam import choose
from ipam.index import UNKNOWN_BOOT, boot_id
from ipam.store import DEFAULT_DATA_DIR, Store

RELEASE = "leases release"


@dataclass(frozen=True)
class Lease:
    """since: RFC 3339, with the zone; boot: "this", "earlier", or "unknown" where Go's plugins or another host did."""

    network: str
    address: str
    container: str
    interface: str
    since: str
    boot: str


ALIVE, DEAD, DETACHED, UNKNOWN = "alive", "gone", "detached", "unknown"


def add_to(commands: Any, kind: str) -> None:
    parser = commands.add_parser(
        "leases",
        help="tell who has which address",
        description="STATE is alive, gone (the container died without a DEL), detached (no container of that id is "
        "attached) or unknown. BOOT is this, an earlier one (whose leases are taken back when needed), or unknown: "
        "given by another plugin. Exit status: 0, also without leases; 1 where there is no such network.",
    )
    parser.add_argument("network", nargs="?", metavar="NETWORK", help="only of that network")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--cluster", metavar="CLUSTER", help="of all hosts of that cluster, by its engine")
    parser.set_defaults(run=run)
    _add_directories(parser)
    parser = commands.add_parser(
        RELEASE,
        help="give addresses back that nobody uses any more",
        description="An address is refused while the container is attached, or may be: where another plugin knows. "
        "With --dead, takes back all that containers have whose network namespace is gone, as DEL would: leases, "
        "records, and the VLANs and host routes that nobody else needs.",
    )
    parser.add_argument("network", metavar="NETWORK", nargs="?", help="may be left out with --dead: all of the node")
    parser.add_argument("address", metavar="ADDRESS", nargs="?", help="not with --dead")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--force", action="store_true", help="although the container may use it")
    how.add_argument("--dead", action="store_true", help="what containers have that died without a DEL")
    parser.set_defaults(run=release)
    _add_directories(parser)


def _add_directories(parser: argparse.ArgumentParser) -> None:
    add_directory(parser)
    parser.add_argument("--data-dir", metavar="DIRECTORY", help="of leases (default: those of the networks)")


def run(options: argparse.Namespace) -> int:
    if options.cluster:
        from cni_cli import cluster_view  # which asks for the leases of this host

        return cluster_view.leases(options)
    networks = networks_in(options.dir)
    found = [lease for directory in _directories(options, networks) for lease in leases_in(directory, options.network)]
    if options.network is not None and not found and options.network not in [network.name for network in networks]:
        raise CommandError(
            f"there is no network {options.network}, and nobody has addresses of one", "`network ls` lists them."
        )
    shown = list(_shown(found, networks))
    if options.json:
        print(json.dumps(shown, indent=2))
    else:
        print(table([word.upper() for word in COLUMNS], [[str(lease[word]) for word in COLUMNS] for lease in shown]))
    return 0


COLUMNS = ("network", "address", "container", "interface", "state", "since", "boot")  # of the table, and of the JSON


def _shown(leases: list[Lease], networks: list[Network]) -> Iterator[dict[str, str]]:
    by_name = {network.name: network for network in networks}
    subnets = {name: subnets_of(network.config) for name, network in by_name.items()}
    names = {lease.network for lease in leases}
    there = {name: attached(name) for name in names}
    dead = {name: gone(name) for name in names if there[name]}
    for lease in leases:
        told = asdict(lease) | {"address": with_length(lease.address, subnets.get(lease.network, []))}
        yield told | {
            "state": _state(lease, there[lease.network], dead.get(lease.network, []), ours=lease.network in by_name)
        }


def _state(lease: Lease, there: list[Attachment], dead: list[Attachment], *, ours: bool) -> str:
    """ours: it is of a network whose attachments are recorded, if it was our plugins that made them."""
    holder = next((attachment for attachment in there if is_of(lease, attachment)), None)
    if holder:
        return DEAD if holder in dead else ALIVE
    if lease.boot == "earlier":
        return DEAD
    return DETACHED if ours and lease.boot == "this" else UNKNOWN


def with_length(address: str, subnets: list[Cidr]) -> str:
    """10.1.0.5/24: an address as its interface has it, by the subnet that it is of; alone where none is known."""
    one = Address.parse(address)
    subnet = next((subnet for subnet in subnets if one in subnet), None)
    return f"{address}/{subnet.length}" if subnet else address


def release(options: argparse.Namespace) -> int:
    """CommandError where nobody has the address, or somebody who is attached, or may be."""
    if options.dead:
        return _release_dead(options)
    network, text = options.network, options.address
    if network is None or text is None:
        raise CommandError("which address is to be given back?", "leases release NETWORK ADDRESS, or --dead")
    try:
        address = Address.parse(text.partition("/")[0])  # as `leases` shows it
    except ValueError:
        raise CommandError(f"{text} is not an IP address", "leases release NETWORK ADDRESS") from None
    networks = networks_in(options.dir)
    for directory in _directories(options, networks):
        for lease in leases_in(directory, network):
            if lease.address == str(address):
                if not options.force:
                    _refuse_used(lease, ours=network in [one.name for one in networks])
                with Store(directory, network, create=False) as store:
                    if store.holder(address) != Attachment(lease.container, lease.interface):
                        raise CommandError(f"{address} is somebody else's by now", "`leases` tells whose.")
                    store.release(address)
                print(f"released {address}, which {lease.container} {lease.interface}".rstrip() + " had")
                return 0
    raise CommandError(f"nobody has {address} of network {network}", "`leases` lists all.")


def _release_dead(options: argparse.Namespace) -> int:
    """As a late DEL of each. CommandError."""
    if options.address:
        raise CommandError("--dead is of all addresses of a container", "leases release --dead [NETWORK]")
    networks = [find(options.dir, options.network)] if options.network else networks_in(options.dir)
    for network in networks:
        # Another IPAM plugin's addresses are its own to take back, with the runtime's CNI_PATH: by GC, or not at all.
        config = network.config if has_leases(network.config) else network.config | {"ipam": {}}
        had = leases_of(network.data_dir, network.name) if network.data_dir else []
        for attachment in gone(network.name):
            caller = {"CNI_CONTAINERID": attachment.container_id, "CNI_IFNAME": attachment.ifname}
            request = Request("DEL", caller, config | {"cniVersion": LATEST})
            Attachments(link_kind(config), choose).delete(request)
            addresses = ", ".join(lease.address for lease in had if is_of(lease, attachment)) or "no address"
            print(f"network {network.name}: {attachment}, {GONE}: released {addresses}")
    return 0


def _refuse_used(lease: Lease, *, ours: bool) -> None:
    """ours: it is of a network whose attachments are recorded, if it was our plugins that made them."""
    if any(is_of(lease, attachment) for attachment in attached(lease.network)):
        raise CommandError(
            f"{lease.address} is {lease.container}'s, which is attached",
            "Remove the container; or, if you are sure, --force.",
            IN_USE,
        )
    if lease.boot == "unknown" or (lease.boot == "this" and not ours):
        raise CommandError(
            f"{lease.address} is {lease.container}'s, and another plugin's to know whether that is attached",
            "If you are sure that it is not: --force.",
            IN_USE,
        )


def is_of(lease: Lease, attachment: Attachment) -> bool:
    """Whether the lease is the attachment's; one of before CNI 0.7 names no interface."""
    return lease.container == attachment.container_id and lease.interface in ("", attachment.ifname)


def _directories(options: argparse.Namespace, networks: list[Network]) -> list[str]:
    return [options.data_dir] if options.data_dir else data_directories(networks)


def data_directories(networks: list[Network]) -> list[str]:
    """Where the leases of these networks may lie, and those of networks whose file is gone."""
    return list(dict.fromkeys([DEFAULT_DATA_DIR, *(network.data_dir for network in networks if network.data_dir)]))


def leases_in(directory: str, network: str | None = None) -> Iterator[Lease]:
    """Of one network, or all, in the order of their addresses. CommandError."""
    if network is not None and not is_cni_name(network):  # it becomes a path
        raise CommandError(f"{network!r} cannot be a network's name", "`network ls` lists them.")
    try:
        with os.scandir(directory) as entries:
            names = sorted(
                entry.name for entry in entries if is_cni_name(entry.name) and entry.is_dir(follow_symlinks=False)
            )
    except FileNotFoundError:
        return
    for name in names:
        if network in (None, name):
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
        for address, holder in sorted(store.leases(), key=_order):
            boot = store.boot_of(holder, address)
            since = datetime.fromtimestamp(Path(data_dir, network, str(address)).stat().st_mtime).astimezone()
            told = {now: "this", UNKNOWN_BOOT: "unknown"}.get(boot, "earlier")
            if store.is_of_another_host(holder, address):
                told = "unknown"  # as good as another plugin's: the other host knows
            found.append(Lease(network, str(address), *holder, since.isoformat(timespec="seconds"), told))
    return found


def _order(lease: tuple[Address, Attachment]) -> tuple[int, bytes]:
    return lease[0].family, lease[0].packed
