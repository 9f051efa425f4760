"""An IPAM plugin of somebody else's: what it is told, and what becomes of its answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conformance.suite import kernel
from conformance.suite.case import equal, expect, extension, reference, spec
from conformance.suite.world import Pod, World

LINKS = ("macvlan", "ipvlan")
COMMANDS = ("ADD", "CHECK", "DEL", "GC", "STATUS")
EVERY = [(plugin, command) for plugin in LINKS for command in COMMANDS]
SPEC = "1.1.0, Section 4, Plugin Delegation"

# Writes down its calls, and answers as the files beside it say.
SCRIPT = """#!/bin/sh
echo $CNI_COMMAND >>$0.calls
cat >$0.$CNI_COMMAND.stdin
env >$0.$CNI_COMMAND.environment
echo elsewhere was called >&2
[ ! -e $0.$CNI_COMMAND.kills ] || kill -9 $PPID
[ ! -e $0.$CNI_COMMAND.stdout ] || cat $0.$CNI_COMMAND.stdout
[ ! -e $0.$CNI_COMMAND.fails ]
"""
DEFAULT = [{"dst": "0.0.0.0/0"}]


class Elsewhere:
    """The IPAM plugin `elsewhere`, in a directory that is CNI_PATH's second. It gives 10.1.0.77."""

    def __init__(self, world: World) -> None:
        self.directory = world.scratch / "elsewhere-bin"
        self.directory.mkdir()
        self._file("").write_text(SCRIPT)
        self._file("").chmod(0o755)
        self.answers("ADD", ips=[{"address": "10.1.0.77/24", "gateway": "10.1.0.1"}], routes=DEFAULT)

    def pod(self, world: World, plugin: str, **keys: Any) -> Pod:
        """With this as its IPAM."""
        pod = world.pod(plugin, **{"ipam": {"type": "elsewhere", "its": ["own", {"key": 1}]}} | keys)
        pod.path += f":{self.directory}"
        return pod

    def _file(self, suffix: str) -> Path:
        return self.directory / f"elsewhere{suffix}"

    def answers(self, command: str, **document: Any) -> None:
        self._file(f".{command}.stdout").write_text(json.dumps({"cniVersion": "1.0.0", **document}))

    def fails(self, command: str) -> None:
        self.answers(command, code=142, msg="elsewhere has none")
        self._file(f".{command}.fails").touch()

    def kills_its_caller(self, on: str) -> None:
        self._file(f".{on}.kills").touch()

    def recovers(self, on: str) -> None:
        self._file(f".{on}.kills").unlink()

    @property
    def calls(self) -> list[str]:
        """The commands, in order."""
        return self._file(".calls").read_text().split() if self._file(".calls").exists() else []

    def stdin(self, command: str) -> Any:
        return json.loads(self._file(f".{command}.stdin").read_bytes())

    def environment(self, command: str) -> dict[str, str]:
        lines = self._file(f".{command}.environment").read_text().splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines) if name.startswith("CNI_")}


@spec(SPEC, each=LINKS)
def its_answer(world: World, plugin: str) -> None:
    """What an IPAM plugin of CNI_PATH answers to {0}'s ADD is the container's address and route, and the result's."""
    pod = Elsewhere(world).pod(world, plugin).added()
    equal("addresses of the result", pod.addresses, ["10.1.0.77/24"])
    equal("addresses of the link", list(kernel.addresses(pod.container, "eth0")), ["10.1.0.77/24"])
    equal("next hops", [route.via for route in kernel.routes(pod.container)], ["10.1.0.1"])


def _called(world: World, plugin: str, command: str, fails: bool = False) -> tuple[Elsewhere, Pod, Any]:
    """The IPAM plugin, a pod after its ADD (where the command is another), and the answer of the command's call."""
    elsewhere = Elsewhere(world)
    pod = elsewhere.pod(world, plugin, cniVersion="1.1.0" if command in ("GC", "STATUS") else "1.0.0").speaks()
    if command != "ADD":
        pod.added()
    if fails:
        elsewhere.fails(command)
    if command in ("CHECK", "DEL"):
        pod.config["prevResult"] = pod.result
    elif command == "GC":
        pod.config["cni.dev/valid-attachments"] = []
    return elsewhere, pod, pod.call(command, CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAME=web-0")


@spec(f"{SPEC}: the same environment and configuration", each=EVERY)
def what_it_is_told(world: World, plugin: str, command: str) -> None:
    """The IPAM plugin is called for {0}'s {1}, with the configuration and the environment that {0} has."""
    elsewhere, pod, answer = _called(world, plugin, command)
    equal("exit status", (answer.status, elsewhere.calls[-1:]), (0, [command]))
    equal("configuration", elsewhere.stdin(command), pod.config)
    wanted = pod.environment(command, {"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=web-0"})
    equal("environment", elsewhere.environment(command), wanted)


@spec(f"{SPEC}: any errors returned", each=EVERY)
def its_error(world: World, plugin: str, command: str) -> None:
    """The IPAM plugin's error to {1} is told by {0}."""
    error = _called(world, plugin, command, fails=True)[2].error(None if command == "STATUS" else 142)
    expect("elsewhere has none" in error["msg"], f"another text: {error}")


@spec(f"{SPEC}: its stderr is the caller's", each=EVERY)
def its_stderr(world: World, plugin: str, command: str) -> None:
    """What the IPAM plugin prints to stderr on {1} is on {0}'s."""
    answer = _called(world, plugin, command)[2]
    expect(b"elsewhere was called" in answer.stderr, f"stderr is {answer.stderr!r}")


@spec(f"{SPEC}: on failure of ADD, it must execute DEL", each=LINKS)
def a_failed_add_ends_it(world: World, plugin: str) -> None:
    """When {0}'s ADD fails after the IPAM plugin's, that one's DEL is called."""
    elsewhere = Elsewhere(world)
    elsewhere.answers("ADD", ips=[{"address": "10.1.0.77/24"}], routes=[{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}])
    elsewhere.pod(world, plugin).add().error()
    equal("calls", elsewhere.calls, ["ADD", "DEL"])


@reference("plugins macvlan_linux.go, ipvlan_linux.go: missing IP config", each=LINKS)
def an_answer_without_addresses(world: World, plugin: str) -> None:
    """An IPAM plugin that gives {0} no address makes the ADD an error."""
    elsewhere = Elsewhere(world)
    elsewhere.answers("ADD", ips=[])
    elsewhere.pod(world, plugin).add().error()


@spec(f"{SPEC}: looked up in CNI_PATH", each=LINKS)
def one_that_is_not_there(world: World, plugin: str) -> None:
    """An IPAM plugin that {0} does not find in CNI_PATH is an error."""
    world.pod(plugin, ipam={"type": "nowhere"}).add().error()


@reference("libcni FindInPath: a plugin's name is no path", each=LINKS)
def a_type_that_is_a_path(world: World, plugin: str) -> None:
    """{0} does not execute an ipam.type that leads out of CNI_PATH."""
    elsewhere = Elsewhere(world)
    elsewhere.pod(world, plugin, ipam={"type": f"../{elsewhere.directory.name}/elsewhere"}).add().error()
    equal("calls", elsewhere.calls, [])


@extension("design: crash at any instruction", each=LINKS)
def a_crash_meanwhile(world: World, plugin: str) -> None:
    """When {0} dies while it waits for its IPAM plugin, ADD works again, and DEL leaves nothing."""
    elsewhere = Elsewhere(world)
    elsewhere.kills_its_caller("ADD")
    pod = elsewhere.pod(world, plugin)
    equal("exit status", pod.call("ADD").status, -9)
    elsewhere.recovers("ADD")
    pod.added()
    pod.delete().nothing()
    expect(not pod.has_link, "the container has a link")
    equal("links on the host", list(kernel.links(world.node)), ["eth0"])
