"""What macvlan and ipvlan have in common: modes, parents, MTU, names, links without addresses, many at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from conformance.suite import kernel
from conformance.suite.case import equal, expect, extension, reference
from conformance.suite.results import VERSIONS, WITH_CHECK
from conformance.suite.world import Pod, World

LINKS = ("macvlan", "ipvlan")
DOC = "cni.dev macvlan, ipvlan"


@reference(f"{DOC}: mode", each=[("macvlan", "bridge"), ("ipvlan", "l2")])
def mode_by_default(world: World, plugin: str, mode: str) -> None:
    """Without mode a link of {0} is of mode {1}."""
    equal("mode", world.pod(plugin).added().mode, mode)


@reference(f"{DOC}: mode", each=LINKS)
def an_unknown_mode(world: World, plugin: str) -> None:
    """An unknown mode is an error of {0}, and nothing is made."""
    _expect_refused(world.pod(plugin, mode="bridged"))


@reference(f"{DOC}: master", each=LINKS)
def parent(world: World, plugin: str) -> None:
    """The parent of a link of {0} is the master of the configuration."""
    equal("parent", world.pod(plugin).added().link.parent, kernel.index(world.node, "eth0"))


@reference(f"{DOC}: master defaults to the default route's interface", each=LINKS)
def parent_by_default(world: World, plugin: str) -> None:
    """Without master the parent that {0} takes is the link of the default route."""
    world.node.address("eth0", "10.1.0.250/24")
    world.node.ip("route add default via 10.1.0.1")
    link = world.pod(plugin, master=None).added().link
    equal("parent", link.parent, kernel.index(world.node, "eth0"))


@reference(f"{DOC}: master defaults to the default route's interface", each=LINKS)
def no_parent_by_default(world: World, plugin: str) -> None:
    """Without master and without a default route ADD of {0} is an error."""
    world.pod(plugin, master=None).add().error()


@reference(f"{DOC}: master", each=LINKS)
def an_absent_parent(world: World, plugin: str) -> None:
    """A master that does not exist is an error of {0}, and nothing is made."""
    _expect_refused(world.pod(plugin, master="nowhere"))


@reference("moby TestValidateLink: lo", each=LINKS)
def a_parent_that_is_the_loopback(world: World, plugin: str) -> None:
    """{0} refuses the loopback as master, and nothing is made."""
    _expect_refused(world.pod(plugin, master="lo"))


@reference(f"{DOC}: several networks on one master", each=LINKS)
def two_networks_on_one_parent(world: World, plugin: str) -> None:
    """Two networks of {0} share a parent."""
    one = world.pod(plugin).added()
    other = world.pod(plugin, name="second", ipam=world.ipam("10.2.0.0/24")).added()
    equal("parents", other.link.parent, one.link.parent)


@reference(f"{DOC}: mtu", each=LINKS)
def mtu(world: World, plugin: str) -> None:
    """A link of {0} has the MTU that the configuration asks for."""
    equal("MTU", world.pod(plugin, mtu=1300).added().link.mtu, 1300)


@reference(f"{DOC}: mtu defaults to the kernel's", each=LINKS)
def mtu_by_default(world: World, plugin: str) -> None:
    """Without mtu a link of {0} has its parent's, whatever that is."""
    world.node.ip("link set eth0 mtu 1400")
    equal("MTU", world.pod(plugin).added().link.mtu, 1400)


@reference(f"{DOC}: mtu, 0 is the kernel's default", each=LINKS)
def an_mtu_of_zero(world: World, plugin: str) -> None:
    """With an mtu of 0 a link of {0} has its parent's."""
    world.node.ip("link set eth0 mtu 1400")
    equal("MTU", world.pod(plugin, mtu=0).added().link.mtu, 1400)


@reference(f"{DOC}: mtu must not exceed the master's", each=LINKS)
def a_greater_mtu(world: World, plugin: str) -> None:
    """An mtu above the parent's is an error of {0}, and nothing is made."""
    _expect_refused(world.pod(plugin, mtu=9000))


@reference(f"{DOC}: mtu", each=["macvlan"])
def a_negative_mtu(world: World, plugin: str) -> None:
    """A negative mtu is an error of {0}, and nothing is made."""
    _expect_refused(world.pod(plugin, mtu=-1))


extension("design: mtu", each=["ipvlan"])(a_negative_mtu)


@reference(f"{DOC}: containers of a network", each=[(p, s) for p in LINKS for s in ("10.1.0.0/24", "fd00:1::/64")])
def containers_talk(world: World, plugin: str, subnet: str) -> None:
    """Two containers of a network of {0} in {1} reach each other, and a host beyond the parent, when ADD returns."""
    one, other = (world.pod(plugin, ipam=world.ipam(subnet)) for _ in range(2))
    beyond = world.beyond
    one.added()
    other.added()
    one.reaches(other.address)
    one.reaches("fd00:1::1" if ":" in subnet else "10.1.0.1")
    expect(beyond.ping(other.address), "the host beyond the parent does not reach the container")


@reference("plugins macvlan.go, ipvlan.go: a temporary name on the host", each=LINKS)
def the_hosts_names_do_not_matter(world: World, plugin: str) -> None:
    """A container's interface of {0} may have a name that a link of the host has."""
    world.node.ip("link add net9 type dummy")
    pod = world.pod(plugin, ifname="net9").added()
    expect(pod.has_link, "the container has no net9")
    pod.delete().nothing()
    expect("net9" in kernel.links(world.node), "the host's own net9 is gone")


@reference("plugins macvlan.go, ipvlan.go: rename fails", each=LINKS)
def an_interface_that_is_there(world: World, plugin: str) -> None:
    """ADD of {0} does not replace an interface that the container has: an error, and it stays as it was."""
    pod = world.pod(plugin)
    pod.container.ip("link add eth0 type dummy")
    pod.add().error()
    equal("kind of eth0", pod.link.kind, "dummy")
    equal("leases", world.leases(), {})
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@reference("plugins: a failed ADD cleans up", each=LINKS)
def a_failed_ipam_leaves_no_link(world: World, plugin: str) -> None:
    """When {0} can have no address, neither the container nor the host has a link left."""
    world.pod(plugin, ipam=world.ipam("10.1.0.0/30")).added()
    pod = world.pod(plugin, ipam=world.ipam("10.1.0.0/30"))
    pod.add().error()
    expect(not pod.has_link, "the container has a link")
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@reference("plugins: a failed ADD cleans up", each=LINKS)
def a_failed_route_leaves_nothing(world: World, plugin: str) -> None:
    """When {0} cannot set a route, neither link nor lease is left."""
    _expect_refused(world.pod(plugin, ipam=world.ipam(routes=[{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}])))


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


@reference(f"{DOC}: ipam is optional", each=["macvlan"])
def a_bare_link(world: World, plugin: str) -> None:
    """A network of {0} without ipam gives a link that is up and has no address."""
    pod = world.pod(plugin, ipam=None).added()
    expect(pod.link.up, "the link is down")
    equal("ips of the result and addresses of the link", (pod.result.get("ips", []), pod.addresses), ([], []))
    pod.delete().nothing()
    expect(not pod.has_link, "the link is still there after DEL")


extension("design: absent ipam is a link without addresses", each=["ipvlan"])(a_bare_link)


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


@reference("plugins macvlan_test.go, ipvlan_test.go: a parent that is down", each=LINKS)
def a_parent_that_is_down(world: World, plugin: str) -> None:
    """{0} attaches to a parent that is down; CHECK passes, and packets of both families go when it comes up."""
    expect(world.beyond, "there is nobody to answer")
    world.node.ip("link set eth0 down")
    pod = world.pod(plugin, ipam=world.dual_stack()).added()
    if pod.config["cniVersion"] in WITH_CHECK:
        pod.check().nothing()
    world.node.ip("link set eth0 up")
    for address in ("10.1.0.1", "fd00:1::1"):
        expect(pod.container.ping(address), f"no answer from {address} after the parent came up")
    pod.delete().nothing()


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


def _expect_refused(pod: Pod) -> None:
    pod.add().error()
    expect(not pod.has_link, "the container has a link")
    equal("leases", pod.world.leases(), {})
    equal("links on the host", list(kernel.links(pod.world.node)), ["eth0"])
