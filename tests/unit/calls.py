"""Configurations and requests as a runtime would send them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cni_core.request import Request

ATTACHMENT = {"CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0"}


def config(**members: Any) -> dict[str, Any]:
    """A macvlan configuration with some of its members given; one that is None is left out."""
    document = {"cniVersion": "1.1.0", "name": "net1", "type": "macvlan"} | members
    return {name: value for name, value in document.items() if value is not None}


def host_local(data_dir: Path | str, *sets: Any, **members: Any) -> dict[str, Any]:
    """An ipam section; a set is its subnet's text, one range, or a list of ranges."""
    return {"type": "host-local", "dataDir": str(data_dir), "ranges": [_range_set(part) for part in sets]} | members


def _range_set(part: Any) -> list[dict[str, Any]]:
    if isinstance(part, str):
        return [{"subnet": part}]
    return [part] if isinstance(part, dict) else part


def request(command: str = "ADD", config: dict[str, Any] | None = None, **environ: str) -> Request:
    """A request of container c1, eth0, where the environment does not say otherwise."""
    return Request(command, ATTACHMENT | environ, config if config is not None else {"name": "net1"})


def attachment(container_id: str, ifname: str = "eth0") -> dict[str, str]:
    """The environment of another container's attachment, for request(**…)."""
    return {"CNI_CONTAINERID": container_id, "CNI_NETNS": f"/run/netns/{container_id}", "CNI_IFNAME": ifname}
