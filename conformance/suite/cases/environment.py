"""CNI_* variables: which a command needs, and which values are refused."""

from __future__ import annotations

from conformance.suite.case import expect, reference, spec
from conformance.suite.world import World

PLUGINS = ("macvlan", "ipvlan", "host-local")
LINKS = ("macvlan", "ipvlan")


@spec("1.1.0, Section 5, Error: 4", each=PLUGINS)
def without_a_command(world: World, plugin: str) -> None:
    """{0} without CNI_COMMAND is an error of code 4."""
    world.pod(plugin).call("ADD", CNI_COMMAND=None).error(4)


@spec("1.1.0, Section 5, Error: 4", each=PLUGINS)
def an_unknown_command(world: World, plugin: str) -> None:
    """{0} refuses a CNI_COMMAND that it does not know with code 4."""
    world.pod(plugin).call("FROBNICATE").error(4)


NEEDED = [("ADD", v) for v in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")]
NEEDED += [("DEL", v) for v in ("CNI_CONTAINERID", "CNI_IFNAME")]
NEEDED += [("CHECK", v) for v in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")]


@spec("1.1.0, Section 2, CNI operations: required parameters", each=[(p, *n) for p in PLUGINS for n in NEEDED])
def a_required_variable(world: World, plugin: str, command: str, variable: str) -> None:
    """{0} refuses {1} without {2} with code 4."""
    world.pod(plugin).call(command, **{variable: None}).error(4)


@spec("1.1.0, Section 2, DEL: optional parameters", each=PLUGINS)
def del_without_a_namespace(world: World, plugin: str) -> None:
    """{0} does a DEL without CNI_NETNS, which is optional."""
    pod = world.pod(plugin).added()
    pod.delete(CNI_NETNS=None).nothing()
    expect(not world.leases(), f"leases are left: {world.leases()}")


@spec("1.1.0, Section 2, DEL: optional parameters", each=LINKS)
def del_without_a_path(world: World, plugin: str) -> None:
    """{0} does a DEL without CNI_PATH, which is optional, where no other plugin is needed."""
    world.pod(plugin, ipam=None).delete(CNI_PATH=None).nothing()


IDS = ("", "../evil", "a/b", "-a", ".a", "a b", "a\nb", "ü")


@spec("1.1.0, Section 2, Parameters: CNI_CONTAINERID", each=[(p, repr(i)) for p in PLUGINS for i in IDS])
def an_invalid_container_id(world: World, plugin: str, container_id: str) -> None:
    """{0} refuses the container id {1} with code 4."""
    world.pod(plugin).call("ADD", CNI_CONTAINERID=container_id[1:-1].replace("\\n", "\n")).error(4)
    expect(not world.leases(), f"a lease was given: {world.leases()}")


NAMES = ("", ".", "..", "a/b", "a:b", "a b", "a23456789012345678")


@reference("skel: utils.ValidateInterfaceName", each=[(p, repr(n)) for p in LINKS for n in NAMES])
def an_invalid_interface_name(world: World, plugin: str, ifname: str) -> None:
    """{0} refuses the interface name {1}, which the kernel would not take, with code 4."""
    world.pod(plugin).call("ADD", CNI_IFNAME=ifname[1:-1]).error(4)


@spec("1.1.0, Section 2, Parameters: CNI_NETNS", each=LINKS)
def a_namespace_that_is_not_there(world: World, plugin: str) -> None:
    """{0} answers an ADD to a namespace that does not exist with an error, and gives no address."""
    world.pod(plugin).call("ADD", CNI_NETNS="/run/netns/nothing").error()
    expect(not world.leases(), f"a lease is left: {world.leases()}")


@spec("1.1.0, Section 2, Parameters: CNI_NETNS", each=LINKS)
def a_namespace_that_is_a_file(world: World, plugin: str) -> None:
    """{0} answers an ADD whose CNI_NETNS is a plain file with an error."""
    path = world.scratch / "file"
    path.touch()
    world.pod(plugin).call("ADD", CNI_NETNS=str(path)).error()


@spec("1.1.0, Section 2, Parameters: CNI_NETNS is the container's isolation domain", each=LINKS)
def the_hosts_own_namespace(world: World, plugin: str) -> None:
    """{0} does not attach the host to its own parent: the plugin's own namespace as CNI_NETNS is an error."""
    world.pod(plugin).call("ADD", CNI_NETNS=world.node.netns).error()


@reference("types.LoadArgs", each=LINKS)
def malformed_cni_args(world: World, plugin: str) -> None:
    """{0} refuses CNI_ARGS that are no KEY=VALUE pairs."""
    world.pod(plugin).add(CNI_ARGS="novalue").error()


@reference("types.LoadArgs: IgnoreUnknown", each=PLUGINS)
def unknown_cni_args_ignored(world: World, plugin: str) -> None:
    """{0} takes CNI_ARGS of keys it does not know with IgnoreUnknown=1, as kubelets send them."""
    world.pod(plugin).added(CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0")


@reference("types.LoadArgs: unknown args", each=PLUGINS)
def unknown_cni_args(world: World, plugin: str) -> None:
    """{0} refuses CNI_ARGS of keys it does not know without IgnoreUnknown."""
    world.pod(plugin).add(CNI_ARGS="FLAVOUR=vanilla").error()
