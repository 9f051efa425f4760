"""ipvlan: its modes and flags, MTU, parents and chains."""

from __future__ import annotations

from typing import Any

from conformance.suite import kernel
from conformance.suite.case import equal, expect, extension, reference, spec
from conformance.suite.world import Pod, World

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


def _chained(world: World, **previous: Any) -> Pod:
    """A pod for which an earlier plugin of the chain told lower0 and an address."""
    world.node.ip("link add lower0 up type dummy")
    told: dict[str, Any] = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "lower0"}],
        "ips": [{"address": "10.1.0.77/24", "gateway": "10.1.0.1", "interface": 0}],
        "routes": [],
    }
    return world.pod("ipvlan", master=None, ipam=None, prevResult=told | previous)


@reference(f"{DOC}: chained, the interface of prevResult is the master")
def chained(world: World) -> None:
    """In a chain without master the parent is the host's interface of prevResult, and its addresses are taken."""
    pod = _chained(world).added()
    equal("parent", pod.link.parent, kernel.index(world.node, "lower0"))
    equal("addresses", list(kernel.addresses(pod.container, "eth0")), ["10.1.0.77/24"])


@spec("1.1.0, Section 2, CHECK")
def chained_and_checked(world: World) -> None:
    """In a chain CHECK finds that an attachment is as its ADD left it."""
    _chained(world).added().check().nothing()


@reference("plugins ipvlan_test.go: ADD/DEL when chained")
def chained_to_the_end(world: World) -> None:
    """In a chain DEL removes the link, and leaves the earlier plugin's interface."""
    pod = _chained(world).added()
    pod.delete().nothing()
    expect(not pod.has_link, "the link is still there")
    equal("links on the host", sorted(kernel.links(world.node)), ["eth0", "lower0"])


@reference("plugins ipam_linux_test.go: the interface is not specified")
def chained_without_an_index(world: World) -> None:
    """An address of prevResult that names no interface is no crash."""
    answer = _chained(world, ips=[{"address": "10.1.0.77/24"}]).add()
    answer.result() if answer.status == 0 else answer.error()


@reference("plugins ipvlan.go: PrevResult lacks a single named interface", each=(0, 2))
def chained_on_another_number_of_interfaces(world: World, number: int) -> None:
    """A prevResult of {0} interfaces without master is an error, for nobody can tell which is meant."""
    pod = _chained(world, interfaces=[{"name": name} for name in ("lower0", "eth0")[:number]], ips=[])
    pod.add().error()
    expect(not pod.has_link, "a link was left")


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


@extension("design: mtu")
def a_negative_mtu(world: World) -> None:
    """A negative mtu is an error."""
    world.pod("ipvlan", mtu=-1).add().error()


@reference(f"{DOC}: several networks on one master")
def two_networks_on_one_parent(world: World) -> None:
    """Two networks share a parent."""
    one = world.pod("ipvlan").added()
    other = world.pod("ipvlan", name="second", ipam=world.ipam("10.2.0.0/24")).added()
    equal("parents", other.link.parent, one.link.parent)


@extension("design: flag", each=("bridge", "private", "vepa"))
def flag(world: World, flag: str) -> None:
    """A link has the flag {0} when it is asked for."""
    pod = world.pod("ipvlan", flag=flag).added()
    expect(kernel.info_data(pod.container, "eth0").get(flag), f"the kernel does not say {flag}")


@extension("design: flag, and moby TestSetIPVlanFlag")
def an_unknown_flag(world: World) -> None:
    """An unknown flag is an error, and nothing is made."""
    pod = world.pod("ipvlan", flag="isolated")
    pod.add().error()
    expect(not pod.has_link and not world.leases(), "a link or lease was left")


@extension("design: one ipvlan mode and flag holds for all of a parent's children")
def one_mode_for_a_parent(world: World) -> None:
    """A second mode on a parent is refused, and the containers that are there keep theirs."""
    first = world.pod("ipvlan").added()
    world.pod("ipvlan", name="second", mode="l3", ipam=world.ipam("10.7.0.0/24")).add().error()
    equal("the first container's mode", first.mode, "l2")


@extension("design: absent ipam is a link without addresses")
def a_bare_link(world: World) -> None:
    """A network without ipam gives a link that is up and has no address."""
    pod = world.pod("ipvlan", ipam=None).added()
    expect(pod.link.up, "the link is down")
    equal("addresses", pod.addresses, [])
