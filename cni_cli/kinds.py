"""The modules of the two kinds of link, as the pipeline takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cni_core.attach import LinkKind


def link_kind(config: dict[str, Any]) -> LinkKind:
    """Of a plugin's configuration."""
    if "ipvlan" in config["type"]:
        from cni_ipvlan_py import link as ipvlan

        return ipvlan
    from cni_macvlan_py import link as macvlan

    return macvlan
