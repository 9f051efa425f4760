"""host-local: which address is given, and what is on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path
from stat import S_IMODE

from conformance.lab import syscalls
from conformance.suite.case import equal, expect, extension, reference
from conformance.suite.world import World

DOC = "cni.dev host-local"
BOOT_ID = "/proc/sys/kernel/random/boot_id"


@reference(f"{DOC}: subnet")
def the_first_address(world: World) -> None:
    """The first address given is the one after the gateway, with the subnet's prefix length."""
    equal("addresses", world.pod("host-local").added().addresses, ["10.1.0.2/24"])


BY_DEFAULT = [
    ("10.1.0.0/24", "10.1.0.1", "10.1.0.2/24"),
    ("10.1.0.128/25", "10.1.0.129", "10.1.0.130/25"),
    ("fd00:1::/64", "fd00:1::1", "fd00:1::2/64"),
]


@reference("plugins range_test.go: sane defaults", each=BY_DEFAULT)
def the_gateway_by_default(world: World, subnet: str, gateway: str, address: str) -> None:
    """Without gateway the first address of {0}, {1}, is the gateway of the result, and the first given is {2}."""
    (ip,) = world.pod("host-local", ipam=world.ipam(subnet)).added().result["ips"]
    equal("address and gateway", (ip["address"], ip["gateway"]), (address, gateway))


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


RESOLV_CONF = """# comments
; of both kinds, which plugins dns_test.go ignores
nameserver 10.1.0.53
search example.org
options ndots:2
domain example.net
"""
SEARCH = {"search": ["example.org"], "options": ["ndots:2"]}


@reference(f"{DOC}: resolvConf")
def resolv_conf(world: World) -> None:
    """The dns of the result is that of the resolv.conf which resolvConf names."""
    path = world.scratch / "resolv.conf"
    path.write_text(RESOLV_CONF)
    dns = world.pod("host-local", ipam=world.ipam(resolvConf=str(path))).added().result["dns"]
    equal("dns", dns, {"nameservers": ["10.1.0.53"], "domain": "example.net"} | SEARCH)


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


# Of 10.1.0.0/29: the addresses that are taken, the last one given, and the one to be given.
TURNS = [
    ("", "10.1.0.5", "10.1.0.6"),
    ("10.1.0.2", "", "10.1.0.3"),
    ("10.1.0.4 10.1.0.5", "10.1.0.3", "10.1.0.6"),
    ("10.1.0.6", "10.1.0.5", "10.1.0.2"),
    ("10.1.0.2", "10.1.0.128", "10.1.0.3"),
    ("10.1.0.2 10.1.0.4 10.1.0.5 10.1.0.6", "10.1.0.3", "10.1.0.3"),
]


@reference("plugins allocator_test.go: should allocate ips in round robin", each=TURNS)
def whose_turn_it_is(world: World, taken: str, last: str, given: str) -> None:
    """Of a /29 of which [{0}] are taken and [{1}] was given last, {2} is given."""
    for address in taken.split():
        world.lease_file(address, b"other\r\neth0")
    if last:
        world.lease_file("last_reserved_ip.0", last.encode())
    equal("address", world.pod("host-local", ipam=world.ipam("10.1.0.0/29")).added().address, given)


@reference(
    "plugins allocator_test.go: lastReservedIP is at the end of one of multi ranges", each=[(1, 2), (2, 3), (3, 1)]
)
def on_to_the_next_range(world: World, last: int, given: int) -> None:
    """After the last address of a set's range {0} of three comes the first one of its range {1}."""
    ipam = world.ipam(ranges=[[{"subnet": f"10.{n}.0.0/29"} for n in (1, 2, 3)]])
    world.lease_file("last_reserved_ip.0", f"10.{last}.0.6".encode())
    equal("address", world.pod("host-local", ipam=ipam).added().address, f"10.{given}.0.2")


CARRIES = [
    ("10.1.0.0/23", "10.1.0.254", "10.1.0.255 10.1.1.0"),
    ("fd00:1::/64", "fd00:1::fffe", "fd00:1::ffff fd00:1::1:0"),
]


@reference("whereabouts iphelpers_test.go: IncIP", each=CARRIES)
def beyond_an_octet(world: World, subnet: str, last: str, given: str) -> None:
    """After {1} of {0} come {2}: inside of a subnet no address is special."""
    world.lease_file("last_reserved_ip.0", last.encode())
    pods = [world.pod("host-local", ipam=world.ipam(subnet)).added() for _ in range(2)]
    equal("addresses", [pod.address for pod in pods], given.split())


@reference("moby allocator_test.go: TestAllocateRandomDeallocate")
def what_is_given_back_is_given_again(world: World) -> None:
    """Of a full range every second address is given back, and exactly these are given again."""
    ipam = world.ipam("10.1.0.0/28")
    pods = [world.pod("host-local", ipam=ipam).added() for _ in range(13)]
    world.pod("host-local", ipam=ipam).add().error()
    for pod in pods[::2]:
        pod.delete().nothing()
    again = [world.pod("host-local", ipam=ipam).added() for _ in pods[::2]]
    equal("addresses", sorted(pod.address for pod in again), sorted(pod.address for pod in pods[::2]))
    world.pod("host-local", ipam=ipam).add().error()


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


@reference("plugins disk/backend.go: flock on DATADIR/NETWORK/lock")
def sixteen_end_at_once(world: World) -> None:
    """16 DELs at once give back each its address."""
    pods = [world.pod("host-local").added() for _ in range(16)]
    with ThreadPoolExecutor(16) as threads:
        for answer in threads.map(lambda pod: pod.delete(), pods):
            answer.nothing()
    equal("leases", world.leases(), {})


@reference("moby allocator_test.go: TestRequestReleaseAddressDuplicate")
def one_address_for_sixteen(world: World) -> None:
    """Of 16 ADDs at once that ask for one address exactly one gets it."""
    pods = [world.pod("host-local", runtimeConfig={"ips": ["10.1.0.77"]}) for _ in range(16)]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda pod: pod.add(), pods))
    (winner,) = [pod.name for pod, answer in zip(pods, answers, strict=True) if answer.status == 0]
    equal("leases", world.leases(), {"10.1.0.77": f"{winner}\r\neth0"})


@reference("plugins disk/lock_test.go: locks a file path")
def it_waits_for_the_lock(world: World) -> None:
    """An ADD waits while another process holds the lock, and goes on when it is free."""
    lock = world.lease_file("lock", b"")
    pod = world.pod("host-local")
    with ThreadPoolExecutor(1) as threads:
        with lock.open() as held:
            flock(held, LOCK_EX)
            adding = threads.submit(pod.added)
            wait([adding], timeout=1)
            equal("leases while the lock is held", world.leases(), {})
        adding.result()
    equal("leases", list(world.leases()), ["10.1.0.2"])


@reference("peers: the lock of a dead process")
def a_lock_that_was_left(world: World) -> None:
    """The lock's file, left by a process that is no more, hinders nobody."""
    world.lease_file("lock", b"12345")
    equal("address", world.pod("host-local").added().address, "10.1.0.2")


@reference("plugins disk/backend.go: mode 0600")
def the_lease_files_mode(world: World) -> None:
    """A lease is its owner's alone to read and write."""
    world.pod("host-local").added()
    equal("mode", oct(S_IMODE((world.data_dir / "conformance" / "10.1.0.2").stat().st_mode)), "0o600")


@reference(f"{DOC}: dataDir defaults to /var/lib/cni/networks")
def data_dir_by_default(world: World) -> None:
    """Without dataDir leases are below /var/lib/cni/networks."""
    pod = world.pod("host-local", name="by-default", ipam=world.ipam(dataDir=None)).added()
    lease = Path("/var/lib/cni/networks/by-default", pod.address)
    expect(lease.exists(), f"there is no {lease}")
    pod.delete().nothing()
    expect(not lease.exists(), f"{lease} was left")


@reference("peers: ENOSPC")
def a_full_disk(world: World) -> None:
    """Where a lease cannot be written ADD is an error, and the address is not lost: it is given once there is space."""
    world.data_dir.mkdir()
    syscalls.mount("tmpfs", str(world.data_dir), "tmpfs", options="size=16k")
    try:
        world.lease_file("filling", b"")
        with suppress(OSError), (world.data_dir / "filling").open("wb", buffering=0) as filling:
            while filling.write(b"x" * 512):
                pass
        ipam = world.ipam("10.1.0.0/30")
        world.pod("host-local", ipam=ipam).add().error()
        equal("leases", world.leases(), {})
        (world.data_dir / "filling").unlink()
        world.pod("host-local", ipam=ipam).added().delete().nothing()
    finally:
        syscalls.umount(str(world.data_dir))


@extension("peers: a rollback that frees what was there before")
def a_failed_second_add(world: World) -> None:
    """A second ADD that asks for another address takes nothing from the attachment that is there."""
    pod = world.pod("host-local", ipam=world.dual_stack()).added()
    before = world.leases()
    pod.call("ADD", {"runtimeConfig": {"ips": ["10.1.0.77"]}})
    expect(before.items() <= world.leases().items(), f"of {before} only {world.leases()} are left")


@contextmanager
def _another_boot(world: World) -> Iterator[None]:
    """The kernel tells another boot id, as after a reboot."""
    path = world.scratch / "boot_id"
    path.write_text("00000000-0000-0000-0000-000000000001\n")
    syscalls.mount(str(path), BOOT_ID, flags=syscalls.MS_BIND)
    try:
        yield
    finally:
        syscalls.umount(BOOT_ID)


@extension("design: after a reboot")
def the_same_container_after_a_reboot(world: World) -> None:
    """A container that was there before a reboot, which sent no DEL, gets an address and has no second lease."""
    pod = world.pod("host-local").added()
    with _another_boot(world):
        pod.added()
        equal("leases", list(world.leases()), [pod.address])


@extension("design: after a reboot")
def a_full_range_after_a_reboot(world: World) -> None:
    """Where every address was given before a reboot, new containers get them without anybody's help."""
    ipam = world.ipam("10.1.0.0/29")
    for _ in range(5):
        world.pod("host-local", ipam=ipam).added()
    with _another_boot(world):
        for _ in range(5):
            world.pod("host-local", ipam=ipam).added()
        world.pod("host-local", ipam=ipam).add().error()


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
