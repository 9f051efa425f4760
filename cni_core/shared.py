"""What many attachments need and what goes with the last of them: a parent that we made, a host route.

The records (cni_core.records) tell who needs what, by a key: str() of the shared thing, which is read back by parse. It
is removed when no attachment needs it, if it is ours, and nothing of anybody's is on it.
"""

from __future__ import annotations

from cni_core import parent as parents
from cni_core.address import Cidr
from cni_core.errors import CniError
from cni_core.names import Attachment, short_name
from cni_core.records import Records
from cni_core.rtnl.messages import del_route, new_route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from cni_core.contracts import LinkKind
    from cni_core.netns import Place
    from cni_core.network import Network
    from cni_core.records import Record
    from cni_core.rtnl.messages import InterfaceAddress, Link, Route
    from cni_core.task import Task
    from cni_core.undo import Steps

_NOBODY = Attachment("", "")
_ASKING = short_name("cni", "probe")  # of links beside the parent; in a container they have the attachment's name


def parent_key(namespace: int, index: int) -> str:
    """Of a parent, in the records: "NAMESPACE.INDEX", the inode of its network namespace and the link's index there."""
    return f"{namespace}.{index}"


def route_key(parent: str, subnet: Cidr) -> str:
    """Of a host route: its parent's key, and the subnet with "_" for its "/", as in "4026531840.2,10.8.1.0_24"."""
    return f"{parent},{str(subnet).replace('/', '_')}"


def has_host_routes(kind: LinkKind, network: Network) -> bool:
    """Whether the host's own routes lead to the network's subnets: not to those that only a container knows."""
    elsewhere = network.internal or network.link_in_container
    return kind.is_routed(network) and not elsewhere and network.host_routes is not False


# An ADD


def join(task: Task, steps: Steps) -> tuple[Link, int]:
    """Finds or makes the parent and records that the attachment is on it.

    Returns the parent, and a descriptor to close when the ADD has ended. CniError PARENT_UNUSABLE where the parent is
    used as something else, naming by whom.
    """
    network, attachment, home = task.network, task.attachment, task.home
    with Records(create=True) as records:
        plan = parents.plan(network, home.rtnl)
        parents.refuse_unusable(plan, home.rtnl)
        parents.refuse_forbidden(plan, network, task.kind, home.rtnl)
        parent = plan.parent
        if not parent or plan.is_unfinished:
            from cni_core.making import make  # not for a call to pay for whose parent is there

            parent = steps.take(
                "make the parent",
                lambda: make(plan, home),
                lambda: _remove_orphan(network, task.host, task.container),
            )
        parent = parents.carrier_of(parent, task.kind, home.rtnl)
        key = parent_key(home.inode, parent.index)
        _claim(task, parent, key, records)
        before = records.of(attachment)

        inside = task.container
        running = steps.take(
            "record the attachment",
            lambda: records.join(
                attachment, network.name, inside.inode, key, task.kind.use(network), inside.cookie, inside.path
            ),
            lambda: _restore(task, before),
        )
        return parent, running


def add_host_routes(task: Task, steps: Steps, parent: Link, subnets: list[Cidr]) -> None:
    """Makes the host routes of the subnets that are missing, and records that the attachment needs them all.

    Where the configuration does not ask for them (hostRoutes), only those that are in nobody's way; else CniError
    ROUTE_CONFLICT, before anything is made.
    """
    from cni_core import hostroutes  # not for macvlan to pay for

    attachment, network, host = task.attachment, task.network, task.host
    hostroutes.refuse_too_many(subnets)
    with Records(create=True) as records:
        remove_unused_routes(records, host)
        routes = hostroutes.main_table(host.rtnl, subnets)
        if network.host_routes:
            hostroutes.refuse_conflicts(subnets, parent, routes, host.rtnl)
        in_the_way = hostroutes.conflicts(subnets, parent, routes, host.rtnl)
        wanted = [subnet for subnet in subnets if subnet not in in_the_way]
        key, before = parent_key(host.inode, parent.index), records.of(attachment)

        def make() -> None:
            needed = [route_key(key, subnet) for subnet in wanted]
            records.add(attachment, network.name, task.container.inode, needed)
            messages = [new_route(route, beside=False) for route in hostroutes.missing(wanted, parent, routes)]
            if messages and parent.up:  # else the kernel takes none (ENETDOWN); the next ADD makes them
                host.rtnl.execute(*messages)

        steps.take("make the host routes", make, lambda: _restore(task, before))


def recorded_subnets(task: Task, parent: Link, subnets: list[Cidr]) -> list[Cidr]:
    """Those to which the attachment has host routes, by the records: none of what Go's plugins attached."""
    try:
        with Records(create=False) as records:
            record = records.of(task.attachment)
    except FileNotFoundError:
        return []
    key, used = parent_key(task.host.inode, parent.index), set(record.used if record else ())
    return [subnet for subnet in subnets if route_key(key, subnet) in used]


def _restore(task: Task, before: Record | None) -> None:
    """Makes the attachment's record what it was before this ADD, and removes what nobody needs without it."""
    routed = has_host_routes(task.kind, task.network)
    with Records(create=True) as records:
        left = records.restore(task.attachment, before)
        _remove(left, records, task.network, task.host, task.container, routed=routed)


def _claim(task: Task, parent: Link, key: str, records: Records) -> None:
    """CniError PARENT_UNUSABLE unless the network may use the parent now; forgets attachments that are dead."""
    recorded = records.use(key)
    if is_evident(task.kind, task.network, recorded) and not (
        # The kernel would not refuse it: where all that are recorded died, the link there may be somebody else's.
        recorded and task.kind.SWITCHES_OTHERS and not records.has_living(key, task.attachment)
    ):
        return
    from cni_core.claims import Claim  # not for a call to pay for that need not ask
    from cni_core.uppers import Uppers

    claim = Claim(task.kind, task.network, key, records, task.attachment)
    with Uppers(parent, task.home, task.attachment.link_name, task.container) as uppers:
        for dead in claim.settle(uppers, lambda: _on(parent, task.home, task.host)):
            records.leave(dead)


def is_evident(kind: LinkKind, network: Network, recorded: str) -> bool:
    """Whether a network may use a parent by what is recorded of it alone, so that the kernel need not be asked."""
    if recorded == kind.use(network):
        return not kind.is_exclusive(network)
    return not (recorded or kind.SWITCHES_OTHERS)


def _on(parent: Link, home: Place, host: Place) -> Iterator[Link]:
    """The links on a parent, those beside it first."""
    from cni_core.uppers import elsewhere

    yield from _beside(parent, home)
    yield from (link for link, _ in elsewhere(parent.index, host))


def _beside(parent: Link, home: Place) -> list[Link]:
    """The links on a parent in its own namespace."""
    return home.rtnl.links(lambda link: link.parent == parent.index and link.parent_nsid is None)


# The end of attachments


def recorded_namespace(attachment: Attachment) -> int:
    """The inode of the network namespace that an ADD attached; 0 where no record tells."""
    try:
        with Records(create=False) as records:
            record = records.of(attachment)
    except FileNotFoundError:
        return 0
    return record.namespace if record else 0


def leave(
    attachments: Callable[[Records], Iterable[Attachment]],
    network: Network,
    host: Place,
    container: Place | None,
    *,
    routed: bool,
) -> None:
    """Forgets attachments of a network, and removes what is ours and nobody needs any more.

    routed: the network has host routes, of which some may be left though no record tells.
    """
    try:
        records = Records(create=routed)
    except FileNotFoundError:
        return
    with records:
        left = [key for attachment in attachments(records) for key in records.leave(attachment)]
        _remove(left, records, network, host, container, routed=routed)


def _remove(
    keys: list[str], records: Records, network: Network, host: Place, container: Place | None, *, routed: bool
) -> None:
    """Removes the shared things of those keys, which nobody needs any more, and a parent that nobody recorded."""
    if routed or any("," in key for key in keys):
        # All at once: with those of the keys go others that nobody needs, of which a record may have been lost.
        remove_unused_routes(records, host)
    for key in keys:
        namespace, _, index = key.partition(".")
        if namespace.isdigit() and index.isdigit():
            _remove_unused_parents(int(namespace), int(index), records, host, container)
    _remove_unrecorded_parent(records, network, host, container)


def _remove_unused_parents(namespace: int, index: int, records: Records, host: Place, container: Place | None) -> None:
    """Removes the parent of that key if it is ours and nothing of anybody's is on it; then likewise the one below."""
    home = next((place for place in (host, container) if place and place.inode == namespace), None)
    while home and index and not records.use(parent_key(namespace, index)):
        parent = home.rtnl.link(index=index)
        if not parent or not parents.is_ours(parent) or carries_anything(parent, home):
            return
        index = parents.remove(parent.index, home.rtnl)


def remove_unused_routes(records: Records, host: Place) -> None:
    """Removes every host route of ours that no attachment needs: not by the records, nor, should they be lost, by the
    addresses of the links there are.
    """
    from cni_core import hostroutes

    unused: dict[int, dict[Cidr, Route]] = {}  # by the parent's index and the subnet
    for route in hostroutes.ours(hostroutes.main_table(host.rtnl)):
        key = route_key(parent_key(host.inode, route.links[0]), route.dst)
        if not records.is_used(key):
            unused.setdefault(route.links[0], {})[route.dst] = route
    for parent, routes in unused.items():
        needed = _addressed(routes, parent, host)
        host.rtnl.execute(*[del_route(route) for subnet, route in routes.items() if subnet not in needed])


def _addressed(subnets: Collection[Cidr], parent: int, host: Place) -> set[Cidr]:
    """Those of the subnets in which a link on the parent of that index has an address, in whatever namespace."""
    from cni_core.uppers import elsewhere

    lengths = {(subnet.family, subnet.length) for subnet in subnets}
    found: set[Cidr] = set()

    def note(address: InterfaceAddress) -> bool:
        cidr = address.cidr
        around = [Cidr(cidr.address, length).subnet for family, length in lengths if family == cidr.family]
        found.update(subnet for subnet in around if subnet in subnets)
        return False  # a container has as many as its root likes

    for link, place in elsewhere(parent, host):
        place.rtnl.addresses(link.index, note)
    return found


def _remove_orphan(network: Network, host: Place, container: Place | None) -> None:
    with Records(create=True) as records:
        _remove_unrecorded_parent(records, network, host, container)


def _remove_unrecorded_parent(records: Records, network: Network, host: Place, container: Place | None) -> None:
    """Removes the parent, or of a VLAN of a VLAN the one below, that an ADD made which was killed, or failed, before it
    could record it.
    """
    home = container if network.link_in_container else host
    if not network.may_make_its_parent or not home:  # without a home it went with its namespace
        return
    try:
        lower = parents.plan(network, home.rtnl).lower
    except CniError:
        return
    if lower:
        _remove_unused_parents(home.inode, lower.index, records, host, container)


# STATUS, and for people


def has_attachments(network: Network) -> bool:
    try:
        with Records(create=False) as records:
            return bool(records.of_network(network.name))
    except FileNotFoundError:  # nothing since the boot
        return False


def refuse_other_use(kind: LinkKind, network: Network, parent: Link, host: Place) -> None:
    """CniError PARENT_UNUSABLE where no attachment of the network could join a parent of the host now, whoever is on
    it.
    """
    from cni_core.claims import Claim
    from cni_core.uppers import Uppers

    parent = parents.carrier_of(parent, kind, host.rtnl)
    with Records(create=True) as records, Uppers(parent, host, _ASKING, host) as uppers:
        key = parent_key(host.inode, parent.index)
        claim = Claim(kind, network, key, records, _NOBODY)
        if not is_evident(kind, network, records.use(key)):
            claim.settle(uppers, lambda: _on(parent, host, host))
        claim.refuse_newcomer(uppers)


def carries_anything(parent: Link, home: Place) -> bool:
    """Whether anything of anybody's is on a link of a place."""
    from cni_core.uppers import Uppers, elsewhere

    with Uppers(parent, home, _ASKING, home) as uppers:
        if _beside(parent, home):
            return True
        if not uppers.are_none:
            return True
    # A VLAN on it hinders neither.
    return home.is_host and any(True for _ in elsewhere(parent.index, home))
