"""Routers that advertise on a link of the lab: radvd, and one that does nothing else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

from conformance.lab.topology import Host
from tests.kernel.dhcp import wait_for

PREFIXES = ("fd00:50::/64", "2001:db8:50::/64")
BEHIND = "fd00:77::/48"  # a network that the router leads to (RFC 4191), as a Thread border router does
MTU = 1400
# By mobile IPv6's option the interval may be this short (radvd.conf(5)), in seconds.
CONFIGURATION = f"""
interface eth0 {{
    AdvSendAdvert on;
    AdvIntervalOpt on;
    MinRtrAdvInterval 0.03;
    MaxRtrAdvInterval 0.07;
    AdvDefaultLifetime 1800;
    AdvLinkMTU {MTU};
    {"".join(f"prefix {prefix} {{}};" for prefix in PREFIXES)}
    route {BEHIND} {{ AdvRouteLifetime 1800; }};
}};
"""


def radvd(host: Host, directory: Path) -> None:
    """Runs radvd on a host's eth0 until the host goes."""
    (directory / "radvd.conf").write_text(CONFIGURATION)
    host.forward()
    argv = ["radvd", "-n", "-C", str(directory / "radvd.conf"), "-p", str(directory / "radvd.pid")]
    host.popen([*argv, "-m", "logfile", "-l", str(directory / "radvd.log")])
    wait_for((directory / "radvd.pid").exists, "radvd")


@contextmanager
def advertised(host: Host, interval: float) -> Iterator[None]:
    """While the block runs, eth0 sends a router's advertisement of the first prefix every so many seconds."""
    with host.inside():
        sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        index = socket.if_nametoindex("eth0")
    sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    body, done = advertisement(PREFIXES[0]), threading.Event()

    def send() -> None:
        while not done.is_set():
            sender.sendto(body, ("ff02::1", 0, 0, index))
            time.sleep(interval)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        sender.close()


def advertisement(prefix: str) -> bytes:
    """Of a router of 1800 s, with a prefix that is on the link and for addresses (RFC 4861, 4.2 and 4.6.2)."""
    network = ip_network(prefix)
    seconds = (1800).to_bytes(4, "big")
    router = bytes([134, 0, 0, 0, 64, 0]) + seconds[2:] + bytes(8)
    return router + bytes([3, 4, network.prefixlen, 0xC0]) + 2 * seconds + bytes(4) + network.network_address.packed
