"""What `docker network create -d macvlan|ipvlan` takes, and podman's and compose's words, turned into a conflist.

Sources: docker's reference of `network create` and its macvlan and ipvlan drivers (moby, libnetwork/drivers); the
spelling host_iface is that of the drivers' first releases. Subnets of one family are one set of ranges, since docker
gives a container one address of each family, of the first subnet that has one (libnetwork, assignAddressVersion).
"""

from __future__ import annotations

from argparse import Namespace
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from cni_cli.errors import CommandError
from cni_core.schema.formats import is_cni_name

Subnet = IPv4Network | IPv6Network

MTU = "com.docker.network.driver.mtu"
HOST_ACCESS = "host_access"  # no option of docker's drivers
CONFLICT = "conflict"  # likewise
VLAN = "vlan"  # likewise
METRIC, NO_DEFAULT_ROUTE = "metric", "no_default_route"  # podman's
BOTH = {"parent": "parent", "host_iface": "parent", MTU: "mtu", "mtu": "mtu", "mode": "mode"}
BOTH |= {name: name for name in (HOST_ACCESS, CONFLICT, VLAN, METRIC, NO_DEFAULT_ROUTE)}
OF_BRIDGES = "com.docker.network."  # options of docker's bridges, which compose files have for every driver
OPTIONS = {
    "macvlan": {**BOTH, "macvlan_mode": "mode"},
    "ipvlan": {**BOTH, "ipvlan_mode": "mode", "ipvlan_flag": "flag", "flag": "flag"},
}
ROUTED = ("l3", "l3s")
PASSTHRU = "passthru"
VERSION = "1.0.0"
# Options of docker's, by their names in the Namespace, that change nothing on one node; and those of a swarm.
IDLE = {"attachable": "--attachable", "label": "--label", "ipam_opt": "--ipam-opt", "disable_dns": "--disable-dns"}
NONE = "none"  # as a gateway's address: there is no router
SWARM = {"config_only": "--config-only", "config_from": "--config-from", "ingress": "--ingress"}


def kind_of(driver: str) -> str:
    """macvlan or ipvlan, by which of its names a driver is given; any other as it is."""
    return driver.removeprefix("cni-").removesuffix("-py") if driver.startswith("cni-") else driver


def conflist(kind: str, options: Namespace) -> tuple[dict[str, Any], list[str]]:
    """The conflist, and remarks for the person.

    options: name, subnet, gateway, ip_range, aux_address, route, opt (lists of text), ipv4, ipv6, internal, host_access
    (bool), ipam_driver, driver, scope, interface_name, those of IDLE and SWARM.

    CommandError.
    """
    _refuse_elsewhere(kind, options)
    if not is_cni_name(options.name):
        raise CommandError(
            f"{options.name!r} cannot be a network's name",
            "It begins with a letter or digit; letters, digits, '_', '.' and '-' may follow.",
        )
    idle = [option for key, option in IDLE.items() if getattr(options, key)]
    idle += [f"-o {text}" for text in options.opt if text.startswith(OF_BRIDGES) and not text.startswith(f"{MTU}=")]
    remarks = [f"Ignored, for it changes nothing on one node: {', '.join(idle)}."] if idle else []
    plugin: dict[str, Any] = {"type": kind}
    named = [f"parent={options.interface_name}"] if options.interface_name else []
    driver = _driver_options(kind, [*named, *(text for text in options.opt if f"-o {text}" not in idle)])
    if VLAN in driver and "parent" not in driver:
        raise CommandError("-o vlan: of which link?", "Such as -o parent=eth0 -o vlan=50.")
    if "parent" in driver:
        plugin["master"] = driver["parent"]
    else:
        plugin["internal"] = True
        remarks.append("No parent (-o parent=LINK): the network is isolated, its containers reach each other alone.")
    plugin |= {key: driver[key] for key in ("vlan", "mode", "flag", "mtu", "conflict") if key in driver}
    if kind == "macvlan" and driver.get("mode") != PASSTHRU:
        plugin["mac"] = "stable"
    if driver.get(HOST_ACCESS, options.host_access):
        plugin["hostAccess"] = driver.get(HOST_ACCESS, True)
    routed = driver.get("mode") in ROUTED
    if options.cluster and options.ipam_driver != "default":
        raise CommandError(
            f"--cluster is lan-local's, not --ipam-driver {options.ipam_driver}'s", "Leave one of them out."
        )
    if options.ipam_driver in ("default", "host-local"):
        plugin["ipam"] = _ipam(options, plugin, routed, remarks)
        _set_routes(plugin["ipam"], options, driver)
        if not routed:
            plugin |= _of_ipv6(options, plugin, remarks)
    else:
        _refuse_addresses(options)
        if options.ipam_driver != "null":
            plugin["ipam"] = {"type": options.ipam_driver}
        if (kind, options.ipam_driver) == ("ipvlan", "dhcp"):
            remarks.append(f"{IPVLAN_DHCP[0].upper()}{IPVLAN_DHCP[1:]}.")
    plugin["capabilities"] = {"ips": True} | ({"mac": True} if kind == "macvlan" else {})
    return {"cniVersion": VERSION, "name": options.name, "plugins": [plugin]}, remarks


def _of_ipv6(options: Namespace, plugin: dict[str, Any], remarks: list[str]) -> dict[str, Any]:
    """What users expect where routers advertise: a network of IPv4 alone has no IPv6, as docker's, and the router that
    they name stands, or that there is none. Else the routers count, as in the kernel and with Go's plugins."""
    ranges = [one for part in plugin["ipam"]["ranges"] for one in part if ":" in one["subnet"]]
    gateways = [one["gateway"] for one in ranges if "gateway" in one]
    if not ranges:
        remarks.append("Its containers have no IPv6 (ipv6: false), as docker's: there is no IPv6 subnet.")
        return {"ipv6": False}
    if not (gateways or options.internal or plugin.get("internal")):
        return {}
    why = f"the router is {gateways[0]}" if gateways else "the network leads nowhere"
    remarks.append(f"Its containers take nothing of routers' advertisements (ra: off): {why}.")
    return {"ra": "off"}


# Go's daemon never sets the broadcast flag (RFC 2131, 4.1), so the answer goes to an address that no container has yet.
IPVLAN_DHCP = (
    "ipvlan's containers share the parent's hardware address, and Go's dhcp daemon does not ask for answers by "
    "broadcast: they get no lease"
)


def _refuse_elsewhere(kind: str, options: Namespace) -> None:
    """Of docker's options, what is not for this program, or for no program on one node."""
    if options.driver and kind_of(options.driver) != kind:
        raise CommandError(f"--driver {options.driver}: this is not made here", "There are macvlan and ipvlan.")
    swarm = [option for key, option in SWARM.items() if getattr(options, key)]
    swarm += [f"--scope {options.scope}"] if options.scope not in (None, "local") else []
    if swarm:
        raise CommandError(f"{swarm[0]} is for a swarm, of which a CNI network is no part", "Leave it out.")


def _refuse_addresses(options: Namespace) -> None:
    """Those that would go unheard: the addresses are another's."""
    for option in ("subnet", "gateway", "ip_range", "aux_address", "route"):
        if getattr(options, option):
            raise CommandError(
                f"--{option.replace('_', '-')} is host-local's, not that of --ipam-driver {options.ipam_driver}",
                "Leave one of them out.",
            )


def _driver_options(kind: str, texts: list[str]) -> dict[str, Any]:
    known = OPTIONS[kind]
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise CommandError(f"-o {text}: it has no value", "Options are given as -o NAME=VALUE.")
        if name not in known:
            near = get_close_matches(name, known.keys() - {MTU}, 1)
            mend = f"Did you mean {near[0]}?" if near else f"It has {', '.join(known)}."
            raise CommandError(f"-o {name}: {kind} has no such option", mend)
        key = known[name]
        if key in found:
            raise CommandError(f"-o {text}: {key} is given twice", "Leave one of them out.")
        found[key] = READ[key](text, value) if key in READ else value
    return found


def _number(text: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        what, such = (
            ("an MTU is a number of bytes", "1500") if text.endswith(f"mtu={value}") else ("it is a number", "50")
        )
        raise CommandError(f"-o {text}: {what}", f"Such as {such}.")
    return int(value)


def _truth(text: str, value: str) -> bool:
    if value not in ("true", "false", "1", "0"):
        raise CommandError(f"-o {text}: it is true or false", "1 and 0 will do, too.")
    return value in ("true", "1")


def _host_access(_: str, value: str) -> bool | list[str]:
    """true, false, or the host's addresses, which the schema looks at."""
    return value == "true" if value in ("true", "false") else value.split(",")


READ = {
    "mtu": _number,
    VLAN: _number,
    METRIC: _number,
    NO_DEFAULT_ROUTE: _truth,
    HOST_ACCESS: _host_access,
}


def _set_routes(ipam: dict[str, Any], options: Namespace, driver: dict[str, Any]) -> None:
    """podman's: --route DESTINATION,GATEWAY[,METRIC], and the metric of the default routes, or that there are none."""
    routes = [] if driver.get(NO_DEFAULT_ROUTE) else ipam.pop("routes", [])
    ipam.pop("routes", None)
    if METRIC in driver:
        routes = [route | {"priority": driver[METRIC]} for route in routes]
    for text in options.route:
        dst, *rest = text.split(",")
        if not rest or len(rest) > 2:
            raise CommandError(
                f"--route {text}: it is DESTINATION,GATEWAY[,METRIC]", "Such as 10.9.0.0/16,192.168.50.2."
            )
        metric = {"priority": _number(f"metric={rest[1]}", rest[1])} if rest[1:] else {}
        routes.append({"dst": str(_subnet(dst, "--route")), "gw": str(_address("--route", rest[0]))} | metric)
    if routes:
        ipam["routes"] = routes


def _ipam(options: Namespace, plugin: dict[str, Any], routed: bool, remarks: list[str]) -> dict[str, Any]:
    subnets = _subnets(options)
    ranges: dict[Subnet, dict[str, Any]] = {subnet: {"subnet": str(subnet)} for subnet in subnets}
    for text in _each(options.gateway):
        if text == NONE:
            for one in ranges.values():
                one.setdefault("gateway", NONE)
            continue
        subnet = _subnet_of_a_gateway(text, subnets)
        _once(ranges[subnet], "gateway", str(ip_address(text)), f"--gateway {text}")
    for text in _each(options.ip_range):
        if "-" in text:
            first, last = (_address("--ip-range", end) for end in text.split("-", 1))
            subnet = _subnet_of("--ip-range", str(first), subnets)
            _once(ranges[subnet], "rangeStart", str(first), f"--ip-range {text}")
            ranges[subnet]["rangeEnd"] = str(last)
            continue
        part = _subnet(text, "--ip-range")
        inside = [subnet for subnet in subnets if _within(part, subnet)]
        if not inside:
            raise CommandError(
                f"--ip-range {text} is in none of the subnets {_listed(subnets)}", "It is a part of one of them."
            )
        _once(ranges[inside[0]], "ipRange", str(part), f"--ip-range {text}")
    if routed and options.gateway:
        remarks.append("In modes l3 and l3s there is no gateway: packets go to the parent. --gateway is ignored.")
    if routed:
        for one in ranges.values():
            one.pop("gateway", None)  # and no "none", which podman does not read: the plugin has none in L3 anyway
    alone = routed or plugin.get("internal")
    for text in options.aux_address:
        name, equals, address = text.partition("=")
        if not equals or not name:
            raise CommandError(f"--aux-address {text}: it has no name", "Such as --aux-address router=192.168.50.2.")
        subnet = _subnet_of(f"--aux-address {name}:", address, subnets)
        excluded = str(ip_address(address))
        if not alone and excluded == _gateway(ranges[subnet], subnet):
            raise CommandError(
                f"--aux-address {text}: it is the gateway of {subnet}, which is never given",
                "Leave it out; or, if the router has another address, name that: --gateway.",
            )
        _once(ranges[subnet].setdefault("auxAddresses", {}), name, excluded, f"--aux-address {text}")
    if not (alone or options.internal):
        remarks += [
            f"The router of {subnet} is taken to be {guessed}, the first address; --gateway names another, or none."
            for subnet, one in ranges.items()
            if "gateway" not in one and (guessed := _gateway(one, subnet))
        ]
    sets = [[ranges[subnet] for subnet in subnets if subnet.version == version] for version in (4, 6)]
    ipam: dict[str, Any] = {"type": "host-local", "ranges": [part for part in sets if part], "order": "stable"}
    if options.cluster:
        ipam = ipam | {"type": "lan-local", "cluster": options.cluster}
    if not (options.internal or plugin.get("internal")):
        # Where there is no router, nothing leads further than the subnet.
        routed_sets = [any(one.get("gateway") != NONE for one in part) for part in sets]
        ipam["routes"] = [{"dst": dst} for dst, leads in zip(("0.0.0.0/0", "::/0"), routed_sets, strict=True) if leads]
    return ipam


def _subnet_of_a_gateway(text: str, subnets: list[Subnet]) -> Subnet:
    """A router of IPv6 often has only a link-local address on the link: the first IPv6 subnet's. CommandError."""
    of_ipv6 = [subnet for subnet in subnets if subnet.version == 6]
    if of_ipv6 and text.lower().startswith("fe80::") and not any(subnet.is_link_local for subnet in of_ipv6):
        try:
            if ip_address(text).is_link_local:
                return of_ipv6[0]
        except ValueError:
            pass
    subnet = _subnet_of("--gateway", text, subnets)
    _refuse_no_host("--gateway", text, subnet)
    return subnet


def _subnets(options: Namespace) -> list[Subnet]:
    """Those of --subnet, of which none overlaps another."""
    subnets = [_subnet(text) for text in _each(options.subnet)]
    if not subnets:
        raise CommandError(
            "which addresses? There is no --subnet",
            "Docker would choose one, which on your own network helps nobody. For no addresses: --ipam-driver null.",
        )
    for i, one in enumerate(subnets):
        for other in subnets[:i]:
            if _overlap(one, other):
                raise CommandError(f"--subnet {one} overlaps {other}", "Leave one of them out.")
    if options.ipv6 and all(subnet.version == 4 for subnet in subnets):
        raise CommandError("--ipv6 needs an IPv6 subnet as well", "Such as --subnet fd00:50::/64.")
    if not options.ipv4 and any(subnet.version == 4 for subnet in subnets):
        raise CommandError("--ipv4=false, and an IPv4 subnet", "Leave one of them out.")
    return subnets


def _each(texts: list[str]) -> list[str]:
    """Docker takes several in one option, too: A,B."""
    return [part for text in texts for part in text.split(",")]


def _gateway(one_range: dict[str, Any], subnet: Subnet) -> str:
    """That which the range will have: host-local's is the first address. Empty if none."""
    return str(one_range.get("gateway") or (subnet[1] if subnet.num_addresses > 2 else ""))


def _refuse_no_host(option: str, text: str, subnet: Subnet) -> None:
    if subnet.version == 4 and subnet.num_addresses > 2 and ip_address(text) in (subnet[0], subnet[-1]):
        raise CommandError(
            f"{option} {text} is not a host's address: it is the first or last of {subnet}", f"Such as {subnet[1]}."
        )


def _once(where: dict[str, Any], key: str, value: str, option: str) -> None:
    if key in where:
        raise CommandError(f"{option}: there is {where[key]} already", "Leave one of them out.")
    where[key] = value


def _subnet(text: str, option: str = "--subnet") -> Subnet:
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        meant = None
    if meant is None or "/" not in text or "%" in text:
        raise CommandError(f"{option} {text}: it is not ADDRESS/LENGTH", "Such as 192.168.50.0/24 or fd00:50::/64.")
    if ip_address(text.partition("/")[0]) != meant.network_address:
        raise CommandError(f"{option} {text} is an address within {meant}", f"Write {meant}.")
    mapped = meant.version == 6 and meant.network_address.ipv4_mapped
    if mapped or meant.is_multicast or meant.is_loopback:
        raise CommandError(f"{option} {text}: these are no addresses for containers", "Such as 192.168.50.0/24.")
    return meant


def _address(option: str, text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address("" if "%" in text else text)  # a zone is of one host alone
    except ValueError:
        raise CommandError(f"{option} {text}: it is not an IP address", "Such as 192.168.50.1.") from None


def _subnet_of(option: str, text: str, subnets: list[Subnet]) -> Subnet:
    address = _address(option, text)
    for subnet in subnets:
        if address in subnet:
            return subnet
    raise CommandError(f"{option} {text} is in none of the subnets {_listed(subnets)}", "It is a part of one of them.")


def _within(part: Subnet, whole: Subnet) -> bool:
    return part.version == whole.version and part.subnet_of(whole)  # type: ignore[arg-type]


def _overlap(one: Subnet, other: Subnet) -> bool:
    return one.version == other.version and one.overlaps(other)


def _listed(subnets: list[Subnet]) -> str:
    return ", ".join(str(subnet) for subnet in subnets)
