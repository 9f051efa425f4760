"""`network create`, `ls`, `inspect` and `rm`: networks as files of /etc/cni/net.d, by docker's words."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cni_cli import cluster_view, docker, graph
from cni_cli.attached import GONE, attached, gone, how_to_free
from cni_cli.attachments import Attachments
from cni_cli.clashes import clashes, lower, ranges_of, subnets_of
from cni_cli.conflists import (
    Network,
    add_bin_directory,
    add_directory,
    broken_in,
    find,
    locked,
    networks_in,
    plugins_of,
    refuse_name,
    text_of,
    write_new,
)
from cni_cli.errors import CommandError
from cni_cli.kernel import Kernel
from cni_cli.kinds import has_leases, link_kind, request_of
from cni_cli.kubernetes import remarks as beside_clusters
from cni_cli.leases import ALIVE, DEAD, Lease, is_of, leases_of, with_length
from cni_cli.pools import may_choose, of_network as pool_uses
from cni_cli.table import table
from cni_cli.validate import OF_GO_ALONE, findings
from cni_core import attach, hostroutes, parent as parents
from cni_core.errors import IN_USE, INVALID_CONFIG, CniError, located
from cni_core.making import make
from cni_core.names import Attachment, printable
from cni_core.netns import Place
from cni_core.records import Records
from cni_core.rtnl.messages import Link
from cni_core.rtnl.socket import Rtnl
from cni_core.shared import has_host_routes, refuse_other_use
from cni_core.stable import machine_id
from ipam import choose
from ipam.ranges import Range

EXAMPLES = {
    "macvlan": "-o parent=eth0.50 --subnet 192.168.50.0/24 --gateway 192.168.50.1 --ip-range 192.168.50.128/25",
    "ipvlan": "-o parent=eth0 -o ipvlan_mode=l3 --subnet 10.8.1.0/24 --subnet fd00:8:1::/64",
}


def add_to(commands: Any, kind: str) -> None:
    network = commands.add_parser("network", help="create, list, inspect, draw and remove networks")
    actions = network.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    _add_create(actions, kind)
    for name, alias, run, about in (
        ("ls", "list", ls, "list the macvlan and ipvlan networks"),
        ("inspect", None, inspect, "tell all about a network"),
        ("rm", "remove", rm, "remove networks, all or none; what running containers have stays theirs"),
        ("exists", None, exists, "whether there is such a network: the exit status is 0, or 1"),
        ("prune", None, prune, "remove every network that nobody is attached to"),
    ):
        parser = actions.add_parser(name, aliases=[alias] if alias else [], help=about, description=about)
        if name not in ("ls", "prune"):
            parser.add_argument("name", nargs="+" if name == "rm" else None, metavar="NETWORK")
        add_directory(parser)
        if name == "rm":
            parser.add_argument("-f", "--force", action="store_true", help="although containers are attached")
        if name == "prune":
            parser.add_argument("-f", "--force", action="store_true", help="without asking")
        if name in ("ls", "inspect"):
            parser.add_argument("--json", action="store_true", help="for programs")
        if name == "ls":
            parser.add_argument("-q", "--quiet", action="store_true", help="names alone")
        parser.set_defaults(run=run)
    graph.add_to(actions)


def _add_create(actions: Any, kind: str) -> None:
    parser = actions.add_parser(
        "create",
        usage="%(prog)s [OPTIONS] NETWORK",
        help="create a network, by the options of docker network create",
        description=f"Writes the conflist of a network of kind {kind} after checking it against this node. "
        f"Options of -o: {', '.join(docker.OPTIONS[kind])}. Without a parent the network is isolated.",
        epilog=f"Such as: network create lan {EXAMPLES[kind]}",
    )
    parser.add_argument("name", metavar="NETWORK")
    for option, metavar, about in (
        ("--subnet", "SUBNET", "ADDRESS/LENGTH; one for each family, or more"),
        ("--gateway", "ADDRESS", "the router of a subnet (default: its first address), or none"),
        ("--ip-range", "SUBNET", "the part of a subnet that addresses are chosen from; or FIRST-LAST"),
        ("--aux-address", "NAME=ADDRESS", "never to be given"),
        ("--route", "SUBNET,ADDRESS", "a way that the containers get: a destination, and by whom; perhaps ,METRIC"),
    ):
        parser.add_argument(option, action="append", default=[], metavar=metavar, help=about)
    parser.add_argument("-o", "--opt", action="append", default=[], metavar="NAME=VALUE", help="of the driver")
    _add_boolean(parser, "--ipv4", "with IPv4 (default)", default=True)
    _add_boolean(parser, "--ipv6", "insist on an IPv6 subnet")
    _add_boolean(parser, "--internal", "no default route")
    _add_boolean(parser, "--host-access", "this host and the containers reach each other")
    parser.add_argument("--ipam-driver", default="default", metavar="NAME", help="default, null, or an IPAM plugin's")
    parser.add_argument(
        "--cluster", default="", metavar="NAME", help="whose hosts share the LAN: addresses of lan-local"
    )
    once = parser.add_mutually_exclusive_group()
    once.add_argument(
        "--provision", action="store_true", help="make the VLAN at once; network rm, or the last container, removes it"
    )
    once.add_argument("--print", action="store_true", help="print the conflist, and write nothing")
    add_directory(parser)
    add_bin_directory(parser)
    parser.add_argument("-d", "--driver", metavar="KIND", help=f"macvlan or ipvlan (default: {kind})")
    parser.add_argument("--interface-name", default="", metavar="LINK", help="as -o parent=LINK")
    parser.add_argument("--ignore", action="store_true", help="succeed where there is such a network already")
    habits = parser.add_argument_group("taken because docker and podman have them")
    habits.add_argument("--scope", metavar="SCOPE", help="local")
    habits.add_argument("--label", action="append", metavar="TEXT", help="ignored")
    habits.add_argument("--ipam-opt", action="append", metavar="TEXT", help="ignored")
    _add_boolean(habits, "--attachable", "ignored")
    _add_boolean(habits, "--disable-dns", "ignored: there is no name server")
    _add_boolean(habits, "--config-only", argparse.SUPPRESS)
    _add_boolean(habits, "--ingress", argparse.SUPPRESS)
    habits.add_argument("--config-from", help=argparse.SUPPRESS)
    parser.set_defaults(run=create, kind=kind)


def _add_boolean(parser: Any, option: str, about: str, *, default: bool = False) -> None:
    """Also as docker's --ipv6=false: a value that may be left out would be NETWORK, to argparse."""
    name = option.removeprefix("--").replace("-", "_")
    parser.add_argument(option, action="store_true", default=default, help=about)
    for word, value in (("true", True), ("false", False)):
        parser.add_argument(
            f"{option}={word}", dest=name, action="store_const", const=value, default=default, help=argparse.SUPPRESS
        )


def create(options: argparse.Namespace) -> int:
    if options.ignore and any(network.name == options.name for network in networks_in(options.dir)):
        return 0
    if options.driver and docker.kind_of(options.driver) in docker.OPTIONS:
        options.kind = docker.kind_of(options.driver)
    document, remarks = docker.conflist(options.kind, options)
    document["plugins"][0]["type"] = _type(options.kind, options.bin_dir)
    remarks += _without_machine_id(document["plugins"][0])
    found = findings(text_of(document).encode())
    wrong = [str(finding).removeprefix("plugins[0].") for finding in found if finding.serious]
    if wrong:
        raise CommandError("; ".join(wrong), code=INVALID_CONFIG)
    remarks += [str(finding).removeprefix("plugins[0].") for finding in found if finding.text not in OF_GO_ALONE]
    remarks += [
        f"{what[0].upper()}{what[1:]}. {mend}"
        for what, mend in beside_clusters(f"{options.name}.conflist", options.name, options.dir)
    ]
    [config] = plugins_of(document)
    network = Network(options.name, Path(options.dir), options.kind, config)
    if options.print:
        remarks += _fit_for_the_node(
            network, [one for one in networks_in(options.dir) if one.name != options.name], ask=False
        )
        _remark(remarks)
        print(text_of(document), end="")
        return 0
    if not os.path.isdir(options.dir):
        _fit_for_the_node(network, [], ask=True)  # so that a network that is refused leaves no directory
        remarks.append(f"{options.dir} was not there, and is made.")
    with locked(options.dir):
        refuse_name(options.dir, options.name)
        remarks += _fit_for_the_node(network, networks_in(options.dir), ask=True)
        file = write_new(options.dir, options.name, document)
        if options.provision:
            try:
                with Records(create=True), Place.host() as host:
                    plan = parents.plan(network.values, host.rtnl)
                    parents.refuse_unusable(plan, host.rtnl)
                    make(plan, host)
            except BaseException:
                file.unlink()
                raise
            remarks = [remark for remark in remarks if not remark.endswith(MADE_LATER)]
    _remark(remarks)
    print(printable(str(file)))
    return 0


def _without_machine_id(plugin: dict[str, Any]) -> list[str]:
    """Takes out what needs one where this node has none; a remark."""
    if plugin.get("mac") != "stable":
        return []
    try:
        machine_id()
    except CniError as error:
        del plugin["mac"]
        return [f"Its containers' hardware addresses are others each time: {error.problem}."]
    return []


def _type(kind: str, bin_directory: str) -> str:
    """The name by which a runtime finds our plugin: the kind's own may be another's, which knows half of our keys."""
    own = f"cni-{kind}-py"
    alias, program = (os.path.realpath(f"{bin_directory}/{name}") for name in (kind, own))
    return kind if alias == program else own


MADE_LATER = "it is made with the first container."


def _remark(remarks: list[str]) -> None:
    for remark in remarks:
        print(printable(remark), file=sys.stderr)


def _fit_for_the_node(network: Network, others: list[Network], *, ask: bool) -> list[str]:
    """Remarks. CniError where the plugin would refuse every ADD, or other networks would suffer.

    ask: also the kernel, by making a link, who else is on the parent.
    """
    values, kind = network.values, link_kind(network.config)
    with Place.host() as home:
        host = home.rtnl
        for clash in clashes(network, others, host):
            raise clash
        plan = parents.plan(values, host)
        parents.refuse_unusable(plan, host)
        parents.refuse_forbidden(plan, values, kind, host)
        parent = plan.parent
        if not parent:
            below = lower(network, host)
            link = host.link(below[0]) if below else None
            remarks = _without_routes(network, link, host) if link else []
            return [] if values.internal else [*remarks, f"{plan.absent}; {MADE_LATER}"]
        parents.refuse_mtu(values, parent)
        if ask:
            refuse_other_use(kind, values, parent, home)
        # An L3 network has nobody else on it.
        if kind.is_routed(values):
            return _without_routes(network, parent, host)
        return list(_remarks_on(ranges_of(network.config), parent.index))


def _without_routes(network: Network, parent: Link, host: Rtnl) -> list[str]:
    """Which subnets get no host route, because the host uses them already. CniError where they are asked for."""
    if not has_host_routes(link_kind(network.config), network.values):
        return []
    subnets = subnets_of(network.config)
    routes = hostroutes.main_table(host, subnets)
    if network.values.host_routes:
        hostroutes.refuse_conflicts(subnets, parent, routes, host)
    found = hostroutes.conflicts(subnets, parent, routes, host)
    return [f"{subnet} gets no route on this host: {why}." for subnet, why in found.items()]


def _remarks_on(ranges: list[Range], index: int) -> Iterator[str]:
    """What the host itself has on the network of a parent, and the network should know."""
    with Kernel() as kernel:
        parent = kernel.link(index=index)
        if not parent:  # it went meanwhile
            return
        own = kernel.addresses(parent)
        routes = {part.family: kernel.routes(part.family) for part in ranges}
    for part in ranges:
        for found in own:
            address = found.cidr.address
            if may_choose([part], address):
                yield f"{address} is this host's own, on {parent.name}: no container gets it."
        for route in routes[part.family]:
            is_default = route.dst.length == 0 and route.links == (index,)
            for router in route.gateways if is_default else ():
                if part.gateway and router != part.gateway and router in part.subnet:
                    told = f"This host's own router on {parent.name} is {router}, not {part.gateway}"
                    yield f"{told}: --gateway {router}?"


def ls(options: argparse.Namespace) -> int:
    networks = networks_in(options.dir)
    if not os.path.isdir(options.dir):
        _remark([f"There is no {options.dir}."])
    _remark([f"{broken.file} is passed over: {broken.why}" for broken in broken_in(options.dir)])
    if options.quiet:
        print(*(network.name for network in networks), sep="\n", end="\n" if networks else "")
    elif options.json:
        print(json.dumps([_summary(network, _leases_of(network)) for network in networks], indent=2))
    else:
        summaries = [_summary(network, _leases_of(network)) for network in networks]
        for summary in summaries:
            dead = [f"{one['container']}/{one['interface']}" for one in summary["attachments"] if one["state"] == DEAD]
            for name in dead:
                _remark([f"network {summary['name']}: {name}, {GONE}: {how_to_free(summary['name'])}"])
        rows = [
            (
                summary["name"],
                summary["use"],
                summary["parent"],
                ", ".join(summary["subnets"]) or "-",
                str(len(summary["attachments"])),
                summary["file"],
            )
            for summary in summaries
        ]
        print(table(("NAME", "USE", "PARENT", "SUBNETS", "ATTACHED", "FILE"), rows))
    return 0


def inspect(options: argparse.Namespace) -> int:
    network = find(options.dir, options.name)
    leases = _leases_of(network)
    pools, cluster = pool_uses(network, leases), cluster_view.of_network(network)
    with Attachments() as found:
        attachments = found.of(network, leases)
        state = _state(network)
    if options.json:
        document = _summary(network, leases) | {
            "attachments": [attachment.as_json() for attachment in attachments],
            "state": state,
            "pools": [pool.as_json() for pool in pools],
            **({"cluster": cluster} if cluster else {}),
            "config": network.config,
        }
        print(json.dumps(document, indent=2))
        return 0
    rows = [
        ("network", network.name),
        ("file", str(network.file)),
        ("use", network.use),
        ("parent", f"{network.parent} ({state})" if state else network.parent),
        *(("pool", str(pool)) for pool in pools),
        *cluster_view.rows(cluster),
        *_settings(network.config),
    ]
    print(table((), rows))
    print()
    shown = [
        (
            one.container,
            one.interface,
            one.state,
            one.mac or "-",
            ", ".join(one.addresses) or "-",
            ", ".join(one.gateways) or "-",
            str(one.vlan or "-"),
            "yes" if one.host_access else "no",
            one.namespace or "-",
        )
        for one in attachments
    ]
    print(table(COLUMNS, shown))
    for one in attachments:
        if one.state == DEAD:
            _remark([f"{one.container}/{one.interface}, {GONE}: {how_to_free(network.name)}"])
    return 0


COLUMNS = ("CONTAINER", "INTERFACE", "STATE", "MAC", "ADDRESSES", "GATEWAYS", "VLAN", "HOST ACCESS", "NAMESPACE")


def _state(network: Network) -> str:
    """Of the parent, in words; empty where it is not this node's."""
    if network.values.link_in_container:
        return ""
    with Rtnl() as host:
        try:
            plan = parents.plan(network.values, host)
        except CniError as error:
            return error.problem
    with Kernel() as kernel:
        parent = kernel.link(index=plan.parent.index) if plan.parent else None
    if not parent:
        return "not there: it is made with a container"
    told = "down" if not parent.up else "up" if parent.carrier else "up, but without a carrier"
    ours = ", made by us" if plan.parent and parents.is_ours(plan.parent) else ""
    name = "" if parent.name == network.parent else f"{parent.name}: "
    return f"{name}{told}, MTU {parent.mtu}, MAC {parent.mac}{ours}"


def _settings(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each value of the configuration by its path, but for what is told otherwise."""

    def walk(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str, str]]:
        members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
        if not members:
            yield located(path, "").removesuffix(": "), value if isinstance(value, str) else json.dumps(value)
        else:
            for key, member in members:
                yield from walk(member, (*path, key))

    told = ("name", "type", "cniVersion", "capabilities")
    yield from walk({key: value for key, value in config.items() if key not in told}, ())


def _leases_of(network: Network) -> list[Lease]:
    return leases_of(network.data_dir, network.name) if network.data_dir else []


def _summary(network: Network, leases: list[Lease]) -> dict[str, Any]:
    dead, subnets = gone(network.name), subnets_of(network.config)
    return {
        "name": network.name,
        "file": str(network.file),
        "use": network.use,
        "parent": network.parent,
        "subnets": [one["subnet"] for one in network.ranges],
        "attachments": [
            {
                "container": attachment.container_id,
                "interface": attachment.ifname,
                "state": DEAD if attachment in dead else ALIVE,
                "addresses": [with_length(lease.address, subnets) for lease in leases if is_of(lease, attachment)],
            }
            for attachment in attached(network.name)
        ],
    }


def rm(options: argparse.Namespace) -> int:
    """All of them, or none where one is refused."""
    networks = [find(options.dir, name) for name in dict.fromkeys(options.name)]
    for network in networks:
        users, others = attached(network.name), _of_other_plugins(network)
        if (users or others) and not options.force:
            dead = gone(network.name)
            holders = [user.container_id + f" ({GONE})" * (user in dead) for user in users]
            holders += [f"{other.container_id} (which another plugin attached)" for other in others]
            mend = f"Free what the dead have: {how_to_free(network.name)}. " * bool(dead)
            raise CommandError(
                f"network {network.name} is in use by {', '.join(dict.fromkeys(holders))}",
                f"{mend}Remove the containers first; or --force.",
                IN_USE,
            )
    for network in networks:
        with_ipam = network.config if has_leases(network.config) else network.config | {"ipam": {}}
        running = {*attached(network.name)} - {*gone(network.name)}
        request = request_of(with_ipam, valid=[*running, *_of_other_plugins(network)])
        attach.Attachments(link_kind(network.config), choose).gc(request)
        network.file.unlink()
        print(printable(network.name))
    return 0


def exists(options: argparse.Namespace) -> int:
    return int(options.name not in [network.name for network in networks_in(options.dir)])


def prune(options: argparse.Namespace) -> int:
    """0 also where there was nothing to remove, or the person does not want it."""
    unused = [one.name for one in networks_in(options.dir) if not (attached(one.name) or _of_other_plugins(one))]
    if not unused:
        return 0
    if not options.force:
        if not sys.stdin.isatty():
            raise CommandError(f"{', '.join(unused)}: nobody is there to be asked", "--force removes them without.")
        print(f"Remove {', '.join(unused)}? [y/N] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return 0
    return rm(argparse.Namespace(dir=options.dir, name=unused, force=False))


def _of_other_plugins(network: Network) -> list[Attachment]:
    """Who has leases of this boot, for all that anybody knows, that no plugin of ours gave."""
    leases = leases_of(network.data_dir, network.name) if network.data_dir else []
    return [Attachment(one.container, one.interface) for one in leases if one.boot == "unknown"]
