"""`network graph`: the parents of this host, what VLANs are on them, and who is attached: as text, or as SVG."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cni_cli import svg
from cni_cli.attachments import Attached, Attachments
from cni_cli.conflists import Network, add_directory, find, networks_in
from cni_cli.kernel import Kernel, Link
from cni_cli.leases import ALIVE, leases_of
from cni_cli.pools import count, of_network
from cni_cli.terminal import styled
from cni_core import parent as parents
from cni_core.errors import CniError
from cni_core.names import printable
from cni_core.rtnl.socket import Rtnl

OUTSIDE = "in the container"  # of networks whose parent is not this host's
_FLAT = ("macvlan", "macvtap", "ipvlan", "ipvtap")


@dataclass
class Node:
    """A box of the picture: its name, what is told of it, whether something is wrong with it, and what is on it."""

    name: str
    about: str = ""
    is_well: bool = True
    on_it: list[Node] = field(default_factory=list)

    def on(self, name: str) -> Node:
        """The box of that name on this one, made if there is none."""
        found = next((node for node in self.on_it if node.name == name), None)
        if not found:
            found = Node(name)
            self.on_it.append(found)
        return found


def add_to(actions: Any) -> None:
    about = "draw the parents, their VLANs, the networks, and who is attached"
    parser = actions.add_parser("graph", help=about, description=f"{about[0].upper()}{about[1:]}.")
    parser.add_argument("name", nargs="?", metavar="NETWORK", help="this one alone (default: all)")
    parser.add_argument("--svg", action="store_true", help="as a picture")
    add_directory(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    networks = [find(options.dir, options.name)] if options.name else networks_in(options.dir)
    root = Node("")
    with Kernel() as kernel, Attachments() as attachments:
        for network in networks:
            leases = leases_of(network.data_dir, network.name) if network.data_dir else []
            pools = of_network(network, leases)
            told = [network.use, *(f"{pool.family} {pool.used:,} of {count(pool.size)} given" for pool in pools)]
            box = place(root, steps(network, kernel)).on(network.name)
            box.about = ", ".join(told)
            box.on_it += [of_attachment(one) for one in attachments.of(network, leases)]
    print(svg.drawn(root.on_it) if options.svg else "\n".join(text(root.on_it)))
    return 0


Step = tuple[str, str, bool]  # a box's name, what is told of it, and whether it is well


def place(root: Node, way: Iterable[Step]) -> Node:
    """The box at the end of the way, which is made as far as there is none."""
    for name, about, is_well in way:
        root = root.on(name)
        root.about, root.is_well = about, is_well
    return root


def steps(network: Network, kernel: Kernel) -> list[Step]:
    """From the lowest link up to the parent of a network, those that are yet to be made among them."""
    values = network.values
    if values.link_in_container:
        return [(OUTSIDE, "", True)]
    with Rtnl() as host:
        try:
            plan = parents.plan(values, host)
        except CniError as error:
            return [(network.parent, error.problem, False)]
    there = kernel.link(index=plan.there[-1].index) if plan.there else None
    made_later = [
        (name, f"{f'VLAN {vlan}, ' if vlan else ''}not there: made with a container", True)
        for name, vlan in plan.missing
    ]
    return [*(of_link(link) for link in reversed(list(below(there, kernel)))), *made_later]


def below(link: Link | None, kernel: Kernel) -> Iterator[Link]:
    """A link, and what it lies on, of VLANs and of what is on the wire of its parent."""
    while link:
        yield link
        lies_on = (link.vlan or link.kind in _FLAT) and link.parent_nsid is None
        link = kernel.link(index=link.parent) if lies_on and link.parent else None


def of_link(link: Link) -> Step:
    state = "down" if not link.up else "up" if link.carrier else "without a carrier"
    told = [f"VLAN {link.vlan}" if link.vlan else link.kind, state, f"MTU {link.mtu}", "" if link.vlan else link.mac]
    return link.name, ", ".join(filter(None, told)), link.up and link.carrier


def of_attachment(one: Attached) -> Node:
    told = [", ".join(one.addresses), one.mac, "host access" * one.host_access, "" if one.state == ALIVE else one.state]
    return Node(f"{one.container}/{one.interface}", ", ".join(filter(None, told)), one.state == ALIVE)


def text(nodes: list[Node], before: str = "", *, top: bool = True) -> Iterator[str]:
    for node in nodes:
        is_last = node is nodes[-1]
        branch, under = ("", "") if top else ("└─ ", "   ") if is_last else ("├─ ", "│  ")
        name = styled(printable(node.name), "bold" if node.is_well else "red")
        yield f"{before}{branch}{name}  {printable(node.about)}".rstrip()
        yield from text(node.on_it, before + under, top=False)
