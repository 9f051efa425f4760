"""`metrics`: what a node's networks use and have left, in the format of Prometheus, for node_exporter's textfile
collector."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cni_cli.attached import attached, gone
from cni_cli.conflists import Network, add_directory, networks_in
from cni_cli.kernel import Kernel
from cni_cli.leases import Lease, is_of, leases_of
from cni_cli.pools import of_network
from cni_core import __version__
from cni_core.errors import CniError
from cni_core.parent import ALIAS
from ipam.cluster import DIRECTORY, Cluster
from ipam.held import HeldFile

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Sample = tuple[str, dict[str, str], float]  # the metric's name, its labels, its value

# Of each metric, what it says; all are gauges, and begin with PREFIX.
PREFIX = "cni_vlan_"
HELP = {
    "build_info": "The version of the plugins; always 1.",
    "pool_addresses": "Addresses of a network's range set that can be given.",
    "pool_used_addresses": "Of these, addresses that are leased.",
    "pool_free_addresses": "Of these, addresses that are free.",
    "attachments": "Interfaces of containers that are attached to a network.",
    "dead_attachments": "Of these, those whose container died without a DEL.",
    "dead_leases": "Leases of containers that are gone: not attached, though the lease is of this boot, or dead.",
    "vlan_up": "Whether a VLAN that the plugins made is up, with a carrier.",
    "held_addresses": "Addresses of the cluster that this node holds for a network and may choose from.",
    "claimed_addresses": "All addresses of the cluster that this node has claimed for a network.",
    "cluster_last_contact_timestamp_seconds": "When the cluster was last asked.",
    "cluster_reachable": "Whether it answered then.",
}


def add_to(commands: Any, kind: str) -> None:
    parser = commands.add_parser(
        "metrics",
        help="tell Prometheus what the networks use",
        description="In the text format of Prometheus. packaging/systemd has a timer that writes it where "
        "node_exporter looks for it, packaging/grafana a dashboard. Exit status: 0; 1 where it cannot be told.",
    )
    parser.add_argument("--output", metavar="FILE", help="replace this file at once (default: print it)")
    add_directory(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from prometheus_client import CollectorRegistry, generate_latest, write_to_textfile

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Found(list(samples(networks_in(options.dir)))))
    if options.output:
        write_to_textfile(options.output, registry)
    else:
        print(generate_latest(registry).decode(), end="")
    return 0


class _Found:
    """Samples, as prometheus_client collects them."""

    def __init__(self, found: list[Sample]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        for name, about in HELP.items():
            mine = [(labels, value) for one, labels, value in self._found if one == name]
            names = list(mine[0][0]) if mine else []
            family = GaugeMetricFamily(PREFIX + name, about, labels=names)
            for labels, value in mine:
                family.add_metric([_text(labels[label]) for label in names], float(value))
            yield family


def _text(value: str) -> str:
    """Labels are UTF-8: what is not is escaped."""
    return value.encode(errors="backslashreplace").decode()


def samples(networks: list[Network]) -> Iterator[Sample]:
    yield "build_info", {"version": __version__}, 1
    for network in networks:
        yield from of_addresses(network)
    yield from of_vlans()
    yield from of_clusters(networks)


def of_addresses(network: Network) -> Iterator[Sample]:
    about = {"network": network.name}
    leases = leases_of(network.data_dir, network.name) if network.data_dir else []
    for i, pool in enumerate(of_network(network, leases)):
        labels = about | {"pool": str(i), "family": pool.family}
        yield "pool_addresses", labels, pool.size
        yield "pool_used_addresses", labels, pool.used
        yield "pool_free_addresses", labels, pool.free
    there, dead = attached(network.name), gone(network.name)
    yield "attachments", about | {"kind": network.kind}, len(there)
    yield "dead_attachments", about, len(dead)
    living = [attachment for attachment in there if attachment not in dead]
    yield "dead_leases", about, sum(_is_dead(lease, living) for lease in leases)


def _is_dead(lease: Lease, living: list[Any]) -> bool:
    return lease.boot == "this" and not any(is_of(lease, attachment) for attachment in living)


def of_vlans() -> Iterator[Sample]:
    with Kernel() as kernel:
        links = {link.index: link for link in kernel.links()}
    for link in links.values():
        if link.vlan and link.alias == ALIAS:
            below = links[link.parent].name if link.parent in links else ""
            yield "vlan_up", {"link": link.name, "parent": below, "vlan": str(link.vlan)}, link.up and link.carrier


def of_clusters(networks: list[Network]) -> Iterator[Sample]:
    """By the node's own files: no engine is asked."""
    for network in networks:
        ipam = network.config.get("ipam") or {}
        if ipam.get("type") == "lan-local":
            labels = {"network": network.name, "cluster": ipam["cluster"]}
            held = _held(network)
            yield "held_addresses", labels, len(held.claims.keys() - held.fixed) if held else 0
            yield "claimed_addresses", labels, len(held.claims) if held else 0
    for name in sorted(path.stem for path in Path(DIRECTORY).glob("*.json")):
        try:
            note = Cluster.read(name).last()
        except CniError:  # doctor tells of it
            continue
        if note:
            yield "cluster_last_contact_timestamp_seconds", {"cluster": name}, time.time() - note.age
        yield "cluster_reachable", {"cluster": name}, bool(note and not note.why)


def _held(network: Network) -> Any:
    try:
        with HeldFile(network.data_dir, network.name, create=False) as file:
            return file.read()
    except FileNotFoundError:
        return None
