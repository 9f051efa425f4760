"""The result of ADD in every version, held against its schema and the kernel."""

from __future__ import annotations

from typing import Any

from conformance.suite import kernel
from conformance.suite.case import equal, expect, extension, spec
from conformance.suite.results import VERSIONS, WITH_CHECK
from conformance.suite.world import World

PLUGINS = ("macvlan", "ipvlan", "host-local")
LINKS = ("macvlan", "ipvlan")


@spec("Section 5, Result types, of each version", each=[(p, v) for p in PLUGINS for v in VERSIONS])
def form(world: World, plugin: str, version: str) -> None:
    """{0}'s result for {1} is valid by that version's schema, and DEL in that version gives back the address."""
    pod = world.pod(plugin, cniVersion=version).speaks()
    pod.add().result()
    expect(pod.addresses, f"no address in {pod.result}")
    pod.delete().nothing()
    equal("leases after DEL", world.leases(), {})


@spec("1.1.0, Section 2, CHECK", each=[(p, v) for p in PLUGINS for v in WITH_CHECK])
def check(world: World, plugin: str, version: str) -> None:
    """{0} finds with CHECK in {1} that an attachment is as its ADD left it."""
    world.pod(plugin, cniVersion=version).speaks().added().check().nothing()


@spec("1.1.0, Section 5, ADD Success: interfaces", each=LINKS)
def the_interface(world: World, plugin: str) -> None:
    """{0}'s result has the container's interface by the name asked for, with the namespace as sandbox."""
    pod = world.pod(plugin, ifname="net1").added()
    equal("name", pod.interface["name"], "net1")
    expect(pod.has_link, "the container has no net1")


@spec("1.1.0, Section 5, ADD Success: mac", each=LINKS)
def the_mac(world: World, plugin: str) -> None:
    """The mac of {0}'s result is the kernel's."""
    pod = world.pod(plugin).added()
    equal("mac", pod.interface["mac"], pod.link.mac)


@spec("1.1.0, Section 5, ADD Success: ips.interface", each=LINKS)
def the_index(world: World, plugin: str) -> None:
    """The interface of each of {0}'s ips is the index of the container's in interfaces."""
    pod = world.pod(plugin).added()
    for ip in pod.result["ips"]:
        equal("interface", pod.result["interfaces"][ip["interface"]]["sandbox"], pod.netns)


@spec("1.1.0, Section 5, ADD Success: ips", each=LINKS)
def the_addresses(world: World, plugin: str) -> None:
    """The addresses of {0}'s result are those on the interface, of both families."""
    pod = world.pod(plugin, ipam=world.dual_stack()).added()
    equal("addresses", sorted(kernel.addresses(pod.container, "eth0")), sorted(pod.addresses))


@spec("1.1.0, Section 5, ADD Success: routes", each=LINKS)
def the_routes(world: World, plugin: str) -> None:
    """The routes of {0}'s result are those in the namespace, by their gateways."""
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.9"}]
    pod = world.pod(plugin, ipam=world.ipam(routes=routes)).added()
    found = [(route.dst, route.via) for route in kernel.routes(pod.container)]
    equal("routes", sorted(found), [("0.0.0.0/0", "10.1.0.1"), ("10.9.0.0/16", "10.1.0.9")])
    equal("dst in the result", sorted(r["dst"] for r in pod.result["routes"]), ["0.0.0.0/0", "10.9.0.0/16"])


@spec("1.1.0, Section 5, ADD Success: dns", each=LINKS)
def the_dns(world: World, plugin: str) -> None:
    """The dns of {0}'s configuration is in the result."""
    dns = {"nameservers": ["10.1.0.1"], "domain": "example.org", "search": ["example.org"], "options": ["ndots:2"]}
    equal("dns", world.pod(plugin, dns=dns).added().result.get("dns"), dns)


@spec("1.1.0, Section 5, Delegated plugins (IPAM)")
def an_ipam_plugin_has_no_interfaces(world: World) -> None:
    """host-local's result has neither interfaces nor an interface in its ips."""
    world.pod("host-local", ipam=world.dual_stack()).added()


@spec("1.1.0, Section 2, ADD: prevResult", each=LINKS)
def a_previous_result_is_passed_on(world: World, plugin: str) -> None:
    """What an earlier plugin of the chain told is in the result of {0}."""
    earlier: dict[str, Any] = {"cniVersion": "1.0.0", "interfaces": [{"name": "dummy7", "mac": "02:00:00:00:00:07"}]}
    pod = world.pod(plugin, prevResult=earlier)
    if plugin == "ipvlan":  # whose addresses in a chain are those of prevResult
        world.node.ip("link add dummy7 type dummy")
        world.node.ip("link set dummy7 up")
        earlier["ips"] = [{"address": "10.1.0.7/24", "interface": 0}]
    pod.added()
    names = [interface["name"] for interface in pod.result["interfaces"]]
    expect("dummy7" in names, f"only {names}")


@extension("design: 1.1.0 tells the MTU", each=LINKS)
def the_mtu(world: World, plugin: str) -> None:
    """{0}'s result of 1.1.0 tells the interface's MTU."""
    pod = world.pod(plugin, cniVersion="1.1.0", mtu=1400).speaks().added()
    equal("mtu", pod.interface.get("mtu"), 1400)
