"""802.1q sub-interfaces that come and go with their networks."""

from __future__ import annotations

from conformance.suite import kernel
from conformance.suite.case import equal, expect, extension
from conformance.suite.world import World

LINKS = ("macvlan", "ipvlan")
DESIGN = "design: trunks"


@extension(DESIGN, each=LINKS)
def made_and_removed(world: World, plugin: str) -> None:
    """With vlan 50, {0}'s first ADD makes eth0.50 and its last DEL removes it."""
    world.beyond_vlan(50, "10.50.0.1/24")
    one, two = (world.pod(plugin, vlan=50, ipam=world.ipam("10.50.0.0/24")).added() for _ in range(2))
    equal("links on the host", list(kernel.links(world.node)), ["eth0", "eth0.50"])
    one.reaches("10.50.0.1")
    one.reaches(two.address)
    one.delete().nothing()
    expect("eth0.50" in kernel.links(world.node), "the first DEL removed the sub-interface under a container")
    two.delete().nothing()
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@extension(DESIGN, each=("eth0.50", "eth0:50"))
def by_the_parents_name(world: World, master: str) -> None:
    """The master {0}, which does not exist, is made as VLAN 50 of eth0."""
    pod = world.pod("macvlan", master=master, ipam=world.ipam("10.50.0.0/24")).added()
    equal("id", kernel.info_data(world.node, "eth0.50")["id"], 50)
    pod.delete().nothing()
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@extension(DESIGN)
def somebody_elses_is_used_and_stays(world: World) -> None:
    """A VLAN that somebody made, whatever its name, is used and never removed."""
    world.node.ip("link add link eth0 name blue type vlan id 50")
    world.node.ip("link set blue up")
    pod = world.pod("macvlan", vlan=50, ipam=world.ipam("10.50.0.0/24")).added()
    equal("parent", pod.link.parent, kernel.index(world.node, "blue"))
    pod.delete().nothing()
    equal("links on the host", sorted(kernel.links(world.node)), ["blue", "eth0"])


@extension(DESIGN)
def it_stays_while_something_is_on_it(world: World) -> None:
    """A sub-interface that a plugin made stays with the last DEL while somebody's link is stacked on it."""
    pod = world.pod("macvlan", vlan=50, ipam=world.ipam("10.50.0.0/24")).added()
    world.node.ip("link add link eth0.50 name mine type macvlan mode bridge")
    pod.delete().nothing()
    expect("eth0.50" in kernel.links(world.node), "it was removed under somebody's link")


@extension(DESIGN)
def kinds_may_differ_by_vlan(world: World) -> None:
    """macvlan on VLAN 50 and ipvlan on VLAN 60 of one trunk work side by side, apart from each other."""
    world.beyond_vlan(50, "10.50.0.1/24")
    world.beyond_vlan(60, "10.60.0.1/24")
    one = world.pod("macvlan", vlan=50, ipam=world.ipam("10.50.0.0/24")).added()
    two = world.pod("ipvlan", name="second", vlan=60, ipam=world.ipam("10.60.0.0/24")).added()
    one.reaches("10.50.0.1")
    two.reaches("10.60.0.1")
    one.does_not_reach(two.address)


@extension(DESIGN, each=(0, 4095, -1, "50"))
def an_id_that_is_none(world: World, vlan: object) -> None:
    """vlan {0} is an error, and no link is made."""
    world.pod("macvlan", vlan=vlan).add().error()
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@extension(DESIGN)
def a_failed_add_takes_it_along(world: World) -> None:
    """The sub-interface of an ADD that fails is removed with it."""
    pod = world.pod(
        "macvlan", vlan=50, ipam=world.ipam("10.50.0.0/24", routes=[{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}])
    )
    pod.add().error()
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@extension(DESIGN)
def garbage_collection(world: World) -> None:
    """GC removes the sub-interface that no valid attachment uses."""
    pod = world.pod("macvlan", cniVersion="1.1.0", vlan=50, ipam=world.ipam("10.50.0.0/24")).speaks().added()
    pod.container.ip("link del eth0")
    pod.call("GC", {"cni.dev/valid-attachments": []}).nothing()
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@extension(DESIGN)
def a_vlan_of_a_vlan(world: World) -> None:
    """The master eth0.50 with vlan 60 is VLAN 60 within VLAN 50; both come and go."""
    pod = world.pod("macvlan", master="eth0.50", vlan=60, ipam=world.ipam("10.60.0.0/24")).added()
    equal("links on the host", sorted(kernel.links(world.node)), ["eth0", "eth0.50", "eth0.50.60"])
    pod.delete().nothing()
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])
