"""GC and STATUS, which are there since 1.1.0."""

from __future__ import annotations

from typing import Any

from conformance.suite import kernel
from conformance.suite.case import equal, expect, extension, spec
from conformance.suite.world import Pod, World

PLUGINS = ("macvlan", "ipvlan", "host-local")
LINKS = ("macvlan", "ipvlan")
GC = "1.1.0, Section 2, GC"
STATUS = "1.1.0, Section 2, STATUS"


def _pod(world: World, plugin: str, **keys: Any) -> Pod:
    return world.pod(plugin, cniVersion="1.1.0", **keys).speaks()


def _valid(*pods: Pod) -> dict[str, Any]:
    return {"cni.dev/valid-attachments": [{"containerID": pod.name, "ifname": pod.ifname} for pod in pods]}


@spec(f"{GC}: remove stale resources", each=PLUGINS)
def what_nobody_owns(world: World, plugin: str) -> None:
    """GC of {0} frees the leases of attachments that are not valid, and keeps those of the valid."""
    kept, stale = _pod(world, plugin).added(), _pod(world, plugin).added()
    kept.call("GC", _valid(kept)).nothing()
    equal("leases", list(world.leases()), [kept.address])
    expect(stale.address not in world.leases(), "the stale lease is there")


@spec(f"{GC}: an empty list means that no attachment is valid", each=PLUGINS)
def an_empty_list(world: World, plugin: str) -> None:
    """GC of {0} with an empty list frees every lease."""
    pod = _pod(world, plugin).added()
    pod.call("GC", _valid()).nothing()
    equal("leases", world.leases(), {})


@spec(f"{GC}: an attachment is container and interface", each=PLUGINS)
def another_interface_of_a_valid_container(world: World, plugin: str) -> None:
    """GC of {0} frees the lease of an interface that is not in the list although another one of its container is."""
    pod = _pod(world, plugin).added()
    pod.call("GC", {"cni.dev/valid-attachments": [{"containerID": pod.name, "ifname": "net9"}]}).nothing()
    equal("leases", world.leases(), {})


@spec(f"{GC}: should generally complete without error", each=PLUGINS)
def twice(world: World, plugin: str) -> None:
    """A second GC of {0} succeeds like the first, and the attachment that is valid stays as it was."""
    kept, _ = _pod(world, plugin).added(), _pod(world, plugin).added()
    for _ in range(2):
        kept.call("GC", _valid(kept)).nothing()
    equal("leases", list(world.leases()), [kept.address])
    kept.check().nothing()


@spec(f"{GC}: should generally complete without error", each=PLUGINS)
def of_a_network_that_was_never_used(world: World, plugin: str) -> None:
    """GC of {0} succeeds where there is nothing to remove."""
    _pod(world, plugin).call("GC", _valid()).nothing()


@extension("peers: cni PR 1103, the older key", each=PLUGINS)
def by_the_older_key(world: World, plugin: str) -> None:
    """GC of {0} takes the list also from cni.dev/attachments, as older runtimes send it."""
    kept, _ = _pod(world, plugin).added(), _pod(world, plugin).added()
    kept.call("GC", {"cni.dev/attachments": _valid(kept)["cni.dev/valid-attachments"]}).nothing()
    equal("leases", list(world.leases()), [kept.address])


@extension("design: GC never frees without a list", each=[(p, n) for p in PLUGINS for n in ("absent", "null")])
def no_list(world: World, plugin: str, how: str) -> None:
    """GC of {0} with a list that is {1} is an error and frees nothing."""
    pod = _pod(world, plugin).added()
    pod.call("GC", {} if how == "absent" else {"cni.dev/valid-attachments": None}).error()
    equal("leases", list(world.leases()), [pod.address])


@extension("peers: leases of before CNI 0.7")
def leases_without_interface(world: World) -> None:
    """GC keeps a lease of the older form whose container is valid, and frees the others."""
    pod = _pod(world, "host-local").added()
    world.lease_file("10.1.0.50", pod.name.encode())
    world.lease_file("10.1.0.51", b"gone")
    pod.call("GC", _valid(pod)).nothing()
    equal("leases", list(world.leases()), [pod.address, "10.1.0.50"])


@extension("peers: files that are no leases")
def files_that_are_no_leases(world: World) -> None:
    """GC takes neither the lock nor last_reserved_ip.N for a lease."""
    pod = _pod(world, "host-local").added()
    world.pod("host-local", cniVersion="1.1.0").call("GC", _valid()).nothing()
    pod = _pod(world, "host-local").added()
    equal("address", pod.address, "10.1.0.3")


@extension("peers: a network's GC is its own", each=PLUGINS)
def other_networks(world: World, plugin: str) -> None:
    """GC of {0} leaves the leases of other networks."""
    other = _pod(world, plugin, name="second").added()
    _pod(world, plugin).call("GC", _valid()).nothing()
    equal("leases of the other", list(world.leases("second")), [other.address])


@spec(f"{STATUS}: exit status 0 when ADD may be called", each=PLUGINS)
def ready(world: World, plugin: str) -> None:
    """{0} answers STATUS with success and no output when it is ready."""
    _pod(world, plugin).call("STATUS").nothing()


@spec(f"{STATUS}: 50 when ADD would fail", each=LINKS)
def without_a_parent(world: World, plugin: str) -> None:
    """{0} answers STATUS with code 50 or 51 when the parent does not exist."""
    error = _pod(world, plugin, master="nowhere").call("STATUS").error()
    expect(error["code"] in (50, 51), f"code {error['code']}")


@spec(f"{STATUS}: an error if resources are exhausted", each=PLUGINS)
def without_an_address(world: World, plugin: str) -> None:
    """{0} answers STATUS with code 50 or 51 when every address is given."""
    pod = _pod(world, plugin, ipam=world.ipam("10.1.0.0/30")).added()
    error = pod.call("STATUS").error()
    expect(error["code"] in (50, 51), f"code {error['code']}")


@extension("design: STATUS, the data directory is unwritable", each=PLUGINS)
def without_a_data_directory(world: World, plugin: str) -> None:
    """{0} answers STATUS with code 50 or 51 when no lease can be written."""
    (world.scratch / "file").touch()
    pod = _pod(world, plugin, ipam=world.ipam(dataDir=str(world.scratch / "file" / "networks")))
    error = pod.call("STATUS").error()
    expect(error["code"] in (50, 51), f"code {error['code']}")


@spec(f"{STATUS}: nothing is changed", each=PLUGINS)
def it_changes_nothing(world: World, plugin: str) -> None:
    """STATUS of {0} gives no lease and makes no link."""
    pod = _pod(world, plugin)
    pod.call("STATUS").nothing()
    equal("leases", world.leases(), {})
    if plugin != "host-local":
        equal("links on the host", list(kernel.links(world.node)), ["eth0"])
