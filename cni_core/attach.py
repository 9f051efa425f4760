"""The walk of one call, for both kinds of link: parent, addresses, link, result. The plugins bring their kind and IPAM.

What a step of ADD did is undone, newest first, if a later one fails. DEL takes the same things away in the other order
and is content with what is gone already.
"""

from __future__ import annotations

from posix import close

from cni_core import link as links, occupancy, parent as parents
from cni_core.address import format_mac
from cni_core.errors import (
    CHECK_DIFFERS,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    NOT_AVAILABLE,
    UNKNOWN_CONTAINER,
    CniError,
    Interrupted,
)
from cni_core.netns import Sandbox
from cni_core.result import Interface, Result
from cni_core.rtnl.socket import Rtnl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from cni_core.address import Cidr
    from cni_core.request import Request
    from cni_core.result import IP
    from cni_core.rtnl.messages import Link

    class LinkKind(Protocol):
        """What differs between macvlan and ipvlan."""

        @property
        def NAME(self) -> str:
            """The kernel's and the schema's name of the kind (IFLA_INFO_KIND)."""

        def accepts(self, config: dict[str, Any]) -> bool:
            """Whether the configuration is valid by the kind's schema."""

        @property
        def TAKES_OVER(self) -> bool:
            """Whether a parent and addresses that the configuration leaves out are those of prevResult."""

        @property
        def SWITCHES_OTHERS(self) -> bool:
            """Whether the kernel gives a new link's mode to all others of its parent."""

        def use(self, config: dict[str, Any]) -> str:
            """What a parent is used as: only attachments of equal use can share it."""

        def use_of(self, link: Link) -> str:
            """The use of the parent of a link that is there."""

        def is_routed(self, config: dict[str, Any]) -> bool:
            """Whether packets go by routes alone, so that there are no next hops."""

        def info_data(self, config: dict[str, Any]) -> bytes:
            """The attributes of IFLA_INFO_DATA for a new link."""

        def mac(self, request: Request) -> bytes:
            """The hardware address to give the link; empty for the kernel's choice. CniError."""

        def difference(self, config: dict[str, Any], link: Link) -> str:
            """In words, how a link differs from what the configuration asks for; empty if it does not."""

    class Ipam(Protocol):
        """Where addresses come from."""

        def add(self, request: Request, undo: list[Callable[[], None]]) -> Result:
            """ips, routes and dns for the attachment; appends to undo what takes back all that it did. CniError."""

        def delete(self, request: Request) -> None:
            """Releases all addresses of the attachment; none is no error."""

        def check(self, request: Request) -> None:
            """CniError unless the attachment still holds its addresses."""

        def gc(self, request: Request) -> None:
            """Releases what no valid attachment owns."""

        def status(self, request: Request) -> None:
            """CniError if an add would fail now."""

        def subnets(self, request: Request) -> list[Cidr]:
            """What the network's addresses are from, as far as its configuration tells."""


class Attachments:
    """The plugin of one kind of link (entry.Plugin)."""

    __slots__ = ("_ipam", "_kind", "name", "schema")

    def __init__(self, kind: LinkKind, ipam: Callable[[Request], Ipam]) -> None:
        """ipam chooses by the request's configuration."""
        self._kind = kind
        self._ipam = ipam
        self.name = self.schema = kind.NAME

    def accepts(self, config: dict[str, Any]) -> bool:
        return self._kind.accepts(config)

    def add(self, request: Request) -> Result:
        """Makes the attachment and returns its result, appended to that of the plugins before in the chain."""
        undo: list[Callable[[], None]] = []
        self._complete(request)
        with Sandbox(request.netns) as sandbox, sandbox.rtnl() as inside, _parent_rtnl(request, sandbox) as host:
            try:
                return whole_or_nothing(undo, lambda: self._add(request, undo, host, sandbox, inside))
            except Interrupted:
                # Between two steps there may be more, but not if the attachment was there before.
                if not inside.link(request.ifname):
                    self.delete(request)
                raise

    def _add(
        self, request: Request, undo: list[Callable[[], None]], host: Rtnl, sandbox: Sandbox, inside: Rtnl
    ) -> Result:
        result = request.prev_result or Result()
        links.refuse_existing(request, inside)
        parent, running = occupancy.join(request, self._kind, host, sandbox, inside)
        routed = has_host_routes(self._kind, request.config)
        undo += [lambda: occupancy.leave(request, routed=routed), lambda: close(running)]
        mtu = parents.mtu(request.config, parent)
        addresses = self._take_over(request, result) or self._ipam(request).add(request, undo)
        self._refuse_or_drop_gateways(request, addresses)
        if routed:
            occupancy.add_host_routes(request, parent, self._subnets(request, addresses.ips), host)
        undo.append(lambda: links.remove(request, self._kind, inside))
        link = links.create(request, self._kind, parent, mtu, host, sandbox, inside)
        links.configure(request, link, parent, addresses, sandbox, inside)
        for ip in addresses.ips:
            ip.interface = len(result.interfaces)
        result.interfaces.append(Interface(request.ifname, format_mac(link.mac), link.mtu, request.netns))
        result.ips += addresses.ips
        result.routes += addresses.routes
        result.dns = request.config.get("dns") or addresses.dns or result.dns
        close(running)
        return result

    def _complete(self, request: Request) -> None:
        result = request.prev_result
        if self._kind.TAKES_OVER and result:
            from cni_core import chain

            request.config = chain.with_parent(request, result)

    def _take_over(self, request: Request, result: Result) -> Result | None:
        """The addresses of the chain where the configuration has no IPAM; None where IPAM is to be asked."""
        if not (self._kind.TAKES_OVER and result.ips) or request.ipam.get("type"):
            return None
        from cni_core import chain

        return chain.take_addresses(result)

    def _refuse_or_drop_gateways(self, request: Request, addresses: Result) -> None:
        """Where there is nobody to route, or nobody to be asked for the way, no address has a gateway."""
        internal = request.config.get("internal")
        default = next((route for route in addresses.routes if route.dst.length == 0), None)
        if internal and default:
            raise CniError(
                INVALID_CONFIG,
                f"internal: the network leads nowhere, so it cannot have the default route {default} of ipam.routes",
                "Leave the route out, or `internal`.",
            )
        if internal or self._kind.is_routed(request.config):
            for ip in addresses.ips:
                ip.gateway = None

    def _subnets(self, request: Request, ips: list[IP]) -> list[Cidr]:
        """Those of all ranges, since the next attachment may get its address of another one; and those of the ips."""
        return list(dict.fromkeys(self._ipam(request).subnets(request) + [ip.cidr.subnet for ip in ips]))

    def delete(self, request: Request) -> None:
        """Removes the attachment's link, then its record, then releases its addresses: when nobody can use them."""
        if request.netns:
            try:
                with Sandbox(request.netns) as sandbox, sandbox.rtnl() as inside:
                    links.remove(request, self._kind, inside)
            except CniError as error:
                # Else the link went with its namespace, and what is at the path now (a file that was mounted over, a
                # namespace of the process that has the pid) is not the container's.
                if error.code not in (UNKNOWN_CONTAINER, INVALID_ENVIRONMENT):
                    raise
        occupancy.leave(request, routed=has_host_routes(self._kind, request.config))
        self._ipam(request).delete(request)

    def check(self, request: Request) -> None:
        """CniError with the first difference between the attachment and prevResult."""
        result = request.prev_result
        if result is None:
            raise CniError(INVALID_CONFIG, "prevResult: CHECK needs the result of ADD")
        self._complete(request)
        with Sandbox(request.netns) as sandbox, sandbox.rtnl() as inside, _parent_rtnl(request, sandbox) as host:
            try:
                parent = parents.find(request.config, host)
            except CniError as error:
                raise CniError(CHECK_DIFFERS, error.msg, error.details) from None
            except parents.Absent as absent:
                raise CniError(CHECK_DIFFERS, str(absent)) from None
            links.verify(request, self._kind, parent, result, inside)
            if has_host_routes(self._kind, request.config):
                from cni_core import hostroutes  # not for macvlan to pay for

                hostroutes.verify(self._subnets(request, links.own_ips(request, result)), parent, host)
        self._ipam(request).check(request)

    def gc(self, request: Request) -> None:
        """Takes back what no valid attachment owns; their links went with their namespaces."""
        occupancy.keep_valid(request, routed=has_host_routes(self._kind, request.config))
        self._ipam(request).gc(request)

    def status(self, request: Request) -> None:
        """CniError NOT_AVAILABLE with the reason why an ADD would fail now."""
        try:
            if not request.config.get("linkInContainer"):
                with Rtnl() as host:
                    try:
                        parents.mtu(request.config, parents.find(request.config, host))
                    except parents.Absent:  # an ADD would make it
                        pass
            self._ipam(request).status(request)
        except CniError as error:
            raise CniError(NOT_AVAILABLE, error.msg, error.details) from None


def whole_or_nothing(undo: list[Callable[[], None]], add: Callable[[], Result]) -> Result:
    """What add returns; where it fails, or a signal ends it (Interrupted), what it has appended to undo is done."""
    from cni_core import interrupts  # of ADD alone

    interrupts.catch()
    try:
        result = add()
        interrupts.ignore()
        return result
    except BaseException as error:
        try:
            interrupts.ignore()
        except Interrupted:  # of a signal that came first
            pass
        take_back(undo, error)
        raise


def has_host_routes(kind: LinkKind, config: dict[str, Any]) -> bool:
    """Whether the host's own routes lead to the network's subnets: not to those that only a container knows."""
    elsewhere = config.get("internal") or config.get("linkInContainer")
    return kind.is_routed(config) and not elsewhere and config.get("hostRoutes", True) is True


def take_back(undo: list[Callable[[], None]], error: BaseException) -> None:
    """Undoes what an ADD did, newest first; every step is tried, and what could not be undone the error tells."""
    for step in reversed(undo):
        try:
            step()
        except Exception as failure:
            if isinstance(error, CniError):
                error.details = f"{error.details} Not undone: {failure}.".lstrip()


def _parent_rtnl(request: Request, sandbox: Sandbox) -> Rtnl:
    """A socket in the namespace where the parent is."""
    return sandbox.rtnl() if request.config.get("linkInContainer") else Rtnl()
