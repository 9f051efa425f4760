"""Who is attached, by the records that the plugins keep since the boot."""

from __future__ import annotations

from cni_core.registry import Registry


def attached(network: str) -> list[tuple[str, str]]:
    """(container, interface) of each attachment of a network."""
    try:
        with Registry(create=False) as registry:
            names = sorted(registry.of_network(network))
    except FileNotFoundError:  # nothing since the boot
        return []
    return [(container, ifname) for container, _, ifname in (name.rpartition(":") for name in names)]
