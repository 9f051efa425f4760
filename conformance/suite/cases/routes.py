"""What else is configured on a container's link: routes and their attributes, IPv6's settings, several subnets."""

from __future__ import annotations

from conformance.suite import kernel
from conformance.suite.case import equal, extension, reference, spec
from conformance.suite.world import World

LINKS = ("macvlan", "ipvlan")
IPAM_TEST = "plugins ipam_linux_test.go"


@reference("netavark 300-macvlan.bats, 400-ipvlan.bats: no default route", each=LINKS)
def none_is_asked_for(world: World, plugin: str) -> None:
    """A container of {0} has no route that the configuration does not ask for."""
    pod = world.pod(plugin, ipam=world.ipam(routes=None)).added()
    equal("routes", kernel.routes(pod.container), [])
    equal("routes of the result", pod.result.get("routes", []), [])


@spec("1.1.0, Section 5, ADD Success: routes", each=LINKS)
def attributes(world: World, plugin: str) -> None:
    """mtu, advmss, priority, table and scope of a route are as {0}'s configuration says, and are the result's."""
    route = {"dst": "10.9.0.0/16", "mtu": 1400, "advmss": 1300, "priority": 50, "table": 100, "scope": 0}
    pod = world.pod(plugin, cniVersion="1.1.0", ipam=world.ipam(routes=[route])).speaks().added()
    (found,) = pod.container.ip_json("route show table 100")
    equal("route", (found["dst"], found["gateway"], found["metric"]), ("10.9.0.0/16", "10.1.0.1", 50))
    equal("metrics", found["metrics"], [{"mtu": 1400, "advmss": 1300}])
    (told,) = pod.result["routes"]
    equal("route of the result", told | {"gw": "10.1.0.1"}, route | {"gw": "10.1.0.1"})
    pod.check().nothing()


@reference(f"{IPAM_TEST}: multiple routes with the same destination (ECMP)", each=LINKS)
def two_gateways_of_a_destination(world: World, plugin: str) -> None:
    """Two routes of {0}'s configuration to one destination by two gateways are both there."""
    routes = [{"dst": "10.9.0.0/16", "gw": gateway} for gateway in ("10.1.0.8", "10.1.0.9")]
    pod = world.pod(plugin, ipam=world.ipam(routes=routes)).added()
    found = pod.container.ip_json("route show 10.9.0.0/16")
    hops = [hop["gateway"] for route in found for hop in route.get("nexthops", [route])]
    equal("next hops", sorted(hops), ["10.1.0.8", "10.1.0.9"])
    pod.check().nothing()


@reference(f"{IPAM_TEST}: keeps IPV6 addresses after the interface is brought down", each=LINKS)
def ipv6_addresses_stay(world: World, plugin: str) -> None:
    """IPv6 addresses that {0} gave stay on the link when it is brought down."""
    pod = world.pod(plugin, ipam=world.ipam("fd00:1::/64")).added()
    pod.container.ip("link set eth0 down")
    equal("addresses", list(kernel.addresses(pod.container, "eth0")), pod.addresses)


@reference("plugins ipam_linux.go: disable_ipv6", each=LINKS)
def ipv6_is_enabled(world: World, plugin: str) -> None:
    """{0} gives an IPv6 address also where the container's namespace has IPv6 disabled, as runtimes leave it."""
    pod = world.pod(plugin, ipam=world.ipam("fd00:1::/64"))
    pod.container.sysctl("net/ipv6/conf/all/disable_ipv6", "1")
    pod.container.sysctl("net/ipv6/conf/default/disable_ipv6", "1")
    pod.added()
    equal("addresses", list(kernel.addresses(pod.container, "eth0")), pod.addresses)


@reference("moby macvlan_test.go, ipvlan_test.go: MultiSubnetWithParent", each=LINKS)
def several_subnets(world: World, plugin: str) -> None:
    """Two containers of {0} with an address in each of three subnets reach each other in all."""
    ipam = world.ipam("10.1.0.0/24", "10.2.0.0/24", "fd00:1::/64", routes=None)
    one, other = (world.pod(plugin, ipam=ipam).added() for _ in range(2))
    equal("addresses", other.addresses, ["10.1.0.3/24", "10.2.0.3/24", "fd00:1::3/64"])
    for address in other.addresses:
        one.reaches(address.partition("/")[0])


@extension("peers: moby TestPointToPoint", each=LINKS)
def point_to_point(world: World, plugin: str) -> None:
    """Two containers of {0} on a /31 without gateway reach each other."""
    ipam = world.ipam(ranges=[[{"subnet": "10.1.0.0/31", "gateway": "none"}]], routes=None)
    one, other = (world.pod(plugin, ipam=ipam).added() for _ in range(2))
    equal("addresses", (one.addresses, other.addresses), (["10.1.0.0/31"], ["10.1.0.1/31"]))
    one.reaches(other.address)
