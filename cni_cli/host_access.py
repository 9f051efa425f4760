"""What `doctor` finds of host access: addresses and routes that changed since the containers were attached."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6
from collections.abc import Iterator

from cni_cli.kernel import Kernel, Route
from cni_core.hostaccess import host_end
from cni_core.names import HOST_ACCESS_PROTOCOL, Attachment

ANEW = "Containers reach the host at the address that it had; start this one anew."


def findings(attachment: Attachment, kernel: Kernel) -> Iterator[tuple[str, str]]:
    """(what is wrong, what to do about it) of an attachment that the host reaches by a pair of links; nothing of one
    that has none.
    """
    end = kernel.link(host_end(attachment))
    if not end:
        return
    routes = [route for family in (AF_INET, AF_INET6) for route in kernel.routes(family)]
    ours = [route for route in routes if route.protocol == HOST_ACCESS_PROTOCOL and route.links == (end.index,)]
    for dst in dict.fromkeys(route.dst for route in ours):
        own = min((route for route in ours if route.dst == dst), key=lambda route: route.priority)
        others = [route for route in routes if route.dst == dst and route.links != (end.index,)]
        before = next((route for route in others if route.priority <= own.priority), None)
        if before:
            link = kernel.link(index=before.links[0]) if before.links else None
            way = f" dev {link.name}" if link else ""
            yield f"another route to {attachment} counts before ours: {before}{way}", f"ip route del {before}{way}"
        elif not any(_speaks(route) for route in ours if route.dst == dst):
            yield f"the host no longer has the address at which {attachment} reaches it", ANEW


def _speaks(route: Route) -> bool:
    """Whether it still says which address to speak from: an IPv4 one goes with the address, an IPv6 one forgets it."""
    return route.source is not None
