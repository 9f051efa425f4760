"""host-local: which address is given, and what is on disk."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from stat import S_IMODE

from conformance.suite.case import equal, expect, extension, reference
from conformance.suite.world import World

DOC = "cni.dev host-local"


@reference(f"{DOC}: subnet")
def the_first_address(world: World) -> None:
    """The first address given is the one after the gateway, with the subnet's prefix length."""
    equal("addresses", world.pod("host-local").added().addresses, ["10.1.0.2/24"])


@reference(f"{DOC}: gateway defaults to the .1 of the subnet")
def the_gateway_by_default(world: World) -> None:
    """Without gateway the subnet's first address is the gateway of the result."""
    equal("gateway", world.pod("host-local").added().result["ips"][0]["gateway"], "10.1.0.1")


@reference(f"{DOC}: gateway")
def the_gateway_of_the_configuration(world: World) -> None:
    """The gateway of the configuration is the result's, and no container gets it."""
    ipam = world.ipam(ranges=[[{"subnet": "10.1.0.0/29", "gateway": "10.1.0.3"}]])
    pods = [world.pod("host-local", ipam=ipam).added() for _ in range(5)]
    equal("gateway", pods[0].result["ips"][0]["gateway"], "10.1.0.3")
    equal("addresses", [pod.address for pod in pods], [f"10.1.0.{n}" for n in (1, 2, 4, 5, 6)])


@reference(f"{DOC}: routes")
def routes(world: World) -> None:
    """The routes of the configuration are the result's."""
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.9"}]
    equal("routes", world.pod("host-local", ipam=world.ipam(routes=routes)).added().result["routes"], routes)


@reference(f"{DOC}: resolvConf")
def resolv_conf(world: World) -> None:
    """The dns of the result is that of the resolv.conf which resolvConf names."""
    path = world.scratch / "resolv.conf"
    path.write_text("nameserver 10.1.0.53\nsearch example.org\noptions ndots:2\ndomain example.net\n")
    dns = world.pod("host-local", ipam=world.ipam(resolvConf=str(path))).added().result["dns"]
    equal("nameservers", dns["nameservers"], ["10.1.0.53"])
    equal("search and options", (dns["search"], dns["options"]), (["example.org"], ["ndots:2"]))


@reference(f"{DOC}: ranges, an address of each set")
def an_address_of_each_set(world: World) -> None:
    """Of each range set an address is given."""
    equal(
        "addresses", world.pod("host-local", ipam=world.dual_stack()).added().addresses, ["10.1.0.2/24", "fd00:1::2/64"]
    )


@reference(f"{DOC}: ranges, several in a set")
def a_set_of_several_ranges(world: World) -> None:
    """When the first range of a set is full, the next one of the set is used."""
    ipam = world.ipam(ranges=[[{"subnet": "10.1.0.0/30"}, {"subnet": "10.2.0.0/30"}]])
    pods = [world.pod("host-local", ipam=ipam).added() for _ in range(2)]
    equal("addresses", [pod.addresses for pod in pods], [["10.1.0.2/30"], ["10.2.0.2/30"]])


@reference(f"{DOC}: the older form")
def the_older_form(world: World) -> None:
    """subnet, rangeStart, rangeEnd and gateway may stand in ipam itself, as one range."""
    keys = {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.20", "gateway": "10.1.0.254"}
    pod = world.pod("host-local", ipam=world.ipam(ranges=None, **keys)).added()
    equal("address and gateway", (pod.addresses, pod.result["ips"][0]["gateway"]), (["10.1.0.10/24"], "10.1.0.254"))


@reference("plugins allocator_test.go: round robin")
def round_robin(world: World) -> None:
    """An address given back is not the next one given: the search goes on where it stopped."""
    first = world.pod("host-local").added()
    first.delete().nothing()
    equal("address", world.pod("host-local").added().address, "10.1.0.3")


@reference("plugins allocator_test.go: round robin")
def round_again(world: World) -> None:
    """After the range's end the search begins anew, and finds what was given back."""
    ipam = world.ipam("10.1.0.0/29")
    pods = [world.pod("host-local", ipam=ipam).added() for _ in range(5)]
    pods[2].delete().nothing()
    equal("address", world.pod("host-local", ipam=ipam).added().address, pods[2].address)


@reference("plugins allocator_test.go: should not allocate the broadcast address")
def neither_network_nor_broadcast(world: World) -> None:
    """Neither the network's, nor the gateway's, nor the broadcast address is given."""
    ipam = world.ipam("10.1.0.0/29")
    pods = [world.pod("host-local", ipam=ipam).added() for _ in range(5)]
    equal("addresses", [pod.address for pod in pods], [f"10.1.0.{n}" for n in range(2, 7)])


@reference("plugins allocator_test.go: out of addresses")
def out_of_addresses(world: World) -> None:
    """A full range is an error that names the range, and gives nothing of another set either."""
    ipam = world.ipam("fd00:1::/64", "10.1.0.0/30")
    world.pod("host-local", ipam=ipam).added()
    before = world.leases()
    error = world.pod("host-local", ipam=ipam).add().error()
    expect("10.1.0" in error["msg"], f"the range is not named: {error['msg']}")
    equal("leases", world.leases(), before)


@reference("plugins host_local_test.go: allocates and releases")
def the_lease_file(world: World) -> None:
    """A lease is a file DATADIR/NETWORK/ADDRESS of the container's id, CR LF and the interface's name."""
    world.pod("host-local", "web").added()
    equal("leases", world.leases(), {"10.1.0.2": "web\r\neth0"})


@reference("plugins disk/backend.go: LastReservedIP")
def the_last_reserved_address(world: World) -> None:
    """The last address given of each set stands in last_reserved_ip.N."""
    world.pod("host-local", ipam=world.dual_stack()).added()
    directory = world.data_dir / "conformance"
    found = [(directory / f"last_reserved_ip.{n}").read_text().strip() for n in range(2)]
    equal("contents", found, ["10.1.0.2", "fd00:1::2"])


@reference("plugins disk/backend.go: LastReservedIP")
def goes_on_after_the_last_reserved_address(world: World) -> None:
    """An address after that in last_reserved_ip.0 is given, whoever wrote it."""
    world.lease_file("last_reserved_ip.0", b"10.1.0.40")
    equal("address", world.pod("host-local").added().address, "10.1.0.41")


@reference("plugins disk/backend.go")
def leases_of_others_are_kept(world: World) -> None:
    """An address of which a lease file stands is not given, whoever wrote it."""
    world.lease_file("10.1.0.2", b"other\r\neth0")
    equal("address", world.pod("host-local").added().address, "10.1.0.3")
    equal("the other's lease", world.leases()["10.1.0.2"], "other\r\neth0")


@reference("plugins host_local_test.go: verify DEL works on backwards compatible allocate")
def a_lease_without_interface(world: World) -> None:
    """DEL removes a lease as it was written before CNI 0.7: the container's id alone."""
    world.lease_file("10.1.0.2", b"web")
    world.pod("host-local", "web").delete().nothing()
    equal("leases", world.leases(), {})


@reference("plugins host_local_test.go: ignores whitespace in disk files")
def whitespace_in_a_lease(world: World) -> None:
    """DEL finds its lease though white space surrounds what the file says."""
    world.lease_file("10.1.0.2", b"  web\r\neth0  \n")
    world.pod("host-local", "web").delete().nothing()
    equal("leases", world.leases(), {})


@reference("plugins host_local_test.go: doesn't error when passed an unknown ID on DEL")
def del_of_an_unknown_container(world: World) -> None:
    """DEL of a container without lease succeeds, and takes nobody's."""
    world.pod("host-local", "web").added()
    world.pod("host-local", "other").delete().nothing()
    equal("leases", list(world.leases()), ["10.1.0.2"])


@reference("plugins host_local_test.go: on a specific interface")
def del_of_another_interface(world: World) -> None:
    """DEL of an interface leaves the lease of the same container's other one."""
    one, two = world.pod("host-local", "web").added(), world.pod("host-local", "web", ifname="net1").added()
    one.delete().nothing()
    equal("leases", list(world.leases()), [two.address])


@reference("plugins host_local_test.go: repeat allocating for the same container id")
def a_second_add(world: World) -> None:
    """A second ADD of one attachment gets no second address."""
    world.pod("host-local", "web").added()
    world.pod("host-local", "web").add()
    equal("leases", list(world.leases()), ["10.1.0.2"])


@reference("plugins host_local_test.go: does not output an error message upon initial subnet creation")
def the_first_call_is_silent(world: World) -> None:
    """The first ADD of a network prints nothing to stderr."""
    equal("stderr", world.pod("host-local").add().stderr, b"")


@reference(f"{DOC}: dataDir")
def networks_are_apart(world: World) -> None:
    """Each network has leases of its own below dataDir."""
    world.pod("host-local").added()
    world.pod("host-local", name="second").added()
    equal("leases", (list(world.leases()), list(world.leases("second"))), (["10.1.0.2"], ["10.1.0.2"]))


@reference("plugins disk/backend.go: flock on DATADIR/NETWORK/lock")
def sixteen_at_once(world: World) -> None:
    """Of 16 ADDs at once each gets an address of its own."""
    pods = [world.pod("host-local") for _ in range(16)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda pod: pod.added(), pods))
    equal("different addresses", len({pod.address for pod in pods}), 16)
    equal("leases", len(world.leases()), 16)


@extension("design: on disk exactly as Go's", each=(0o022, 0o077, 0o000))
def permissions(world: World, umask: int) -> None:
    """Nobody but the owner may write leases and their directory, whatever the runtime's umask ({0:o})."""
    before = os.umask(umask)
    try:
        world.pod("host-local").added()
    finally:
        os.umask(before)
    directory = world.data_dir / "conformance"
    for path in (world.data_dir, directory, directory / "10.1.0.2"):
        expect(not S_IMODE(path.stat().st_mode) & 0o022, f"{path} has mode {S_IMODE(path.stat().st_mode):o}")


@extension("peers: an empty reservation is a crash's")
def an_empty_lease_file(world: World) -> None:
    """A lease file without content, as a crash leaves it, does not keep its address for ever."""
    world.lease_file("10.1.0.2", b"")
    equal("address", world.pod("host-local", ipam=world.ipam("10.1.0.0/30")).added().address, "10.1.0.2")


@extension("peers: a message that says who holds it")
def an_address_that_is_taken_is_told_with_its_holder(world: World) -> None:
    """The error about an address that is taken names the container that has it."""
    holder = world.pod("host-local", "holder").added()
    error = world.pod("host-local").add({"runtimeConfig": {"ips": [holder.addresses[0]]}}).error()
    expect("holder" in error["msg"] + error.get("details", ""), f"holder is not named: {error}")
