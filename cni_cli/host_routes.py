"""What `doctor` finds of the host's routes to L3 networks (cni_core.hostroutes): lost, or passed by."""

from __future__ import annotations

from collections.abc import Iterator

from cni_cli.attached import recorded
from cni_cli.kernel import Kernel, Route
from cni_core.address import Address, Cidr
from cni_core.hostroutes import PROTOCOL
from cni_core.rtnl.messages import RT_TABLE_MAIN, RTN_UNICAST

_WITHOUT_RULES = (RT_TABLE_MAIN, 255, 253)  # of which every host has rules: RT_TABLE_LOCAL, RT_TABLE_DEFAULT


def needed(network: str) -> set[tuple[int, Cidr]]:
    """By the records of who is attached: the index of the parent, and the subnet that the host is to send there."""
    keys = {key for _, record in recorded() if record.network == network for key in record.used}
    return {route for key in keys if (route := parsed(key))}


def parsed(key: str) -> tuple[int, Cidr] | None:
    """What cni_core.shared.route_key wrote; None for another key, and for what is no key."""
    parent, comma, subnet = key.partition(",")
    index = parent.rpartition(".")[2]
    try:
        return (int(index), Cidr.parse(subnet.replace("_", "/"))) if comma and index.isdecimal() else None
    except ValueError:
        return None


def findings(network: str, kernel: Kernel) -> Iterator[tuple[str, str]]:
    """(what is wrong, what to do about it)."""
    for index, subnet in sorted(needed(network), key=str):
        parent = kernel.link(index=index)
        if not parent or not parent.up:  # which is told by itself; routes come back with the next container
            continue
        if not any(_leads(route, subnet, index) for route in kernel.routes(subnet.family)):
            mend = f"ip route add {subnet} dev {parent.name} proto {PROTOCOL}; the next container makes it, too"
            yield f"the host lost its route {subnet} dev {parent.name}", mend
            continue
        way = kernel.way_to(_some_address(subnet))
        if not way or way.links != (index,):
            others = [rule for rule in kernel.rules(subnet.family) if rule.table not in _WITHOUT_RULES]
            rules = [f"{rule.priority} (table {rule.table})" for rule in others]
            link = kernel.link(index=way.links[0]) if way and way.links else None
            where = f"to {link.name}" if link else "nowhere"
            yield (
                f"the host has the route {subnet} dev {parent.name}, but sends its packets {where}",
                f"See what counts before it: `ip rule` has {', '.join(rules) or 'nothing of its own'}.",
            )


def _leads(route: Route, subnet: Cidr, index: int) -> bool:
    return route.dst == subnet and route.links == (index,) and not route.gateways and route.type == RTN_UNICAST


def _some_address(subnet: Cidr) -> Address:
    """Of a host in it, as far as it has more than one."""
    return Address(subnet.family, min(subnet.first.value + 1, subnet.last.value))
