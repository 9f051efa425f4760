"""`cluster`: the hosts of one LAN that share its addresses (ipam.lan_local), as this node takes part in it."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from cni_cli.attached import attached
from cni_cli.conflists import Network, add_directory, networks_in
from cni_cli.errors import CommandError
from cni_cli.kernel import Kernel, Link
from cni_cli.kinds import request_of
from cni_cli.table import table
from cni_core.address import Address
from cni_core.errors import COMMAND_REFUSED, IN_USE, CniError
from cni_core.schema.formats import is_cni_name
from ipam import nodes
from ipam.asking import Asking
from ipam.cluster import DIRECTORY, Cluster, Settings
from ipam.contact import run
from ipam.domain import Owner, registration_of
from ipam.etcd import Etcd, refuse_weak
from ipam.lan_local import pools_of
from ipam.ranges import range_sets


def add_to(commands: Any, kind: str) -> None:
    parser = commands.add_parser("cluster", help="share the addresses of a LAN with other hosts")
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    about = {
        "join": (join, "make this host a node of a cluster, and claim the addresses that it has"),
        "leave": (leave, "give back all that this host holds"),
        "nodes": (nodes_, "list the nodes and what they hold"),
        "sync": (sync, "verify what this host holds, and give back what is too much"),
        "forget": (
            forget,
            "unclaim all that a node held, which must be off; refused where it answers",
        ),
        "reserve": (reserve, "keep every node from giving an address"),
        "release": (release, "let an address that was reserved be given"),
        "open": (open_, "let addresses be claimed again, after the engine was restored from a backup"),
    }
    for name, (action, text) in about.items():
        parser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        many = name == "sync"
        parser.add_argument(
            "name", nargs="?" if many else None, metavar="CLUSTER", help="default: all" if many else None
        )
        if name == "forget":
            parser.add_argument("node", metavar="NODE")
            parser.add_argument("--after-offline", action="store_true", help="it will never start again as it was")
        if name in ("reserve", "release"):
            parser.add_argument("address", metavar="ADDRESS")
        if name == "reserve":
            parser.add_argument("--name", dest="holder", required=True, metavar="TEXT", help="what it is kept for")
        if name == "join":
            _add_join(parser)
        if name in ("join", "leave", "sync"):
            add_directory(parser)
        if name == "nodes":
            parser.add_argument("--json", action="store_true", help="for programs")
        parser.set_defaults(run=action)


def _add_join(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--etcd", required=True, metavar="URL,…", help="http://HOST:PORT or https://HOST:PORT")
    for option, about in (
        ("--ca", "a PEM file, to verify the engine by"),
        ("--cert", "this host's certificate, a PEM file"),
        ("--key", "its key, a PEM file"),
        ("--user", "where the engine wants one"),
        ("--password-file", "a file whose first line is that user's password"),
        ("--node", "this host's name in the cluster (default: its host name)"),
        ("--parent", "the link of the LAN (default: that of the default route)"),
    ):
        parser.add_argument(option, default="", metavar=option.removeprefix("--").upper(), help=about)
    about = "after a boot, give what was held before although the engine cannot be asked"
    parser.add_argument("--offline-boot", action="store_true", help=about)
    parser.add_argument("--force", action="store_true", help="although this host has a file of the cluster")


def join(options: argparse.Namespace) -> int:
    if not is_cni_name(options.name):
        raise CommandError(f"{options.name!r} cannot be a cluster's name", "Letters, digits, '_', '.' and '-'.")
    path = Path(DIRECTORY, f"{options.name}.json")
    if path.exists() and not options.force:
        raise CommandError(f"this host has {path} already", "`cluster leave` first; or --force, to write it anew.")
    with Kernel() as kernel:
        parent = kernel.link(options.parent) if options.parent else _default(kernel)
    if not parent:
        raise CommandError(
            f"there is no link {options.parent}" if options.parent else "there is no default route", "--parent"
        )
    ca, cert, key = (os.path.abspath(one) if one else "" for one in (options.ca, options.cert, options.key))
    password = Path(options.password_file).read_text().split("\n")[0] if options.password_file else ""
    settings = Settings(
        tuple(options.etcd.split(",")),
        options.node or socket.gethostname(),
        parent.name,
        ca=ca,
        cert=cert,
        key=key,
        user=options.user,
        password=password,
        offline=options.offline_boot,
    )
    cluster = Cluster(options.name, settings)
    with cluster.contact() as etcd:
        refuse_weak(etcd.version())
        _refuse_other_host(cluster, etcd)
        _claim_own(cluster, etcd, parent)
    _write(path, settings)
    print(path)
    _sync(cluster, options.dir)
    return 0


def _default(kernel: Kernel) -> Link | None:
    for family in (socket.AF_INET, socket.AF_INET6):
        for route in kernel.routes(family):
            if route.dst.length == 0 and route.links:
                return kernel.link(index=route.links[0])
    return None


def _refuse_other_host(cluster: Cluster, etcd: Etcd) -> None:
    node = cluster.node()
    known, _ = run(nodes.everything(cluster.domain), etcd)
    record = known.get(node.name)
    if record and (mac := registration_of(record).mac) != node.mac:
        raise CommandError(
            f"{node.name} is registered by another host (parent {mac}, this one {node.mac})",
            "--node gives it another name.",
        )


def _claim_own(cluster: Cluster, etcd: Etcd, parent: Link) -> None:
    """The parent's own addresses, so that no node gives them; those that it has no more are given back."""
    owner = Owner(host=cluster.settings.node)
    with Kernel() as kernel:
        own = {one.cidr.address for one in kernel.addresses(parent) if not _is_link_local(one.cidr.address)}
    _, claims = run(nodes.everything(cluster.domain), etcd)
    before = {address for address, known, _ in claims if known == owner}
    run(nodes.release(cluster.domain, list(before - own), owner), etcd)
    run(nodes.reserve(cluster.domain, list(own - before), owner), etcd)


def _is_link_local(address: Address) -> bool:
    return str(address).startswith(("fe80:", "169.254."))


def _write(path: Path, settings: Settings) -> None:
    """Whole or not at all, and for root alone from the first byte."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(json.dumps(settings.to_json(), indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
    finally:
        new.unlink(missing_ok=True)


def leave(options: argparse.Namespace) -> int:
    cluster = Cluster.read(options.name)
    networks = _networks(cluster, options.dir)
    users = [f"{one.container_id} ({network.name})" for network in networks for one in attached(network.name)]
    if users:
        raise CommandError(f"containers use addresses of {cluster.name}: {', '.join(users)}", "Remove them.", IN_USE)
    node, owner = cluster.settings.node, Owner(host=cluster.settings.node)
    with cluster.contact() as etcd:
        _, claims = run(nodes.everything(cluster.domain), etcd)
        run(nodes.release(cluster.domain, [one for one, known, _ in claims if known == owner], owner), etcd)
        for network in networks:
            Asking(cluster, etcd, request_of(network.config)).leave()
        _, rest, registration = run(nodes.survey(cluster.domain, node), etcd)
        if rest:
            names = sorted({known.network for _, known, _ in rest})
            raise CommandError(
                f"this host still holds {len(rest)} addresses for networks that it does not have: {', '.join(names)}",
                f"From another node, when this one is off: `cluster forget {node}`.",
            )
        run(nodes.forget(cluster.domain, node, [], registration, is_surely_off=True), etcd)
    Path(DIRECTORY, f"{cluster.name}.json").unlink()
    print(f"left {cluster.name}")
    return 0


class _Row(NamedTuple):
    """A node. parent: the hardware address by which it is known; host: its own; held: how many of each network."""

    node: str
    parent: str
    host: list[str]
    held: dict[str, int]

    def cells(self) -> tuple[str, ...]:
        held = ", ".join(f"{count} of {network}" for network, count in self.held.items())
        return self.node, self.parent or "-", held or "-", ", ".join(self.host) or "-"


def nodes_(options: argparse.Namespace) -> int:
    cluster = Cluster.read(options.name)
    with cluster.contact() as etcd:
        known, claims = run(nodes.everything(cluster.domain), etcd)
    held: Counter[tuple[str, str]] = Counter((owner.node, owner.network) for _, owner, _ in claims if owner.node)
    own: dict[str, list[str]] = {}
    for address, owner, _ in claims:
        if owner.host:
            own.setdefault(owner.host, []).append(str(address))
    rows = [
        _Row(
            name,
            registration_of(known[name]).mac if name in known else "",
            own.get(name, []),
            {network: count for (node, network), count in sorted(held.items()) if node == name},
        )
        for name in sorted({*known, *own, *(node for node, _ in held)})
    ]
    reserved = {str(address): owner.reserved for address, owner, _ in claims if owner.reserved}
    if options.json:
        print(json.dumps({"nodes": [row._asdict() for row in rows], "reserved": reserved}, indent=2))
        return 0
    print(table(("NODE", "PARENT", "HELD", "ITS OWN"), [row.cells() for row in rows]))
    for reservation, text in reserved.items():
        print(f"{reservation} is reserved for {text}")
    return 0


def forget(options: argparse.Namespace) -> int:
    """CommandError where an address of the node answers on the wire: its containers, or itself, run."""
    cluster = Cluster.read(options.name)
    if options.node == cluster.settings.node:
        raise CommandError(f"{options.node} is this host", f"`cluster leave {cluster.name}`")
    with cluster.contact() as etcd:
        node, claims, registration = run(nodes.survey(cluster.domain, options.node), etcd)
    if not claims and not registration:
        raise CommandError(f"{cluster.name} knows no node {node}", f"`cluster nodes {cluster.name}` lists them.")
    addresses = [address for address, _, _ in claims]
    print(f"asking on {cluster.settings.parent} for {len(addresses)} addresses of {node}…", file=sys.stderr)
    with Kernel() as kernel:
        parent = kernel.link(cluster.settings.parent)
        if not parent:
            raise CommandError(f"there is no link {cluster.settings.parent} to ask on", "`ip link` lists the links.")
        can_ask = {one.cidr.family for one in kernel.addresses(parent)} | {socket.AF_INET}
        answers = kernel.who_has(parent, [address for address in addresses if address.family in can_ask])
    if answers:
        both = ", ".join(f"{address} ({mac})" for address, mac in sorted(answers.items(), key=str))
        raise CommandError(f"{node} is not off: {both} answered", "Turn it off, or remove its containers.", IN_USE)
    silent = [address for address in addresses if address.family not in can_ask]
    if silent:
        print(f"{len(silent)} IPv6 addresses were not asked for: {parent.name} has none itself.", file=sys.stderr)
    with cluster.contact() as etcd:
        count = run(nodes.forget(cluster.domain, node, claims, registration, is_surely_off=options.after_offline), etcd)
    print(f"forgot {node}: {count} addresses may be given again")
    return 0


def sync(options: argparse.Namespace) -> int:
    """Of every cluster, whatever becomes of the others. The exit status: 1 where one could not be."""
    names = [options.name] if options.name else sorted(path.stem for path in Path(DIRECTORY).glob("*.json"))
    failures = 0
    for name in names:
        try:
            _sync(Cluster.read(name), options.dir)
        except CniError as error:
            failures += 1
            print(f"{name}: {error.msg}", file=sys.stderr)
    return int(failures > 0)


def _sync(cluster: Cluster, directory: str) -> None:
    """CniError COMMAND_REFUSED, when all else is done, where containers use what others have."""
    conflicts = []
    with cluster.contact() as etcd:
        with Kernel() as kernel:
            parent = kernel.link(cluster.settings.parent)
        for network in _networks(cluster, directory):
            request = request_of(network.config)
            asking = Asking(cluster, etcd, request)
            try:
                asking.adopt()
            except CniError as error:
                if error.code != COMMAND_REFUSED:
                    raise
                conflicts.append(error.msg)
            outcome = asking.tidy(pools_of(range_sets(request)), everywhere=True)
            conflicts += [f"{address} is {owner}'s now" for address, owner in outcome.lost]
            leases = sum(asking.leases().values())
            print(f"{network.name}: {len(outcome.held.claims)} addresses are held, {leases} of them in use")
        if parent:
            _claim_own(cluster, etcd, parent)
    if conflicts:
        raise CommandError("; ".join(conflicts), "One of the two must be removed.")


def _networks(cluster: Cluster, directory: str) -> list[Network]:
    """Those of this host whose addresses are the cluster's."""
    found = ((network, network.config.get("ipam") or {}) for network in networks_in(directory))
    return [one for one, ipam in found if (ipam.get("type"), ipam.get("cluster")) == ("lan-local", cluster.name)]


def reserve(options: argparse.Namespace) -> int:
    cluster, address = Cluster.read(options.name), _address(options.address)
    with cluster.contact() as etcd:
        run(nodes.reserve(cluster.domain, [address], Owner(reserved=options.holder)), etcd)
    print(f"{address} is reserved for {options.holder}")
    return 0


def release(options: argparse.Namespace) -> int:
    """CommandError where it is not reserved: what a node holds is given back by that node."""
    cluster, address = Cluster.read(options.name), _address(options.address)
    with cluster.contact() as etcd:
        _, claims = run(nodes.everything(cluster.domain), etcd)
        owner = next((owner for one, owner, _ in claims if one == address), None)
        if not owner or not owner.reserved:
            raise CommandError(f"{address} is not reserved" + (f", but {owner}'s" if owner else ""))
        run(nodes.release(cluster.domain, [address], owner), etcd)
    print(f"{address} may be given")
    return 0


def open_(options: argparse.Namespace) -> int:
    cluster = Cluster.read(options.name)
    with cluster.contact() as etcd:
        was_barred = run(nodes.reopen(cluster.domain), etcd)
    print("addresses are claimed again" if was_barred else "nothing kept nodes from claiming addresses")
    return 0


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError:
        raise CommandError(f"{text} is not an IP address") from None
