"""Where addresses come from: nowhere (no `ipam`); host-local, lan-local, podman, in process; a plugin, executed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.contracts import Ipam
    from cni_core.request import Request


def choose(request: Request) -> Ipam:
    """The IPAM of the request's configuration."""
    kind = request.ipam.get("type")
    if not kind:
        from ipam import unaddressed

        return unaddressed
    if kind == "host-local":
        from ipam import host_local

        return host_local
    if kind == "lan-local":
        from ipam import lan_local

        return lan_local
    if kind == "podman":  # as cni_core.netavark calls it
        from ipam import podman

        return podman
    from ipam import delegate

    return delegate
