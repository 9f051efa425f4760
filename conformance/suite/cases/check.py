"""CHECK: that it sees each way in which an attachment is not as ADD left it."""

from __future__ import annotations

from collections.abc import Callable

from conformance.suite.case import equal, expect, extension, reference, spec
from conformance.suite.world import Pod, World

LINKS = ("macvlan", "ipvlan")
CHECK = "1.1.0, Section 2, CHECK"


def _ip(arguments: str) -> Callable[[Pod], None]:
    return lambda pod: pod.container.ip(arguments)


def _moved_lease(pod: Pod) -> None:
    """The lease is another container's."""
    pod.world.lease_file(pod.address, b"other\r\neth0")


def _no_lease(pod: Pod) -> None:
    (pod.world.data_dir / "conformance" / pod.address).unlink()


def _another_link(pod: Pod) -> None:
    pod.container.ip("link del eth0")
    pod.container.ip("link add eth0 type dummy")
    pod.container.address("eth0", "10.1.0.2/24")
    pod.container.ip("route add default via 10.1.0.1")


CHANGES: dict[str, Callable[[Pod], None]] = {
    "the link is gone": _ip("link del eth0"),
    "the link has another name": lambda pod: pod.container.ip_batch(["link set eth0 down", "link set eth0 name eth7"]),
    "an address is gone": _ip("addr del 10.1.0.2/24 dev eth0"),
    "an address has another prefix length": lambda pod: pod.container.ip_batch(
        ["addr del 10.1.0.2/24 dev eth0", "addr add 10.1.0.2/16 dev eth0", "route add default via 10.1.0.1"]
    ),
    "a route is gone": _ip("route del default"),
    "a route goes elsewhere": _ip("route replace default via 10.1.0.9"),
    "the link is of another kind": _another_link,
}


@spec(f"{CHECK}: must return an error if a resource is missing", each=[(p, c) for p in LINKS for c in CHANGES])
def a_change(world: World, plugin: str, change: str) -> None:
    """CHECK of {0} is an error when {1}."""
    pod = world.pod(plugin).added()
    CHANGES[change](pod)
    pod.check().error()


@spec(f"{CHECK}: IPAM is asked too", each=("macvlan", "ipvlan", "host-local"))
def the_lease_is_gone(world: World, plugin: str) -> None:
    """CHECK of {0} is an error when the lease is gone."""
    pod = world.pod(plugin).added()
    _no_lease(pod)
    pod.check().error()


@spec(f"{CHECK}: IPAM is asked too", each=("macvlan", "ipvlan", "host-local"))
def the_lease_is_anothers(world: World, plugin: str) -> None:
    """CHECK of {0} is an error when the lease is another container's."""
    pod = world.pod(plugin).added()
    _moved_lease(pod)
    pod.check().error()


@spec(f"{CHECK}: the interface's mac")
def the_mac_is_another(world: World) -> None:
    """CHECK of macvlan is an error when the link has another hardware address."""
    pod = world.pod("macvlan").added()
    pod.container.ip("link set eth0 address 02:00:00:00:00:99")
    pod.check().error()


@spec(f"{CHECK}: the interface's mode", each=[("macvlan", "private"), ("ipvlan", "l3")])
def the_mode_is_another(world: World, plugin: str, mode: str) -> None:
    """CHECK of {0} is an error when the configuration's mode, {1}, is not the link's."""
    world.pod(plugin).added().check({"mode": mode}).error()


@extension("design: CHECK verifies the mode, of which flag is a part")
def the_flag_is_another(world: World) -> None:
    """CHECK of ipvlan is an error when the configuration's flag is not the link's."""
    world.pod("ipvlan").added().check({"flag": "private"}).error()


OF_IPV6: dict[str, Callable[[Pod], None]] = {
    "an address is gone": _ip("addr del fd00:1::2/64 dev eth0"),
    "a route is gone": _ip("-6 route del default"),
    "a route goes elsewhere": lambda pod: pod.container.ip_batch(
        ["route del ::/0 via fd00:1::1", "route add ::/0 via fd00:1::9 dev eth0"]
    ),
}


@spec(f"{CHECK}: must return an error if a resource is missing", each=[(p, c) for p in LINKS for c in OF_IPV6])
def a_change_of_ipv6(world: World, plugin: str, change: str) -> None:
    """CHECK of {0} is an error when of IPv6 alone {1}."""
    pod = world.pod(plugin, ipam=world.dual_stack()).added()
    OF_IPV6[change](pod)
    pod.check().error()


@extension("design: CHECK verifies the lease", each=("macvlan", "ipvlan", "host-local"))
def the_lease_of_one_family_is_gone(world: World, plugin: str) -> None:
    """CHECK of {0} is an error when the lease of the IPv6 address is gone, though that of the IPv4 address is there."""
    pod = world.pod(plugin, ipam=world.dual_stack()).added()
    (world.data_dir / "conformance" / "fd00:1::2").unlink()
    pod.check().error()


@reference("plugins disk/backend.go: FindByID, a lease of before CNI 0.7")
def a_lease_without_interface(world: World) -> None:
    """CHECK finds a lease of the container's id alone."""
    pod = world.pod("host-local", "web").added()
    world.lease_file(pod.address, b"web")
    pod.check().nothing()


@spec(f"{CHECK}: what ADD made is there", each=LINKS)
def two_next_hops_of_ipv6(world: World, plugin: str) -> None:
    """CHECK of {0} finds two IPv6 routes to one destination as its ADD left them."""
    routes = [{"dst": "fd00:9::/64", "gw": gateway} for gateway in ("fd00:1::8", "fd00:1::9")]
    world.pod(plugin, ipam=world.ipam("fd00:1::/64", routes=routes)).added().check().nothing()


@spec(f"{CHECK}: the namespace is gone", each=LINKS)
def the_namespace_is_gone(world: World, plugin: str) -> None:
    """CHECK of {0} is an error when the namespace is gone."""
    pod = world.pod(plugin).added()
    netns = pod.netns
    pod.container.remove()
    pod.check(CNI_NETNS=netns).error()


@extension(
    "plugins ipam_linux_test.go: the interface index is too big, too small",
    each=[(p, i) for p in LINKS for i in (7, -1)],
)
def an_index_that_does_not_exist(world: World, plugin: str, index: int) -> None:
    """CHECK of {0} is an error when prevResult has the address on an interface {1}, of which it has none."""
    pod = world.pod(plugin).added()
    pod.result["ips"][0]["interface"] = index
    pod.check().error()


@spec(f"{CHECK}: the sandbox", each=LINKS)
def the_namespace_is_another(world: World, plugin: str) -> None:
    """CHECK of {0} is an error when the namespace is not the one in prevResult."""
    pod, other = world.pod(plugin).added(), world.pod(plugin)
    pod.check(CNI_NETNS=other.netns).error()


@spec(f"{CHECK}: prevResult is required", each=LINKS)
def without_a_previous_result(world: World, plugin: str) -> None:
    """CHECK of {0} without prevResult is an error."""
    world.pod(plugin).added().call("CHECK").error()


@spec(f"{CHECK}: must not change anything", each=LINKS)
def it_changes_nothing(world: World, plugin: str) -> None:
    """CHECK of {0} does not mend what it finds."""
    pod = world.pod(plugin).added()
    pod.container.ip("route del default")
    pod.check().error()
    pod.check().error()
    equal("leases", list(world.leases()), [pod.address])


@spec(f"{CHECK}: what others add to the interface is no error", each=LINKS)
def what_others_added(world: World, plugin: str) -> None:
    """CHECK of {0} allows addresses and routes that a later plugin added."""
    pod = world.pod(plugin).added()
    pod.container.ip("addr add 192.0.2.7/32 dev eth0")
    pod.container.ip("route add 198.51.100.0/24 via 10.1.0.1")
    pod.check().nothing()


NAMED: dict[str, tuple[Callable[[Pod], None], str]] = {
    "the address": (_ip("addr del 10.1.0.2/24 dev eth0"), "10.1.0.2"),
    "the route": (_ip("route del default"), "0.0.0.0/0"),
    "the link": (_ip("link del eth0"), "eth0"),
}


@extension("design: names the first difference", each=[(p, w) for p in LINKS for w in NAMED])
def the_difference_is_named(world: World, plugin: str, what: str) -> None:
    """The error of {0}'s CHECK names {1} that is gone."""
    change, name = NAMED[what]
    pod = world.pod(plugin).added()
    change(pod)
    error = pod.check().error()
    expect(name in error["msg"], f"{name} is not named: {error}")


@extension("design: CHECK verifies the parent", each=LINKS)
def the_parent_is_another(world: World, plugin: str) -> None:
    """CHECK of {0} is an error when the configuration's master is not the link's parent."""
    world.node.ip("link add eth9 type dummy")
    world.node.ip("link set eth9 up")
    world.pod(plugin).added().check({"master": "eth9"}).error()


@extension("design: CHECK verifies the parent", each=LINKS)
def the_vlan_is_another(world: World, plugin: str) -> None:
    """CHECK of {0} is an error when the configuration's vlan is not the one that the link is on."""
    pod = world.pod(plugin, vlan=50).added()
    pod.check().nothing()
    pod.check({"vlan": 60}).error()


@extension("design: CHECK verifies the link", each=LINKS)
def the_link_is_down(world: World, plugin: str) -> None:
    """CHECK of {0} is an error when the link is down."""
    pod = world.pod(plugin).added()
    pod.container.ip("link set eth0 down")
    pod.check().error()
