"""The modules of the two kinds of link, as the pipeline takes them, and its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cni_core.config import LATEST
from cni_core.request import Request

if TYPE_CHECKING:
    from cni_core.contracts import LinkKind


def link_kind(config: dict[str, Any]) -> LinkKind:
    """Of a plugin's configuration."""
    if "ipvlan" in config["type"]:
        from cni_ipvlan_py import link as ipvlan

        return ipvlan
    from cni_macvlan_py import link as macvlan

    return macvlan


def has_leases(config: dict[str, Any]) -> bool:
    """Whether its addresses are of ranges that it names, and leased here."""
    return (config.get("ipam") or {}).get("type") in ("host-local", "lan-local")


def request_of(config: dict[str, Any]) -> Request:
    """A GC for which no attachment is valid: what there is of the network, for whoever asks for all of it."""
    return Request("GC", {}, config | {"cniVersion": LATEST, "cni.dev/valid-attachments": []})
