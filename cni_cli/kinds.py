"""The modules of the two kinds of link, as the pipeline takes them, and its requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cni_core.config import LATEST
from cni_core.request import Request

if TYPE_CHECKING:
    from cni_core.contracts import LinkKind
    from cni_core.names import Attachment


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


def request_of(config: dict[str, Any], valid: Iterable[Attachment] = ()) -> Request:
    """A GC for which these attachments are valid. Of none: what there is of the network, for who asks for all of it."""
    attachments = [{"containerID": one.container_id, "ifname": one.ifname} for one in valid]
    return Request("GC", {}, config | {"cniVersion": LATEST, "cni.dev/valid-attachments": attachments})
