"""ipvlan behind other plugins of a chain: what its configuration leaves out, it takes from their result, as Go's does.

Those make the host's link and choose the addresses (a cloud's plugin with its secondary network cards, for one), and
ipvlan brings the container onto it.
"""

from __future__ import annotations

from cni_core.errors import INVALID_CONFIG, CniError
from cni_core.result import Result
from cni_core.schema.formats import is_interface_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.network import Network
    from cni_core.request import Request
    from cni_core.result import IP


def take_parent(network: Network, request: Request, result: Result) -> None:
    """Where the network names no parent: it is the one interface of prevResult that is not ours; of several, the one on
    the host. CniError INVALID_CONFIG where that is none or more.
    """
    if network.masters or network.internal:
        return
    others = [item for item in result.interfaces if (item.name, item.sandbox) != (request.ifname, request.netns)]
    if not others:
        return
    found = [item for item in others if not item.sandbox] or others
    if len(found) > 1 or not is_interface_name(found[0].name):
        raise CniError(
            INVALID_CONFIG,
            "none is given, and prevResult has no single interface to take: "
            + ", ".join(repr(item.name) for item in found),
            'Name the parent in the configuration, as in "master": "eth0".',
            path=("master",),
        )
    network.masters = [found[0].name]
    network.link_in_container = network.link_in_container or bool(found[0].sandbox)


def take_addresses(result: Result) -> Result:
    """Takes from a result the addresses that no interface in a container has yet, and with them its routes."""
    count = len(result.interfaces)
    taken: list[IP] = []
    left: list[IP] = []
    for ip in result.ips:
        has_one = ip.interface is not None and ip.interface < count and result.interfaces[ip.interface].sandbox
        (left if has_one else taken).append(ip)
    if not taken:
        return Result()
    result.ips = left
    routes, result.routes = result.routes, []
    return Result(ips=taken, routes=routes, dns=result.dns)
