"""What macvlan and ipvlan have in common: parents, MTU, links without addresses, many at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from conformance.suite import kernel
from conformance.suite.case import equal, expect, extension, reference
from conformance.suite.results import VERSIONS, WITH_CHECK
from conformance.suite.world import World

LINKS = ("macvlan", "ipvlan")


@reference("moby TestValidateLink: lo", each=LINKS)
def a_parent_that_is_the_loopback(world: World, plugin: str) -> None:
    """{0} refuses the loopback as master, and gives no address."""
    world.pod(plugin, master="lo").add().error()
    equal("leases", world.leases(), {})


@reference("cni.dev macvlan, ipvlan: mtu, 0 is the kernel's default", each=LINKS)
def an_mtu_of_zero(world: World, plugin: str) -> None:
    """With an mtu of 0 a link of {0} has its parent's."""
    world.node.ip("link set eth0 mtu 1400")
    equal("MTU", world.pod(plugin, mtu=0).added().link.mtu, 1400)


WITH_INTERFACES = [version for version in VERSIONS if version >= "0.3.0"]
OLDER = [version for version in VERSIONS if version < "0.3.0"]


@reference("plugins macvlan_test.go: a l2 macvlan link", each=[("macvlan", v) for v in WITH_INTERFACES])
def without_addresses(world: World, plugin: str, version: str) -> None:
    """A network of {0} whose ipam is empty gives in {1} a link that is up, without addresses, from ADD to DEL."""
    pod = world.pod(plugin, cniVersion=version, ipam={}).speaks().added()
    expect(pod.link.up, "the link is down")
    equal("addresses", pod.addresses, [])
    if version in WITH_CHECK:
        pod.check().nothing()
    pod.delete().nothing()
    expect(not pod.has_link, "the link is still there after DEL")


extension(
    "design: absent ipam is a link without addresses",
    each=[("macvlan", v) for v in OLDER] + [("ipvlan", v) for v in VERSIONS],
)(without_addresses)


@reference("plugins macvlan_test.go, ipvlan_test.go: in container", each=LINKS)
def parent_in_the_container(world: World, plugin: str) -> None:
    """With linkInContainer the parent of {0} is a link of the container's namespace, which stays after DEL."""
    pod = world.pod(plugin, ifname="net1", master="lower0", linkInContainer=True)
    pod.container.ip("link add lower0 up type dummy")
    equal("parent", pod.added().link.parent, kernel.index(pod.container, "lower0"))
    pod.check().nothing()
    pod.delete().nothing()
    equal("links after DEL", list(kernel.links(pod.container)), ["lower0"])


@reference("plugins disk/backend.go: flock, and peers: parallel ADD", each=LINKS)
def many_at_once(world: World, plugin: str) -> None:
    """Eight ADDs of {0} at once give a link and an address of its own to each, and eight DELs at once leave nothing."""
    pods = [world.pod(plugin) for _ in range(8)]
    containers = [pod.container for pod in pods]
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda pod: pod.added(), pods))
        equal("different addresses", len({pod.address for pod in pods}), 8)
        equal("links", [list(kernel.links(container)) for container in containers], [["eth0"]] * 8)
        for answer in threads.map(lambda pod: pod.delete(), pods):
            answer.nothing()
    equal("links", [kernel.links(container) for container in containers], [{}] * 8)
    equal("links on the host and leases", (list(kernel.links(world.node)), world.leases()), (["eth0"], {}))


@extension("design: master, a list of names", each=LINKS)
def the_first_parent_that_exists(world: World, plugin: str) -> None:
    """Of a list of masters {0} takes the first that exists."""
    link = world.pod(plugin, master=["nowhere", "eth0"]).added().link
    equal("parent", link.parent, kernel.index(world.node, "eth0"))


@extension("design: master, a list of names", each=LINKS)
def no_parent_that_exists(world: World, plugin: str) -> None:
    """A list of masters of which none exists is an error of {0} that names them."""
    error = world.pod(plugin, master=["nowhere0", "nowhere1"]).add().error()
    said = error["msg"] + error.get("details", "")
    expect("nowhere0" in said and "nowhere1" in said, f"not both are named: {error}")


@extension("design: errors, and peers: a parent that is down", each=LINKS)
def a_parent_that_is_down(world: World, plugin: str) -> None:
    """{0} tells a parent that is down by name, with the command that mends it."""
    world.node.ip("link set eth0 down")
    error = world.pod(plugin).add().error()
    expect("ip link set eth0 up" in error.get("details", ""), f"no mend: {error}")


# Who is on the parent, and who comes.
TOGETHER: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "passthru on a macvlan's": ({"type": "macvlan"}, {"type": "macvlan", "mode": "passthru"}),
    "macvlan on a passthru's": ({"type": "macvlan", "mode": "passthru"}, {"type": "macvlan"}),
    "macvlan on an ipvlan's": ({"type": "ipvlan"}, {"type": "macvlan"}),
    "ipvlan on a macvlan's": ({"type": "macvlan"}, {"type": "ipvlan"}),
    "ipvlan on a passthru's": ({"type": "macvlan", "mode": "passthru"}, {"type": "ipvlan"}),
    "another ipvlan mode": ({"type": "ipvlan"}, {"type": "ipvlan", "mode": "l3s"}),
    "another ipvlan flag": ({"type": "ipvlan"}, {"type": "ipvlan", "flag": "private"}),
}


@extension("design: one parent, one kind", each=tuple(TOGETHER))
def a_parent_that_is_taken(world: World, what: str) -> None:
    """Refused before anything is made, naming the parent and who is on it: {0}."""
    there, new = TOGETHER[what]
    holder = world.pod(there["type"], "holder", **there).added()
    pod = world.pod(new["type"], name="second", **new)
    error = pod.add().error()
    said = error["msg"] + error.get("details", "")
    expect("eth0" in said and "holder" in said, f"not both are named: {error}")
    expect(not pod.has_link and not world.leases("second"), "a link or lease was left")
    holder.check().nothing()
