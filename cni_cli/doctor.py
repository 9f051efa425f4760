"""`doctor`: looks at the node as the plugins will, and says what would go wrong and how it is mended."""

from __future__ import annotations

import argparse
import ctypes
import os
from _socket import AF_INET, AF_INET6
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cni_cli import cluster_view, kubernetes, podman
from cni_cli.attached import GONE, attached, gone, how_to_free
from cni_cli.checks import FAILURE, OK, WARNING, Check, as_json, as_text, of_network, settled, status, to_the_end
from cni_cli.clashes import clashes, ranges_of, subnets_of
from cni_cli.conflists import OURS, Network, add_bin_directory, add_directory, broken_in, files_in, find, networks_in
from cni_cli.docker import IPVLAN_DHCP
from cni_cli.host_access import findings as of_host_access
from cni_cli.host_routes import findings as of_host_routes
from cni_cli.kernel import Kernel, Link
from cni_cli.kinds import link_kind
from cni_cli.leases import data_directories, is_of, leases_in
from cni_cli.validate import IPV6_MIN_MTU, findings
from cni_core import hostroutes, parent as parents
from cni_core.address import Address
from cni_core.bridges import in_words
from cni_core.errors import INVALID_CONFIG, CniError
from cni_core.netns import Place
from cni_core.network import Network as Values
from cni_core.records import ROOT
from cni_core.rtnl import messages
from cni_core.rtnl.socket import Rtnl
from cni_core.schema.formats import is_parent_name
from cni_core.shared import carries_anything, has_host_routes
from cni_core.stable import machine_id
from ipam.delegate import DHCP, missing_daemon

OWN_ROUTES = "See to the way there yourself, or choose another subnet."
LOWER, UPPER = "lower", "upper"
# What others can be made on, first where it is of interest itself; then each kind with the attributes that it needs.
LOWER_KINDS = ("dummy", "veth", "bridge")
UPPER_KINDS: dict[str, dict[str, int]] = {"vlan": {"vlan_id": 7}, "macvlan": {}, "ipvlan": {}}
MODULES = {"vlan": "8021q"}  # where it has not the kind's name
CLONE_NEWNET = 0x40000000  # linux/sched.h
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}  # linux/capability.h
SYS = Path("/sys")

# What a hypervisor's or a cloud's switch does to frames of hardware addresses that it did not give, by words of the
# machine's DMI table (their manuals: VMware "MAC address changes, forged transmits", EC2 "source/destination check",
# Hyper-V "MAC address spoofing", VirtualBox "Promiscuous Mode").
FILTERING = {
    "vmware": "allow forged transmits and promiscuous mode on the port group",
    "virtualbox": 'set the adapter\'s "Promiscuous Mode" to "Allow All"',
    "microsoft corporation virtual machine": "on Hyper-V, enable MAC address spoofing for the machine's adapter",
    "amazon ec2": "use ipvlan with addresses that are assigned to the instance's interface",
    "google compute engine": "use ipvlan with alias IP ranges of the instance",
    "openstack": "allow the addresses by the port's allowed_address_pairs",
    "digitalocean": "use ipvlan in mode l3 and route to the droplet",
    "hetzner": "use ipvlan in mode l3 and route to the server",
}


def add_to(commands: Any, kind: str) -> None:
    parser = commands.add_parser(
        "doctor",
        help="look for what would go wrong on this node",
        description="Exit status: 1 if something fails, else 0, also with warnings.",
    )
    parser.add_argument("network", nargs="?", metavar="NETWORK", help="look at this one alone (default: all)")
    parser.add_argument("--parent", action="append", default=[], metavar="LINK", help="look at this link, too")
    add_bin_directory(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    add_directory(parser)
    parser.set_defaults(run=run, kind=kind)


def run(options: argparse.Namespace) -> int:
    """CommandError where it is asked about a network that there is not."""
    on_node: list[Network] = []
    with suppress(OSError):  # _networks tells of it
        on_node = networks_in(options.dir)
    networks = [find(options.dir, options.network)] if options.network else on_node
    checks = settled(
        check
        for about, found in (
            ("permissions", _permissions()),
            ("kernel", _kernel(_needed(options.kind, networks))),
            ("plugins", _plugins(options.bin_dir)),
            ("plugins", _missing_plugins(options.bin_dir, networks)),
            ("podman", _podman()),
            ("plugins", kubernetes.of_others(networks, options.bin_dir, options.dir)),
            ("runtimes", kubernetes.of_runtimes(networks, options.dir)),
            ("clusters", kubernetes.beside_clusters(networks, options.dir)),
            ("dhcp", _dhcp(options.bin_dir, networks)),
            ("machine", _machine(networks)),
            ("directories", _directories(networks)),
            ("networks", _networks(options.dir, networks, on_node)),
            ("parents", _parents(networks, options.parent, options.kind)),
            ("gateways", _gateways(networks)),
            ("leases", _leases(networks)),
            ("clusters", cluster_view.checks(networks)),
            ("links", _own_links(on_node)),
            ("host access", _host_access(networks)),
            ("host routes", _host_routes(networks)),
        )
        for check in to_the_end(about, found)
    )
    print(as_json(checks) if options.json else "\n".join(as_text(checks)))
    return status(checks)


def _permissions() -> Iterator[Check]:
    if os.geteuid() != 0:
        yield Check(FAILURE, "this is not root: most of what follows cannot be told", "Call it by sudo.")
        return
    status = Path("/proc/self/status").read_text().splitlines()
    effective = next((int(line.split()[1], 16) for line in status if line.startswith("CapEff:")), 0)
    missing = [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        yield Check(FAILURE, f"root has no {' and '.join(missing)} here", "Call it on the node, not in a container.")
    else:
        yield Check(OK, "permissions: root")


def _needed(kind: str, networks: list[Network]) -> set[str]:
    """The kinds of link that the networks are made of; without any, those of this program."""
    needed = {network.kind for network in networks} or {kind}
    for network in networks:
        if network.values.may_make_its_parent:
            needed.add("dummy" if network.values.internal else "vlan")
    return needed


def _kernel(needed: set[str]) -> Iterator[Check]:
    """Makes each kind of link once, in a namespace that goes with the child that made it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, "\n".join(_refused_in_a_namespace()).encode() or b"-")
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    if told == "-":
        yield Check(OK, "kernel: makes macvlan, ipvlan, VLAN and dummy links")
    for line in told.splitlines() if told != "-" else []:
        kind, _, why = line.partition(": ")
        if kind == "namespace":
            yield Check(FAILURE, f"kernel: no network namespace can be made: {why}", "Call it as root, on the node.")
        else:
            mend = f"modprobe {MODULES.get(kind, kind)}, or a kernel that is built with it"
            yield Check(FAILURE if kind in needed else WARNING, f"kernel: makes no {kind} links: {why}", mend)


def _refused_in_a_namespace() -> Iterator[str]:
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        yield f"namespace: {os.strerror(ctypes.get_errno())}"
        return
    with Kernel() as kernel:
        yield from refused_kinds(kernel)


def refused_kinds(kernel: Kernel) -> Iterator[str]:
    """KIND: REASON, of those that the kernel does not make, in an empty namespace."""
    for kind in LOWER_KINDS:
        why = _refusal(kernel, LOWER, kind)
        if why and kind == "dummy":
            yield f"{kind}: {why}"
        if not why:
            break
    below = kernel.link(LOWER)
    for kind, attributes in UPPER_KINDS.items():
        why = _refusal(kernel, UPPER, kind, below, attributes) if below else "there is no link to make it on"
        if why:
            yield f"{kind}: {why}"
        upper = kernel.link(UPPER)
        if upper:  # a link cannot carry macvlan and ipvlan
            kernel.remove_link(upper)


def _refusal(
    kernel: Kernel, name: str, kind: str, below: Link | None = None, attributes: dict[str, int] | None = None
) -> str:
    try:
        kernel.make_link(name, kind, below, **attributes or {})
    except CniError as error:
        return error.msg.partition(": ")[2]
    return ""


def _plugins(directory: str) -> Iterator[Check]:
    found = [name for name in ("macvlan", "ipvlan") if os.access(f"{directory}/{name}", os.X_OK)]
    ours = [name for name in ("cni-macvlan-py", "cni-ipvlan-py") if os.access(f"{directory}/{name}", os.X_OK)]
    if not ours:
        yield Check(WARNING, f"{directory} has no plugins of ours", "Put them there: cni-macvlan-py install")
    elif not os.path.isdir(f"{_home(f'{directory}/{ours[0]}')}/_internal"):
        mend = "Install the plugins whole: cni-macvlan-py install"
        yield Check(FAILURE, f"{directory}/{ours[0]} has no _internal beside it", mend)
    else:
        yield Check(OK, f"{directory} has {', '.join(ours)}")
    for name in found:
        if os.path.realpath(f"{directory}/{name}") != os.path.realpath(f"{directory}/cni-{name}-py"):
            yield Check(
                WARNING,
                f"{directory}/{name} is another plugin",
                f'"type": "cni-{name}-py" is ours; or install --replace',
            )
    if not os.access(f"{directory}/loopback", os.X_OK):
        yield Check(
            WARNING, f"{directory} has no loopback, which containerd needs", "Install the CNI reference plugins."
        )


def _podman() -> Iterator[Check]:
    """Whether this node's podman finds the plugins, by the names by which it calls them."""
    found = podman.find()
    if not found:
        return
    is_cni = found.backend == podman.CNI
    how = f"podman {found.version} calls {'CNI' if is_cni else 'netavark'} plugins"
    names = ("macvlan", "ipvlan") if is_cni else ("cni-macvlan-py", "cni-ipvlan-py")
    calls = {name: found.plugin(name) for name in names}
    own = [name for name, path in calls.items() if os.path.basename(os.path.realpath(path)) in OURS.values()]
    if len(own) == len(calls):
        yield Check(OK, f"{how}: {', '.join(own)} of {os.path.dirname(calls[own[0]])}")
        return
    used = [network for name in calls if name not in own for network in found.users(name)]
    where = ", ".join(found.plugin_directories)
    missing = ", ".join(name for name in calls if name not in own)
    what = f"{how}, and of ours it finds no {missing} in {where}"
    option = "--aliases --bin-dir" if is_cni else "--netavark"
    mend = f"{OURS['macvlan']} install {option} {found.plugin_directories[0]}"
    if used:
        yield Check(FAILURE, f"{what}: network {', '.join(used)} is of them", mend)
    else:
        yield Check(WARNING, what, mend)


def _home(program: str) -> str:
    """Where it lies; without a launcher it is in _internal itself."""
    return os.path.dirname(os.path.realpath(program)).removesuffix("/_internal")


def _missing_plugins(directory: str, networks: list[Network]) -> Iterator[Check]:
    """Of those that the networks name."""
    for kind in dict.fromkeys(network.config["type"] for network in networks):
        if not os.access(f"{directory}/{kind}", os.X_OK):
            names = ", ".join(network.name for network in networks if network.config["type"] == kind)
            mend = f"{OURS[kind]} install{'' if kind in OURS.values() else ' --aliases'}"
            yield Check(FAILURE, f"{directory} has no {kind}, which {names} is of", mend)


def _dhcp(directory: str, networks: list[Network]) -> Iterator[Check]:
    """What networks whose addresses are a DHCP server's need of Go's: the plugin, and its daemon."""
    executable = f"{directory}/{DHCP}"
    for network in networks:
        ipam = network.values.ipam
        if ipam.get("type") != DHCP:
            continue
        if not os.access(executable, os.X_OK):
            mend = "Install the CNI reference plugins (Debian's containernetworking-plugins)."
            yield of_network(network.name, FAILURE, f"{directory} has no dhcp", mend)
        elif missing := missing_daemon(ipam, executable):
            yield of_network(network.name, FAILURE, "no DHCP daemon runs", missing)
        else:
            yield of_network(network.name, OK, "the DHCP daemon runs")
        if network.kind == "ipvlan":
            yield of_network(network.name, WARNING, IPVLAN_DHCP, "Use macvlan, or give it a subnet.")


def _machine(networks: list[Network]) -> Iterator[Check]:
    """Whether it is told from others, which stable hardware addresses need."""
    names = [network.name for network in networks if network.kind == "macvlan" and network.values.mac_is_stable]
    if names:
        try:
            machine_id()
        except CniError as error:
            for name in names:
                yield of_network(name, FAILURE, error.msg, error.details)


def _directories(networks: list[Network]) -> Iterator[Check]:
    """Where attachments and leases are recorded."""
    wanted = [ROOT, *dict.fromkeys(network.data_dir for network in networks if network.data_dir)]
    for directory in wanted:
        why = _unusable(directory)
        if why:
            yield Check(FAILURE, f"{directory}: {why}", "It must be a directory that root can write.")
    if not any(map(_unusable, wanted)):
        yield Check(OK, f"{', '.join(wanted)}: can be written")


def _unusable(directory: str) -> str:
    """Why nothing can be written there, or empty; one that does not exist is made where it belongs."""
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    if not os.path.isdir(directory):
        return f"{directory} is not a directory"
    if not os.access(directory, os.W_OK):
        return f"{directory} cannot be written"
    return "" if os.statvfs(directory).f_bavail else f"{directory} is on a full disk"


def _networks(directory: str, networks: list[Network], on_node: list[Network]) -> Iterator[Check]:
    """Of those that are asked about, whether they can be used beside all others of the node."""
    if not os.path.isdir(directory):
        yield Check(WARNING, f"{directory} is not there", "Make a network: network create")
    elif not networks:
        yield Check(WARNING, f"{directory} has no macvlan or ipvlan network", "Make one: network create")
    yield from _files(directory)
    with Rtnl() as host:
        for network in networks:
            # Of two, the later is blamed; where one is asked about, that one.
            others = on_node if networks != on_node else on_node[: on_node.index(network)]
            for clash in clashes(network, [other for other in others if other != network], host):
                yield of_network(network.name, FAILURE, clash.msg, clash.details)
            yield of_network(network.name, OK, f"{network.use} on {network.parent}")


def _files(directory: str) -> Iterator[Check]:
    """What `validate` has to say, in short."""
    broken = {found.file: found.why for found in broken_in(directory)}
    for file in files_in(directory):
        found = [one for one in findings(file.read_bytes()) if one.serious] if file.is_file() else []
        if found or file in broken:
            why = f"line {found[0].line}: {found[0]}" if found else broken[file]
            others = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            yield Check(FAILURE, f"{file}: {why}{others}", f"validate {file}")


def _parents(networks: list[Network], named: list[str], kind: str) -> Iterator[Check]:
    """Each parent once: whether it can be one, and what is known to break macvlan on it."""
    asked = [({"type": kind, "name": name, "master": name}, "") for name in named if is_parent_name(name)]
    for name in named:
        if not is_parent_name(name):
            yield Check(FAILURE, f"{name!r} cannot be a link's name", "`ip link` lists the links of this host.")
    users: dict[int, set[str]] = {}  # of each parent, the kinds that are to be on it
    with Rtnl() as host:
        for config, about in [(network.config, network.name) for network in networks] + asked:
            values = Values(config)
            if values.link_in_container:
                continue
            try:
                plan = parents.plan(values, host)
                parents.refuse_unusable(plan, host)
                parents.refuse_forbidden(plan, values, link_kind(config), host)
                parent = plan.parent
                if not parent:
                    yield Check(OK, f"{plan.absent}; it is made with the first container", network=about)
                    continue
                _refuse_mtu(config, parent)
                if has_host_routes(link_kind(config), values):
                    subnets = subnets_of(config)
                    routes = hostroutes.main_table(host, subnets)
                    if values.host_routes:
                        hostroutes.refuse_conflicts(subnets, parent, routes, host)
                    for subnet, why in hostroutes.conflicts(subnets, parent, routes, host).items():
                        yield of_network(about, WARNING, f"{subnet} gets no route on this host: {why}", OWN_ROUTES)
            except CniError as error:
                why = error.problem if error.path == ("master",) else error.msg
                yield of_network(about, FAILURE, why, error.details) if about else _of_link(config, why, error)
                continue
            users.setdefault(parent.index, set()).add("macvlan" if "macvlan" in config["type"] else "ipvlan")
    with Kernel() as kernel:
        for index, kinds in users.items():
            found = kernel.link(index=index)
            if found:
                yield from parent_checks(found, _lowest(found, kernel), carries_macvlan="macvlan" in kinds)
                yield from _dropped(found, kernel)


def _dropped(parent: Link, kernel: Kernel) -> Iterator[Check]:
    """A VLAN that its bridge was not told of."""
    bridge = _below(parent, kernel)
    if bridge and bridge.filters_vlans and parent.vlan not in kernel.vlans(bridge):
        yield Check(FAILURE, *in_words(bridge.name, parent.name, parent.vlan))


def _of_link(config: dict[str, Any], why: str, error: CniError) -> Check:
    return Check(FAILURE, f"{config['master']}: {why}", error.details)


def _gateways(networks: list[Network]) -> Iterator[Check]:
    """Whether the routers answer that containers send to: asked of each parent at once."""
    asked: dict[int, list[tuple[str, Address]]] = defaultdict(list)
    with Rtnl() as host:
        for network in networks:
            values = network.values
            if values.link_in_container or values.internal or link_kind(network.config).is_routed(values):
                continue
            try:
                parent = parents.plan(values, host).parent
            except CniError:  # _parents tells of it
                continue
            if parent and parent.carrier and values.ipam.get("routes"):
                gateways = dict.fromkeys(part.gateway for part in ranges_of(network.config))
                asked[parent.index] += [(network.name, gateway) for gateway in gateways if gateway]
    with Kernel() as kernel:
        for index, of_networks in asked.items():
            link = kernel.link(index=index)
            if link:
                yield from _answers(link, of_networks, kernel)


def _answers(parent: Link, of_networks: list[tuple[str, Address]], kernel: Kernel) -> Iterator[Check]:
    addresses = [one.cidr.address for one in kernel.addresses(parent)]
    # A host without an IPv6 address there has nothing to ask from.
    families = {AF_INET, *(address.family for address in addresses)}
    wanted = [(name, one) for name, one in of_networks if one not in addresses and one.family in families]
    answers = kernel.who_has(parent, [gateway for _, gateway in wanted])
    for name, gateway in wanted:
        if gateway in answers:
            yield of_network(name, OK, f"its gateway {gateway} answers on {parent.name}")
        else:
            mend = "See whether it is the router's address, and the router on this network, or VLAN."
            yield of_network(name, WARNING, f"its gateway {gateway} does not answer on {parent.name}", mend)


def _refuse_mtu(config: dict[str, Any], parent: messages.Link) -> None:
    """CniError where it is more than the parent's, or too little for the network."""
    values = Values(config)
    parents.refuse_mtu(values, parent)
    mtu = parents.mtu(values, parent)
    if mtu < IPV6_MIN_MTU and any(part.family == AF_INET6 for part in ranges_of(config)):
        raise CniError(
            INVALID_CONFIG,
            f"{mtu} is less than IPv6's {IPV6_MIN_MTU}",
            f"ip link set {parent.name} mtu {IPV6_MIN_MTU}, and `mtu` likewise",
            path=("mtu",),
        )


def _below(link: Link, kernel: Kernel) -> Link | None:
    """Of a VLAN, the link that it is of."""
    return kernel.link(index=link.parent) if link.vlan and link.parent_nsid is None else None


def _lowest(link: Link, kernel: Kernel) -> Link:
    """What a VLAN is of."""
    below = _below(link, kernel)
    return _lowest(below, kernel) if below else link


def parent_checks(parent: Link, lowest: Link, *, carries_macvlan: bool) -> Iterator[Check]:
    """lowest: the parent itself, or of a VLAN the link below."""
    if parent.carrier:
        yield Check(OK, f"{parent.name}: up, MTU {parent.mtu}")
    elif not parent.up:
        mend = f"Containers work when it comes up: ip link set {parent.name} up"
        yield Check(WARNING, f"{parent.name}: down, MTU {parent.mtu}", mend)
    else:
        yield Check(WARNING, f"{parent.name}: up, but without a carrier", "See to the cable, or the switch's port.")
    directory = SYS / "class/net" / lowest.name
    if (directory / "wireless").exists() or (directory / "phy80211").exists():
        mend = "Use ipvlan: an access point takes frames of one hardware address for each station."
        yield Check(FAILURE if carries_macvlan else WARNING, f"{lowest.name} is Wi-Fi, which macvlan cannot use", mend)
    if lowest.promiscuous:
        mend = f"ip link set {lowest.name} promisc off, unless something else needs it"
        yield Check(WARNING, f"{lowest.name} is in promiscuous mode, which macvlan does not need", mend)
    vendor = _hypervisor()
    if vendor and carries_macvlan:
        yield Check(
            WARNING,
            f"{lowest.name}: this is a virtual machine ({vendor}), whose switch may drop frames of the containers",
            f"Use ipvlan; or {FILTERING[vendor]}.",
        )


def _hypervisor() -> str:
    """A key of FILTERING, or empty."""
    told = ""
    for name in ("sys_vendor", "product_name", "chassis_vendor"):
        try:
            told += (SYS / "class/dmi/id" / name).read_text().strip().lower() + " "
        except OSError:
            pass
    return next((vendor for vendor in FILTERING if vendor in told), "")


def _leases(networks: list[Network]) -> Iterator[Check]:
    """Leases of nobody, and attachments without a lease, of our networks: of others nobody records the attachments."""
    held = [lease for directory in data_directories(networks) for lease in leases_in(directory)]
    for network in networks:
        if not network.data_dir:
            continue
        there, dead = attached(network.name), gone(network.name)
        mine = [lease for lease in held if lease.network == network.name]
        for lease in mine:
            if lease.boot == "this" and not any(is_of(lease, attachment) for attachment in there):
                yield of_network(
                    network.name,
                    WARNING,
                    f"{lease.address} is {lease.container}'s, which is not attached",
                    f"If that container is gone: leases release {network.name} {lease.address}",
                )
        for attachment in dead:
            yield of_network(
                network.name,
                WARNING,
                f"{attachment} died without a DEL: {GONE}",
                f"Take back what it had: {how_to_free(network.name)}",
            )
        for attachment in there:
            if attachment not in dead and not any(is_of(lease, attachment) for lease in mine):
                yield of_network(
                    network.name,
                    WARNING,
                    f"{attachment} is attached without a lease",
                    "Its addresses may be given to another container: start it anew.",
                )
    earlier = sum(lease.boot == "earlier" for lease in held)
    yield Check(OK, f"leases: {len(held)}, of which {earlier} are of an earlier boot and are taken back when needed")


def _own_links(networks: list[Network]) -> Iterator[Check]:
    """VLANs and dummies of ours that neither a network nor anybody on them needs."""
    with Place.host() as host:
        wanted = set(_wanted(networks, host.rtnl))
        for link in host.rtnl.links():
            if parents.is_ours(link) and link.index not in wanted and not carries_anything(link, host):
                yield Check(WARNING, f"{link.name}: nobody is on this link, which we made", f"ip link del {link.name}")


def _host_access(networks: list[Network]) -> Iterator[Check]:
    with Kernel() as kernel:
        for network in networks:
            for attachment in attached(network.name) if network.values.host_access else ():
                for what, mend in of_host_access(attachment, kernel):
                    yield of_network(network.name, WARNING, what, mend)


def _host_routes(networks: list[Network]) -> Iterator[Check]:
    with Kernel() as kernel:
        for network in networks:
            if has_host_routes(link_kind(network.config), network.values):
                for what, mend in of_host_routes(network.name, kernel):
                    yield of_network(network.name, FAILURE, what, mend)


def _wanted(networks: Iterable[Network], host: Rtnl) -> Iterator[int]:
    """The parents of the networks, and what they are on."""
    for network in networks:
        try:
            link = parents.plan(network.values, host).parent
        except CniError:
            continue
        while link:
            yield link.index
            link = host.link(index=link.parent) if link.kind == "vlan" else None
