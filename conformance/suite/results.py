"""JSON Schemas of what a plugin prints, for each version of the specification ("Section 5: Result Types")."""

from __future__ import annotations

from typing import Any

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
WITH_CHECK = ("0.4.0", "1.0.0", "1.1.0")

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
CIDR: Schema = {"type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]+$"}
ADDRESS: Schema = {"type": "string", "pattern": "^[0-9a-fA-F.:]+$"}
MAC: Schema = {"type": "string", "pattern": "^([0-9a-fA-F]{2}(:[0-9a-fA-F]{2})*)?$"}


def members(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """An object of these members and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def several(items: Schema) -> Schema:
    return {"type": "array", "items": items}


DNS = members(nameservers=several(ADDRESS), domain=TEXT, search=several(TEXT), options=several(TEXT))

ERROR: Schema = {
    "type": "object",
    "properties": {"cniVersion": NAME, "code": {"type": "integer", "minimum": 1}, "msg": NAME, "details": TEXT},
    "required": ["code", "msg"],
    "additionalProperties": False,
}

VERSION = members(
    ("cniVersion", "supportedVersions"),
    cniVersion=NAME,
    supportedVersions={**several({"type": "string", "pattern": r"^\d+\.\d+\.\d+$"}), "minItems": 1},
)


def add_result(version: str, *, ipam: bool) -> Schema:
    """The result of an ADD; ipam: the abbreviated one of an IPAM plugin, which has no interfaces."""
    own: Schema = {"const": version}
    if version in ("0.1.0", "0.2.0"):
        family = members(("ip",), ip=CIDR, gateway=ADDRESS, routes=several(members(("dst",), dst=CIDR, gw=ADDRESS)))
        return members(("cniVersion",), cniVersion=own, ip4=family, ip6=family, dns=DNS)
    latest = version == "1.1.0"
    route = {"dst": CIDR, "gw": ADDRESS}
    if latest:
        route |= {"mtu": COUNT, "advmss": COUNT, "priority": COUNT, "table": COUNT, "scope": COUNT}
    interface = {"name": NAME, "mac": MAC, "sandbox": TEXT}
    if latest:
        interface |= {"mtu": COUNT, "socketPath": TEXT, "pciID": TEXT}
    ip = {"address": CIDR, "gateway": ADDRESS}
    required: tuple[str, ...] = ("address",)
    if version < "1.0.0":
        ip["version"] = {"enum": ["4", "6"]}
        required = ("version", "address")
    if not ipam:
        ip["interface"] = COUNT
    document = {
        "cniVersion": own,
        "ips": several(members(required, **ip)),
        "routes": several(members(("dst",), **route)),
        "dns": DNS,
    }
    if not ipam:
        document["interfaces"] = several(members(("name",), **interface))
    return members(("cniVersion",), **document)
