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
    "two sets of which one contains the other": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "10.1.7.0/24"}]],
    "an IPv6 subnet with host bits": [[{"subnet": "fd00:1::7/64"}]],
    "a rangeStart of another family": [[{"subnet": "10.1.0.0/24", "rangeStart": "fd00:1::9"}]],
    "a rangeEnd that is no address": [[{"subnet": "10.1.0.0/24", "rangeEnd": "last"}]],
    "a range without subnet": [[{"rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.20"}]],
    "an empty set": [[]],
    "two families in one set": [[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00:1::/64"}]],
    "no range at all": [],
}


@reference("plugins range_test.go, range_set_test.go, config_test.go", each=tuple(REFUSED))
def refused(world: World, what: str) -> None:
    """A configuration with {0} is an error, and gives no address."""
    world.pod("host-local", ipam=world.ipam(ranges=REFUSED[what])).add().error()
    equal("leases", world.leases(), {})


PARTS = [{"subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.50"}, {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.51"}]


@reference("plugins range_test.go: same subnet, non overlapping start + end", each=("one set", "two sets"))
def parts_of_a_subnet(world: World, how: str) -> None:
    """Two ranges of one subnet that do not overlap may be in {0}."""
    ranges = [PARTS] if how == "one set" else [[part] for part in PARTS]
    pod = world.pod("host-local", ipam=world.ipam(ranges=ranges)).added()
    equal("addresses", pod.addresses, ["10.1.0.2/24", "10.1.0.51/24"][: len(ranges)])


@reference("plugins config_test.go: Should allow one v4 and v6 range for 0.2.0", each=("0.1.0", "0.2.0"))
def one_address_of_each_family_in_old_versions(world: World, version: str) -> None:
    """A set of each family gives in {0} an ip4 and an ip6."""
    pod = world.pod("host-local", cniVersion=version, ipam=world.dual_stack()).added()
    equal("addresses", pod.addresses, ["10.1.0.2/24", "fd00:1::2/64"])


@extension("peers: plugins issue 1293, a gateway of the wrong family", each=("fd00:1::1",))
def a_gateway_of_another_family(world: World, gateway: str) -> None:
    """The gateway {0} of 10.1.0.0/24 is an error."""
    ranges = [[{"subnet": "10.1.0.0/24", "gateway": gateway}]]
    world.pod("host-local", ipam=world.ipam(ranges=ranges)).add().error()
    equal("leases", world.leases(), {})


@extension("peers: plugins issue 233, an IPv6 gateway outside of the subnet")
def a_link_local_gateway(world: World) -> None:
    """A link-local gateway of an IPv6 subnet is the result's."""
    pod = world.pod("host-local", ipam=world.ipam(ranges=[[{"subnet": "fd00:1::/64", "gateway": "fe80::1"}]])).added()
    equal("gateway", pod.result["ips"][0]["gateway"], "fe80::1")


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


@extension("peers: RFC 3021, RFC 6164", each=[("10.1.0.0", 31, "10.1.0.1"), ("fd00:1::", 127, "fd00:1::1")])
def point_to_point(world: World, gateway: str, length: int, address: str) -> None:
    """{0}/{1} gives both its addresses but for the gateway, {0}."""
    ipam = world.ipam(ranges=[[{"subnet": f"{gateway}/{length}", "gateway": gateway}]])
    equal("addresses", world.pod("host-local", ipam=ipam).added().addresses, [f"{address}/{length}"])
    world.pod("host-local", ipam=ipam).add().error()


@extension("peers: podman, and whereabouts iphelpers_test.go: /32, /128", each=("10.1.0.7/32", "fd00:1::7/128"))
def a_single_address(world: World, subnet: str) -> None:
    """{0} gives its one address, without gateway."""
    pod = world.pod("host-local", ipam=world.ipam(ranges=[[{"subnet": subnet}]], routes=None)).added()
    equal("addresses and gateway", (pod.addresses, pod.result["ips"][0].get("gateway")), ([subnet], None))


@extension("design: gateway none")
def no_gateway(world: World) -> None:
    """With gateway none the result has no gateway, and the subnet's first address is given."""
    pod = world.pod("host-local", ipam=world.ipam(ranges=[[{"subnet": "10.1.0.0/24", "gateway": "none"}]])).added()
    equal("addresses and gateway", (pod.addresses, pod.result["ips"][0].get("gateway")), (["10.1.0.1/24"], None))


# As whereabouts' allocate_test.go has them: subnet, exclude, and all that is given.
EXCLUDED = [
    ("10.1.0.0/29", "10.1.0.2/31 10.1.0.5/32", "10.1.0.4 10.1.0.6"),
    ("10.1.0.0/29", "10.1.0.5/32 10.1.0.2/31", "10.1.0.4 10.1.0.6"),
    ("10.1.0.0/29", "10.1.0.4/30", "10.1.0.2 10.1.0.3"),
    ("10.1.0.0/29", "10.1.0.6/32", "10.1.0.2 10.1.0.3 10.1.0.4 10.1.0.5"),
    ("fd00:1::/125", "fd00:1::/126", "fd00:1::4 fd00:1::5 fd00:1::6 fd00:1::7"),
    ("fd00:1::/126", "fd00:1::2/128", "fd00:1::3"),
]


@extension("design: exclude", each=EXCLUDED)
def exclude(world: World, subnet: str, excluded: str, given: str) -> None:
    """Of {0} without {1} exactly {2} are given."""
    ipam = world.ipam(ranges=[[{"subnet": subnet, "exclude": excluded.split()}]])
    pods = [world.pod("host-local", ipam=ipam).added() for _ in given.split()]
    equal("addresses", [pod.address for pod in pods], given.split())
    world.pod("host-local", ipam=ipam).add().error()


@extension("peers: whereabouts, a very large v6 range is excluded")
def exclude_most_of_a_large_subnet(world: World) -> None:
    """Of a /64 of which the lower half is excluded the first of the upper half is given, and at once."""
    ipam = world.ipam(ranges=[[{"subnet": "fd00:1::/64", "exclude": ["fd00:1::/65"]}]])
    equal("address", world.pod("host-local", ipam=ipam).added().address, "fd00:1:0:0:8000::")


NO_PART = ("10.1.0.2/33", "10.1.0.300/32", "first", "10.2.0.0/30", "fd00:1::/64")


@extension("peers: whereabouts, invalid syntax", each=[(k, p) for k in ("exclude", "ipRange") for p in NO_PART])
def no_part_of_the_subnet(world: World, key: str, part: str) -> None:
    """{0} of {1} is an error where the subnet is 10.1.0.0/24, and gives no address."""
    ranges = [[{"subnet": "10.1.0.0/24", key: [part] if key == "exclude" else part}]]
    world.pod("host-local", ipam=world.ipam(ranges=ranges)).add().error()
    equal("leases", world.leases(), {})


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


@extension("moby allocator_test.go: TestGetAddressSubPoolEqualPool")
def an_ip_range_that_is_the_subnet(world: World) -> None:
    """An ipRange equal to the subnet gives neither the network's, nor the gateway's, nor the broadcast address."""
    ipam = world.ipam(ranges=[[{"subnet": "10.1.0.0/29", "ipRange": "10.1.0.0/29"}]])
    pods = [world.pod("host-local", ipam=ipam).added() for _ in range(5)]
    equal("addresses", [pod.address for pod in pods], [f"10.1.0.{n}" for n in range(2, 7)])
    world.pod("host-local", ipam=ipam).add().error()


@extension("moby macvlan_test.go: TestMacvlanIPAMOverlap; allocator_test.go: TestRequestReleaseAddressFromSubPool")
def an_ip_range_to_its_end(world: World) -> None:
    """Of an ipRange of eight, with an auxiliary address and the gateway in it, six are given, and again after DEL."""
    one = {
        "subnet": "10.1.0.0/24",
        "ipRange": "10.1.0.8/29",
        "gateway": "10.1.0.8",
        "auxAddresses": {"tv": "10.1.0.10"},
    }
    ipam = world.ipam(ranges=[[one]])
    pods = [world.pod("host-local", ipam=ipam).added() for _ in range(6)]
    equal("addresses", [pod.address for pod in pods], [f"10.1.0.{n}" for n in (9, 11, 12, 13, 14, 15)])
    world.pod("host-local", ipam=ipam).add().error()
    pods[1].delete().nothing()
    equal("address", world.pod("host-local", ipam=ipam).added().address, "10.1.0.11")
