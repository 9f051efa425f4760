"""Configurations as people and other programs write them, which Go's plugins take."""

from __future__ import annotations

import subprocess
from typing import Any

from conformance.suite import kernel
from conformance.suite.case import equal, expect, extension, reference
from conformance.suite.world import World

LINKS = ("macvlan", "ipvlan")
GO_JSON = "plugins: encoding/json matches keys without regard to case"
SECONDS = 10  # far less than a standard input that stays open would last


@reference(GO_JSON, each=LINKS)
def keys_in_another_case(world: World, plugin: str) -> None:
    """{0} takes `Master`, `MTU`, `IPAM`, and in it `datadir`, `Ranges` and `rangestart`, for the keys that they are."""
    ranges = [[{"Subnet": "10.1.0.0/24", "rangestart": "10.1.0.9"}]]
    ipam = {"Type": "host-local", "datadir": str(world.data_dir), "Ranges": ranges}
    pod = world.pod(plugin, master=None, ipam=None, Master="eth0", MTU=1400, IPAM=ipam).added()
    equal("addresses", pod.addresses, ["10.1.0.9/24"])
    equal("MTU", pod.link.mtu, 1400)
    pod.delete().nothing()
    equal("leases", world.leases(), {})


@reference("plugins macvlan_test.go: RuntimeConfig")
def runtime_config_in_another_case(world: World) -> None:
    """`RuntimeConfig` with a mac is runtimeConfig."""
    pod = world.pod("macvlan", RuntimeConfig={"mac": "02:00:00:00:00:09"}).added()
    equal("hardware address", pod.link.mac, "02:00:00:00:00:09")


@reference("plugins host_local_test.go: repeat allocating addresses for the same container ID")
def a_repeated_add(world: World) -> None:
    """A second ADD of host-local for one container and interface is an error, and the lease stays."""
    pod = world.pod("host-local").added()
    pod.add().error()
    equal("holders", sorted(world.leases()), [pod.address])
    other = world.pod("host-local").added()
    expect(other.address != pod.address, f"both containers have {pod.address}")


@reference("plugins macvlan.go, ipvlan.go: RouteAddEcmp", each=LINKS)
def two_default_routes(world: World, plugin: str) -> None:
    """Of two networks of {0} with a default route, that of the later attachment carries."""
    world.node.ip("link add eth1 type dummy")
    world.node.ip("link set eth1 up")
    first = world.pod(plugin).added()
    ipam = world.ipam("10.2.0.0/24")
    second = world.pod(plugin, ifname="net1", name="second", master="eth1", ipam=ipam)
    second.add(CNI_CONTAINERID=first.name, CNI_NETNS=first.netns).result()
    (way,) = first.container.ip_json("route get 10.99.0.1")
    equal("the link of the default route", way["dev"], "net1")


@extension("design: a gateway may lie outside its subnet", each=LINKS)
def a_gateway_outside_of_its_subnet(world: World, plugin: str) -> None:
    """A gateway of {0} outside of the subnet is reached on the link."""
    world.beyond.address("eth0", "192.0.2.1/24")
    ranges = [[{"subnet": "192.0.2.224/28", "gateway": "192.0.2.1"}]]
    pod = world.pod(plugin, ipam=world.ipam(ranges=ranges)).added()
    (way,) = pod.container.ip_json("route get 10.99.0.1")
    equal("next hop", way.get("gateway"), "192.0.2.1")
    pod.reaches("192.0.2.1")


@extension('design: vlan 0 or "" is none', each=[(plugin, vlan) for plugin in LINKS for vlan in (0, "")])
def no_vlan(world: World, plugin: str, vlan: Any) -> None:
    """`vlan` {1!r} of {0} is none."""
    pod = world.pod(plugin, vlan=vlan).added()
    equal("links of the node", [name for name in kernel.links(world.node) if name != "lo"], ["eth0"])
    expect(world.beyond.ping(pod.address), "the container is not on the untagged network")


BROKEN: dict[str, dict[str, Any]] = {
    "an mtu of -1": {"mtu": -1},
    "a mode that is none": {"mode": "Bridge"},
    "a result with an address that is none": {"prevResult": {"ips": [{"address": "null/32"}]}},
    "a master of 200 bytes": {"master": "x" * 200},
}


@extension("design: DEL needs what it uses", each=[(plugin, what) for plugin in LINKS for what in BROKEN])
def taken_back_whatever_it_is_now(world: World, plugin: str, what: str) -> None:
    """DEL of {0} takes back what ADD made where the configuration has {1} by now."""
    pod = world.pod(plugin).added()
    pod.delete(BROKEN[what]).nothing()
    expect(not pod.has_link, "the link is still there after DEL")
    equal("leases", world.leases(), {})


@reference("libcni skel: VERSION reads no standard input", each=(*LINKS, "host-local"))
def version_with_an_open_input(world: World, plugin: str) -> None:
    """VERSION of {0} does not wait for a standard input that stays open."""
    argv = [world.subject.executable(plugin)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"CNI_COMMAND": "VERSION"})
    try:
        status = process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        status = -1
    finally:
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
    equal("exit status", status, 0)
