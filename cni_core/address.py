"""IP addresses, prefixes and hardware addresses: their text, their bytes, their arithmetic.

ipaddress costs 7 ms to import, more than a whole call; the C library's inet_pton and inet_ntop do the work here.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_BITS = {AF_INET: 32, AF_INET6: 128}
_MAPPED = 0xFFFF << 32  # ::ffff:0:0/96, IPv4-mapped (RFC 4291, 2.5.5.2)
_HEX = frozenset("0123456789abcdefABCDEF")
_DIGITS = frozenset("0123456789")


class Address:
    """An IPv4 or IPv6 address: family (AF_INET, AF_INET6) and value (an unsigned integer)."""

    __slots__ = ("family", "value")

    def __init__(self, family: int, value: int) -> None:
        self.family = family
        self.value = value

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads the dotted or the colon form, without a zone. ValueError where it is neither.

        An IPv4-mapped IPv6 address is the IPv4 address, as in Go's net.IP.
        """
        family = AF_INET6 if ":" in text else AF_INET
        try:
            value = int.from_bytes(inet_pton(family, text), "big")
        except (OSError, UnicodeError, ValueError):
            raise ValueError(f"{text!r} is not an IP address") from None
        if family == AF_INET6 and value >> 32 == 0xFFFF:
            return cls(AF_INET, value - _MAPPED)
        return cls(family, value)

    @classmethod
    def from_packed(cls, packed: bytes) -> Address:
        """From 4 or 16 bytes in network order, as in netlink attributes."""
        return cls(AF_INET if len(packed) == 4 else AF_INET6, int.from_bytes(packed, "big"))

    @property
    def packed(self) -> bytes:
        return self.value.to_bytes(_BITS[self.family] // 8, "big")

    @property
    def bits(self) -> int:
        return _BITS[self.family]

    def __str__(self) -> str:
        text = inet_ntop(self.family, self.packed)
        if self.family == AF_INET6 and "." in text:
            # glibc writes ::/96 as ::1.2.3.4; Go, ipaddress and so the names of lease files do not.
            return f"{text[: text.rindex(':')]}:{self.value >> 16 & 0xFFFF:x}:{self.value & 0xFFFF:x}"
        return text

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self.family == other.family and self.value == other.value

    def __hash__(self) -> int:
        return hash((self.family, self.value))


class Cidr:
    """An address with the length of its prefix: of an interface (10.1.0.5/16) or, without host bits, a subnet."""

    __slots__ = ("address", "length")

    def __init__(self, address: Address, length: int) -> None:
        self.address = address
        self.length = length

    @classmethod
    def parse(cls, text: str) -> Cidr:
        """Reads ADDRESS/LENGTH; ValueError where it is anything else (a length has no sign and no leading zero)."""
        before, slash, after = text.partition("/")
        address = Address.parse(before)
        if not slash or not after or not _DIGITS.issuperset(after) or (after[0] == "0" and after != "0"):
            raise ValueError(f"{text!r} is not an address with a prefix length")
        if len(after) > 3 or int(after) > address.bits or (":" in before) != (address.family == AF_INET6):
            raise ValueError(f"{text!r} has an impossible prefix length")
        return cls(address, int(after))

    @property
    def family(self) -> int:
        return self.address.family

    @property
    def _host_mask(self) -> int:
        return (1 << (self.address.bits - self.length)) - 1

    @property
    def first(self) -> Address:
        """The subnet's lowest address, with all host bits zero."""
        return Address(self.family, self.address.value & ~self._host_mask)

    @property
    def last(self) -> Address:
        """The subnet's highest address, with all host bits one."""
        return Address(self.family, self.address.value | self._host_mask)

    @property
    def subnet(self) -> Cidr:
        return Cidr(self.first, self.length)

    def __contains__(self, address: Address) -> bool:
        return address.family == self.family and self.first.value <= address.value <= self.last.value

    def overlaps(self, other: Cidr) -> bool:
        return self.first in other or other.first in self

    def __str__(self) -> str:
        return f"{self.address}/{self.length}"

    def __repr__(self) -> str:
        return f"Cidr({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cidr) and self.address == other.address and self.length == other.length

    def __hash__(self) -> int:
        return hash((self.address, self.length))


def is_within(subnet: Cidr, prefixes: Iterable[Cidr]) -> bool:
    """Whether one of the prefixes has all of the subnet."""
    return any(subnet.first in prefix and subnet.length >= prefix.length for prefix in prefixes)


def parse_mac(text: str) -> bytes:
    """Six bytes from aa:bb:cc:dd:ee:ff, aa-bb-cc-dd-ee-ff or aabb.ccdd.eeff, as Go's net.ParseMAC. ValueError."""
    for separator, width in ((":", 2), ("-", 2), (".", 4)):
        groups = text.split(separator)
        if len(groups) * width == 12 and all(len(group) == width and _HEX.issuperset(group) for group in groups):
            return bytes.fromhex("".join(groups))
    raise ValueError(f"{text!r} is not a hardware address of six bytes")


def format_mac(packed: bytes) -> str:
    """aa:bb:cc:dd:ee:ff, as iproute2 and Go write it."""
    return packed.hex(":")
