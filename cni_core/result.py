"""The result of an ADD, and its form in each version of the specification (SPEC.md, section 5, and its history)."""

from __future__ import annotations

from _socket import AF_INET

from cni_core.address import Address, Cidr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Which members of interfaces and routes a version does not have yet.
_SINCE_110 = {"interfaces": ("mtu", "socketPath", "pciID"), "routes": ("mtu", "advmss", "priority", "table", "scope")}


class Interface:
    """name, mac (text), mtu (bytes, 0: not told), sandbox (the namespace's path, empty on the host).

    socket_path and pci_id are other plugins', passed through.
    """

    __slots__ = ("mac", "mtu", "name", "pci_id", "sandbox", "socket_path")

    def __init__(
        self, name: str, mac: str = "", mtu: int = 0, sandbox: str = "", socket_path: str = "", pci_id: str = ""
    ) -> None:
        self.name = name
        self.mac = mac
        self.mtu = mtu
        self.sandbox = sandbox
        self.socket_path = socket_path
        self.pci_id = pci_id


class IP:
    """cidr, its subnet's gateway if it has one, and the index into interfaces of the one that carries it."""

    __slots__ = ("cidr", "gateway", "interface")

    def __init__(self, cidr: Cidr, gateway: Address | None = None, interface: int | None = None) -> None:
        self.cidr = cidr
        self.gateway = gateway
        self.interface = interface


class RouteSpec:
    """A route of a configuration or result: dst; gw, None for the gateway of ips; the rest None where not told."""

    __slots__ = ("advmss", "dst", "gw", "mtu", "priority", "scope", "table")

    def __init__(
        self,
        dst: Cidr,
        gw: Address | None = None,
        mtu: int | None = None,
        advmss: int | None = None,
        priority: int | None = None,
        table: int | None = None,
        scope: int | None = None,
    ) -> None:
        self.dst = dst
        self.gw = gw
        self.mtu = mtu
        self.advmss = advmss
        self.priority = priority
        self.table = table
        self.scope = scope

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> RouteSpec:
        """From what the schema calls a route."""
        return cls(
            Cidr.parse(document["dst"]),
            _optional_address(document.get("gw")),
            document.get("mtu"),
            document.get("advmss"),
            document.get("priority"),
            document.get("table"),
            document.get("scope"),
        )

    def __str__(self) -> str:
        return f"{self.dst} via {self.gw}" if self.gw else str(self.dst)


class Result:
    """interfaces, ips, routes, and dns (the specification's dictionary, empty if there is none)."""

    __slots__ = ("dns", "interfaces", "ips", "routes")

    def __init__(
        self,
        interfaces: Iterable[Interface] = (),
        ips: Iterable[IP] = (),
        routes: Iterable[RouteSpec] = (),
        dns: dict[str, Any] | None = None,
    ) -> None:
        self.interfaces = list(interfaces)
        self.ips = list(ips)
        self.routes = list(routes)
        self.dns = dns or {}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Result:
        """From a result of any version, as the schema accepts it (result.json)."""
        result = cls(dns=document.get("dns"))
        for member in document.get("interfaces", []):
            result.interfaces.append(
                Interface(
                    member["name"],
                    member.get("mac", ""),
                    member.get("mtu", 0),
                    member.get("sandbox", ""),
                    member.get("socketPath", ""),
                    member.get("pciID", ""),
                )
            )
        for member in document.get("ips", []):
            gateway = _optional_address(member.get("gateway"))
            result.ips.append(IP(Cidr.parse(member["address"]), gateway, member.get("interface")))
        result.routes += [RouteSpec.from_json(route) for route in document.get("routes", [])]
        for family in ("ip4", "ip6"):  # 0.1.0 and 0.2.0
            if family in document:
                member = document[family]
                result.ips.append(IP(Cidr.parse(member["ip"]), _optional_address(member.get("gateway"))))
                result.routes += [RouteSpec.from_json(route) for route in member.get("routes", [])]
        return result

    def ips_of(self, ifname: str, sandbox: str) -> list[IP]:
        """Those of an interface in a container, and those of none in particular."""
        own = {i for i, found in enumerate(self.interfaces) if (found.name, found.sandbox) == (ifname, sandbox)}
        return [ip for ip in self.ips if ip.interface is None or ip.interface in own]

    def to_json(self, version: str) -> dict[str, Any]:
        """The result in the form of a supported version."""
        if version in ("0.1.0", "0.2.0"):
            return {"cniVersion": version} | self._by_family() | ({"dns": self.dns} if self.dns else {})
        document: dict[str, Any] = {"cniVersion": version}
        if self.interfaces:
            document["interfaces"] = [_interface(interface) for interface in self.interfaces]
        if self.ips:
            document["ips"] = [_ip(ip, with_version=version < "1.0.0") for ip in self.ips]
        if self.routes:
            document["routes"] = [_route(route) for route in self.routes]
        if version < "1.1.0":
            for key, names in _SINCE_110.items():
                for member in document.get(key, []):
                    for name in names:
                        member.pop(name, None)
        if self.dns:
            document["dns"] = self.dns
        return document

    def _by_family(self) -> dict[str, Any]:
        """ip4 and ip6: the first address of each family, with the family's routes."""
        document: dict[str, Any] = {}
        for ip in self.ips:
            key = "ip4" if ip.cidr.family == AF_INET else "ip6"
            if key not in document:
                routes = [route for route in self.routes if route.dst.family == ip.cidr.family]
                document[key] = _present(
                    ip=str(ip.cidr),
                    gateway=ip.gateway and str(ip.gateway),
                    routes=[_present(dst=str(route.dst), gw=route.gw and str(route.gw)) for route in routes],
                )
        return document


def _interface(interface: Interface) -> dict[str, Any]:
    return {"name": interface.name} | _present(
        mac=interface.mac,
        mtu=interface.mtu or None,
        sandbox=interface.sandbox,
        socketPath=interface.socket_path,
        pciID=interface.pci_id,
    )


def _ip(ip: IP, *, with_version: bool) -> dict[str, Any]:
    return _present(
        version=("4" if ip.cidr.family == AF_INET else "6") if with_version else None,
        address=str(ip.cidr),
        gateway=ip.gateway and str(ip.gateway),
        interface=ip.interface,
    )


def _route(route: RouteSpec) -> dict[str, Any]:
    return _present(
        dst=str(route.dst),
        gw=route.gw and str(route.gw),
        mtu=route.mtu,
        advmss=route.advmss,
        priority=route.priority,
        table=route.table,
        scope=route.scope,
    )


def _present(**members: Any) -> dict[str, Any]:
    """Only the members that say something: zero does, None, the empty text and the empty list do not."""
    return {name: value for name, value in members.items() if value is not None and value != "" and value != []}


def _optional_address(text: str | None) -> Address | None:
    return Address.parse(text) if text else None
