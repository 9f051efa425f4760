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


@reference(f"{DOC}: mode, defaults to bridge")
def mode_by_default(world: World) -> None:
    """Without mode a link is of mode bridge."""
    equal("mode", world.pod("macvlan").added().mode, "bridge")


@reference(f"{DOC}: mode")
def an_unknown_mode(world: World) -> None:
    """An unknown mode is an error, and nothing is made."""
    pod = world.pod("macvlan", mode="bridged")
    pod.add().error()
    expect(not pod.has_link and not world.leases(), "a link or lease was left")


@reference(f"{DOC}: master")
def parent(world: World) -> None:
    """The link's parent is the master of the configuration."""
    equal("parent", world.pod("macvlan").added().link.parent, kernel.index(world.node, "eth0"))


@reference(f"{DOC}: master defaults to the default route's interface")
def parent_by_default(world: World) -> None:
    """Without master the parent is the link of the default route."""
    world.node.address("eth0", "10.1.0.250/24")
    world.node.ip("route add default via 10.1.0.1")
    link = world.pod("macvlan", master=None).added().link
    equal("parent", link.parent, kernel.index(world.node, "eth0"))


@reference(f"{DOC}: master defaults to the default route's interface")
def no_parent_by_default(world: World) -> None:
    """Without master and without a default route ADD is an error."""
    world.pod("macvlan", master=None).add().error()


@reference(f"{DOC}: master")
def an_absent_parent(world: World) -> None:
    """A master that does not exist is an error."""
    pod = world.pod("macvlan", master="nowhere")
    pod.add().error()
    equal("leases", world.leases(), {})


@reference(f"{DOC}: mtu")
def mtu(world: World) -> None:
    """The link has the MTU that the configuration asks for."""
    equal("MTU", world.pod("macvlan", mtu=1300).added().link.mtu, 1300)


@reference(f"{DOC}: mtu defaults to the kernel's")
def mtu_by_default(world: World) -> None:
    """Without mtu the link has its parent's, whatever that is."""
    world.node.ip("link set eth0 mtu 1400")
    equal("MTU", world.pod("macvlan").added().link.mtu, 1400)


@reference(f"{DOC}: mtu must not exceed the master's")
def a_greater_mtu(world: World) -> None:
    """An mtu above the parent's is an error, and nothing is left."""
    pod = world.pod("macvlan", mtu=9000)
    pod.add().error()
    expect(not pod.has_link and not world.leases(), "a link or lease was left")


@reference(f"{DOC}: mtu")
def a_negative_mtu(world: World) -> None:
    """A negative mtu is an error."""
    world.pod("macvlan", mtu=-1).add().error()


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


@reference(f"{DOC}: ipam is optional")
def a_bare_link(world: World) -> None:
    """A network without ipam gives a link that is up and has no address."""
    pod = world.pod("macvlan", ipam=None).added()
    expect(pod.link.up, "the link is down")
    equal("ips of the result and addresses of the link", (pod.result.get("ips", []), pod.addresses), ([], []))
    pod.delete().nothing()
    expect(not pod.has_link, "the link is still there after DEL")


@reference(f"{DOC}: containers of a network in mode bridge", each=("10.1.0.0/24", "fd00:1::/64"))
def containers_talk(world: World, subnet: str) -> None:
    """Two containers of one network in {0} reach each other, and a host beyond the parent, when ADD returns."""
    one, other = (world.pod("macvlan", ipam=world.ipam(subnet)) for _ in range(2))
    beyond = world.beyond
    one.added()
    other.added()
    one.reaches(other.address)
    one.reaches("fd00:1::1" if ":" in subnet else "10.1.0.1")
    expect(beyond.ping(other.address), "the host beyond the parent does not reach the container")


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


@reference(f"{DOC}: several networks on one master")
def two_networks_on_one_parent(world: World) -> None:
    """Two networks share a parent."""
    one = world.pod("macvlan").added()
    other = world.pod("macvlan", name="second", ipam=world.ipam("10.2.0.0/24")).added()
    equal("parents", other.link.parent, one.link.parent)


@reference("plugins macvlan_linux.go: a temporary name on the host")
def the_hosts_names_do_not_matter(world: World) -> None:
    """A container's interface may have a name that a link of the host has."""
    world.node.ip("link add net9 type dummy")
    pod = world.pod("macvlan", ifname="net9").added()
    expect(pod.has_link, "the container has no net9")
    pod.delete().nothing()
    expect("net9" in kernel.links(world.node), "the host's own net9 is gone")


@reference("plugins macvlan_linux.go: rename fails")
def an_interface_that_is_there(world: World) -> None:
    """ADD does not replace an interface that the container has: an error, and it stays as it was."""
    pod = world.pod("macvlan")
    pod.container.ip("link add eth0 type dummy")
    pod.add().error()
    equal("kind of eth0", pod.link.kind, "dummy")
    equal("leases", world.leases(), {})
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@reference("plugins: a failed ADD cleans up")
def a_failed_ipam_leaves_no_link(world: World) -> None:
    """When no address can be had, neither the container nor the host has a link left."""
    world.pod("macvlan", ipam=world.ipam("10.1.0.0/30")).added()
    pod = world.pod("macvlan", ipam=world.ipam("10.1.0.0/30"))
    pod.add().error()
    expect(not pod.has_link, "the container has a link")
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])


@reference("plugins: a failed ADD cleans up")
def a_failed_route_leaves_nothing(world: World) -> None:
    """When a route cannot be set, neither link nor lease is left."""
    routes = [{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]
    pod = world.pod("macvlan", ipam=world.ipam(routes=routes))
    pod.add().error()
    expect(not pod.has_link, "the container has a link")
    equal("leases", world.leases(), {})


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
