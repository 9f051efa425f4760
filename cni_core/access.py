"""The key hostAccess of a network's configuration, as a value; hostaccess.py does what it asks for."""

from __future__ import annotations

from cni_core.address import Address, Cidr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class HostAccess:
    """How the host and its containers reach each other: at which of the host's addresses (none named: those that it has
    on the parent), and what else the containers send to the host (routes).
    """

    __slots__ = ("addresses", "routes")

    def __init__(self, addresses: list[Address], routes: list[Cidr]) -> None:
        self.addresses = addresses
        self.routes = routes

    @classmethod
    def from_json(cls, value: bool | list[str] | dict[str, Any]) -> HostAccess | None:
        """Of the key hostAccess, in any of its forms; None where it asks for nothing."""
        addresses, routes = (value["addresses"], value.get("routes", [])) if isinstance(value, dict) else (value, [])
        if not addresses:
            return None
        named = addresses if isinstance(addresses, list) else []
        return cls([Address.parse(text) for text in named], [Cidr.parse(text).subnet for text in routes])
