"""What `podman network create -o NAME=VALUE` can say, as keys of the configuration (docs/configuration.md).

The names are those of `network create` and of the configuration, and two that netavark's own macvlan has. Values
are text to podman: here is which of them are numbers, lists or switches; the schema judges what they are then.
"""

from __future__ import annotations

from cni_core.errors import INVALID_CONFIG, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Key = tuple[str, ...]

# Of the options that are no keys of the configuration, but of its default routes.
METRIC = ("metric",)
NO_DEFAULT_ROUTE = ("no_default_route",)


def _text(text: str) -> str:
    return text


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 11):
        raise ValueError("is not a number")
    return int(text)


def _switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return text == "true"


def _names(text: str) -> str | list[str]:
    return text.split(",") if "," in text else text


def _switch_or_addresses(text: str) -> bool | list[str]:
    return text == "true" if text in ("true", "false") else text.split(",")


def _mac(text: str) -> str:
    """Nothing is the configuration's word for one that the kernel chooses."""
    return "" if text == "random" else text


def _pairs(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("is not NAME=VALUE,…")
    return {name: value for name, _, value in pairs}


_COMMON: dict[str, tuple[Key, Callable[[str], Any]]] = {
    "parent": (("master",), _names),
    "master": (("master",), _names),
    "host_iface": (("master",), _names),
    "vlan": (("vlan",), _number),
    "mode": (("mode",), _text),
    "mtu": (("mtu",), _number),
    "com.docker.network.driver.mtu": (("mtu",), _number),
    "host_access": (("hostAccess",), _switch_or_addresses),
    "hostAccess": (("hostAccess",), _switch_or_addresses),
    "conflict": (("conflict",), _text),
    "dad": (("dad",), _text),
    "ra": (("ra",), _text),
    "ipv6": (("ipv6",), _switch),
    "ipv6Token": (("ipv6Token",), _text),
    "sysctls": (("sysctls",), _pairs),
    "ipam": (("ipam", "type"), _text),
    "order": (("ipam", "order"), _text),
    "cluster": (("ipam", "cluster"), _text),
    "metric": (METRIC, _number),
    "no_default_route": (NO_DEFAULT_ROUTE, _switch),
}
OF_KIND: dict[str, dict[str, tuple[Key, Callable[[str], Any]]]] = {
    "macvlan": {
        **_COMMON,
        "macvlan_mode": (("mode",), _text),
        "mac": (("mac",), _mac),
        "bcqueuelen": (("bcqueuelen",), _number),
    },
    "ipvlan": {
        **_COMMON,
        "ipvlan_mode": (("mode",), _text),
        "ipvlan_flag": (("flag",), _text),
        "flag": (("flag",), _text),
        "hostRoutes": (("hostRoutes",), _switch),
    },
}


def read(kind: str, options: Mapping[str, str]) -> dict[Key, Any]:
    """The values by the keys of the configuration. CniError for the first option that is unknown, or no such value."""
    found: dict[Key, Any] = {}
    for name, text in options.items():
        if name not in OF_KIND[kind]:
            from cni_core.netavark.explain import unknown

            raise unknown(kind, name, OF_KIND[kind])
        key, parse = OF_KIND[kind][name]
        if key in found:
            same = ", ".join(other for other in options if OF_KIND[kind].get(other, ((),))[0] == key)
            raise CniError(INVALID_CONFIG, f"{same}: these options are the same", "Leave all but one of them out.")
        try:
            found[key] = parse(text)
        except ValueError as error:
            raise CniError(INVALID_CONFIG, f"-o {name}={text}: {text!r} {error}") from None
    return found


def readable(kind: str, options: Mapping[str, str]) -> dict[Key, Any]:
    """Those that can be read: to take back what was made, whatever became of the network's options since."""
    found: dict[Key, Any] = {}
    for name, text in options.items():
        if name in OF_KIND[kind]:
            key, parse = OF_KIND[kind][name]
            try:
                found[key] = parse(text)
            except ValueError:
                pass
    return found


def name_of(kind: str, options: Mapping[str, str], path: tuple[str | int, ...]) -> str:
    """The option that gave the configuration's value at a path; empty where none did, or there is no path."""
    for name in options:
        key = OF_KIND[kind][name][0] if name in OF_KIND[kind] else ()
        if key and key == path[: len(key)]:
            return name
    return ""
