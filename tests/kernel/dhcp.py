"""A DHCP server on a host of the lab: dnsmasq; and Go's dhcp plugin, without the other plugins of its package."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from conformance.lab.topology import Host
from tests.kernel.plugin import GO

RESERVED_MAC, RESERVED = "02:00:00:00:00:4d", "10.1.0.77"


class Server:
    """dnsmasq on a host, and what it logs."""

    def __init__(self, host: Host, directory: Path, ifname: str = "eth0", subnet: str = "10.1.0") -> None:
        directory.mkdir()
        self.log = directory / "log"
        options = {
            "conf-file": "/dev/null",
            "interface": ifname,
            "dhcp-range": f"{subnet}.50,{subnet}.99,255.255.255.0,2m",
            "dhcp-host": f"{RESERVED_MAC},{RESERVED}",
            "dhcp-leasefile": str(directory / "leases"),
            "pid-file": str(directory / "pid"),
            "log-facility": str(self.log),
            "port": "0",
            "user": "root",
        }
        flags = ["--keep-in-foreground", "--bind-interfaces", "--log-dhcp", "--no-ping", "--dhcp-authoritative"]
        host.popen(["dnsmasq", *flags, *(f"--{name}={value}" for name, value in options.items())])
        wait_for(lambda: self.log.exists() and "started" in self.log.read_text(), "dnsmasq")

    def saw(self, message: str) -> bool:
        """Whether the message, as in "DHCPRELEASE(eth0) 10.1.0.50", came on the wire."""
        return message in self.log.read_text()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"{what} is not there"
        time.sleep(0.02)


def directory_of_the_plugin(base: Path) -> str:
    """For CNI_PATH."""
    directory = base / "bin"
    directory.mkdir()
    (directory / "dhcp").symlink_to(GO / "dhcp")
    return str(directory)
