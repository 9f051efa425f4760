"""ipvlan in modes l3 and l3s: containers behind the node's own address."""

from __future__ import annotations

from typing import Any

from conformance.suite import kernel
from conformance.suite.case import equal, expect, extension, reference
from conformance.suite.world import Pod, World

DESIGN = "design: ipvlan L3"


def _pod(world: World, *subnets: str, **keys: Any) -> Pod:
    return world.pod("ipvlan", **{"mode": "l3", "ipam": world.ipam(*subnets)} | keys)


def _on_the_host(world: World) -> list[tuple[str, str]]:
    return [(route.dst, route.dev) for route in kernel.routes(world.node)]


@extension(DESIGN, each=("10.7.0.0/24", "fd00:7::/64"))
def the_default_route_is_the_link(world: World, subnet: str) -> None:
    """A default route that the configuration of {0} asks for is the link itself, without next hop."""
    pod = _pod(world, subnet).added()
    every = "::/0" if ":" in subnet else "0.0.0.0/0"
    found = [(route.dst, route.via, route.dev) for route in kernel.routes(pod.container) if route.dst == every]
    equal("default route", found, [(every, "", "eth0")])


@extension(DESIGN)
def host_routes(world: World) -> None:
    """The host has a route to each subnet while a container needs it."""
    one, two = (_pod(world, "10.7.0.0/24", "fd00:7::/64").added() for _ in range(2))
    equal("routes", _on_the_host(world), [("10.7.0.0/24", "eth0"), ("fd00:7::/64", "eth0")])
    one.delete().nothing()
    equal("routes after the first DEL", len(_on_the_host(world)), 2)
    two.delete().nothing()
    equal("routes after the last DEL", _on_the_host(world), [])


@extension(DESIGN)
def without_host_routes(world: World) -> None:
    """With hostRoutes false the host has none."""
    _pod(world, "10.7.0.0/24", hostRoutes=False).added()
    equal("routes", _on_the_host(world), [])


@extension(f"{DESIGN}: hostRoutes false does neither")
def without_host_routes_subnets_may_overlap(world: World) -> None:
    """With hostRoutes false a subnet of the parent's is no error."""
    world.node.address("eth0", "10.1.0.7/24")
    _pod(world, "10.1.0.0/25", hostRoutes=False).added()


@extension(f"{DESIGN}: tagged with a route protocol number of our own")
def host_routes_are_marked(world: World) -> None:
    """The host's routes have a protocol that tells them from an administrator's and from the kernel's."""
    _pod(world, "10.7.0.0/24").added()
    (route,) = world.node.ip_json("route show 10.7.0.0/24")
    expect(route.get("protocol") not in ("boot", "static", "kernel"), f"protocol {route.get('protocol')}")


@extension(f"{DESIGN}: range gateways are ignored", each=("10.7.0.0/24", "fd00:7::/64"))
def no_gateway(world: World, subnet: str) -> None:
    """The result of {0} has no gateway, since there is none to ask."""
    equal("ips", [ip.get("gateway") for ip in _pod(world, subnet).added().result["ips"]], [None])


@extension(DESIGN, each=("l3", "l3s"))
def two_subnets_talk(world: World, mode: str) -> None:
    """Containers of two subnets on one parent reach each other in mode {0}."""
    one = _pod(world, "10.7.0.0/24", mode=mode).added()
    two = _pod(world, "10.8.0.0/24", mode=mode, name="second").added()
    one.reaches(two.address)
    two.reaches(one.address)


@extension(DESIGN)
def a_remote_host_reaches_them(world: World) -> None:
    """A host beyond reaches a container by a route through the parent's address."""
    world.node.address("eth0", "10.1.0.7/24")
    world.beyond.ip("route add 10.7.0.0/24 via 10.1.0.7")
    pod = _pod(world, "10.7.0.0/24").added()
    expect(world.beyond.ping(pod.address), "the host beyond does not reach the container")


@extension(DESIGN)
def a_subnet_of_the_parent_that_needs_a_route_is_refused(world: World) -> None:
    """With hostRoutes a subnet that overlaps one on the parent is an error that names it, and nothing is left."""
    world.node.address("eth0", "10.1.0.7/24")
    error = _pod(world, "10.1.0.0/25", hostRoutes=True).add().error()
    expect("10.1.0." in error["msg"], f"no subnet is named: {error}")
    equal("leases", world.leases(), {})


@reference("published configurations: ipvlan l3 in the subnet of the parent")
def a_subnet_of_the_parent(world: World) -> None:
    """In the parent's own subnet ADD, CHECK and DEL of l3 work."""
    world.node.address("eth0", "10.1.0.7/24")
    pod = _pod(world, "10.1.0.128/25").added()
    pod.check().nothing()
    pod.delete().nothing()
    expect(not pod.has_link, "the link is still there after DEL")


@extension(DESIGN)
def a_missing_route_is_seen_and_put_back(world: World) -> None:
    """CHECK misses a host route, and the next ADD puts it back."""
    pod = _pod(world, "10.7.0.0/24").added()
    world.node.ip("route del 10.7.0.0/24")
    pod.check().error()
    _pod(world, "10.7.0.0/24").added()
    equal("routes", _on_the_host(world), [("10.7.0.0/24", "eth0")])
    pod.check().nothing()


@extension(DESIGN)
def garbage_collection(world: World) -> None:
    """GC removes the host routes that no valid attachment needs."""
    pod = _pod(world, "10.7.0.0/24", cniVersion="1.1.0").speaks().added()
    pod.container.ip("link del eth0")
    pod.call("GC", {"cni.dev/valid-attachments": []}).nothing()
    equal("routes", _on_the_host(world), [])
