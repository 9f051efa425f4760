"""What `docker network create -d macvlan|ipvlan` takes, turned into a conflist.

Sources: docker's reference of `network create` and its macvlan and ipvlan drivers (moby, libnetwork/drivers); the
spelling host_iface is that of the drivers' first releases.
"""

from __future__ import annotations

from argparse import Namespace
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from cni_cli.errors import CommandError
from cni_core.schema.formats import is_cni_name

Subnet = IPv4Network | IPv6Network

MTU = "com.docker.network.driver.mtu"
BOTH = {"parent": "parent", "host_iface": "parent", MTU: "mtu", "mtu": "mtu", "mode": "mode"}
OPTIONS = {
    "macvlan": {**BOTH, "macvlan_mode": "mode"},
    "ipvlan": {**BOTH, "ipvlan_mode": "mode", "ipvlan_flag": "flag", "flag": "flag"},
}
ROUTED = ("l3", "l3s")
VERSION = "1.0.0"


def conflist(kind: str, options: Namespace) -> tuple[dict[str, Any], list[str]]:
    """The conflist, and remarks for the person. options: name, subnet, gateway, ip_range, aux_address, opt (lists of
    text), ipv6, internal (bool), ipam_driver. CommandError."""
    if not is_cni_name(options.name):
        raise CommandError(
            f"{options.name!r} cannot be a network's name",
            "It begins with a letter or digit; letters, digits, '_', '.' and '-' may follow.",
        )
    remarks: list[str] = []
    plugin: dict[str, Any] = {"type": kind}
    driver = _driver_options(kind, options.opt)
    if "parent" in driver:
        plugin["master"] = driver["parent"]
    else:
        plugin["internal"] = True
        remarks.append("No parent (-o parent=): the network is isolated, and its containers reach each other alone.")
    plugin |= {key: driver[key] for key in ("mode", "flag", "mtu") if key in driver}
    routed = driver.get("mode") in ROUTED
    if options.ipam_driver == "default":
        plugin["ipam"] = _ipam(options, options.internal or "internal" in plugin, routed, remarks)
    elif options.ipam_driver != "null":
        plugin["ipam"] = {"type": options.ipam_driver}
    plugin["capabilities"] = {"ips": True} | ({"mac": True} if kind == "macvlan" else {})
    return {"cniVersion": VERSION, "name": options.name, "plugins": [plugin]}, remarks


def _driver_options(kind: str, texts: list[str]) -> dict[str, Any]:
    known = OPTIONS[kind]
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise CommandError(f"-o {text}: it has no value", "Options are given as -o NAME=VALUE.")
        if name not in known:
            near = get_close_matches(name, known, 1)
            mend = f"Did you mean {near[0]}?" if near else f"It has {', '.join(known)}."
            raise CommandError(f"-o {name}: {kind} has no such option", mend)
        key = known[name]
        if key in found:
            raise CommandError(f"-o {text}: {key} is given twice")
        found[key] = _mtu(value) if key == "mtu" else value
    return found


def _mtu(text: str) -> int:
    if not text.isdecimal():
        raise CommandError(f"-o {MTU}={text}: an MTU is a number of bytes")
    return int(text)


def _ipam(options: Namespace, isolated: bool, routed: bool, remarks: list[str]) -> dict[str, Any]:
    subnets = [_subnet(text) for text in options.subnet]
    if not subnets:
        raise CommandError(
            "which addresses? There is no --subnet",
            "Docker would choose one, which on your own network helps nobody. For no addresses: --ipam-driver null.",
        )
    for i, one in enumerate(subnets):
        for other in subnets[:i]:
            if _overlap(one, other):
                raise CommandError(f"--subnet {one} overlaps {other}")
    if options.ipv6 and all(subnet.version == 4 for subnet in subnets):
        raise CommandError("--ipv6 needs an IPv6 subnet as well", "Such as --subnet fd00:50::/64.")
    ranges: dict[Subnet, dict[str, Any]] = {subnet: {"subnet": str(subnet)} for subnet in subnets}
    for text in options.gateway:
        subnet = _subnet_of("--gateway", text, subnets)
        _once(ranges[subnet], "gateway", str(ip_address(text)), f"--gateway {text}")
    for text in options.ip_range:
        part = _subnet(text, "--ip-range")
        inside = [subnet for subnet in subnets if _within(part, subnet)]
        if not inside:
            raise CommandError(f"--ip-range {text} is in none of the subnets {_listed(subnets)}")
        _once(ranges[inside[0]], "ipRange", str(part), f"--ip-range {text}")
    for text in options.aux_address:
        name, equals, address = text.partition("=")
        if not equals or not name:
            raise CommandError(f"--aux-address {text}: it has no name", "Such as --aux-address router=192.168.50.2.")
        auxiliary = ranges[_subnet_of("--aux-address", address, subnets)].setdefault("auxAddresses", {})
        _once(auxiliary, name, str(ip_address(address)), f"--aux-address {text}")
    if routed and options.gateway:
        remarks.append("In mode l3 there is no gateway: packets go to the parent. --gateway is ignored.")
    if routed or isolated:
        for one_range in ranges.values():
            one_range["gateway"] = "none"
    ipam: dict[str, Any] = {"type": "host-local", "ranges": [[one] for one in ranges.values()]}
    if not isolated:
        every = {4: "0.0.0.0/0", 6: "::/0"}
        ipam["routes"] = [{"dst": every[version]} for version in sorted({subnet.version for subnet in subnets})]
    return ipam


def _once(where: dict[str, Any], key: str, value: str, option: str) -> None:
    if key in where:
        raise CommandError(f"{option}: there is {where[key]} already")
    where[key] = value


def _subnet(text: str, option: str = "--subnet") -> Subnet:
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        meant = None
    if meant is None or "/" not in text:
        raise CommandError(f"{option} {text}: it is not ADDRESS/LENGTH, such as 192.168.50.0/24")
    if ip_address(text.partition("/")[0]) != meant.network_address:
        raise CommandError(f"{option} {text} is an address within {meant}", f"Write {meant}.")
    return meant


def _subnet_of(option: str, text: str, subnets: list[Subnet]) -> Subnet:
    try:
        address = ip_address(text)
    except ValueError:
        raise CommandError(f"{option} {text}: it is not an IP address") from None
    for subnet in subnets:
        if address in subnet:
            return subnet
    raise CommandError(f"{option} {text} is in none of the subnets {_listed(subnets)}")


def _within(part: Subnet, whole: Subnet) -> bool:
    return part.version == whole.version and part.subnet_of(whole)  # type: ignore[arg-type]


def _overlap(one: Subnet, other: Subnet) -> bool:
    return one.version == other.version and one.overlaps(other)


def _listed(subnets: list[Subnet]) -> str:
    return ", ".join(str(subnet) for subnet in subnets)
