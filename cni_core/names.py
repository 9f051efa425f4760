"""Names: of an attachment in every record, of links that we make, of VLANs. The ground that other modules stand on."""

from __future__ import annotations

LONGEST_NAME = 15  # bytes of a link's name: IFNAMSIZ less its end, linux/if.h
LONGEST_ALTERNATIVE = 127  # of an alternative one: ALTIFNAMSIZ
HOST_ACCESS_PROTOCOL = 194  # by which `ip route` tells the routes of hostaccess.py: of RTPROT_*, nobody else's

_HEX = frozenset("0123456789abcdef")
_LINK = "cni"


class Attachment(tuple[str, str]):
    """The specification's word for what an ADD makes: a container (its id) with an interface (its name there).

    ifname is empty where a lease of before CNI 0.7 names the container alone.
    """

    __slots__ = ()

    def __new__(cls, container_id: str, ifname: str) -> Attachment:
        return tuple.__new__(cls, (container_id, ifname))

    @classmethod
    def from_record(cls, text: str) -> Attachment | None:
        """Of the name of a record; None for a file of another name. Neither part can have a colon in it."""
        container_id, colon, ifname = text.partition(":")
        return cls(container_id, ifname) if colon else None

    @property
    def container_id(self) -> str:
        return self[0]

    @property
    def ifname(self) -> str:
        return self[1]

    @property
    def record(self) -> str:
        """The name of its file in every directory of ours."""
        return f"{self[0]}:{self[1]}"

    @property
    def link_name(self) -> str:
        """The name that its link is made under, and the alias that the link keeps: the same for every call."""
        return short_name(_LINK, f"{self[0]}/{self[1]}")

    @property
    def group(self) -> int:
        """The group (IFLA_GROUP) of its links, where it has several that are to go at once; never 0, which all have."""
        return int(self.link_name[-7:], 16) or 1

    def __str__(self) -> str:
        return f"{self[0]}/{self[1]}"


def is_link_name(text: str) -> bool:
    """Whether it is of the form of Attachment.link_name."""
    return is_short_name(_LINK, text)


def printable(text: str) -> str:
    """For a terminal or a log, with an escape for each character that these would obey, or not show: ESC, BEL, the C1
    controls, line breaks, overrides of the direction of writing; and what was not UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def short_name(prefix: str, text: str) -> str:
    """A link's name for what has a longer one, always the same (FNV-1a: a prefix of three bytes leaves 48 bits)."""
    return f"{prefix}{fnv1a(text):016x}"[:LONGEST_NAME]


def fnv1a(text: str) -> int:
    """A hash of 64 bits that is the same everywhere: of a text, which may hold bytes that are no UTF-8."""
    digest = 0xCBF29CE484222325
    for byte in text.encode("utf-8", "surrogateescape"):
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return digest


def is_short_name(prefix: str, text: str) -> bool:
    """Whether short_name can have made it."""
    return len(text) == LONGEST_NAME and text.startswith(prefix) and _HEX.issuperset(text[len(prefix) :])


def split_vlan(name: str) -> tuple[str, int] | None:
    """Of eth0.50 or eth0:50, the link below and the id; None of a name that has none, or one that is no VLAN's.

    802.1Q's ids are 1 to 4094.
    """
    at = max(name.rfind("."), name.rfind(":"))
    below, digits = name[:at], name[at + 1 :]
    if at < 1 or not (digits.isascii() and digits.isdecimal()) or digits[0] == "0" or len(digits) > 4:
        return None
    return (below, int(digits)) if int(digits) < 4095 else None
