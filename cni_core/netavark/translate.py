"""netavark's documents as ours and back: nothing is asked of the node here.

Network, PerNetworkOptions, Subnet, StatusBlock: as in netavark's src/network/types.rs.
"""

from __future__ import annotations

from cni_core.address import Address, Cidr
from cni_core.config import LATEST
from cni_core.errors import DECODING_FAILURE, INVALID_CONFIG, CniError
from cni_core.netavark.options import METRIC, NO_DEFAULT_ROUTE, read, readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cni_core.netavark.options import Key
    from cni_core.result import Result

# The IPAM that takes the addresses of podman's own (ipam.podman), and those of ours that can choose them instead.
PODMAN = "podman"
OURS = ("host-local", "lan-local")
ROUTED = ("l3", "l3s")
# What an IPAM of ours is to have for itself, so that podman hands over none (`--ipam-driver none`).
NOBODY = "none"
_DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}


class Call:
    """One `setup` or `teardown`: of which network, for whom, and what for."""

    __slots__ = ("asked", "container_id", "container_name", "has_ports", "ifname", "network")

    def __init__(self, document: object) -> None:
        """From a NetworkPluginExec. CniError DECODING_FAILURE where it is none."""
        self.container_id: str = _member(document, "container_id", str)
        self.container_name: str = _member(document, "container_name", str, "")
        self.network: dict[str, Any] = _member(document, "network", dict)
        self.asked: dict[str, Any] = _member(document, "network_options", dict)
        self.ifname: str = _member(self.asked, "interface_name", str)
        self.has_ports = bool(_member(document, "port_mappings", list, []))

    def environ(self, command: str, netns: str) -> dict[str, str]:
        """The CNI call that it amounts to. A name is of one container at a time, and comes back with it."""
        environ = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": self.container_id,
            "CNI_NETNS": netns,
            "CNI_IFNAME": self.ifname,
        }
        return environ | ({"CNI_ARGS": f"K8S_POD_NAME={self.container_name}"} if self.container_name else {})

    def config(self, kind: str) -> dict[str, Any]:
        """The network configuration for setup. CniError."""
        per_container: dict[str, str] = _member(self.asked, "options", dict, {})
        if per_container:
            raise CniError(
                INVALID_CONFIG,
                f"{', '.join(per_container)}: a container has no options of its own here",
                "Options are the network's: podman network create -o NAME=VALUE.",
            )
        config = configuration(kind, self.network, read(kind, options_of(self.network)))
        ips: list[str] = _member(self.asked, "static_ips", list, [])
        mac: str = _member(self.asked, "static_mac", str, "")
        asked = ({"ips": ips} if ips else {}) | ({"mac": mac} if mac else {})
        return config | ({"runtimeConfig": asked} if asked else {})

    def config_to_leave(self, kind: str) -> dict[str, Any]:
        """The same for teardown: of a network that has become unreadable, what its options tell. CniError without a
        name, or where its options are none.
        """
        options = readable(kind, options_of(self.network))
        try:
            return configuration(kind, self.network, options)
        except CniError:
            return _of_options(kind, self.network, options)


def options_of(network: dict[str, Any]) -> dict[str, str]:
    options: dict[str, str] = _member(network, "options", dict, {})
    for name, value in options.items():
        if not isinstance(value, str):
            raise CniError(DECODING_FAILURE, f"option {name} is not a text")
    return options


def configuration(kind: str, network: dict[str, Any], options: Mapping[Key, Any]) -> dict[str, Any]:
    """The network configuration of CNI. options: as options.read gives them. CniError."""
    config = _of_options(kind, network, options)
    _set_parent(config, network)
    ipam: dict[str, Any] = config.pop("ipam", {})
    subnets: list[dict[str, Any]] = _member(network, "subnets", list, [])
    _refuse_ipam(ipam, network, subnets)
    if not subnets:
        return config
    kind_of_ipam = ipam.setdefault("type", PODMAN)
    is_routed = config.get("mode") in ROUTED
    ipam["ranges"] = [[_range(subnet, is_routed=is_routed, bounded=kind_of_ipam != PODMAN)] for subnet in subnets]
    routes = [_route(route) for route in _member(network, "routes", list, [])]
    if not (_member(network, "internal", bool, False) or options.get(NO_DEFAULT_ROUTE)):
        routes = [*_default_routes(subnets, options.get(METRIC)), *routes]
    if routes:
        ipam["routes"] = routes
    return config | {"ipam": ipam}


def _of_options(kind: str, network: dict[str, Any], options: Mapping[Key, Any]) -> dict[str, Any]:
    """The configuration as far as the options tell it: all that says whose attachments and leases there are."""
    config: dict[str, Any] = {"cniVersion": LATEST, "name": _member(network, "name", str), "type": kind}
    for key, value in options.items():
        if len(key) > 1:
            config.setdefault(key[0], {})[key[1]] = value
        elif key not in (METRIC, NO_DEFAULT_ROUTE):
            config[key[0]] = value
    return config


def _set_parent(config: dict[str, Any], network: dict[str, Any]) -> None:
    """--interface-name names it, too; an internal network without one is isolated."""
    interface: str = _member(network, "network_interface", str, "")
    if interface and config.get("master", interface) != interface:
        problem = f"the parent is {interface} by --interface-name, and {config['master']} by -o"
        raise CniError(INVALID_CONFIG, problem, "Leave one of them out.")
    if interface:
        config["master"] = interface
    if _member(network, "internal", bool, False) and "master" not in config:
        config["internal"] = True


def _refuse_ipam(ipam: dict[str, Any], network: dict[str, Any], subnets: list[dict[str, Any]]) -> None:
    """CniError where nobody could tell what the addresses are to be."""
    driver: str = _member(_member(network, "ipam_options", dict, {}), "driver", str, "")
    kind = ipam.get("type", "")
    if kind and kind not in OURS:
        problem = f"-o ipam={kind}: it is {' or '.join(OURS)}, which choose addresses in podman's place"
        raise CniError(INVALID_CONFIG, problem, "Without it podman chooses them. For none at all: --ipam-driver none.")
    if ipam and not kind:
        problem = f"-o {next(iter(ipam))}: podman itself chooses the addresses, one after the other"
        raise CniError(INVALID_CONFIG, problem, "An IPAM of ours does it with -o ipam=host-local or -o ipam=lan-local.")
    if driver == "dhcp":
        problem = "--ipam-driver dhcp: there is no DHCP client here"
        raise CniError(INVALID_CONFIG, problem, "netavark's own macvlan has one: -d macvlan.")
    if kind and not subnets:
        raise CniError(INVALID_CONFIG, f"-o ipam={kind}: there is no subnet to choose from", "Add --subnet.")
    if not subnets and _member(network, "routes", list, []):
        raise CniError(INVALID_CONFIG, "--route: without addresses there are no routes", "Add --subnet.")


def _range(document: object, *, is_routed: bool, bounded: bool) -> dict[str, str]:
    """A Subnet as the one range of a set. podman's own choice needs no bounds: it keeps them."""
    gateway: str = _member(document, "gateway", str, "")
    part = {"subnet": _member(document, "subnet", str), "gateway": "none" if is_routed or not gateway else gateway}
    lease_range: dict[str, Any] = _member(document, "lease_range", dict, {})
    if not (bounded and lease_range):
        return part
    start: str = _member(lease_range, "start_ip", str, "")
    end: str = _member(lease_range, "end_ip", str, "")
    block = _block(start, end) if start and end else ""
    if block:
        return part | {"ipRange": block}
    return part | ({"rangeStart": start} if start else {}) | ({"rangeEnd": end} if end else {})


def _block(start: str, end: str) -> str:
    """The subnet that --ip-range SUBNET named: podman tells its first host's address (or its first) and its last.
    Empty where they are no subnet's: then --ip-range was START-END.
    """
    try:
        first, last = Address.parse(start), Address.parse(end)
    except ValueError:
        return ""
    for base in (first.value, first.value - 1):
        size = last.value - base + 1
        if size > 1 and size & (size - 1) == 0 and base % size == 0:
            return str(Cidr(Address(first.family, base), first.bits - size.bit_length() + 1))
    return ""


def _default_routes(subnets: list[dict[str, Any]], metric: int | None) -> list[dict[str, Any]]:
    """One for each family of the subnets."""
    families = dict.fromkeys(6 if ":" in _member(subnet, "subnet", str) else 4 for subnet in subnets)
    priority = {} if metric is None else {"priority": metric}
    return [{"dst": _DEFAULT[family], **priority} for family in families]


def _route(document: object) -> dict[str, Any]:
    kind = _member(document, "route_type", str, "unicast")
    if kind != "unicast":
        raise CniError(INVALID_CONFIG, f"--route: {kind} routes cannot be made here", "Only those with a gateway.")
    metric: int | None = _member(document, "metric", int, None)
    route = {"dst": _member(document, "destination", str), "gw": _member(document, "gateway", str)}
    return route | ({} if metric is None else {"priority": metric})


def completed(kind: str, network: dict[str, Any], *, has_machine_id: bool) -> tuple[dict[str, Any], list[str]]:
    """The network as `create` answers it, with the habits of our own `network create` written out among its options;
    and remarks for the person. What was asked for stays as it is. CniError.
    """
    options = options_of(network)
    given = read(kind, options)
    config = configuration(kind, network, given)
    remarks: list[str] = []
    habits: dict[str, str] = {}
    if kind == "macvlan" and ("mac",) not in given and config.get("mode") != "passthru":
        if has_machine_id:
            habits["mac"] = "stable"
        else:
            remarks.append("Hardware addresses are others each time: there is no /etc/machine-id.")
    ipam = config.get("ipam", {})
    is_ours = ipam.get("type") in OURS
    if is_ours and "order" not in ipam:
        habits["order"] = "stable"
    if ipam and config.get("mode") not in ROUTED and ("ipv6",) not in given and ("ra",) not in given:
        habits |= _of_ipv6(network, remarks)
    return network | {
        "options": {**options, **habits},
        # As netavark's own macvlan: its name server answers on networks of its own alone.
        "dns_enabled": False,
        "ipam_options": {**(network.get("ipam_options") or {}), **({"driver": NOBODY} if is_ours else {})},
    }, remarks


def _of_ipv6(network: dict[str, Any], remarks: list[str]) -> dict[str, str]:
    """A router that is named, or that there is to be none, counts more than what routers advertise."""
    of_ipv6 = [subnet for subnet in network["subnets"] if ":" in subnet["subnet"]]
    if not of_ipv6:
        remarks.append("Its containers have no IPv6 (-o ipv6=false): there is no IPv6 subnet.")
        return {"ipv6": "false"}
    if network.get("internal") or any(subnet.get("gateway") for subnet in of_ipv6):
        remarks.append("Its containers take nothing of routers' advertisements (-o ra=off).")
        return {"ra": "off"}
    return {}


def status_block(result: Result, ifname: str, netns: str) -> dict[str, Any]:
    """A StatusBlock, which `podman inspect` shows. A gateway that is none is left out."""
    index, interface = next(
        (i, found) for i, found in enumerate(result.interfaces) if (found.name, found.sandbox) == (ifname, netns)
    )
    subnets = [
        {"ipnet": str(ip.cidr), **({"gateway": str(ip.gateway)} if ip.gateway else {})}
        for ip in result.ips
        if ip.interface == index
    ]
    return {
        "dns_search_domains": result.dns.get("search", []),
        "dns_server_ips": result.dns.get("nameservers", []),
        "interfaces": {ifname: {"mac_address": interface.mac, "subnets": subnets}},
    }


_REQUIRED = object()
_WORDS = {str: "a text", dict: "an object", list: "a list", bool: "true or false", int: "a number"}


def _member(document: object, name: str, kind: type, default: Any = _REQUIRED) -> Any:
    """A member of an object; null is absent. CniError DECODING_FAILURE where it is missing, or of another type."""
    value = document.get(name) if isinstance(document, dict) else None
    if value is None:
        if default is _REQUIRED:
            raise CniError(DECODING_FAILURE, f"the document on stdin has no {name}")
        return default
    if not isinstance(value, kind):
        raise CniError(DECODING_FAILURE, f"{name} in the document on stdin is not {_WORDS[kind]}")
    return value
