"""Isolated networks on a parent of their own."""

from __future__ import annotations

from typing import Any

from conformance.suite import kernel
from conformance.suite.case import equal, expect, extension
from conformance.suite.world import Pod, World

LINKS = ("macvlan", "ipvlan")
DESIGN = "design: internal"


def _pod(world: World, plugin: str, **keys: Any) -> Pod:
    return world.pod(plugin, **{"master": None, "internal": True, "ipam": world.ipam(routes=None)} | keys)


@extension(DESIGN, each=LINKS)
def containers_talk_to_each_other_alone(world: World, plugin: str) -> None:
    """Containers of an internal network of {0} reach each other and have no default route."""
    one, two = (_pod(world, plugin).added() for _ in range(2))
    one.reaches(two.address)
    equal("routes", kernel.routes(one.container), [])
    expect(not world.beyond.ping(one.address, expect=False), "a host beyond reaches the container")


@extension(DESIGN, each=LINKS)
def the_parent_comes_and_goes(world: World, plugin: str) -> None:
    """The dummy parent of {0} is there from the first ADD to the last DEL."""
    pod = _pod(world, plugin).added()
    made = [link.kind for name, link in kernel.links(world.node).items() if name != "eth0"]
    equal("kinds of the links made", made, ["dummy"])
    pod.delete().nothing()
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@extension(DESIGN, each=("master", "vlan", "ipam.routes"))
def with_a_way_out(world: World, key: str) -> None:
    """A {0} that leads out beside internal is an error, and nothing is made."""
    ways: dict[str, dict[str, Any]] = {
        "master": {"master": "eth0"},
        "vlan": {"vlan": 50},
        "ipam.routes": {"ipam": world.ipam()},
    }
    _pod(world, "macvlan", **ways[key]).add().error()
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])
    equal("leases", world.leases(), {})


@extension(DESIGN)
def two_networks_are_apart(world: World) -> None:
    """Two internal networks have a parent each, though their subnets be the same."""
    one = _pod(world, "macvlan").added()
    two = _pod(world, "macvlan", name="second").added()
    equal("addresses", one.address, two.address)
    equal("links of the host", len(kernel.links(world.node)), 3)


@extension("moby macvlan_test.go, ipvlan_test.go: MultiSubnetNoParent", each=LINKS)
def several_subnets(world: World, plugin: str) -> None:
    """Containers of an internal network of {0} reach each other in each of its subnets."""
    ipam = world.ipam("10.1.0.0/24", "10.2.0.0/24", "fd00:1::/64", routes=None)
    one, two = (_pod(world, plugin, ipam=ipam).added() for _ in range(2))
    for address in two.addresses:
        one.reaches(address.partition("/")[0])


@extension("moby ipvlan_test.go: L3InternalMode", each=("l3", "l3s"))
def routed(world: World, mode: str) -> None:
    """Containers of an internal network of ipvlan in mode {0} reach each other, and the host has no route to them."""
    one, two = (_pod(world, "ipvlan", mode=mode).added() for _ in range(2))
    one.reaches(two.address)
    equal("routes", kernel.routes(world.node), [])


@extension("design: GC removes dummy parents", each=LINKS)
def garbage_collection(world: World, plugin: str) -> None:
    """GC of {0} removes the dummy parent that no valid attachment uses, and keeps it while one does."""
    pod = _pod(world, plugin, cniVersion="1.1.0").speaks().added()
    valid = [{"containerID": pod.name, "ifname": pod.ifname}]
    pod.call("GC", {"cni.dev/valid-attachments": valid}).nothing()
    pod.check().nothing()
    pod.container.ip("link del eth0")
    pod.call("GC", {"cni.dev/valid-attachments": []}).nothing()
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])
