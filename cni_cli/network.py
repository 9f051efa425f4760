"""`network create`, `ls`, `inspect` and `rm`: networks as files of /etc/cni/net.d, by docker's words."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from cni_cli import docker
from cni_cli.attached import attached
from cni_cli.clashes import refuse_clashes
from cni_cli.conflists import Network, add_directory, find, networks_in, plugins_of, text_of, write_new
from cni_cli.errors import CommandError
from cni_cli.kinds import link_kind
from cni_cli.leases import leases_of
from cni_cli.table import table
from cni_core import occupancy, parent as parents
from cni_core.address import Address
from cni_core.attach import Attachments
from cni_core.config import LATEST
from cni_core.registry import Registry
from cni_core.request import Request
from cni_core.rtnl.socket import Rtnl
from cni_core.schema.explain import violations
from ipam import choose
from ipam.ranges import range_sets


def add_to(commands: Any, kind: str) -> None:
    network = commands.add_parser("network", help="create, list, inspect and remove networks")
    actions = network.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_create(actions, kind)
    for name, run, about in (("inspect", inspect, "tell all about a network"), ("rm", rm, "remove networks")):
        parser = actions.add_parser(name, help=about)
        parser.add_argument("name", nargs="+" if name == "rm" else None, metavar="NETWORK")
        add_directory(parser)
        if name == "rm":
            parser.add_argument("--force", action="store_true", help="although containers are attached")
        else:
            parser.add_argument("--json", action="store_true", help="for programs")
        parser.set_defaults(run=run)
    parser = actions.add_parser("ls", help="list the macvlan and ipvlan networks")
    add_directory(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=ls)


def _add_create(actions: Any, kind: str) -> None:
    parser = actions.add_parser(
        "create",
        help=f"create a {kind} network, by the options of docker network create",
        description=f"Writes a conflist for a {kind} network after checking it against this node. "
        f"Options of -o: {', '.join(docker.OPTIONS[kind])}.",
    )
    parser.add_argument("name", metavar="NETWORK")
    for option, about in (
        ("--subnet", "ADDRESS/LENGTH; one for each family, or more"),
        ("--gateway", "the router of a subnet (default: its first address)"),
        ("--ip-range", "the part of a subnet that addresses are chosen from"),
        ("--aux-address", "NAME=ADDRESS, never to be given"),
    ):
        parser.add_argument(option, action="append", default=[], metavar="TEXT", help=about)
    parser.add_argument("-o", "--opt", action="append", default=[], metavar="NAME=VALUE", help="of the driver")
    parser.add_argument("--ipv6", action="store_true", help="insist on an IPv6 subnet")
    parser.add_argument("--internal", action="store_true", help="no default route")
    parser.add_argument("--ipam-driver", default="default", metavar="NAME", help="default, null, or an IPAM plugin's")
    parser.add_argument("--provision", action="store_true", help="make the VLAN at once, not with the first container")
    parser.add_argument("--print", action="store_true", help="print the conflist, and write nothing")
    add_directory(parser)
    parser.set_defaults(run=create, kind=kind)


def create(options: argparse.Namespace) -> int:
    document, remarks = docker.conflist(options.kind, options)
    [config] = plugins_of(document)
    wrong = violations(options.kind, config)
    if wrong:
        raise CommandError("; ".join(wrong))
    if _of_host_local(config):
        range_sets(_request(config))  # CniError where they contradict each other
    others = [network for network in networks_in(options.dir) if not options.print or network.name != options.name]
    refuse_clashes(Network(options.name, Path(options.dir), options.kind, config), others)
    remarks += _refused_by_the_node(config, options.provision)
    for remark in remarks:
        print(remark, file=sys.stderr)
    if options.print:
        print(text_of(document), end="")
    else:
        print(write_new(options.dir, options.name, document))
    return 0


def _refused_by_the_node(config: dict[str, Any], provision: bool) -> list[str]:
    """Remarks. CniError or CommandError where the plugin would refuse every ADD."""
    with Rtnl() as host:
        try:
            parent = parents.find(config, host)
        except parents.Absent as absent:
            if not provision:
                return [f"{absent}; it is made with the first container."]
            with Registry(create=True):
                parent = parents.find(config, host, create=True)
        parents.mtu(config, parent)
        use, users = occupancy.users(parent)
        own = link_kind(config).use(config)
        if use and users and use != own:
            holder, network = users[0]
            raise CommandError(
                f"{parent.name} is used as {use} by container {holder.partition(':')[0]} of network {network}",
                "A link carries one kind, and ipvlan one mode: give this network a VLAN or another parent.",
            )
    return []


def ls(options: argparse.Namespace) -> int:
    networks = networks_in(options.dir)
    if options.json:
        print(json.dumps([_summary(network) for network in networks], indent=2))
    else:
        rows = [
            (
                summary["name"],
                summary["use"],
                summary["parent"],
                ", ".join(summary["subnets"]) or "-",
                str(len(summary["attachments"])),
                summary["file"],
            )
            for summary in map(_summary, networks)
        ]
        print(table(("NETWORK", "KIND", "PARENT", "SUBNETS", "ATTACHED", "FILE"), rows))
    return 0


def inspect(options: argparse.Namespace) -> int:
    network = find(options.dir, options.name)
    document = _summary(network) | {"pools": _pools(network), "config": network.config}
    if options.json:
        print(json.dumps(document, indent=2))
        return 0
    for key in ("name", "file", "use", "parent"):
        print(f"{key:8}{document[key]}")
    print("pools")
    for pool in document["pools"]:
        print(f"  {pool['range']}: {pool['used']} of {pool['size']} addresses given")
    rows = [(x["container"], x["interface"], ", ".join(x["addresses"]) or "-") for x in document["attachments"]]
    print(table(("CONTAINER", "INTERFACE", "ADDRESSES"), rows))
    return 0


def _summary(network: Network) -> dict[str, Any]:
    leases = leases_of(network.data_dir, network.name) if network.data_dir else []
    return {
        "name": network.name,
        "file": str(network.file),
        "use": network.use,
        "parent": network.parent,
        "subnets": [one["subnet"] for one in network.ranges],
        "attachments": [
            {
                "container": container,
                "interface": interface,
                "addresses": [x.address for x in leases if (x.container, x.interface) == (container, interface)],
            }
            for container, interface in attached(network.name)
        ],
    }


def _pools(network: Network) -> list[dict[str, Any]]:
    if not network.data_dir:
        return []
    given = [Address.parse(lease.address) for lease in leases_of(network.data_dir, network.name)]
    return [
        {"range": str(part), "size": part.size, "used": sum(part.range_of(address) is not None for address in given)}
        for part in range_sets(_request(network.config))
    ]


def rm(options: argparse.Namespace) -> int:
    for name in options.name:
        network = find(options.dir, name)
        users = attached(name)
        if users and not options.force:
            holders = ", ".join(container for container, _ in users)
            raise CommandError(f"network {name} is in use by {holders}", "Remove the containers first; or --force.")
        with_ipam = network.config if _of_host_local(network.config) else network.config | {"ipam": {}}
        Attachments(link_kind(network.config), choose).gc(_request(with_ipam))
        network.file.unlink()
        print(name)
    return 0


def _of_host_local(config: dict[str, Any]) -> bool:
    return bool((config.get("ipam") or {}).get("type") == "host-local")


def _request(config: dict[str, Any]) -> Request:
    """A GC for which no attachment is valid: what there is of the network, for whoever asks for all of it."""
    return Request("GC", {}, config | {"cniVersion": LATEST, "cni.dev/valid-attachments": []})
