"""The walk of one call, for both kinds of link: claim the parent, make the link, ask for addresses, configure, tell.

    runtime ──env, stdin──▶ Request ──▶ claim the parent ──▶ make the link ──▶ addresses ──▶ configure ──▶ Result
                            Network     shared.join          link.create       Ipam.add     link.configure

What ADD does are steps (cni_core.undo), taken back newest first if a later one fails. DEL takes the same things away in
the other order, and is content with what is gone already.
"""

from __future__ import annotations

from _socket import AF_INET6
from posix import close, write

from cni_core import link as links, parent as parents, shared
from cni_core.address import format_mac
from cni_core.errors import (
    CHECK_DIFFERS,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    LIMITED_CONNECTIVITY,
    NOT_AVAILABLE,
    UNKNOWN_CONTAINER,
    CniError,
)
from cni_core.names import printable
from cni_core.netns import Place
from cni_core.network import Network
from cni_core.result import Interface, Result
from cni_core.task import Task
from cni_core.undo import whole_or_nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from cni_core.address import Address, Cidr
    from cni_core.contracts import Ipam, LinkKind
    from cni_core.hostaccess import Access
    from cni_core.request import Request
    from cni_core.result import IP
    from cni_core.rtnl.messages import Link
    from cni_core.undo import Steps


_LEAST_MTU_OF_IPV6 = 1280
_MOST_ADDRESSES = 10_000  # of a link: for each new one the kernel looks through all (__inet_insert_ifa)


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
        network = self._network(request)
        with Place.host() as host, host.container(request.netns, own=request.own_netns) as container:
            task = Task(request.attachment, network, self._kind, host, container)
            return whole_or_nothing(lambda steps: self._add(request, task, steps))

    def _add(self, request: Request, task: Task, steps: Steps) -> Result:
        left = links.left_over(task)
        parent, running = shared.join(task, steps)
        try:
            if left:  # and by now it is known that no other ADD of the attachment runs
                links.remove(task.attachment, self._kind, task.container, task.container.inode)
            if not task.network.probes:
                return self._attach(request, task, steps, parent, {})
            from cni_core import probe

            return probe.until_free(
                lambda taken: self._attach(request, task, steps, parent, taken),
                steps,
                lambda address: self._may_change(request, address),
                _say,
            )
        finally:
            close(running)

    def _may_change(self, request: Request, address: Address) -> bool:
        """Whether another address will do, and host-local is there to be asked for it."""
        return bool(request.ipam.get("type")) and not self._ipam(request).NEEDS_LINK and address not in request.ips

    def _attach(self, request: Request, task: Task, steps: Steps, parent: Link, taken: Mapping[Address, str]) -> Result:
        """With the hardware address that is asked for; without one the kernel chooses it, or it is a stable one.

        taken: addresses that others on the LAN turned out to have, each with who.
        """
        mac, network = self._kind.mac(request, task.network), task.network
        if mac or not network.mac_is_stable or not self._kind.HAS_OWN_MAC or self._kind.is_exclusive(network):
            return self._attach_as(mac, request, task, steps, parent, taken)
        from cni_core import stable

        return stable.with_free_mac(
            lambda mac: self._attach_as(mac, request, task, steps, parent, taken), request, steps, _say
        )

    def _attach_as(
        self, mac: bytes, request: Request, task: Task, steps: Steps, parent: Link, taken: Mapping[Address, str]
    ) -> Result:
        network, result = task.network, request.prev_result or Result()
        parents.refuse_mtu(network, parent)
        mtu = parents.mtu(network, parent)
        access = _access(task, parent)
        link = steps.take(
            "make the link",
            lambda: links.create(task, parent, mtu, mac),
            lambda: links.remove(request.attachment, self._kind, task.container, task.container.inode),
        )
        if network.is_tuned:
            from cni_core import tuning

            tuning.tune(task, link)
        addresses = self._take_over(request, result) or self._ask(request, task, steps, link, parent, taken)
        _refuse_too_many(addresses)
        if network.is_tuned:
            tuning.refuse_ipv6(network, addresses)
        self._refuse_or_drop_gateways(network, addresses)
        if shared.has_host_routes(self._kind, network):
            shared.add_host_routes(task, steps, parent, self._subnets(request, addresses.ips))
        _refuse_ipv6_on_too_little(link, addresses)
        links.configure(task, link, parent, addresses)
        for ip in addresses.ips:
            ip.interface = len(result.interfaces)
        result.interfaces.append(Interface(request.ifname, format_mac(link.mac), link.mtu, request.netns))
        if access:
            result.interfaces += access.connect(steps, link, parent, addresses.ips)
        result.ips += addresses.ips
        result.routes += addresses.routes
        result.dns = network.dns or addresses.dns or result.dns
        if parent.kind == "vlan":
            from cni_core import bridges  # not for other parents to pay for

            dropped = bridges.dropped(parent, task.home.rtnl)
            if dropped:
                _say(": ".join(dropped))
        if not parent.carrier:
            _say(
                f"{parent.name} {'has no carrier' if parent.up else 'is down'}: {request.ifname} works when it comes up"
            )
        return result

    def _ask(
        self, request: Request, task: Task, steps: Steps, link: Link, parent: Link, taken: Mapping[Address, str]
    ) -> Result:
        ipam = self._ipam(request)
        if ipam.NEEDS_LINK:
            links.name(task, link)
        refused: dict[Address, str] = {}
        if task.home.is_host and request.ipam.get("type"):
            from cni_core import hostsown  # not for a link without addresses to pay for

            refused = hostsown.needed(parent, task.home.rtnl)
        refused.update(taken)
        return ipam.add(request, steps, refused)

    def _network(self, request: Request) -> Network:
        """The configuration, with what it leaves to the plugins before in the chain."""
        network = Network(request.config)
        result = request.prev_result if self._kind.TAKES_OVER else None
        if result:
            from cni_core import chain  # not for a call to pay for that is the first of its chain

            chain.take_parent(network, request, result)
        return network

    def _network_to_leave(self, request: Request) -> Network:
        """The same, for what takes back, whatever the chain has become meanwhile."""
        try:
            return self._network(request)
        except CniError:
            return Network(request.config)

    def _take_over(self, request: Request, result: Result) -> Result | None:
        """The addresses of the chain where the configuration has no IPAM; None where IPAM is to be asked."""
        if not (self._kind.TAKES_OVER and result.ips) or request.ipam.get("type"):
            return None
        from cni_core import chain

        return chain.take_addresses(result)

    def _refuse_or_drop_gateways(self, network: Network, addresses: Result) -> None:
        """Where there is nobody to route, or nobody to be asked for the way, no address has a gateway."""
        default = next((route for route in addresses.routes if route.dst.length == 0), None)
        if network.internal and default:
            raise CniError(
                INVALID_CONFIG,
                f"the network leads nowhere, so it cannot have the default route {default} of ipam.routes",
                "Leave the route out, or `internal`.",
                path=("internal",),
            )
        if network.internal or self._kind.is_routed(network):
            for ip in addresses.ips:
                ip.gateway = None

    def _subnets(self, request: Request, ips: list[IP]) -> list[Cidr]:
        """Those of all ranges, since the next attachment may get its address of another one; and those of the ips."""
        return list(dict.fromkeys(self._ipam(request).subnets(request) + [ip.cidr.subnet for ip in ips]))

    def delete(self, request: Request) -> None:
        """Removes the attachment's link, then its record, then releases its addresses: when nobody can use them.

        An IPAM that needs the link gives them back first; where that or the records fail, all else goes nevertheless.
        """
        network, ipam, failure = self._network_to_leave(request), self._ipam(request), None
        with Place.host() as host:
            container = _container_if_there(request, host)
            try:
                if ipam.NEEDS_LINK:
                    try:
                        ipam.delete(request)
                    except CniError as error:
                        failure = error
                if container:
                    recorded = 0
                    try:
                        recorded = shared.recorded_namespace(request.attachment)
                    except CniError as error:
                        failure = error
                    links.remove(request.attachment, self._kind, container, recorded)
                    if network.host_access:
                        from cni_core import hostaccess

                        hostaccess.remove(request.attachment, host)  # what did not go with the link
                routed = shared.has_host_routes(self._kind, network)
                try:
                    shared.leave(lambda _: [request.attachment], network, host, container, routed=routed)
                except CniError as error:  # the link is gone, so the addresses can go
                    failure = error
            finally:
                if container:
                    container.close()
        if not ipam.NEEDS_LINK:
            ipam.delete(request)
        if failure:
            raise failure

    def check(self, request: Request) -> None:
        """CniError with the first difference between the attachment and prevResult."""
        result = request.prev_result
        if result is None:
            raise CniError(INVALID_CONFIG, "CHECK needs the result of ADD", path=("prevResult",))
        network = self._network(request)
        with Place.host() as host, host.container(request.netns, own=request.own_netns) as container:
            task = Task(request.attachment, network, self._kind, host, container)
            try:
                plan = parents.plan(network, task.home.rtnl)
                parents.refuse_unusable(plan, task.home.rtnl)
            except CniError as error:
                raise CniError(CHECK_DIFFERS, error.problem, error.details, path=error.path) from None
            if not plan.parent:
                raise CniError(CHECK_DIFFERS, plan.absent)
            from cni_core import proof  # not for an ADD to pay for

            proof.verify(task, plan.parent, result)
            if network.host_access:
                from cni_core import hostaccess

                hostaccess.verify(task, result, proof.own_ips(task, result))
            if shared.has_host_routes(self._kind, network):
                from cni_core import hostroutes  # not for macvlan to pay for

                own = self._subnets(request, proof.own_ips(task, result))
                subnets = shared.recorded_subnets(task, plan.parent, own)
                hostroutes.verify(subnets, plan.parent, hostroutes.main_table(host.rtnl, subnets))
        self._ipam(request).check(request)

    def gc(self, request: Request) -> None:
        """Takes back what no valid attachment owns; their links went with their namespaces."""
        network, valid = self._network_to_leave(request), request.valid_attachments
        with Place.host() as host:
            shared.leave(
                lambda records: [found for found in records.of_network(network.name) if found not in valid],
                network,
                host,
                None,
                routed=shared.has_host_routes(self._kind, network),
            )
        self._ipam(request).gc(request)

    def status(self, request: Request) -> None:
        """CniError NOT_AVAILABLE with the reason why an ADD would fail now; LIMITED_CONNECTIVITY where those
        that are attached may suffer, too.
        """
        network = self._network(request)
        try:
            # Behind others of a chain it is told its parent at ADD.
            of_the_chain = self._kind.TAKES_OVER and not (network.masters or network.internal or network.ipam)
            if not network.link_in_container and not of_the_chain:
                with Place.host() as host:
                    plan = self._usable(network, host)
                    parents.refuse_forbidden(plan, network, self._kind, host.rtnl)
                    if plan.parent:  # else an ADD would make it
                        parents.refuse_mtu(network, plan.parent)
            self._ipam(request).status(request)
        except CniError as error:
            code = LIMITED_CONNECTIVITY if error.code == LIMITED_CONNECTIVITY else NOT_AVAILABLE
            raise CniError(code, error.problem, error.details, path=error.path) from None

    def _usable(self, network: Network, host: Place) -> parents.Plan:
        """CniError where it is not: LIMITED_CONNECTIVITY if containers are attached, whose parent is gone, too."""
        try:
            plan = parents.plan(network, host.rtnl)
            parents.refuse_unusable(plan, host.rtnl)
        except CniError as error:
            if not shared.has_attachments(network):
                raise
            raise CniError(LIMITED_CONNECTIVITY, error.problem, error.details, path=error.path) from None
        return plan


def _refuse_ipv6_on_too_little(link: Link, addresses: Result) -> None:
    """CniError where the kernel has no IPv6 on the link, as of an MTU of less than 1280 (RFC 8200, 5)."""
    if link.mtu < _LEAST_MTU_OF_IPV6 and any(ip.cidr.family == AF_INET6 for ip in addresses.ips):
        problem = f"{link.mtu} is less than the {_LEAST_MTU_OF_IPV6} that IPv6 needs"
        raise CniError(INVALID_CONFIG, problem, "Raise it, or leave IPv6 out.", path=("mtu",))


def _refuse_too_many(addresses: Result) -> None:
    """CniError where an IPAM plugin, or the chain, gives a link more than it can bear."""
    if len(addresses.ips) > _MOST_ADDRESSES:
        problem = f"{len(addresses.ips):,} addresses are too many for a link: {_MOST_ADDRESSES:,} are the most"
        raise CniError(INVALID_CONFIG, problem, path=("ipam",))


def _access(task: Task, parent: Link) -> Access | None:
    """How host and container are to reach each other, where the network asks for it. CniError."""
    if not task.network.host_access:
        return None
    from cni_core.hostaccess import Access  # not for other networks to pay for

    return Access(task, parent)


def _say(remark: str) -> None:
    """On stderr, which runtimes log (SPEC.md, section 4)."""
    try:
        write(2, f"{printable(remark)}\n".encode())
    except OSError:  # nobody listens
        pass


def _container_if_there(request: Request, host: Place) -> Place | None:
    """The container's namespace, for a DEL; None where there is none.

    Then the link went with its namespace, and what is at the path now (a file that was mounted over, a namespace of the
    process that has the pid) is not the container's.
    """
    if not request.netns:
        return None
    try:
        return host.container(request.netns, own=request.own_netns)
    except CniError as error:
        if error.code not in (UNKNOWN_CONTAINER, INVALID_ENVIRONMENT):
            raise
        return None
