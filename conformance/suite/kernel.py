"""What the kernel says of a namespace, by pyroute2 and ip(8): links, addresses and routes."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute

from conformance.lab.topology import Host

IFF_UP = 1  # linux/if.h
RT_TABLE_MAIN = 254  # linux/rtnetlink.h
RTN_UNICAST = 1
RTPROT_KERNEL = 2
RT_SCOPE_LINK = 253


@dataclass(frozen=True)
class Link:
    """kind is IFLA_INFO_KIND's, empty for what is of none; parent is the other link's index, 0 without one."""

    kind: str
    mac: str
    mtu: int
    up: bool
    parent: int


@dataclass(frozen=True, order=True)
class Route:
    """Of the main table: dst as CIDR, via the gateway or "", dev's name."""

    dst: str
    via: str
    dev: str
    priority: int


def links(host: Host) -> dict[str, Link]:
    """By name, without the loopback."""
    found = {}
    with host.inside(), IPRoute() as route:
        for message in route.get_links():
            info = message.get_attr("IFLA_LINKINFO")
            found[message.get_attr("IFLA_IFNAME")] = Link(
                (info.get_attr("IFLA_INFO_KIND") or "") if info else "",
                message.get_attr("IFLA_ADDRESS") or "",
                message.get_attr("IFLA_MTU"),
                bool(message["flags"] & IFF_UP),
                message.get_attr("IFLA_LINK") or 0,
            )
    found.pop("lo")
    return found


def info_data(host: Host, ifname: str) -> dict[str, Any]:
    """What is a kind's own (mode, flags, id), by the names that `ip -d -j link` gives them."""
    return dict(host.ip_json(f"link show dev {ifname}")[0]["linkinfo"].get("info_data", {}))


def index(host: Host, ifname: str) -> int:
    with host.inside():
        return socket.if_nametoindex(ifname)


def addresses(host: Host, ifname: str) -> dict[str, int]:
    """ADDRESS/LENGTH → IFA_FLAGS, without the link-local ones."""
    found = {}
    with host.inside(), IPRoute() as route:
        for message in route.get_addr(index=socket.if_nametoindex(ifname)):
            if message["scope"] != RT_SCOPE_LINK:
                address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
                found[f"{address}/{message['prefixlen']}"] = message.get_attr("IFA_FLAGS") or message["flags"]
    return found


def routes(host: Host) -> list[Route]:
    """Those of the main table that the kernel did not make by itself."""
    found = []
    with host.inside(), IPRoute() as route:
        names = {message["index"]: message.get_attr("IFLA_IFNAME") for message in route.get_links()}
        for family, every in ((socket.AF_INET, "0.0.0.0/0"), (socket.AF_INET6, "::/0")):
            for message in route.get_routes(family=family, table=RT_TABLE_MAIN):
                if message["type"] == RTN_UNICAST and message["proto"] != RTPROT_KERNEL:
                    dst = message.get_attr("RTA_DST")
                    found.append(
                        Route(
                            f"{dst}/{message['dst_len']}" if dst else every,
                            message.get_attr("RTA_GATEWAY") or "",
                            names[message.get_attr("RTA_OIF")],
                            message.get_attr("RTA_PRIORITY") or 0,
                        )
                    )
    return sorted(found)
