"""host-local's ranges: what bounds them, and which are refused."""

from __future__ import annotations

from typing import Any

from conformance.suite.case import equal, expect, extension, reference
from conformance.suite.world import World

DOC = "cni.dev host-local"


@reference(f"{DOC}: rangeStart, rangeEnd")
def start_and_end(world: World) -> None:
    """rangeStart and rangeEnd are the first and last address given."""
    ipam = world.ipam(ranges=[[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.12"}]])
    pods = [world.pod("host-local", ipam=ipam).added() for _ in range(3)]
    equal("addresses", [pod.address for pod in pods], ["10.1.0.10", "10.1.0.11", "10.1.0.12"])
    world.pod("host-local", ipam=ipam).add().error()


REFUSED: dict[str, list[list[dict[str, Any]]]] = {
    "a subnet that is none": [[{"subnet": "10.1.0.0"}]],
    "a subnet with host bits": [[{"subnet": "10.1.0.7/24"}]],
    "a rangeStart outside its subnet": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1"}]],
    "a rangeEnd outside its subnet": [[{"subnet": "10.1.0.0/24", "rangeEnd": "10.2.0.1"}]],
    "a rangeStart that is no address": [[{"subnet": "10.1.0.0/24", "rangeStart": "first"}]],
    "a gateway that is no address": [[{"subnet": "10.1.0.0/24", "gateway": "10.1.0.0.1"}]],
    "two ranges of a set that overlap": [
        [{"subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.50"}, {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.50"}]
    ],
    "two sets that overlap": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/24"}]],
    "two families in one set": [[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00:1::/64"}]],
    "no range at all": [],
}


@reference("plugins range_test.go, range_set_test.go, config_test.go", each=tuple(REFUSED))
def refused(world: World, what: str) -> None:
    """A configuration with {0} is an error, and gives no address."""
    world.pod("host-local", ipam=world.ipam(ranges=REFUSED[what])).add().error()
    equal("leases", world.leases(), {})


@extension("peers: plugins issue 1293")
def a_reversed_range(world: World) -> None:
    """A rangeEnd below rangeStart is an error."""
    ranges = [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.20", "rangeEnd": "10.1.0.10"}]]
    world.pod("host-local", ipam=world.ipam(ranges=ranges)).add().error()


@extension("peers: plugins issue 1293")
def a_start_at_the_broadcast_address(world: World) -> None:
    """A rangeStart at the broadcast address gives no address outside of the subnet."""
    ranges = [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.255"}]]
    world.pod("host-local", ipam=world.ipam(ranges=ranges)).add().error()
    equal("leases", world.leases(), {})


@reference("plugins config_test.go: too many ranges for 0.2.0", each=("0.1.0", "0.2.0"))
def one_address_of_a_family_in_old_versions(world: World, version: str) -> None:
    """Two sets of one family are an error in {0}, whose result has one address of each family."""
    pod = world.pod("host-local", cniVersion=version, ipam=world.ipam("10.1.0.0/24", "10.2.0.0/24"))
    pod.add().error()


@reference(f"{DOC}: ipRanges of runtimeConfig")
def ranges_of_the_runtime(world: World) -> None:
    """A set that runtimeConfig.ipRanges brings has an address too."""
    runtime = {"ipRanges": [[{"subnet": "10.2.0.0/24"}]]}
    pod = world.pod("host-local", ipam=world.ipam(), runtimeConfig=runtime).added()
    equal("addresses", sorted(pod.addresses), ["10.1.0.2/24", "10.2.0.2/24"])


@reference(f"{DOC}: subnet beside ranges")
def the_older_form_beside_ranges(world: World) -> None:
    """A subnet in ipam itself is one more set beside those of ranges."""
    ipam = world.ipam("fd00:1::/64", subnet="10.1.0.0/24")
    equal("addresses", sorted(world.pod("host-local", ipam=ipam).added().addresses), ["10.1.0.2/24", "fd00:1::2/64"])


@reference("plugins range_test.go: a very large range")
def a_large_ipv6_subnet(world: World) -> None:
    """A /48 gives addresses like any other subnet."""
    pods = [world.pod("host-local", ipam=world.ipam("fd00:1::/48")).added() for _ in range(2)]
    equal("addresses", [pod.addresses for pod in pods], [["fd00:1::2/48"], ["fd00:1::3/48"]])


@extension("peers: RFC 3021")
def point_to_point(world: World) -> None:
    """A /31 gives both its addresses but for the gateway."""
    ipam = world.ipam(ranges=[[{"subnet": "10.1.0.0/31", "gateway": "10.1.0.0"}]])
    equal("addresses", world.pod("host-local", ipam=ipam).added().addresses, ["10.1.0.1/31"])
    world.pod("host-local", ipam=ipam).add().error()


@extension("peers: podman")
def a_single_address(world: World) -> None:
    """A /32 gives its one address, without gateway."""
    pod = world.pod("host-local", ipam=world.ipam(ranges=[[{"subnet": "10.1.0.7/32"}]], routes=None)).added()
    equal("addresses and gateway", (pod.addresses, pod.result["ips"][0].get("gateway")), (["10.1.0.7/32"], None))


@extension("design: gateway none")
def no_gateway(world: World) -> None:
    """With gateway none the result has no gateway, and the subnet's first address is given."""
    pod = world.pod("host-local", ipam=world.ipam(ranges=[[{"subnet": "10.1.0.0/24", "gateway": "none"}]])).added()
    equal("addresses and gateway", (pod.addresses, pod.result["ips"][0].get("gateway")), (["10.1.0.1/24"], None))


@extension("design: exclude")
def exclude(world: World) -> None:
    """Addresses of the networks of exclude are not given."""
    ipam = world.ipam(ranges=[[{"subnet": "10.1.0.0/29", "exclude": ["10.1.0.2/31", "10.1.0.5/32"]}]])
    pods = [world.pod("host-local", ipam=ipam).added() for _ in range(2)]
    equal("addresses", [pod.address for pod in pods], ["10.1.0.4", "10.1.0.6"])
    world.pod("host-local", ipam=ipam).add().error()


@extension("design: auxAddresses")
def aux_addresses(world: World) -> None:
    """An address of auxAddresses is not given, also not when it is asked for, and the error has its name."""
    ipam = world.ipam(ranges=[[{"subnet": "10.1.0.0/24", "auxAddresses": {"printer": "10.1.0.2"}}]])
    equal("address", world.pod("host-local", ipam=ipam).added().address, "10.1.0.3")
    error = world.pod("host-local", ipam=ipam, runtimeConfig={"ips": ["10.1.0.2/24"]}).add().error()
    expect("printer" in error["msg"] + error.get("details", ""), f"printer is not named: {error}")


@extension("design: ipRange bounds those that we choose")
def ip_range(world: World) -> None:
    """Addresses are chosen within ipRange, and a fixed one may be anywhere in the subnet."""
    ipam = world.ipam(ranges=[[{"subnet": "10.1.0.0/24", "ipRange": "10.1.0.128/25"}]])
    chosen = world.pod("host-local", ipam=ipam).added().address
    expect(int(chosen.rpartition(".")[2]) >= 128, f"{chosen} is not of 10.1.0.128/25")
    fixed = world.pod("host-local", ipam=ipam, runtimeConfig={"ips": ["10.1.0.7/24"]}).added()
    equal("address", fixed.address, "10.1.0.7")
