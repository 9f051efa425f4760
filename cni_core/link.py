"""The container's link: made, configured, removed. What CHECK compares with it is in proof.py.

It is made under a temporary name straight in the container's namespace, then named and brought up in one message: under
its final name (eth0) it would collide with the host's (rtnl_newlink looks there first, net/core/rtnetlink.c). The
temporary name follows from the attachment, so that DEL and the next ADD find what a killed ADD left. It stays as the
link's alias: by that a DEL whose namespace is another container's by now, as a pid's may be, leaves that link alone.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6
from errno import EADDRINUSE, EBUSY, EEXIST, EINVAL, ENODEV, EOPNOTSUPP

from cni_core import sysctl
from cni_core.address import Address, Cidr
from cni_core.errors import CHECK_DIFFERS, INTERFACE_EXISTS, PARENT_UNUSABLE, CniError
from cni_core.names import Attachment, is_link_name
from cni_core.rtnl.messages import (
    RT_TABLE_MAIN,
    RTM_NEWADDR,
    USER_METRIC,
    InterfaceAddress,
    Route,
    announce,
    del_group,
    del_link,
    mark,
    mark_and_raise,
    new_address,
    new_link,
    new_route,
    raise_link,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_core.contracts import LinkKind
    from cni_core.netns import Place
    from cni_core.probe import Question
    from cni_core.result import IP, Result, RouteSpec
    from cni_core.rtnl.messages import Link, Message
    from cni_core.rtnl.socket import Rtnl
    from cni_core.task import Task


KINDS = ("macvlan", "ipvlan")

_LINK_LOCAL = Cidr(Address(AF_INET6, 0xFE80 << 112), 10)  # fe80::/10, on every link


def left_over(task: Task) -> Link | None:
    """What an ADD that was killed while it asked for addresses left under the interface's name: down, with our alias.

    CniError INTERFACE_EXISTS where something else has the name.
    """
    existing = task.container.rtnl.link(task.attachment.ifname)
    if existing and not (
        existing.kind == task.kind.NAME and existing.alias == task.attachment.link_name and not existing.up
    ):
        raise CniError(
            INTERFACE_EXISTS,
            f"CNI_IFNAME: the container already has an interface {existing.name} ({existing.kind or 'physical'})",
            "DEL the attachment that made it first, or choose another name.",
        )
    return existing


def create(task: Task, parent: Link, mtu: int, mac: bytes) -> Link:
    """The new link, down and under its temporary name. mac: empty for the kernel's choice.

    Where another link comes with it (hostaccess.py) both are of the attachment's group, to be removed at once.
    """
    name, kind, inside = task.attachment.link_name, task.kind, task.container.rtnl
    message = new_link(
        name,
        kind.NAME,
        kind.info_data(task.network),
        parent=parent.index,
        netns=task.container.fd,
        mtu=mtu,
        mac=mac,
        group=task.attachment.group if task.network.host_access else 0,
    )
    try:
        try:
            task.home.rtnl.execute(message)
        except CniError as error:
            left = inside.link(name) if error.errno == EEXIST else None
            if not left:
                raise
            inside.execute(del_link(left.index))  # a killed ADD's
            task.home.rtnl.execute(message)
    except CniError as error:
        if error.errno in (EBUSY, EINVAL):
            raise CniError(
                PARENT_UNUSABLE,
                f"{parent.name} is taken by somebody else's link of another kind: "
                f"{kind.use(task.network)} cannot share it",
                "A parent carries macvlan, ipvlan or a bridge, never two of them, and passthru shares with nobody.",
                path=("master",),
            ) from None
        raise
    link = inside.link(name)
    if not link:
        raise CniError(CHECK_DIFFERS, f"the new link {name} vanished from {task.container.path}")
    return link


def name(task: Task, link: Link) -> None:
    """Gives the link its final name, and leaves it down: for an IPAM that looks for it, and may bring it up."""
    task.container.rtnl.execute(mark(link.index, task.attachment.ifname, task.attachment.link_name))
    link.name = task.attachment.ifname


def configure(task: Task, link: Link, parent: Link, result: Result) -> None:
    """Names the link, brings it up, gives it the result's addresses and routes; returns when all of them work.

    CniError: taken.Duplicate where somebody else has an address, taken.HardwareAddressInUse.
    """
    try:
        _configure(task, link, parent, result)
    except CniError as error:
        from cni_core import whose  # not for a call to pay for that all is well with

        raise whose.explained(error, task, parent) from None


def _configure(task: Task, link: Link, parent: Link, result: Result) -> None:
    attachment, inside = task.attachment, task.container.rtnl
    cidrs = [ip.cidr for ip in result.ips]
    ipv4, ipv6 = ([cidr for cidr in cidrs if cidr.family == family] for family in (AF_INET, AF_INET6))
    question = _question(task, link, parent, [cidr.address for cidr in ipv4])
    # The kernel announces the IPv4 addresses that a link has when it comes up, the IPv6 ones at the end of detection.
    messages = [] if question else [new_address(link.index, cidr) for cidr in ipv4]
    messages.append(_raised(task, link))
    if ipv6:
        from cni_core import dad  # for IPv6 alone to pay for

        timers = dad.Timers(task.network.dad or dad.FAST)
        messages += [new_address(link.index, cidr, dad=timers.policy != dad.OFF) for cidr in ipv6]
    last = [new_route(route) for route in _preferred(routes(result.routes, result.ips, link.index), inside)]
    if question:
        last = [*(new_address(link.index, cidr) for cidr in ipv4), announce(link), *last]
    else:
        messages += last
    with task.container.entered():
        # Announce the addresses: neighbours may know them by the hardware address of an earlier container.
        _turn_on(task, link, "ipv4", "arp_notify", sysctl.try_to_write)
        if ipv6:
            for name in ("lo", link.name):
                if sysctl.read("net", "ipv6", "conf", name, "disable_ipv6") != "0":
                    sysctl.write("0", "net", "ipv6", "conf", name, "disable_ipv6")
            _turn_on(task, link, "ipv6", "ndisc_notify", sysctl.try_to_write)
            _turn_on(task, link, "ipv6", "keep_addr_on_down", sysctl.write)
            timers.prepare(link.name)
        if question:
            question.hurry(link.name)
        _execute(task, link, parent, messages)
        if question:
            question.ask()
        if ipv6:
            # Without a carrier detection waits for the cable, and so do the addresses: nothing to wait for here.
            if parent.carrier:
                dad.settle(inside, link.index)
            timers.restore(attachment.ifname)
        if question:
            question.wait()
            question.finish(attachment.ifname)
            _execute(task, link, parent, last)


def _question(task: Task, link: Link, parent: Link, addresses: list[Address]) -> Question | None:
    """What the new link is to ask the LAN before it has its IPv4 addresses; None where there is nothing to ask.

    For a link without a hardware address of its own the parent has asked when this returns. taken.Duplicate.
    """
    if not (addresses and task.network.probes and parent.carrier) or task.kind.is_routed(task.network):
        return None
    from cni_core import probe

    if task.kind.HAS_OWN_MAC:
        return probe.Question(task.container.rtnl, link, addresses, parent)
    probe.refuse_taken(task.home.rtnl, parent, addresses)
    return None


def _turn_on(task: Task, link: Link, family: str, name: str, write: Callable[..., None]) -> None:
    """A sysctl of the link's, unless the configuration says what it is to be."""
    if f"net.{family}.conf.IFNAME.{name}" not in task.network.sysctls:
        write("1", "net", family, "conf", link.name, name)


def _raised(task: Task, link: Link) -> Message:
    """What names the link and brings it up; of one that an IPAM brought up already, what announces its addresses."""
    attachment = task.attachment
    if link.name != attachment.ifname:
        return mark_and_raise(link.index, attachment.ifname, attachment.link_name)
    now = task.container.rtnl.link(index=link.index)
    return announce(link) if now and now.up and task.kind.HAS_OWN_MAC else raise_link(link.index)


def _execute(task: Task, link: Link, parent: Link, messages: list[Message]) -> None:
    """Carries them out in the container. In plain words, where the kernel refuses what somebody else has."""
    try:
        task.container.rtnl.execute(*messages)
    except CniError as error:
        from cni_core import taken

        refused = error.refused
        if refused and refused.kind == RTM_NEWADDR and error.errno == EADDRINUSE:
            raise taken.Duplicate(
                InterfaceAddress(refused.body).cidr.address,
                f"another container on {parent.name}",
                "Give the networks of one parent ranges of their own, or leave that container.",
            ) from None
        if error.errno in (EADDRINUSE, EBUSY):
            raise taken.HardwareAddressInUse(link.mac, parent.name) from None
        raise


def routes(specs: list[RouteSpec], ips: list[IP], index: int) -> list[Route]:
    """A route without a next hop goes by the first gateway of its family; without that, to the link itself.

    A gateway outside of every subnet, as hosting companies have, is on the link: a route of its own leads there first.
    """
    gateways: dict[int, Address] = {}
    for ip in ips:
        if ip.gateway:
            gateways.setdefault(ip.gateway.family, ip.gateway)
    used = {spec.dst.family for spec in specs if not spec.gw}
    apart = [
        gateway
        for family, gateway in gateways.items()
        if family in used and gateway not in _LINK_LOCAL and not any(gateway in ip.cidr for ip in ips)
    ]
    return [Route(Cidr(gateway, gateway.bits), None, [index]) for gateway in apart] + [
        Route(
            spec.dst,
            spec.gw or gateways.get(spec.dst.family),
            [index],
            mtu=spec.mtu or 0,
            advmss=spec.advmss or 0,
            priority=spec.priority or 0,
            table=spec.table,
            scope=spec.scope,
        )
        for spec in specs
    ]


def _preferred(routes: list[Route], inside: Rtnl) -> list[Route]:
    """The IPv6 routes that ask for no metric get one by which they count before what the container has to the same
    destination, as IPv4 routes do without (new_route): the network that came last carries.

    A default route without a metric also counts before those of routers' advertisements, which have 1024 whatever their
    preference (IP6_RT_PRIO_USER, net/ipv6/route.c). Those of one destination here share the packets, as with Go's.
    """
    unranked = [route for route in routes if route.dst.family == AF_INET6 and not route.priority]
    if not unranked:
        return routes
    there: dict[tuple[Cidr, int], int] = {}

    def note(route: Route) -> bool:
        key = (route.dst, route.table or RT_TABLE_MAIN)
        there[key] = min(there.get(key, route.priority), route.priority)
        return False

    inside.routes_to({route.dst for route in unranked}, AF_INET6, wanted=note)
    for route in unranked:
        best = there.get((route.dst, route.table or RT_TABLE_MAIN))
        if best is not None or route.dst.length == 0:
            route.priority = max(min(best or USER_METRIC, USER_METRIC) - 1, 1)
    return routes


def remove(attachment: Attachment, kind: LinkKind, container: Place, recorded: int) -> None:
    """Removes the attachment's link, if it is there under its own or its temporary name. Another kind is not ours.

    recorded: the inode of the namespace that it was made in, by our records; 0 where they do not tell. Another
    namespace is another container's, as at the path of a pid that died. Without a record the alias must do, which the
    container's root can change: one of our form that is not the attachment's is another's.
    """
    if recorded not in (0, container.inode):
        return
    inside = container.rtnl
    # Under the temporary name there may also be what uppers asked by.
    for name, kinds in ((attachment.ifname, (kind.NAME,)), (attachment.link_name, KINDS)):
        link = inside.link(name)
        if link and link.kind in kinds and (recorded or not _is_anothers(link, attachment)):
            try:
                _delete(link, attachment, inside)
            except CniError as error:
                if error.errno != ENODEV:  # else another DEL was faster
                    raise


def _delete(link: Link, attachment: Attachment, inside: Rtnl) -> None:
    """With what is of its group, if it is of the attachment's."""
    if link.group == attachment.group:
        try:
            inside.execute(del_group(link.group))
            return
        except CniError as error:
            if error.errno != EOPNOTSUPP:  # else the container's root put something into it that cannot be deleted
                raise
    inside.execute(del_link(link.index))


def _is_anothers(link: Link, attachment: Attachment) -> bool:
    """By its alias; one without, Go's plugins made."""
    return link.alias != attachment.link_name and is_link_name(link.alias)
