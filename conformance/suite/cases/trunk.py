"""802.1q sub-interfaces that come and go with their networks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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


@extension(DESIGN, each=(4095, -1, "50"))
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


@extension(DESIGN, each=(1, 4094))
def the_first_and_the_last_id(world: World, vlan: int) -> None:
    """vlan {0} is one."""
    world.pod("macvlan", vlan=vlan).added()
    equal("id", kernel.info_data(world.node, f"eth0.{vlan}")["id"], vlan)


@extension("moby TestValidateSubLink", each=("eth0.0", "eth0.4095", "eth0.x", "eth0.", "nowhere.50"))
def a_name_that_is_none(world: World, master: str) -> None:
    """The master {0}, which does not exist, is made by nobody: an error, and no link is made."""
    world.pod("macvlan", master=master).add().error()
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@extension("moby macvlan_test.go, ipvlan_test.go: OverlapDeleteCreatedSecond", each=LINKS)
def two_networks_share_it(world: World, plugin: str) -> None:
    """Two networks of {0} on VLAN 50 share the sub-interface, which goes with the last attachment of both."""
    one = world.pod(plugin, vlan=50).added()
    two = world.pod(plugin, name="second", master="eth0.50", ipam=world.ipam("10.2.0.0/24")).added()
    equal("parents", one.link.parent, two.link.parent)
    one.delete().nothing()
    expect("eth0.50" in kernel.links(world.node), "the first network's DEL removed it under the second")
    two.delete().nothing()
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@extension(f"{DESIGN}: two ADDs racing to create, or a DEL racing an ADD, end right", each=LINKS)
def races(world: World, plugin: str) -> None:
    """{0}'s ADDs and DELs at once on VLAN 50 all succeed: who is attached has the parent, and in the end it goes."""
    pods = [world.pod(plugin, vlan=50) for _ in range(6)]
    equal(
        "links before", [*kernel.links(world.node), *(kernel.links(pod.container) for pod in pods)], ["eth0", *[{}] * 6]
    )
    with ThreadPoolExecutor(6) as threads:
        for answer in threads.map(lambda pod: pod.add(), pods[:3]):
            answer.result()
        calls = [lambda pod=pod: pod.delete() for pod in pods[:3]] + [lambda pod=pod: pod.add() for pod in pods[3:]]
        for answer in threads.map(lambda call: call(), calls):
            equal("exit status", answer.status, 0)
        expect("eth0.50" in kernel.links(world.node), "the sub-interface is gone under containers")
        for pod in pods[3:]:
            pod.check().nothing()
        for answer in threads.map(lambda pod: pod.delete(), pods[3:]):
            answer.nothing()
    equal("links on the host and leases", (list(kernel.links(world.node)), world.leases()), (["eth0"], {}))


@extension("spiderpool N00006: lost after reboot", each=LINKS)
def one_that_was_lost_is_made_again(world: World, plugin: str) -> None:
    """When somebody removed the sub-interface, and the links on it went along, {0}'s next ADD makes it again."""
    lost, new = world.pod(plugin, vlan=50).added(), world.pod(plugin, vlan=50)
    world.node.ip("link del eth0.50")
    new.added()
    equal("id", kernel.info_data(world.node, "eth0.50")["id"], 50)
    for pod in (lost, new):
        pod.delete().nothing()
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@extension("design: mtu, and plugins vlan_test.go: with given MTU, with master's MTU", each=((0, 1500), (1400, 1400)))
def mtu(world: World, mtu: int, found: int) -> None:
    """With an mtu of {0} the container's link has {1}, and the sub-interface its parent's 1500."""
    pod = world.pod("macvlan", vlan=50, mtu=mtu).added()
    equal("MTUs", (pod.link.mtu, kernel.links(world.node)["eth0.50"].mtu), (found, 1500))


@extension("plugins vlan_test.go: fails with greater MTU than master interface", each=(1501, -1))
def an_mtu_that_is_none(world: World, mtu: int) -> None:
    """An mtu of {0} on a trunk of 1500 is an error, and no sub-interface is left."""
    world.pod("macvlan", vlan=50, mtu=mtu).add().error()
    equal("links on the host and leases", (list(kernel.links(world.node)), world.leases()), (["eth0"], {}))
