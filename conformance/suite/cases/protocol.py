"""VERSION, versions, errors, and what is on stdout."""

from __future__ import annotations

import json
from typing import Any

from conformance.suite import results
from conformance.suite.case import equal, expect, extension, reference, spec
from conformance.suite.results import VERSIONS, WITH_CHECK
from conformance.suite.world import World, validate

PLUGINS = ("macvlan", "ipvlan", "host-local")
LINKS = ("macvlan", "ipvlan")


@spec("1.1.0, Section 2, VERSION", each=PLUGINS)
def version(world: World, plugin: str) -> None:
    """{0} answers VERSION with the versions that it supports, and exit status 0."""
    answer = world.pod(plugin).call("VERSION")
    equal("exit status", answer.status, 0)
    validate(answer.document, results.VERSION)


@spec("1.1.0, Section 5, VERSION", each=[(p, v) for p in PLUGINS for v in VERSIONS])
def version_repeats_the_callers(world: World, plugin: str, version: str) -> None:
    """The cniVersion of {0}'s answer to VERSION is the one specified on input: {1}."""
    equal("cniVersion", world.pod(plugin, cniVersion=version).call("VERSION").document.get("cniVersion"), version)


@spec("1.1.0, Section 2, VERSION", each=PLUGINS)
def version_needs_no_more_than_a_version(world: World, plugin: str) -> None:
    """VERSION needs no container and no configuration but its cniVersion: {0}."""
    answer = world.pod(plugin).call("VERSION", stdin=b'{"cniVersion": "1.0.0"}', CNI_PATH=None)
    equal("exit status", answer.status, 0)


@reference("skel: every released version of the specification", each=[(p, v) for p in PLUGINS for v in VERSIONS[:6]])
def supports(world: World, plugin: str, version: str) -> None:
    """{0} supports version {1} of the specification."""
    expect(version in world.subject.versions(plugin), f"only {world.subject.versions(plugin)}")


@spec("1.1.0, Section 5, Error: 1", each=PLUGINS)
def unsupported_version(world: World, plugin: str) -> None:
    """{0} refuses a cniVersion that it does not support with code 1."""
    world.pod(plugin, cniVersion="9.9.9").add().error(1)


@spec("1.1.0, Section 5, Error: 6", each=PLUGINS)
def not_json(world: World, plugin: str) -> None:
    """{0} refuses a configuration that is not JSON with code 6."""
    world.pod(plugin).call("ADD", stdin=b"{nothing").error(6)


@spec("1.1.0, Section 5, Error: 6", each=PLUGINS)
def half_a_document(world: World, plugin: str) -> None:
    """{0} refuses a configuration that was cut off with code 6."""
    pod = world.pod(plugin)
    pod.call("ADD", stdin=json.dumps(pod.config).encode()[:-1]).error(6)


@spec("1.1.0, Section 5, Error", each=PLUGINS)
def an_empty_standard_input(world: World, plugin: str) -> None:
    """{0} answers an empty standard input with an error."""
    world.pod(plugin).call("ADD", stdin=b"").error()


@spec("1.1.0, Section 5, Error", each=PLUGINS)
def not_an_object(world: World, plugin: str) -> None:
    """{0} answers a configuration that is a list with an error."""
    world.pod(plugin).call("ADD", stdin=b"[]").error()


@spec("1.1.0, Section 5, Error", each=PLUGINS)
def wrong_types(world: World, plugin: str) -> None:
    """{0} answers a configuration whose members have wrong types with an error, not a crash."""
    wrong: tuple[dict[str, Any], ...] = ({"ipam": []}, {"ipam": {"type": 7}}, {"name": {}}, {"cniVersion": 1})
    for keys in wrong:
        world.pod(plugin, **keys).call("ADD").error()


@spec("1.1.0, Section 5, Error", each=[(p, v) for p in PLUGINS for v in VERSIONS])
def an_error_names_its_version(world: World, plugin: str, version: str) -> None:
    """An error of {0} has the configuration's cniVersion: {1}."""
    pod = world.pod(plugin, cniVersion=version, ipam={"type": "host-local", "ranges": []}).speaks()
    equal("cniVersion", pod.add().error().get("cniVersion"), version)


@spec("1.1.0, Section 5, Error", each=LINKS)
def an_error_and_nothing_else(world: World, plugin: str) -> None:
    """A failed ADD of {0} prints the error object on stdout and nothing else there."""
    answer = world.pod(plugin, master="nowhere").add()
    answer.error()
    expect(answer.stdout.strip().startswith(b"{"), f"stdout begins with {answer.stdout[:40]!r}")


@spec("1.1.0, Section 1, Plugin configuration objects: name", each=LINKS)
def a_network_without_name(world: World, plugin: str) -> None:
    """{0} refuses a configuration without a network's name."""
    world.pod(plugin, name=None).add().error()


@spec("1.1.0, Section 1: name must start with an alphanumeric character", each=PLUGINS)
def a_name_that_is_a_path(world: World, plugin: str) -> None:
    """{0} refuses the network name ../evil, and writes no file for it."""
    world.pod(plugin, name="../evil").add().error()
    expect(not (world.scratch / "evil").exists(), "a directory was made beside the data directory")


@spec("1.1.0, Section 1: plugins may define additional fields", each=PLUGINS)
def unknown_keys(world: World, plugin: str) -> None:
    """{0} is not hindered by keys that it does not know."""
    pod = world.pod(plugin, com_example={"anything": [1]}, args={"labels": {"a": "b"}})
    pod.config["runtimeConfig"] = {"portMappings": [], "aliases": {}}
    pod.added()


@reference("skel: absent means 0.1.0", each=PLUGINS)
def without_a_version(world: World, plugin: str) -> None:
    """{0} takes a configuration without cniVersion for one of 0.1.0."""
    pod = world.pod(plugin, cniVersion=None)
    pod.add().result()
    expect("ip4" in pod.result, f"the result is not of 0.1.0: {pod.result}")


@reference("skel: ErrIncompatibleCNIVersion", each=[(p, v) for p in PLUGINS for v in VERSIONS if v not in WITH_CHECK])
def check_before_it_was_there(world: World, plugin: str, version: str) -> None:
    """{0} refuses CHECK for a configuration of {1}, which has none."""
    pod = world.pod(plugin, cniVersion=version).added()
    pod.check().error(1)


@spec(
    "1.1.0, Section 2, GC and STATUS",
    each=[(p, c, v) for p in PLUGINS for c in ("GC", "STATUS") for v in VERSIONS if v != "1.1.0"],
)
def commands_of_later_versions(world: World, plugin: str, command: str, version: str) -> None:
    """{0} answers {1} with an error if the configuration is of {2}, which has none."""
    world.pod(plugin, cniVersion=version).call(command, {"cni.dev/valid-attachments": []}).error()


@spec("1.1.0, Section 2: a plugin that fails must exit with non-zero", each=LINKS)
def stdout_is_the_result(world: World, plugin: str) -> None:
    """What {0} prints on ADD is one JSON document, and DEL prints nothing."""
    pod = world.pod(plugin).added()
    pod.delete().nothing()


@extension("design: bad input gets one error", each=PLUGINS)
def deep_nesting(world: World, plugin: str) -> None:
    """{0} refuses nesting of more than 100 levels with an error."""
    world.pod(plugin).call("ADD", stdin=b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}").error()


@extension("design: bad input gets one error", each=PLUGINS)
def more_than_a_mebibyte(world: World, plugin: str) -> None:
    """{0} refuses a configuration of more than 1 MiB with an error."""
    world.pod(plugin, padding="x" * (1 << 20)).add().error()


@extension("design: what to do", each=LINKS)
def an_error_says_what_to_do(world: World, plugin: str) -> None:
    """An error of {0} about a parent that does not exist names it."""
    error = world.pod(plugin, master="nowhere0").add().error()
    expect("nowhere0" in error["msg"] + error.get("details", ""), f"nowhere0 is not named: {error}")
