"""ipvlan: its modes and flags, MTU, parents and chains."""

from __future__ import annotations

from typing import Any

from conformance.suite import kernel
from conformance.suite.case import equal, expect, extension, reference
from conformance.suite.world import World

DOC = "cni.dev ipvlan"


@reference(f"{DOC}: mode", each=("l2", "l3", "l3s"))
def mode(world: World, mode: str) -> None:
    """A link has the mode {0} when it is asked for."""
    pod = world.pod("ipvlan", mode=mode, ipam=world.ipam("10.7.0.0/24", routes=None)).added()
    equal("kind and mode", (pod.link.kind, pod.mode), ("ipvlan", mode))


@reference(f"{DOC}: mode, defaults to l2")
def mode_by_default(world: World) -> None:
    """Without mode a link is of mode l2."""
    equal("mode", world.pod("ipvlan").added().mode, "l2")


@reference(f"{DOC}: mode")
def an_unknown_mode(world: World) -> None:
    """An unknown mode is an error, and nothing is made."""
    pod = world.pod("ipvlan", mode="l4")
    pod.add().error()
    expect(not pod.has_link and not world.leases(), "a link or lease was left")


@reference(f"{DOC}: master")
def parent(world: World) -> None:
    """The link's parent is the master of the configuration, and has its hardware address."""
    pod = world.pod("ipvlan").added()
    equal("parent", pod.link.parent, kernel.index(world.node, "eth0"))
    equal("mac", pod.link.mac, kernel.links(world.node)["eth0"].mac)


@reference(f"{DOC}: master defaults to the default route's interface")
def parent_by_default(world: World) -> None:
    """Without master the parent is the link of the default route."""
    world.node.address("eth0", "10.1.0.250/24")
    world.node.ip("route add default via 10.1.0.1")
    equal("parent", world.pod("ipvlan", master=None).added().link.parent, kernel.index(world.node, "eth0"))


@reference(f"{DOC}: master")
def an_absent_parent(world: World) -> None:
    """A master that does not exist is an error, and no lease is left."""
    world.pod("ipvlan", master="nowhere").add().error()
    equal("leases", world.leases(), {})


@reference(f"{DOC}: mtu")
def mtu(world: World) -> None:
    """The link has the MTU that the configuration asks for."""
    equal("MTU", world.pod("ipvlan", mtu=1300).added().link.mtu, 1300)


@reference(f"{DOC}: mtu defaults to the kernel's")
def mtu_by_default(world: World) -> None:
    """Without mtu the link has its parent's."""
    world.node.ip("link set eth0 mtu 1400")
    equal("MTU", world.pod("ipvlan").added().link.mtu, 1400)


@reference(f"{DOC}: mtu")
def a_greater_mtu(world: World) -> None:
    """An mtu above the parent's is an error, and nothing is left."""
    pod = world.pod("ipvlan", mtu=9000)
    pod.add().error()
    expect(not pod.has_link and not world.leases(), "a link or lease was left")


@reference(f"{DOC}: linkInContainer")
def parent_in_the_container(world: World) -> None:
    """With linkInContainer the parent is a link of the container's namespace."""
    pod = world.pod("ipvlan", ifname="net1", master="lower0", linkInContainer=True)
    pod.container.ip("link add lower0 type dummy")
    pod.container.ip("link set lower0 up")
    equal("parent", pod.added().link.parent, kernel.index(pod.container, "lower0"))
    pod.delete().nothing()
    equal("links after DEL", list(kernel.links(pod.container)), ["lower0"])


@reference(f"{DOC}: chained, the interface of prevResult is the master")
def chained(world: World) -> None:
    """In a chain without master the parent is the host's interface of prevResult, and its addresses are taken."""
    world.node.ip("link add lower0 type dummy")
    world.node.ip("link set lower0 up")
    previous: dict[str, Any] = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "lower0"}],
        "ips": [{"address": "10.1.0.77/24", "gateway": "10.1.0.1", "interface": 0}],
        "routes": [],
    }
    pod = world.pod("ipvlan", master=None, ipam=None, prevResult=previous).added()
    equal("parent", pod.link.parent, kernel.index(world.node, "lower0"))
    equal("addresses", list(kernel.addresses(pod.container, "eth0")), ["10.1.0.77/24"])


@reference(f"{DOC}: containers of a network", each=("10.1.0.0/24", "fd00:1::/64"))
def containers_talk(world: World, subnet: str) -> None:
    """Two containers of one network in {0} reach each other, and a host beyond the parent, when ADD returns."""
    one, other = (world.pod("ipvlan", ipam=world.ipam(subnet)) for _ in range(2))
    beyond = world.beyond
    one.added()
    other.added()
    one.reaches(other.address)
    one.reaches("fd00:1::1" if ":" in subnet else "10.1.0.1")
    expect(beyond.ping(other.address), "the host beyond the parent does not reach the container")


@reference("plugins ipvlan.go: a temporary name on the host")
def the_hosts_names_do_not_matter(world: World) -> None:
    """A container's interface may have a name that a link of the host has."""
    world.node.ip("link add net9 type dummy")
    pod = world.pod("ipvlan", ifname="net9").added()
    pod.delete().nothing()
    expect("net9" in kernel.links(world.node), "the host's own net9 is gone")


@reference("plugins: a failed ADD cleans up")
def a_failed_ipam_leaves_no_link(world: World) -> None:
    """When no address can be had, neither the container nor the host has a link left."""
    world.pod("ipvlan", ipam=world.ipam("10.1.0.0/30")).added()
    pod = world.pod("ipvlan", ipam=world.ipam("10.1.0.0/30"))
    pod.add().error()
    expect(not pod.has_link, "the container has a link")
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@reference("plugins: a failed ADD cleans up")
def a_failed_route_leaves_nothing(world: World) -> None:
    """When a route cannot be set, neither link nor lease is left."""
    pod = world.pod("ipvlan", ipam=world.ipam(routes=[{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]))
    pod.add().error()
    expect(not pod.has_link, "the container has a link")
    equal("leases", world.leases(), {})


@reference("plugins ipvlan.go: rename fails")
def an_interface_that_is_there(world: World) -> None:
    """ADD does not replace an interface that the container has: an error, and it stays as it was."""
    pod = world.pod("ipvlan")
    pod.container.ip("link add eth0 type dummy")
    pod.add().error()
    equal("kind of eth0", pod.link.kind, "dummy")
    equal("leases", world.leases(), {})


@extension("design: flag", each=("bridge", "private", "vepa"))
def flag(world: World, flag: str) -> None:
    """A link has the flag {0} when it is asked for."""
    pod = world.pod("ipvlan", flag=flag).added()
    expect(kernel.info_data(pod.container, "eth0").get(flag), f"the kernel does not say {flag}")


@extension("design: one ipvlan mode and flag holds for all of a parent's children")
def one_mode_for_a_parent(world: World) -> None:
    """A second mode on a parent is refused, and the containers that are there keep theirs."""
    first = world.pod("ipvlan").added()
    world.pod("ipvlan", name="second", mode="l3", ipam=world.ipam("10.7.0.0/24")).add().error()
    equal("the first container's mode", first.mode, "l2")


@extension("design: one parent, one kind")
def the_other_kind_is_refused_by_name(world: World) -> None:
    """ipvlan on a parent that carries a macvlan is refused, and the error names who is there."""
    holder = world.pod("macvlan", "holder").added()
    error = world.pod("ipvlan").add().error()
    expect(holder.name in error["msg"] + error.get("details", ""), f"holder is not named: {error}")


@extension("design: absent ipam is a link without addresses")
def a_bare_link(world: World) -> None:
    """A network without ipam gives a link that is up and has no address."""
    pod = world.pod("ipvlan", ipam=None).added()
    expect(pod.link.up, "the link is down")
    equal("addresses", pod.addresses, [])
