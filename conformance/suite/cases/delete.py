"""DEL: what it removes, and that it succeeds when there is nothing to remove."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

from conformance.suite import kernel
from conformance.suite.case import equal, expect, extension, reference, spec
from conformance.suite.world import World

LINKS = ("macvlan", "ipvlan")
PLUGINS = ("macvlan", "ipvlan", "host-local")
DEL = "1.1.0, Section 2, DEL"


@spec(f"{DEL}: delete the interface, undo what ADD did", each=LINKS)
def everything(world: World, plugin: str) -> None:
    """DEL of {0} removes link, addresses and leases."""
    pod = world.pod(plugin, ipam=world.dual_stack()).added()
    pod.delete().nothing()
    expect(not pod.has_link, "the link is still there")
    equal("leases", world.leases(), {})
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@spec(f"{DEL}: should generally complete without error even if some resources are missing", each=PLUGINS)
def twice(world: World, plugin: str) -> None:
    """A second DEL of {0} succeeds."""
    pod = world.pod(plugin).added()
    pod.delete().nothing()
    pod.delete().nothing()


@reference("plugins macvlan_test.go, ipvlan_test.go: deconfigures an unconfigured link with DEL", each=PLUGINS)
def without_an_add(world: World, plugin: str) -> None:
    """DEL of {0} succeeds for what was never attached."""
    world.pod(plugin).delete().nothing()


@spec(f"{DEL}: if the namespace is gone", each=LINKS)
def without_the_namespace(world: World, plugin: str) -> None:
    """DEL of {0} succeeds when the namespace is gone, and gives back the lease."""
    pod = world.pod(plugin).added()
    netns = pod.netns
    pod.container.remove()
    pod.delete(CNI_NETNS=netns).nothing()
    equal("leases", world.leases(), {})


@spec(f"{DEL}: should complete even if some resources are missing", each=LINKS)
def without_the_link(world: World, plugin: str) -> None:
    """DEL of {0} succeeds when the link is gone, and gives back the lease."""
    pod = world.pod(plugin).added()
    pod.container.ip("link del eth0")
    pod.delete().nothing()
    equal("leases", world.leases(), {})


@spec(f"{DEL}: should complete even if some resources are missing", each=LINKS)
def without_the_parent(world: World, plugin: str) -> None:
    """DEL of {0} succeeds when the parent is gone, and gives back the lease."""
    pod = world.pod(plugin).added()
    world.node.ip("link del eth0")
    pod.delete().nothing()
    equal("leases", world.leases(), {})


@reference("peers: plugins issue 953: the default route is gone", each=LINKS)
def without_the_default_route(world: World, plugin: str) -> None:
    """DEL of {0} succeeds when master was the default route's link and there is no default route any more."""
    world.node.address("eth0", "10.1.0.250/24")
    world.node.ip("route add default via 10.1.0.1")
    pod = world.pod(plugin, master=None).added()
    world.node.ip("route del default")
    pod.delete().nothing()
    equal("leases", world.leases(), {})
    expect(not pod.has_link, "the link is still there")


@spec(f"{DEL}: should complete even if some resources are missing", each=PLUGINS)
def without_the_leases(world: World, plugin: str) -> None:
    """DEL of {0} succeeds when the leases' directory is gone."""
    pod = world.pod(plugin).added()
    shutil.rmtree(world.data_dir)
    pod.delete().nothing()


@spec(f"{DEL}: prevResult is not there after a failed ADD", each=PLUGINS)
def without_a_previous_result(world: World, plugin: str) -> None:
    """DEL of {0} works without prevResult."""
    pod = world.pod(plugin).added()
    pod.result = {}
    pod.delete().nothing()
    equal("leases", world.leases(), {})


@spec(f"{DEL}: should complete even if some resources are missing", each=LINKS)
def without_anything(world: World, plugin: str) -> None:
    """DEL of {0} succeeds when the namespace, the parent, the leases and prevResult are gone."""
    pod = world.pod(plugin).added()
    netns, pod.result = pod.netns, {}
    pod.container.remove()
    world.node.ip("link del eth0")
    shutil.rmtree(world.data_dir)
    pod.delete(CNI_NETNS=netns).nothing()


@extension("facts: DELs of one attachment at once", each=PLUGINS)
def twice_at_once(world: World, plugin: str) -> None:
    """Four DELs of one attachment of {0} at once all succeed."""
    pod = world.pod(plugin).added()
    with ThreadPoolExecutor(4) as threads:
        for answer in threads.map(lambda _: pod.delete(), range(4)):
            answer.nothing()
    equal("leases", world.leases(), {})


@reference("plugins macvlan.go, ipvlan.go: DEL asks IPAM first", each=[(p, k) for p in LINKS for k in ("file", "fifo")])
def a_namespace_that_is_none(world: World, plugin: str, kind: str) -> None:
    """DEL of {0} has an end, and gives back the lease, when a {1} is where the namespace was, as after a reboot."""
    pod = world.pod(plugin).added()
    path = world.scratch / kind
    path.touch() if kind == "file" else os.mkfifo(path)
    pod.delete(CNI_NETNS=str(path))
    equal("leases", world.leases(), {})


@extension("facts: the host's own namespace", each=LINKS)
def the_hosts_own_namespace(world: World, plugin: str) -> None:
    """DEL of {0} keeps the parent, though CNI_NETNS be the host's namespace and CNI_IFNAME the parent's name."""
    pod = world.pod(plugin)
    pod.call("DEL", CNI_NETNS=world.node.netns)
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@reference("plugins: DEL removes the interface by its name", each=LINKS)
def nothing_but_its_own(world: World, plugin: str) -> None:
    """DEL of {0} leaves the links of other containers and their leases."""
    one, other = world.pod(plugin).added(), world.pod(plugin).added()
    one.delete().nothing()
    expect(other.has_link, "the other container's link is gone")
    equal("leases", list(world.leases()), [other.address])
    other.check().nothing()


@spec("1.1.0, Section 2, ADD after DEL", each=LINKS)
def and_add_again(world: World, plugin: str) -> None:
    """After DEL of {0} the same container can be attached again."""
    pod = world.pod(plugin).added()
    pod.delete().nothing()
    pod.added()
    pod.check().nothing()


@extension("design: an interface of another kind is somebody else's", each=LINKS)
def not_somebody_elses_link(world: World, plugin: str) -> None:
    """DEL of {0} does not remove an interface of that name which is of another kind."""
    pod = world.pod(plugin)
    pod.container.ip("link add eth0 type dummy")
    pod.delete().nothing()
    equal("kind of eth0", pod.link.kind, "dummy")
