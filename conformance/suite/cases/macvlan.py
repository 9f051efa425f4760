"""macvlan: its modes, hardware addresses, MTU and parents."""

from __future__ import annotations

from conformance.suite import kernel
from conformance.suite.case import equal, expect, extension, reference
from conformance.suite.world import World

DOC = "cni.dev macvlan"
MAC = "02:42:0a:01:00:99"


@reference(f"{DOC}: mode", each=("bridge", "private", "vepa", "passthru"))
def mode(world: World, mode: str) -> None:
    """A link has the mode {0} when it is asked for."""
    pod = world.pod("macvlan", mode=mode).added()
    equal("kind and mode", (pod.link.kind, pod.mode), ("macvlan", mode))


@reference(f"{DOC}: mac")
def mac_of_the_configuration(world: World) -> None:
    """The link has the mac of the configuration."""
    equal("mac", world.pod("macvlan", mac=MAC).added().link.mac, MAC)


@reference(f"{DOC}: CNI_ARGS MAC")
def mac_of_cni_args(world: World) -> None:
    """The link has the MAC of CNI_ARGS."""
    equal("mac", world.pod("macvlan").added(CNI_ARGS=f"IgnoreUnknown=1;MAC={MAC}").link.mac, MAC)


@reference(f"{DOC}: runtimeConfig.mac")
def mac_of_the_runtime(world: World) -> None:
    """The link has the mac of runtimeConfig, also against one of the configuration."""
    pod = world.pod("macvlan", mac="02:42:0a:01:00:01", runtimeConfig={"mac": MAC}).added()
    equal("mac", pod.link.mac, MAC)


@reference(f"{DOC}: mac")
def an_invalid_mac(world: World) -> None:
    """A mac that is none is an error, and no lease is left."""
    world.pod("macvlan", mac="02:42").add().error()
    equal("leases", world.leases(), {})


@reference(f"{DOC}: bcqueuelen")
def bcqueuelen(world: World) -> None:
    """The link asks for the broadcast queue that bcqueuelen says."""
    pod = world.pod("macvlan", bcqueuelen=200).added()
    equal("bcqueuelen", kernel.info_data(pod.container, "eth0").get("bcqueuelen"), 200)


@reference(f"{DOC}: mode private")
def private_containers_do_not_talk(world: World) -> None:
    """In mode private containers of a parent do not reach each other, but do reach a host beyond."""
    one, other = (world.pod("macvlan", mode="private").added() for _ in range(2))
    expect(world.beyond.ping(one.address), "the host beyond does not reach the container")
    one.does_not_reach(other.address)


@reference(f"{DOC}: mode vepa")
def vepa_containers_meet_at_the_switch(world: World) -> None:
    """In mode vepa containers of a parent reach each other only if the switch sends frames back, and a host beyond."""
    one, other = (world.pod("macvlan", mode="vepa").added() for _ in range(2))
    expect(world.beyond.ping(one.address), "the host beyond does not reach the container")
    one.does_not_reach(other.address)
    world.switch.ip(f"link set {world.switch.ports['node', 'eth0']} type bridge_slave hairpin on")
    one.reaches(other.address)


@reference("moby macvlan_test.go: OverlapParentPassthruFirst, OverlapParentPassthruSecond", each=("first", "second"))
def passthru_is_alone(world: World, which: str) -> None:
    """Where the {0} of two links on a parent is in passthru the second is an error, and its lease is not kept."""
    modes = ["passthru", "bridge"] if which == "first" else ["bridge", "passthru"]
    first, second = (world.pod("macvlan", mode=mode) for mode in modes)
    first.added()
    second.add().error()
    equal("leases", list(world.leases()), [first.address])


@reference("plugins issue 571: addresses are usable when ADD returns")
def ipv6_is_not_tentative(world: World) -> None:
    """An IPv6 address is not tentative when ADD returns."""
    pod = world.pod("macvlan", ipam=world.ipam("fd00:1::/64")).added()
    tentative = 0x40  # IFA_F_TENTATIVE, linux/if_addr.h
    flags = kernel.addresses(pod.container, "eth0")
    equal("tentative addresses", [address for address, flag in flags.items() if flag & tentative], [])


@reference("plugins: stale neighbour entries after an address is used again")
def neighbours_learn_of_a_new_owner(world: World) -> None:
    """A host that knew the address's former owner reaches the new one at once."""
    first = world.pod("macvlan").added()
    expect(world.beyond.ping(first.address), "the host beyond does not reach the first owner")
    address = first.address
    # Else the kernel keeps what it learnt for a second, whoever says otherwise (arp(7), locktime).
    world.beyond.sysctl("net/ipv4/neigh/eth0/locktime", "0")
    first.delete().nothing()
    second = world.pod("macvlan", runtimeConfig={"ips": [f"{address}/24"]}).added()
    equal("address", second.address, address)
    expect(world.beyond.ping(address, expect=False), "the first echo request was not answered")


@extension("peers: dadfailed addresses")
def a_duplicate_ipv6_address(world: World) -> None:
    """An IPv6 address that a host on the link has is an error, and nothing is left."""
    world.beyond.address("eth0", "fd00:1::2/64")
    pod = world.pod("macvlan", ipam=world.ipam("fd00:1::/64"))
    pod.add().error()
    expect(not pod.has_link and not world.leases(), "a link or lease was left")


@reference("plugins issue 15 of peers: one container, two networks")
def two_interfaces_of_a_container(world: World) -> None:
    """A container has two attachments with a lease each, and a DEL removes only its own."""
    one = world.pod("macvlan", "web").added()
    two = world.pod("macvlan", "web", ifname="net1")
    two.container = one.container
    two.added()
    equal("leases", len(world.leases()), 2)
    one.delete().nothing()
    expect(two.has_link, "DEL of eth0 removed net1")
    equal("leases", list(world.leases()), [two.address])


@extension("design: dad", each=("fast", "kernel", "off"))
def duplicate_address_detection(world: World, dad: str) -> None:
    """With dad {0} an IPv6 address is usable when ADD returns."""
    world.beyond.address("eth0", "fd00:1::100/64")
    pod = world.pod("macvlan", dad=dad, ipam=world.ipam("fd00:1::/64")).added()
    expect(pod.container.ping("fd00:1::100", expect=False), "the first echo request was not answered")


@extension("peers: the same MAC twice on one parent")
def a_mac_in_use(world: World) -> None:
    """A mac that another link of the parent has is refused, and nothing is left."""
    world.pod("macvlan", mac=MAC).added()
    pod = world.pod("macvlan", mac=MAC)
    pod.add().error()
    expect(not pod.has_link, "a link was left")
