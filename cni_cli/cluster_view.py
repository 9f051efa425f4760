"""What a cluster has, for people: who holds which address on which host, and what is amiss (`doctor`).

Nothing here decides anything: containers' names are known of this host alone, since pods write nothing to the engine.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cni_cli.checks import FAILURE, OK, WARNING, Check
from cni_cli.conflists import Network, networks_in
from cni_cli.leases import leases_of
from cni_cli.table import table
from cni_core.errors import CniError
from ipam import nodes
from ipam.cluster import DIRECTORY, Cluster
from ipam.contact import run as carry_out
from ipam.domain import only, registration_of
from ipam.etcd import Etcd, weakness
from ipam.last_contact import Note
from ipam.verbs import List, look_up

MOUNTS = Path("/proc/self/mountinfo")
# File systems of others, who write when they like: what a node has claimed must be on its disk before it is given.
OF_OTHERS = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "afs")


@dataclass(frozen=True)
class Holding:
    """An address that nobody else of the cluster gets. node and network: empty where it is reserved for no node's
    container; use: "in use", "held", "the host's own" or what it is reserved for, of another node's holdings "held";
    container: this node's that has it."""

    address: str
    node: str
    network: str
    use: str
    container: str


def networks_of(name: str, directory: str) -> list[Network]:
    """Those of this node whose addresses are the cluster's."""
    return [network for network in networks_in(directory) if cluster_of(network) == name]


def cluster_of(network: Network) -> str:
    """The name of its cluster; empty where its addresses are of none."""
    ipam = network.config.get("ipam") or {}
    return str(ipam["cluster"]) if ipam.get("type") == "lan-local" else ""


def holdings(cluster: Cluster, directory: str) -> list[Holding]:
    """All claims of the cluster, in the order of addresses. CniError where the engine cannot be asked."""
    own = cluster.settings.node
    with cluster.contact() as etcd:
        claims = carry_out(nodes.all_claims(cluster.domain), etcd)
    containers = {
        (network.name, lease.address): f"{lease.container}/{lease.interface}".rstrip("/")
        for network in networks_of(cluster.name, directory)
        for lease in leases_of(network.data_dir or "", network.name)
    }
    found = []
    for address, owner, _ in claims:
        container = containers.get((owner.network, str(address)), "") if owner.node == own else ""
        if owner.node:
            use = "in use" if container else "held"
        else:
            use = "the host's own" if owner.host else f"reserved for {owner.reserved}"
        found.append(Holding(str(address), owner.node or owner.host, owner.network, use, container))
    return found


def leases(options: argparse.Namespace) -> int:
    """`leases --cluster NAME [NETWORK]`."""
    found = holdings(Cluster.read(options.cluster), options.dir)
    found = [one for one in found if options.network in (None, one.network)]
    if options.json:
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        rows = [(one.address, one.node or "-", one.network or "-", one.use, one.container or "-") for one in found]
        print(table(("ADDRESS", "NODE", "NETWORK", "USE", "CONTAINER"), rows))
    return 0


# One network, for `network inspect`


def of_network(network: Network) -> dict[str, Any]:
    """What the hosts of its cluster hold of it, as {"cluster": NAME, "held": {NODE: COUNT}, "contact": WORDS}; empty
    for a network of none. Without "held" where the engine cannot be asked, which `contact` then says.
    """
    name = cluster_of(network)
    if not name:
        return {}
    try:
        cluster = Cluster.read(name)
        with cluster.contact() as etcd:
            claims = carry_out(nodes.all_claims(cluster.domain), etcd)
    except CniError as error:
        return {"cluster": name, "contact": error.msg}
    held = Counter(owner.node for _, owner, _ in claims if owner.network == network.name)
    return {"cluster": name, "held": dict(sorted(held.items())), "contact": in_words(cluster.last())}


def rows(told: dict[str, Any]) -> list[tuple[str, str]]:
    """The same, as rows of a table."""
    if not told:
        return []
    held = ", ".join(f"{count} by {node}" for node, count in told.get("held", {}).items())
    return [("cluster", told["cluster"]), *([("held", held)] if held else []), ("last contact", told["contact"])]


def in_words(note: Note | None) -> str:
    if not note:
        return "none since the boot"
    ago = f"{note.age:.0f} s ago"
    return f"failed {ago}: {note.why}" if note.why else f"{ago}, {note.endpoint}".rstrip(", ")


# doctor


def checks(networks: list[Network]) -> Iterator[Check]:
    """Of the clusters that this node has joined, and of those that its networks name."""
    named = {name for network in networks if (name := cluster_of(network))}
    for name in sorted({*named, *(path.stem for path in Path(DIRECTORY).glob("*.json"))}):
        try:
            yield from _of_cluster(Cluster.read(name))
        except CniError as error:
            yield Check(FAILURE, error.msg, error.details)
    for network in networks:
        if cluster_of(network) and network.data_dir:
            yield from _of_directory(network.name, network.data_dir)


def _of_cluster(cluster: Cluster) -> Iterator[Check]:
    about = f"cluster {cluster.name}"
    answering = 0
    for endpoint in cluster.settings.endpoints:
        with cluster.engine(endpoint, alone=True) as etcd:
            try:
                version = etcd.version()
            except CniError as error:
                yield Check(WARNING, f"{about}: {error.msg}", "Addresses that this node holds are given all the same.")
                continue
        answering += 1
        weak = weakness(version)
        if weak:
            yield Check(FAILURE, f"{about}: {endpoint}: {weak}", "Every member of it must be updated.")
    if not answering:
        what = f"{about}: no endpoint answers; the last contact: {in_words(cluster.last())}"
        yield Check(FAILURE, what, "See whether etcd runs there: systemctl status etcd.")
        return
    with cluster.contact() as etcd:
        yield from _of_registration(cluster, etcd)


def _of_registration(cluster: Cluster, etcd: Etcd) -> Iterator[Check]:
    about, node = f"cluster {cluster.name}", cluster.node()
    known, claims = carry_out(nodes.everything(cluster.domain), etcd)
    bars = carry_out(look_up(List((only(cluster.domain.bar),)), cluster.domain.engine), etcd).records[0]
    for bar in bars:
        what = f"{about}: its engine was restored, so nobody claims addresses ({nodes.barred_by(bar)} found it)"
        yield Check(FAILURE, what, f"When every node has synchronised (`cluster sync`): cluster open {cluster.name}")
    record = known.get(node.name)
    if record and (mac := registration_of(record).mac) != node.mac:
        what = f"{about}: {node.name} is registered by another host (parent {mac}, this one {node.mac})"
        yield Check(FAILURE, what, f"cluster join {cluster.name} --force --node gives this one another name.")
    elif not bars:
        mine = sum(owner.node == node.name for _, owner, _ in claims)
        yield Check(OK, f"{about}: {node.name} of {len({*known} | {node.name})} nodes holds {mine} addresses")


def _of_directory(name: str, data_dir: str) -> Iterator[Check]:
    kind = file_system(data_dir)
    if kind in OF_OTHERS:
        what = f"network {name}: {data_dir} is on {kind}, which may lose what this node noted of its claims"
        yield Check(FAILURE, what, "Name a directory of a local disk: `dataDir` of ipam.", name)


def file_system(path: str) -> str:
    """The type of the one that a path, or where it would be made, lies on (proc(5), mountinfo)."""
    real, found = os.path.realpath(path), ("", "")
    for line in MOUNTS.read_text().splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace("\\040", " ")
        if os.path.commonpath((point, real)) == point and len(point) >= len(found[0]):
            found = (point, after.split()[0])
    return found[1]
