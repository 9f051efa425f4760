"""host-local: addresses that somebody asks for."""

from __future__ import annotations

from conformance.suite.case import equal, expect, reference
from conformance.suite.world import World

DOC = "cni.dev host-local"


@reference(f"{DOC}: ip of CNI_ARGS")
def by_cni_args(world: World) -> None:
    """The IP of CNI_ARGS is given."""
    equal("address", world.pod("host-local").added(CNI_ARGS="IP=10.1.0.77").address, "10.1.0.77")


@reference("plugins config_test.go: CNI_ARGS with prefix")
def by_cni_args_with_length(world: World) -> None:
    """The IP of CNI_ARGS may have its prefix length."""
    equal("address", world.pod("host-local").added(CNI_ARGS="IP=10.1.0.77/24").address, "10.1.0.77")


@reference(f"{DOC}: ips of args.cni", each=("10.1.0.77", "10.1.0.77/24"))
def by_args(world: World, text: str) -> None:
    """An address of args.cni.ips is given: {0}."""
    equal("address", world.pod("host-local", args={"cni": {"ips": [text]}}).added().address, "10.1.0.77")


@reference(f"{DOC}: the ips capability", each=("10.1.0.77", "10.1.0.77/24"))
def by_the_runtime(world: World, text: str) -> None:
    """An address of runtimeConfig.ips is given: {0}."""
    equal("address", world.pod("host-local", runtimeConfig={"ips": [text]}).added().address, "10.1.0.77")


@reference("plugins host_local_test.go: allocates custom IPs from multiple protocols")
def of_both_families(world: World) -> None:
    """An address of each family is asked for and given."""
    ips = ["10.1.0.77/24", "fd00:1::77/64"]
    equal(
        "addresses", world.pod("host-local", ipam=world.dual_stack(), runtimeConfig={"ips": ips}).added().addresses, ips
    )


@reference("plugins host_local_test.go: allocates custom IPs from multiple ranges")
def of_two_sets(world: World) -> None:
    """Addresses of two sets of one family are asked for and given."""
    ips = ["10.1.0.77/24", "10.2.0.77/24"]
    pod = world.pod("host-local", ipam=world.ipam("10.1.0.0/24", "10.2.0.0/24"), runtimeConfig={"ips": ips}).added()
    equal("addresses", pod.addresses, ips)


@reference("plugins host_local_test.go: the other set chooses")
def of_one_family_alone(world: World) -> None:
    """Where only one set's address is asked for, the other's is chosen."""
    pod = world.pod("host-local", ipam=world.dual_stack(), runtimeConfig={"ips": ["fd00:1::77"]}).added()
    equal("addresses", pod.addresses, ["10.1.0.2/24", "fd00:1::77/64"])


@reference("plugins host_local_test.go: fails if a requested custom IP is not used")
def of_no_set(world: World) -> None:
    """An address of none of the ranges is an error, and nothing is given."""
    world.pod("host-local", runtimeConfig={"ips": ["192.0.2.7/24"]}).add().error()
    equal("leases", world.leases(), {})


@reference("plugins range_set_test.go: set membership")
def of_a_sets_second_range(world: World) -> None:
    """An address of a set's second range is given."""
    ipam = world.ipam(ranges=[[{"subnet": "10.1.0.0/24"}, {"subnet": "10.2.0.0/24"}]])
    pod = world.pod("host-local", ipam=ipam, runtimeConfig={"ips": ["10.2.0.77"]}).added()
    equal("addresses", pod.addresses, ["10.2.0.77/24"])


@reference("plugins allocator.go, netavark 300/400: not all static ips match a subnet")
def one_of_no_set_beside_one_that_fits(world: World) -> None:
    """Of two addresses of which one is of none of the ranges neither is given: an error."""
    world.pod("host-local", runtimeConfig={"ips": ["10.1.0.77", "192.0.2.7"]}).add().error()
    equal("leases", world.leases(), {})


@reference("plugins host_local_test.go: fails if a requested custom IP is not used")
def two_of_one_set(world: World) -> None:
    """Two addresses of one set, which gives one, are an error, and nothing is given."""
    world.pod("host-local", runtimeConfig={"ips": ["10.1.0.77", "10.1.0.78"]}).add().error()
    equal("leases", world.leases(), {})


@reference("plugins config_test.go: mixed, CNI_ARGS and config args")
def from_two_places(world: World) -> None:
    """An address by CNI_ARGS and one by args.cni are both given, each of its set."""
    pod = world.pod("host-local", ipam=world.dual_stack(), args={"cni": {"ips": ["fd00:1::77"]}})
    equal("addresses", pod.added(CNI_ARGS="IP=10.1.0.77").addresses, ["10.1.0.77/24", "fd00:1::77/64"])


@reference("whereabouts allocate_test.go: IPv6 with leading zeroes")
def with_leading_zeroes(world: World) -> None:
    """An IPv6 address may be written out; its lease's name is the short form."""
    pod = world.pod("host-local", ipam=world.ipam("fd00:1::/64"))
    pod.config["runtimeConfig"] = {"ips": ["fd00:0001:0000:0000:0000:0000:0000:0077"]}
    equal("addresses and leases", (pod.added().addresses, list(world.leases())), (["fd00:1::77/64"], ["fd00:1::77"]))


@reference("plugins allocator_test.go: must fail when the requested IP is allocated")
def one_that_is_taken(world: World) -> None:
    """An address that another container has is an error, and the other keeps it."""
    world.pod("host-local", "web").added()
    world.pod("host-local", runtimeConfig={"ips": ["10.1.0.2/24"]}).add().error()
    equal("leases", world.leases(), {"10.1.0.2": "web\r\neth0"})


@reference("plugins allocator_test.go: before RangeStart, after RangeEnd", each=("10.1.0.9", "10.1.0.21"))
def one_outside_of_start_and_end(world: World, address: str) -> None:
    """{0} is an error where rangeStart is 10.1.0.10 and rangeEnd 10.1.0.20."""
    ranges = [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.20"}]]
    world.pod("host-local", ipam=world.ipam(ranges=ranges), runtimeConfig={"ips": [address]}).add().error()


@reference("plugins range_test.go: reject v6 IPs out of range", each=("fd00:1::f", "fd00:1::21"))
def one_of_ipv6_outside_of_start_and_end(world: World, address: str) -> None:
    """{0} is an error where rangeStart is fd00:1::10 and rangeEnd fd00:1::20."""
    ranges = [[{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::10", "rangeEnd": "fd00:1::20"}]]
    world.pod("host-local", ipam=world.ipam(ranges=ranges), runtimeConfig={"ips": [address]}).add().error()


@reference("plugins allocator.go: requested ip is the gateway's")
def the_gateways(world: World) -> None:
    """The gateway's address is an error."""
    world.pod("host-local", runtimeConfig={"ips": ["10.1.0.1"]}).add().error()


@reference("plugins config.go: invalid requests")
def one_that_is_none(world: World) -> None:
    """What is no address is an error."""
    world.pod("host-local", runtimeConfig={"ips": ["10.1.0.300"]}).add().error()
    equal("leases", world.leases(), {})


@reference(f"{DOC}: through the main plugin", each=("macvlan", "ipvlan"))
def through_a_main_plugin(world: World, plugin: str) -> None:
    """{0} hands the address that the runtime asks for to its IPAM, and the container has it."""
    pod = world.pod(plugin, runtimeConfig={"ips": ["10.1.0.77/24"]}).added()
    equal("addresses", pod.addresses, ["10.1.0.77/24"])
    expect(pod.has_link, "there is no link")
