"""Who is on a parent, and what goes with the last of them: VLANs, dummies and host routes of ours.

One parent, one kind: macvlan and ipvlan cannot share a link, passthru shares with nobody, and one ipvlan mode and flag
holds for all of a parent's children, whom the kernel would switch without a word.
"""

from __future__ import annotations

from posix import close, fstat, stat

from cni_core import parent as parents
from cni_core.errors import PARENT_UNUSABLE, CniError
from cni_core.link import temporary_name
from cni_core.netns import OWN, Sandbox
from cni_core.registry import Registry, attachment, is_route
from cni_core.rtnl.messages import del_route
from cni_core.rtnl.socket import Rtnl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cni_core.address import Cidr
    from cni_core.attach import LinkKind
    from cni_core.children import Probe
    from cni_core.request import Request
    from cni_core.rtnl.messages import Link

_PROBE = parents.short_name("cni", "probe")  # beside the parent; in a container it has the name that a DEL looks for


def join(request: Request, kind: LinkKind, host: Rtnl, sandbox: Sandbox, inside: Rtnl) -> tuple[Link, int]:
    """Finds or makes the parent and records that the attachment is on it.

    Returns the parent, and a descriptor to close when the ADD has ended. host is the socket of the parent's namespace.
    CniError PARENT_UNUSABLE where the parent is used as something else, naming by whom.
    """
    with Registry(create=True) as registry:
        try:
            parent = parents.find(request.config, host, create=True)
            key = _key(parent.index, sandbox if request.config.get("linkInContainer") else None)
        except BaseException:
            _remove_orphan(request, registry)
            raise
        try:
            use, recorded = kind.use(request.config), registry.use(key)
            if recorded != use and (recorded or kind.SWITCHES_OTHERS):
                from cni_core.children import Probe  # not for a call to pay for that need not ask

                with Probe(temporary_name(request), parent, host, sandbox.fd, inside) as probe:
                    _settle_use(registry, key, kind, use, recorded, probe)
            return parent, registry.join(request, key, use)
        except BaseException:
            _remove_unused(request, registry, key)
            raise


def add_host_routes(request: Request, parent: Link, subnets: list[Cidr], host: Rtnl) -> None:
    """Makes the host routes of the subnets that are missing, and records that the attachment needs them all.

    CniError ROUTE_CONFLICT, before anything is made.
    """
    from cni_core import hostroutes

    with Registry(create=True) as registry:
        _remove_unused_routes(registry, host)
        messages = hostroutes.missing(subnets, parent, host)
        for subnet in subnets:
            registry.add_route(request, _route_key(parent.index, subnet))
        if messages:
            host.execute(*messages)


def leave(request: Request, *, routed: bool) -> None:
    """Forgets the attachment, and removes what is ours and nobody needs any more.

    routed: the network has host routes, of which some may be left though no record tells.
    """
    _forget(request, lambda registry: [attachment(request)], routed)


def keep_valid(request: Request, *, routed: bool) -> None:
    """Of a GC: the same for the network's attachments that are not in the request's list."""
    valid = {f"{container_id}:{ifname}" for container_id, ifname in request.valid_attachments}
    _forget(request, lambda registry: [name for name in registry.of_network(request.name) if name not in valid], routed)


def refuse_other_use(config: dict[str, Any], kind: LinkKind, parent: Link, host: Rtnl) -> None:
    """CniError PARENT_UNUSABLE where no attachment of the configuration could join a parent of the host now, whoever
    is on it."""
    from cni_core.children import Probe

    with (
        Registry(create=True) as registry,
        Sandbox(OWN, own=True) as home,
        Probe(_PROBE, parent, host, home.fd, host) as probe,
    ):
        key, use = _key(parent.index, None), kind.use(config)
        recorded = registry.use(key)
        if recorded != use and (recorded or kind.SWITCHES_OTHERS):
            _settle_use(registry, key, kind, use, recorded, probe)
        fits = probe.makes("macvlan")
        if kind.SWITCHES_OTHERS:  # those of its own use hinder a macvlan alone
            fits = not fits or probe.makes("ipvlan")
        if not fits:
            raise _refusal(parent, use, "", [])


def _forget(request: Request, names: Callable[[Registry], list[str]], routed: bool) -> None:
    try:
        registry = Registry(create=routed)
    except FileNotFoundError:
        return
    with registry:
        left = [what for name in names(registry) for what in registry.leave(name)]
        if routed or any(is_route(key) for key in left):
            with Rtnl() as host:
                _remove_unused_routes(registry, host)
        for key in left:
            if not is_route(key):
                _remove_unused(request, registry, key)
        _remove_orphan(request, registry)


def _remove_unused_routes(registry: Registry, host: Rtnl) -> None:
    """Removes every host route of ours that no attachment needs: not by the records, nor, should they be lost, by the
    addresses of the links there are.
    """
    from cni_core import hostroutes
    from cni_core.children import children_of

    for route in hostroutes.ours(host):
        index = route.links[0]
        if not registry.users(_route_key(index, route.dst)) and not any(
            address.cidr.address in route.dst
            for link, inside in children_of(index)
            for address in inside.addresses(link.index)
        ):
            host.execute(del_route(route))


def _remove_orphan(request: Request, registry: Registry) -> None:
    """The parent, or of a VLAN of a VLAN the one below, that an ADD made which was killed, or failed, before it could
    record it.
    """
    if not parents.is_made(request.config):
        return
    if not request.config.get("linkInContainer"):
        with Rtnl() as host:
            key = _orphan(request, host, None)
    else:
        try:
            with Sandbox(request.netns) as sandbox, sandbox.rtnl() as inside:
                key = _orphan(request, inside, sandbox)
        except CniError:  # it went with its namespace
            return
    if key:
        _remove_unused(request, registry, key)


def _orphan(request: Request, rtnl: Rtnl, sandbox: Sandbox | None) -> str:
    """Its name in the registry; empty if there is none."""
    try:
        parent: Link | None = parents.look_up(request.config, rtnl)
    except parents.Absent as absent:
        parent = absent.below
    except CniError:
        return ""
    return _key(parent.index, sandbox) if parent else ""


def _remove_unused(request: Request, registry: Registry, key: str) -> None:
    """Removes the parent if it is ours and nothing of anybody's is on it; then likewise the one below."""
    namespace, _, index = key.partition(".")
    home = _home(request, namespace)
    if not home:
        return
    with home, home.rtnl() as rtnl:
        while index != "0" and not registry.use(key):
            parent = rtnl.link(index=int(index))
            if not parent or not parents.is_ours(parent) or _carries_anything(parent, home, rtnl):
                return
            index = str(parents.remove(parent.index, rtnl))
            key = f"{namespace}.{index}"


def _home(request: Request, namespace: str) -> Sandbox | None:
    """The namespace of that inode, if it is our own or the container's; None for one that is gone."""
    if namespace == _own_namespace():
        return Sandbox(OWN, own=True)
    try:
        sandbox = Sandbox(request.netns)
    except CniError:
        return None
    if str(fstat(sandbox.fd).st_ino) == namespace:
        return sandbox
    close(sandbox.fd)
    return None


def is_in_use(parent: Link, host: Rtnl) -> bool:
    """Whether anything of anybody's is on a link of the host."""
    with Sandbox(OWN, own=True) as home:
        return _carries_anything(parent, home, host)


def _carries_anything(parent: Link, home: Sandbox, rtnl: Rtnl) -> bool:
    from cni_core.children import Probe, children_of

    with Probe(_PROBE, parent, rtnl, home.fd, rtnl) as probe:
        if any(link.parent == parent.index and link.parent_nsid is None for link in rtnl.links()):
            return True
        if not (probe.makes("macvlan") and probe.makes("ipvlan")):
            return True
    # A VLAN on it hinders neither.
    return home.path == OWN and any(True for _ in children_of(parent.index))


def _settle_use(registry: Registry, key: str, kind: LinkKind, wanted: str, recorded: str, probe: Probe) -> None:
    """CniError unless the parent is free for this use, which is not the one that is recorded (empty: none is)."""
    if recorded:
        # Where no child is left and none is being made, the records are of containers that died without a DEL.
        if registry.busy(key) or not (probe.makes("macvlan") and probe.makes("ipvlan")):
            raise _refusal(probe.parent, wanted, recorded, registry.users(key))
        for name, _ in registry.users(key):
            registry.leave(name)
    elif not probe.makes("macvlan"):
        from cni_core.children import children_of

        found = {kind.use_of(link) for link, _ in children_of(probe.parent.index) if link.kind == kind.NAME}
        if found != {wanted}:
            raise _refusal(probe.parent, wanted, " and ".join(sorted(found)), [])


def _key(index: int, sandbox: Sandbox | None) -> str:
    """The registry's name of a parent in a container's namespace, or (None) in our own."""
    return f"{fstat(sandbox.fd).st_ino if sandbox else _own_namespace()}.{index}"


def _route_key(parent: int, subnet: Cidr) -> str:
    """The registry's name of a host route."""
    return f"{_key(parent, None)},{str(subnet).replace('/', '_')}"


def _own_namespace() -> str:
    return str(stat(OWN).st_ino)


def _refusal(parent: Link, wanted: str, found: str, users: list[tuple[str, str]]) -> CniError:
    """The error for a parent that is used as something else, by us or (users empty) by somebody else."""
    who = ", ".join(f"{name.replace(':', '/')} of network {network}" for name, network in users)
    return CniError(
        PARENT_UNUSABLE,
        f"master: {parent.name} is in use as {found or 'another kind of link'} by {who or 'somebody else'}: "
        f"{wanted} cannot share it",
        "A parent carries macvlan or ipvlan; of macvlan, passthru shares with nobody; of ipvlan, one mode and flag "
        "holds for all. Use another parent (a VLAN of it will do), or the mode that is there.",
    )
