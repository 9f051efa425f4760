"""What a link is to have and somebody else has. Errors of their own, since another may do in its place."""

from __future__ import annotations

from cni_core.address import format_mac
from cni_core.errors import DUPLICATE_ADDRESS, PARENT_UNUSABLE, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.address import Address


class Duplicate(CniError):
    """Somebody else has the address: who, in words that fit "in use by …"."""

    def __init__(self, address: Address, who: str, details: str = "") -> None:
        super().__init__(DUPLICATE_ADDRESS, f"address {address} is in use by {who}", details)
        self.address = address
        self.who = who


class HardwareAddressInUse(CniError):
    """On the parent of that name somebody else's link, or the parent, has the hardware address of the new one."""

    def __init__(self, mac: bytes, parent: str, who: str = "", details: str = "") -> None:
        by = f", by {who}" if who else ""
        super().__init__(
            PARENT_UNUSABLE,
            f"the hardware address {format_mac(mac)} is in use on {parent} already{by}",
            details or "Give the container another one, or none.",
        )
        self.mac = mac
