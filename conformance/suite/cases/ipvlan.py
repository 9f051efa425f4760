"""ipvlan: its modes and flags, MTU, parents and chains."""

from __future__ import annotations

from typing import Any

from conformance.suite import kernel
from conformance.suite.case import equal, expect, extension, reference, spec
from conformance.suite.world import Pod, World

DOC = "cni.dev ipvlan"


@reference(f"{DOC}: mode", each=("l2", "l3", "l3s"))
def mode(world: World, mode: str) -> None:
    """A link has the mode {0} when it is asked for."""
    pod = world.pod("ipvlan", mode=mode, ipam=world.ipam("10.7.0.0/24", routes=None)).added()
    equal("kind and mode", (pod.link.kind, pod.mode), ("ipvlan", mode))


@reference(f"{DOC}: the master's hardware address")
def hardware_address(world: World) -> None:
    """A link has its parent's hardware address."""
    equal("mac", world.pod("ipvlan").added().link.mac, kernel.links(world.node)["eth0"].mac)


def _chained(world: World, **previous: Any) -> Pod:
    """A pod for which an earlier plugin of the chain told lower0 and an address."""
    world.node.ip("link add lower0 up type dummy")
    told: dict[str, Any] = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "lower0"}],
        "ips": [{"address": "10.1.0.77/24", "gateway": "10.1.0.1", "interface": 0}],
        "routes": [],
    }
    return world.pod("ipvlan", master=None, ipam=None, prevResult=told | previous)


@reference(f"{DOC}: chained, the interface of prevResult is the master")
def chained(world: World) -> None:
    """In a chain without master the parent is the host's interface of prevResult, and its addresses are taken."""
    pod = _chained(world).added()
    equal("parent", pod.link.parent, kernel.index(world.node, "lower0"))
    equal("addresses", list(kernel.addresses(pod.container, "eth0")), ["10.1.0.77/24"])


@spec("1.1.0, Section 2, CHECK")
def chained_and_checked(world: World) -> None:
    """In a chain CHECK finds that an attachment is as its ADD left it."""
    _chained(world).added().check().nothing()


@reference("plugins ipvlan_test.go: ADD/DEL when chained")
def chained_to_the_end(world: World) -> None:
    """In a chain DEL removes the link, and leaves the earlier plugin's interface."""
    pod = _chained(world).added()
    pod.delete().nothing()
    expect(not pod.has_link, "the link is still there")
    equal("links on the host", sorted(kernel.links(world.node)), ["eth0", "lower0"])


@reference("plugins ipam_linux_test.go: the interface is not specified")
def chained_without_an_index(world: World) -> None:
    """An address of prevResult that names no interface is no crash."""
    answer = _chained(world, ips=[{"address": "10.1.0.77/24"}]).add()
    answer.result() if answer.status == 0 else answer.error()


@reference("plugins ipvlan.go: PrevResult lacks a single named interface", each=(0, 2))
def chained_on_another_number_of_interfaces(world: World, number: int) -> None:
    """A prevResult of {0} interfaces without master is an error, for nobody can tell which is meant."""
    pod = _chained(world, interfaces=[{"name": name} for name in ("lower0", "eth0")[:number]], ips=[])
    pod.add().error()
    expect(not pod.has_link, "a link was left")


@extension("design: flag", each=("bridge", "private", "vepa"))
def flag(world: World, flag: str) -> None:
    """A link has the flag {0} when it is asked for."""
    pod = world.pod("ipvlan", flag=flag).added()
    expect(kernel.info_data(pod.container, "eth0").get(flag), f"the kernel does not say {flag}")


@extension("design: flag, and moby TestSetIPVlanFlag")
def an_unknown_flag(world: World) -> None:
    """An unknown flag is an error, and nothing is made."""
    pod = world.pod("ipvlan", flag="isolated")
    pod.add().error()
    expect(not pod.has_link and not world.leases(), "a link or lease was left")


@extension("design: one ipvlan mode and flag holds for all of a parent's children")
def one_mode_for_a_parent(world: World) -> None:
    """A second mode on a parent is refused, and the containers that are there keep theirs."""
    first = world.pod("ipvlan").added()
    world.pod("ipvlan", name="second", mode="l3", ipam=world.ipam("10.7.0.0/24")).add().error()
    equal("the first container's mode", first.mode, "l2")
