"""`doctor`: looks at the node as the plugins will, and says what would go wrong and how it is mended."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cni_cli.attached import attached
from cni_cli.clashes import clashes
from cni_cli.conflists import Network, add_directory, networks_in
from cni_cli.leases import data_directories, leases_in
from cni_core import occupancy, parent as parents
from cni_core.errors import CniError
from cni_core.rtnl.messages import IFLA_VLAN_ID, Link, del_link, new_parent, u16, u32
from cni_core.rtnl.socket import Rtnl

OK, WARNING, FAILURE = "ok", "warning", "failure"
BIN_DIRECTORY = "/opt/cni/bin"
LOWER, UPPER = "lower", "upper"
# Each kind, with the attributes of its own that the kernel insists on.
KINDS = {"dummy": b"", "vlan": u16(IFLA_VLAN_ID, 7), "macvlan": u32(1, 4), "ipvlan": u16(1, 0)}
CLONE_NEWNET = 0x40000000  # linux/sched.h
IFF_PROMISC = 0x100  # linux/if.h

# What a hypervisor's or a cloud's switch does to frames of hardware addresses that it did not give (their manuals:
# VMware "MAC address changes, forged transmits", EC2 "source/destination check", Hyper-V "MAC address spoofing").
FILTERING = {
    "vmware": "allow forged transmits and promiscuous mode on the port group",
    "microsoft": "enable MAC address spoofing for the virtual machine's adapter",
    "amazon": "use ipvlan with addresses that are assigned to the instance's interface",
    "google": "use ipvlan with alias IP ranges of the instance",
    "openstack": "allow the addresses by the port's allowed_address_pairs",
    "digitalocean": "use ipvlan in mode l3 and route to the droplet",
}


@dataclass(frozen=True)
class Check:
    """level is ok, warning or failure; what was found; mend, where there is something to mend."""

    level: str
    what: str
    mend: str = ""


def add_to(commands: Any, kind: str) -> None:
    parser = commands.add_parser(
        "doctor",
        help="look for what would go wrong on this node",
        description="Exit status: 1 if something fails, else 0, also with warnings.",
    )
    parser.add_argument("--parent", action="append", default=[], metavar="LINK", help="look at this link, too")
    parser.add_argument(
        "--bin-dir", default=BIN_DIRECTORY, metavar="DIRECTORY", help="of plugins (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    add_directory(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    networks = networks_in(options.dir)
    checks = [
        *_permissions(),
        *_kernel(),
        *_plugins(options.bin_dir),
        *_networks(options.dir, networks),
        *_parents(networks, options.parent),
        *_leases(networks),
        *_own_links(),
    ]
    if options.json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        for check in checks:
            print(f"{check.level:8} {check.what}{f'{chr(10)}         → {check.mend}' if check.mend else ''}")
    return int(any(check.level == FAILURE for check in checks))


def _permissions() -> Iterator[Check]:
    if os.geteuid() != 0:
        yield Check(FAILURE, "this is not root: most of what follows cannot be told", "Call it by sudo.")
    elif "CapEff:\t0000000000000000" in Path("/proc/self/status").read_text():
        yield Check(FAILURE, "root has no capabilities here", "Call it on the node itself.")
    else:
        yield Check(OK, "permissions: root")


def _kernel() -> Iterator[Check]:
    """Makes each kind of link once, in a namespace that goes with the child that made it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, "\n".join(_refused_kinds()).encode() or b"-")
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    if told == "-":
        yield Check(OK, "kernel: makes macvlan, ipvlan, VLAN and dummy links")
    else:
        for line in told.splitlines() or ["none: no network namespace can be made"]:
            kind, _, why = line.partition(": ")
            yield Check(FAILURE, f"kernel: {kind}: {why}", f"modprobe {kind}, or a kernel that is built with it")


def _refused_kinds() -> Iterator[str]:
    """KIND: REASON, of those that the kernel does not make."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        yield f"namespaces: {os.strerror(ctypes.get_errno())}"
        return
    with Rtnl() as rtnl:
        for kind, data in KINDS.items():
            below = rtnl.link(LOWER)
            try:
                rtnl.execute(
                    new_parent(LOWER if kind == "dummy" else "upper", kind, data, below=below.index if below else 0)
                )
            except CniError as error:
                yield f"{kind}: {error.msg}"
            upper = rtnl.link(UPPER)
            if upper:  # a link cannot carry macvlan and ipvlan
                rtnl.execute(del_link(upper.index))


def _plugins(directory: str) -> Iterator[Check]:
    found = [name for name in ("macvlan", "ipvlan") if os.access(f"{directory}/{name}", os.X_OK)]
    ours = [name for name in ("cni-macvlan-py", "cni-ipvlan-py") if os.access(f"{directory}/{name}", os.X_OK)]
    if not ours:
        yield Check(WARNING, f"{directory} has no plugins of ours", "Put them there: cni-macvlan-py install")
    elif not os.path.isdir(f"{os.path.dirname(os.path.realpath(f'{directory}/{ours[0]}'))}/_internal"):
        mend = "Install the plugins whole: cni-macvlan-py install"
        yield Check(FAILURE, f"{directory}/{ours[0]} has no _internal beside it", mend)
    else:
        yield Check(OK, f"{directory} has {', '.join(ours)}")
    for name in found:
        if os.path.realpath(f"{directory}/{name}") != os.path.realpath(f"{directory}/cni-{name}-py"):
            yield Check(
                WARNING,
                f"{directory}/{name} is another plugin",
                f'"type": "cni-{name}-py" is ours; or install --aliases',
            )
    if not os.access(f"{directory}/loopback", os.X_OK):
        yield Check(
            WARNING, f"{directory} has no loopback, which containerd needs", "Install the CNI reference plugins."
        )


def _networks(directory: str, networks: list[Network]) -> Iterator[Check]:
    if not networks:
        yield Check(WARNING, f"{directory} has no macvlan or ipvlan network", "Make one: network create")
    with Rtnl() as host:
        for i, network in enumerate(networks):
            found = list(clashes(network, networks[:i], host))
            for clash in found:
                yield Check(FAILURE, f"network {network.name}: {clash.msg}", clash.details)
            if not found:
                yield Check(OK, f"network {network.name}: {network.use} on {network.parent}")


def _parents(networks: list[Network], named: list[str]) -> Iterator[Check]:
    """Each parent once: whether it can be one, and what is known to break macvlan on it."""
    configs = [network.config for network in networks] + [
        {"type": "macvlan", "name": "doctor", "master": name} for name in named
    ]
    seen = set()
    with Rtnl() as host:
        for config in configs:
            try:
                parent = parents.find(config, host)
                parents.mtu(config, parent)
            except parents.Absent as absent:
                yield Check(OK, f"{absent}; it is made with the first container")
                continue
            except CniError as error:
                yield Check(FAILURE, f"network {config['name']}: {error.msg}", error.details)
                continue
            if parent.name not in seen:
                seen.add(parent.name)
                yield from _parent(parent, any(_carries_macvlan(other, parent.name) for other in configs))


def _carries_macvlan(config: dict[str, Any], parent: str) -> bool:
    return "macvlan" in config["type"] and str(config.get("master", "")).split(".")[0] == parent.split(".")[0]


def _parent(parent: Link, carries_macvlan: bool) -> Iterator[Check]:
    directory = Path("/sys/class/net", parent.name)
    yield Check(OK, f"{parent.name}: up, MTU {parent.mtu}{'' if parent.carrier else ', without a carrier'}")
    if (directory / "wireless").exists() or (directory / "phy80211").exists():
        mend = "Use ipvlan: an access point takes frames of one hardware address for each station."
        yield Check(FAILURE if carries_macvlan else WARNING, f"{parent.name} is Wi-Fi, which macvlan cannot use", mend)
    try:
        if int((directory / "flags").read_text(), 16) & IFF_PROMISC:
            mend = f"ip link set {parent.name} promisc off, unless something else needs it"
            yield Check(WARNING, f"{parent.name} is in promiscuous mode, which macvlan does not need", mend)
    except OSError:
        pass  # a link of another namespace than /sys shows
    vendor = _hypervisor()
    if vendor and carries_macvlan:
        yield Check(
            WARNING,
            f"{parent.name}: this is a virtual machine of {vendor}, whose switch may drop frames of the containers",
            f"Use ipvlan; or {FILTERING[vendor]}.",
        )


def _hypervisor() -> str:
    """A key of FILTERING, or empty."""
    told = ""
    for name in ("sys_vendor", "product_name", "chassis_vendor"):
        try:
            told += Path("/sys/class/dmi/id", name).read_text().lower()
        except OSError:
            pass
    return next((vendor for vendor in FILTERING if vendor in told), "")


def _leases(networks: list[Network]) -> Iterator[Check]:
    """Leases of nobody, and attachments without a lease."""
    held = [lease for directory in data_directories(networks) for lease in leases_in(directory)]
    names = {lease.network for lease in held} | {network.name for network in networks}
    there = {(name, *attachment) for name in names for attachment in attached(name)}
    leased = {(lease.network, lease.container, lease.interface) for lease in held}
    for lease in held:
        if lease.boot == "this" and (lease.network, lease.container, lease.interface) not in there:
            yield Check(
                WARNING,
                f"network {lease.network}: {lease.address} is {lease.container}'s, who is not attached",
                f"If that container is gone: leases release {lease.network} {lease.address}",
            )
    for network in networks:
        for container, interface in attached(network.name):
            if network.data_dir and (network.name, container, interface) not in leased:
                yield Check(
                    WARNING,
                    f"network {network.name}: {container} {interface} is attached without a lease",
                    "Its addresses may be given to another container: start it anew.",
                )
    earlier = sum(lease.boot == "earlier" for lease in held)
    yield Check(OK, f"leases: {len(held)}, of which {earlier} are of an earlier boot and are taken back when needed")


def _own_links() -> Iterator[Check]:
    """VLANs and dummies of ours that nobody is on."""
    with Rtnl() as host:
        for link in host.links():
            if parents.is_ours(link) and not occupancy.users(link)[1]:
                carries = any(other.parent == link.index for other in host.links())
                if not carries:
                    yield Check(
                        WARNING, f"{link.name}: nobody is on this link, which we made", f"ip link del {link.name}"
                    )
