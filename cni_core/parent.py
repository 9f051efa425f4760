"""Which link carries the container's: one that the configuration names, a VLAN of it, the default route's, or a dummy.

plan() looks at what is there and tells what would have to be made, which making.py does: VLANs and dummies, marked as
ours by an alias, which go when nothing is on them (cni_core.shared).
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6

from cni_core.address import Address, Cidr
from cni_core.errors import INVALID_CONFIG, PARENT_UNUSABLE, CniError
from cni_core.files import is_there_a_policy
from cni_core.names import LONGEST_ALTERNATIVE, LONGEST_NAME, is_short_name, short_name, split_vlan
from cni_core.rtnl.messages import (
    ARPHRD_ETHER,
    IFLA_VLAN_ID,
    RT_TABLE_MAIN,
    RTN_UNICAST,
    del_link,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.contracts import LinkKind
    from cni_core.network import Network
    from cni_core.rtnl.messages import Link
    from cni_core.rtnl.socket import Rtnl

ALIAS = "cni-vlan"  # of the links that are ours: what lacks it is somebody else's

# Kinds of link that take all frames of their ports (netdev_rx_handler_register), so that macvlan and ipvlan cannot.
_PORT_OWNERS = ("bridge", "bond", "team", "openvswitch")
_OWN_NAMES = "cnp"
_DEFAULTS = (Cidr(Address(AF_INET, 0), 0), Cidr(Address(AF_INET6, 0), 0))  # of default routes: 0.0.0.0/0 and ::/0
_LEAST_MTU = 68  # ETH_MIN_MTU, linux/if_ether.h: IPv4 can do with it (RFC 791)


class Plan:
    """there: the links that there are, each of which the next is a VLAN of, if the name of the parent tells as much;
    missing: what would have to be made on the last of them, in that order, each by its name, and its VLAN id (of the
    link below), 0 for a dummy.
    """

    __slots__ = ("missing", "there")

    def __init__(self, there: list[Link], missing: list[tuple[str, int]]) -> None:
        self.there = there
        self.missing = missing

    @property
    def parent(self) -> Link | None:
        """The parent, if it is there."""
        return None if self.missing else self.there[-1]

    @property
    def lower(self) -> Link | None:
        """The last link that is there: the parent, or what it would be made on; None for a dummy."""
        return self.there[-1] if self.there else None

    @property
    def is_unfinished(self) -> bool:
        """Whether one of ours is not marked or not up: a killed ADD left it so, or what it is on was down."""
        return any(is_unfinished(link) for link in self.there)

    @property
    def absent(self) -> str:
        """In words, that the parent is not there yet."""
        if not self.there:
            return f"the parent {self.missing[0][0]} of an internal network does not exist"
        return f"VLAN {self.missing[0][1]} of {self.there[-1].name} does not exist"


def plan(network: Network, rtnl: Rtnl) -> Plan:
    """The network's parent, in the namespace of the socket. CniError INVALID_CONFIG where there can be none."""
    if network.internal:
        if network.masters or network.vlan:
            raise CniError(
                INVALID_CONFIG,
                "the network has a parent of its own, so `master` and `vlan` have no place beside it",
                "Leave them out, or leave `internal` out for a network on the parent.",
                path=("internal",),
            )
        name = own_name(f"internal {network.name}")
        link = rtnl.link(name)
        return Plan([link], []) if link else Plan([], [(name, 0)])
    found = _named(network.masters, rtnl) if network.masters else Plan([_default_route(rtnl)], [])
    parent = found.parent
    if not network.vlan or (parent and parent.kind == "vlan" and parent.number(IFLA_VLAN_ID) == network.vlan):
        return found  # also where people say it twice: VLAN 100 of eth0.100
    return _with_vlan(found, network.vlan, rtnl)


def refuse_unusable(plan: Plan, rtnl: Rtnl) -> None:
    """CniError PARENT_UNUSABLE where the parent can carry nothing. One that is down will, when it comes up."""
    lower = plan.lower
    if not lower:
        return
    if lower.type != ARPHRD_ETHER and not lower.loopback:
        kind = lower.kind or f"a link of type {lower.type}"
        raise unusable(
            f"{lower.name} is no Ethernet ({kind}), so it carries no macvlan, ipvlan or VLAN",
            "Name a link that is: `ip link` shows link/ether beside it.",
        )
    if plan.missing:
        return
    if lower.loopback:
        raise unusable(
            f"{lower.name} is a loopback link, which carries no frames",
            "Name a link of the network; for containers that reach each other alone: `internal`.",
        )
    owner = rtnl.link(index=lower.master) if lower.master else None
    if owner and owner.kind in _PORT_OWNERS:
        raise unusable(
            f"{lower.name} is a port of the {owner.kind} {owner.name}, which takes all its frames",
            f"Use {owner.name} itself as the parent, or another link.",
        )


def carrier_of(parent: Link, kind: LinkKind, rtnl: Rtnl) -> Link:
    """The link on which the kernel puts a new one: that of a parent which is of the kind itself is the parent's own
    parent (macvlan_common_newlink, drivers/net/macvlan.c; ipvlan_link_new, drivers/net/ipvlan).
    """
    if parent.kind not in kind.LIES_FLAT_ON or not parent.parent or parent.parent_nsid is not None:
        return parent
    return rtnl.link(index=parent.parent) or parent


def names_of(plan: Plan, kind: LinkKind, rtnl: Rtnl) -> list[str]:
    """By what an administrator may mean the parent: its name, and of a VLAN that of the link below with the number."""
    if plan.missing:
        return [plan.missing[-1][0]]
    parent = carrier_of(plan.there[-1], kind, rtnl)
    below = rtnl.link(index=parent.parent) if parent.kind == "vlan" and parent.parent_nsid is None else None
    return [parent.name, *([f"{below.name}.{parent.number(IFLA_VLAN_ID)}"] if below else [])]


def refuse_forbidden(plan: Plan, network: Network, kind: LinkKind, rtnl: Rtnl) -> None:
    """CniError PARENT_UNUSABLE where the node's administrator does not allow this parent of the host."""
    if network.internal or network.link_in_container or not is_there_a_policy():
        return
    from cni_core.policy import of_the_node  # not for a node to pay for that has none

    names = names_of(plan, kind, rtnl)
    why = of_the_node().refuses_parent(names)
    if why:
        raise unusable(f"{' or '.join(dict.fromkeys(names))} cannot be the parent: {why}")


def remove(index: int, rtnl: Rtnl) -> int:
    """Removes a link that is ours; the index of the link below it, else 0. That nothing is on it the caller knows."""
    link = rtnl.link(index=index)
    if not link or not is_ours(link):
        return 0
    rtnl.execute(del_link(index))
    return link.parent


def is_ours(link: Link) -> bool:
    return link.alias == ALIAS or is_short_name(_OWN_NAMES, link.name)


def is_unfinished(link: Link) -> bool:
    return is_ours(link) and not (link.up and link.alias)


def mtu(network: Network, parent: Link) -> int:
    """The MTU for the container's link: the configuration's, or the parent's."""
    return network.mtu or parent.mtu


def refuse_mtu(network: Network, parent: Link) -> None:
    """CniError where the configuration's is more than the parent's, or less than any link can have."""
    if 0 < network.mtu < _LEAST_MTU:
        problem = f"{network.mtu} is less than the {_LEAST_MTU} that a link must have"
        raise CniError(INVALID_CONFIG, problem, "Leave `mtu` out for the parent's.", path=("mtu",))
    if network.mtu > parent.mtu:
        raise CniError(
            INVALID_CONFIG,
            f"{network.mtu} is more than the {parent.mtu} of {parent.name}",
            f"Leave `mtu` out for the parent's, or raise that: ip link set {parent.name} mtu {network.mtu}",
            path=("mtu",),
        )


# What is there


def _named(names: list[str], rtnl: Rtnl) -> Plan:
    for name in names:
        link = existing(name, rtnl)
        if link:
            return Plan([link], [])
    for name in names:
        vlan = split_vlan(name)
        if vlan:
            _refuse_label(name, rtnl)
            try:
                below = _named([vlan[0]], rtnl)
            except CniError as error:
                if error.code != INVALID_CONFIG:
                    raise
                continue
            return _with_vlan(below, vlan[1], rtnl)
    raise CniError(INVALID_CONFIG, _nobody(names), "`ip link` lists the links of this host.", path=("master",))


def _nobody(names: list[str]) -> str:
    """In words, that there is none of the links."""
    if len(names) > 1:
        return f"there is no link of {', '.join(names)}"
    vlan = split_vlan(names[0])
    below = f", nor one named {vlan[0]} to make VLAN {vlan[1]} on" if vlan else ""
    before, dot, number = names[0].rpartition(".")
    if not vlan and before and dot and number.isdecimal():
        below = f", and {number} is no VLAN's id: these are 1 to 4094"
    return f"there is no link named {names[0]}{below}"


def _refuse_label(name: str, rtnl: Rtnl) -> None:
    """CniError where eth0:1 is no VLAN that somebody means, but how ifconfig calls an address of eth0."""
    if ":" in name and rtnl.addresses(wanted=lambda address: address.label == name):
        link = name.partition(":")[0]
        raise CniError(
            INVALID_CONFIG,
            f"{name} is the label of an address, not a link",
            f"Name the link, {link}; or, if VLAN {name.rpartition(':')[2]} is meant, {name.replace(':', '.')}.",
            path=("master",),
        )


def existing(name: str, rtnl: Rtnl) -> Link | None:
    """By any of its names."""
    return rtnl.link_by_any_name(name) if len(name.encode()) <= LONGEST_ALTERNATIVE and ":" not in name else None


def _with_vlan(below: Plan, number: int, rtnl: Rtnl) -> Plan:
    """The VLAN of a parent by its number, whatever its name; the usual one is looked at first."""
    name = f"{below.missing[-1][0] if below.missing else below.there[-1].name}.{number}"
    parent = below.parent
    if not parent:
        return Plan(below.there, [*below.missing, (name, number)])
    link = rtnl.link(name) if len(name.encode()) <= LONGEST_NAME else None
    if not (link and _is_vlan(link, parent, number)):
        link = next(iter(rtnl.links(lambda link: _is_vlan(link, parent, number))), None)
    return Plan([*below.there, link], []) if link else Plan(below.there, [(name, number)])


def _is_vlan(link: Link, below: Link, number: int) -> bool:
    return (
        link.kind == "vlan"
        and link.parent == below.index
        and link.parent_nsid is None
        and link.number(IFLA_VLAN_ID) == number
    )


def _default_route(rtnl: Rtnl) -> Link:
    for family in (AF_INET, AF_INET6):
        defaults = rtnl.routes_to(
            _DEFAULTS,
            family,
            wanted=lambda route: bool(route.links) and route.table == RT_TABLE_MAIN and route.type == RTN_UNICAST,
        )
        for route in sorted(defaults, key=lambda route: route.priority):
            link = rtnl.link(index=route.links[0])
            if link:
                return link
    raise CniError(
        INVALID_CONFIG,
        "none is given, and there is no default route whose link could be taken",
        'Name the parent in the configuration, as in "master": "eth0".',
        path=("master",),
    )


def own_name(text: str) -> str:
    """The name that a link of ours is made under. Nobody else has such: what a killed ADD left is known by it."""
    return short_name(_OWN_NAMES, text)


def unusable(problem: str, details: str = "") -> CniError:
    return CniError(PARENT_UNUSABLE, problem, details, path=("master",))
