"""The values of "format" in our schemas, each as what it accepts; for the generated validators and for jsonschema."""

from __future__ import annotations

from _socket import AF_INET6, inet_pton

from cni_core.address import Address, Cidr, parse_mac
from cni_core.names import LONGEST_ALTERNATIVE, LONGEST_NAME, split_vlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ALPHANUMERIC = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_DEEPEST = 8
_SYSCTL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_NAME_CHARACTERS = _ALPHANUMERIC | frozenset("_.-")


def is_cni_name(text: str) -> bool:
    """A network's name or a container's id: alphanumeric first, then also '_', '.', '-' (SPEC.md, sections 1 and 2).

    At most 200 bytes, because both become parts of file names.
    """
    return len(text) <= 200 and text[:1] in _ALPHANUMERIC and text != "" and _NAME_CHARACTERS.issuperset(text)


def is_interface_name(text: str) -> bool:
    """dev_valid_name, net/core/dev.c: 1 to 15 bytes, not '.' or '..', no '/', ':' or white space.

    Nor '%', which makes a name a template, control characters, or 'all' and 'default', which are sysctl's own.
    """
    return is_any_name(text) and len(text.encode("utf-8", "replace")) <= LONGEST_NAME


def is_any_name(text: str) -> bool:
    """The same, or an alternative name, of at most 127 bytes (ALTIFNAMSIZ, linux/if.h)."""
    if not 0 < len(text.encode("utf-8", "replace")) <= LONGEST_ALTERNATIVE or text in (".", "..", "all", "default"):
        return False
    return all(char > " " and char not in "/:%\x7f" and not char.isspace() and char.isprintable() for char in text)


def is_parent_name(text: str) -> bool:
    """Any name of an interface, or that of a VLAN of one (of a VLAN), which may be longer.

    It is no deeper than the kernel stacks links (MAX_NEST_DEV, linux/netdevice.h).
    """
    for _ in range(_DEEPEST):
        if is_any_name(text):
            return True
        vlan = split_vlan(text)
        if not vlan:
            break
        text = vlan[0]
    return False


def is_plugin_name(text: str) -> bool:
    """A file name to look up in CNI_PATH."""
    return "/" not in text and "\\" not in text and "\0" not in text and text not in (".", "..")


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def accepts(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return accepts


def _or_empty(accepts: Callable[[str], bool]) -> Callable[[str], bool]:
    """Go's plugins, whose configurations we take, do not tell an empty text from none."""
    return lambda text: text == "" or accepts(text)


def is_path(text: str) -> bool:
    """What a system call can take as a file's name."""
    return "\0" not in text


def is_link_sysctl(text: str) -> bool:
    """A sysctl of one link, in docker's form: net.ipv4.conf.IFNAME.arp_ignore, IFNAME as it is.

    Its last part is a file's name: below conf/IFNAME and neigh/IFNAME there are no directories.
    """
    parts = text.split(".")
    return (
        len(parts) == 5
        and (parts[0], parts[3]) == ("net", "IFNAME")
        and parts[1] in ("ipv4", "ipv6")
        and parts[2] in ("conf", "neigh")
        and parts[4] != ""
        and _SYSCTL_CHARACTERS.issuperset(parts[4])
    )


def is_optional_token(text: str) -> bool:
    """An IPv6 interface identifier, as in ::77: the first 64 bits are zero (ip-token(8))."""
    if text == "":
        return True
    try:
        return ":" in text and 0 < int.from_bytes(inet_pton(AF_INET6, text), "big") < 1 << 64
    except (OSError, UnicodeError, ValueError):
        return False


is_ip = _parses(Address.parse)
is_cidr = _parses(Cidr.parse)
is_mac = _parses(parse_mac)
is_optional_ip = _or_empty(is_ip)
is_optional_cidr = _or_empty(is_cidr)
is_optional_mac = _or_empty(is_mac)


def is_address(text: str) -> bool:
    """An address asked for, with or without a prefix length."""
    return is_cidr(text) if "/" in text else is_ip(text)


FORMATS: dict[str, tuple[Callable[[str], bool], str]] = {
    "cni-name": (is_cni_name, "a name of letters, digits, '_', '.' and '-' that starts with a letter or digit"),
    "interface-name": (is_interface_name, "an interface name (1 to 15 bytes, no '/', ':', '%' or white space)"),
    "parent-name": (
        is_parent_name,
        "an interface name (1 to 127 bytes, no '/', ':', '%' or white space), or one with a VLAN id from 1 to 4094, "
        "such as eth0.50",
    ),
    "plugin-name": (is_plugin_name, "a plugin's file name"),
    "ip": (is_ip, "an IP address"),
    "cidr": (is_cidr, "an address with a prefix length, such as 10.1.0.0/16"),
    "address": (is_address, "an IP address, with or without a prefix length"),
    "path": (is_path, "a path (no NUL)"),
    "link-sysctl": (
        is_link_sysctl,
        "a sysctl of a link, such as net.ipv4.conf.IFNAME.arp_ignore, with IFNAME as it is",
    ),
    "optional-token": (is_optional_token, "the end of an IPv6 address, of at most 64 bits, such as ::77"),
    "optional-ip": (is_optional_ip, "an IP address"),
    "optional-cidr": (is_optional_cidr, "an address with a prefix length, such as 10.1.0.0/16"),
    "optional-mac": (is_optional_mac, "a hardware address, such as 02:00:00:00:00:01"),
    "mac": (is_mac, "a hardware address, such as 02:00:00:00:00:01"),
}
