"""What a case works with: a directory of plugins, a node on a network, and pods to attach."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import jsonschema

from conformance.lab.topology import Container, Host, Switch, Topology
from conformance.suite import kernel, results
from conformance.suite.case import Failed, NotApplicable, equal, expect

VLANS = (50, 60)  # tagged, on the node's and the other host's port
SECONDS = 60.0  # for one call: more is a call that hangs


class Subject:
    """A directory of CNI plugins under test."""

    def __init__(self, directory: str) -> None:
        self.directory = os.path.abspath(directory)
        self._versions: dict[str, list[str]] = {}

    def executable(self, plugin: str) -> str:
        return os.path.join(self.directory, plugin)

    def versions(self, plugin: str) -> list[str]:
        """Those that the plugin says it supports."""
        if plugin not in self._versions:
            done = subprocess.run(
                [self.executable(plugin)],
                input=b'{"cniVersion": "1.0.0"}',
                env={"CNI_COMMAND": "VERSION"},
                capture_output=True,
                timeout=SECONDS,
            )
            self._versions[plugin] = Answer(done, "1.0.0", ipam=False).document.get("supportedVersions", [])
        return self._versions[plugin]


class Answer:
    """What a call gave."""

    def __init__(self, done: subprocess.CompletedProcess[bytes], version: str, *, ipam: bool) -> None:
        self.status = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr
        self._version = version
        self._ipam = ipam

    def __str__(self) -> str:
        said = (self.stdout + self.stderr).decode(errors="replace").strip()
        return f"exit status {self.status}{': ' if said else ''}{said[:500]}"

    @cached_property
    def document(self) -> dict[str, Any]:
        """The one JSON object on stdout. Failed."""
        try:
            document = json.loads(self.stdout)
        except (ValueError, RecursionError):
            raise Failed(f"stdout is not one JSON document: {self}") from None
        expect(isinstance(document, dict), f"stdout is not a JSON object: {self}")
        return dict(document)

    def result(self) -> dict[str, Any]:
        """An ADD's: success, in the form of the configuration's version. Failed."""
        expect(self.status == 0, f"ADD failed with {self}")
        validate(self.document, results.add_result(self._version, ipam=self._ipam))
        return self.document

    def error(self, code: int | None = None) -> dict[str, Any]:
        """A failure with an error object, and that code if one is given. Failed."""
        expect(self.status != 0, f"success instead of an error: {self}")
        expect(self.status > 0, f"ended by signal {-self.status}")
        validate(self.document, results.ERROR)
        if code is not None:
            equal(f"the code of the error {self.document['msg']!r}", self.document["code"], code)
        return self.document

    def nothing(self) -> None:
        """Success without output, as a DEL, CHECK, GC and STATUS give. Failed."""
        expect(self.status == 0, f"the call failed with {self}")
        expect(not self.stdout, f"output where there should be none: {self}")


def validate(document: dict[str, Any], schema: dict[str, Any]) -> None:
    """Failed."""
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(document))
    if error:
        raise Failed(f"{error.json_path}: {error.message}, in {json.dumps(document)[:500]}")


class World:
    """One case's: nothing in it is made before it is asked for, and all is removed at the end.

    node's eth0 and beyond's eth0 (10.1.0.1/24, fd00:1::1/64) are on one switch, which takes VLANs 50 and 60 tagged.
    """

    def __init__(self, subject: Subject, scratch: Path) -> None:
        self.subject = subject
        self.scratch = scratch
        self.data_dir = scratch / "networks"
        self.pods: list[Pod] = []
        self._made = ExitStack()

    def __enter__(self) -> World:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for pod in self.pods:
                if pod.attached:  # as a runtime does, whatever became of the case
                    pod.delete()
        except (OSError, subprocess.SubprocessError):
            pass
        finally:
            self._made.close()

    @cached_property
    def net(self) -> Topology:
        return self._made.enter_context(Topology())

    @cached_property
    def node(self) -> Host:
        node = self.net.host("node")
        self.net.cable(node, "eth0", self.switch, trunk=VLANS)
        return node

    @cached_property
    def beyond(self) -> Host:
        beyond = self.net.host("beyond")
        self.net.cable(beyond, "eth0", self.switch, trunk=VLANS)
        beyond.address("eth0", "10.1.0.1/24", "fd00:1::1/64")
        return beyond

    @cached_property
    def switch(self) -> Switch:
        return self.net.switch("switch")

    def beyond_vlan(self, vlan: int, address: str) -> None:
        """The other host is in that VLAN too, with that address."""
        self.beyond.ip(f"link add link eth0 name eth0.{vlan} type vlan id {vlan}")
        self.beyond.address(f"eth0.{vlan}", address)

    def ipam(self, *subnets: str, **keys: Any) -> dict[str, Any]:
        """host-local with a set of one range for each subnet (default: 10.1.0.0/24), and a default route per family."""
        subnets = subnets or ("10.1.0.0/24",)
        routes = [{"dst": "::/0" if ":" in subnet else "0.0.0.0/0"} for subnet in subnets]
        ranges = [[{"subnet": subnet}] for subnet in subnets]
        return _without_none(
            {"type": "host-local", "dataDir": str(self.data_dir), "ranges": ranges, "routes": routes} | keys
        )

    def dual_stack(self, **keys: Any) -> dict[str, Any]:
        return self.ipam("10.1.0.0/24", "fd00:1::/64", **keys)

    def pod(self, plugin: str, name: str = "", /, *, ifname: str = "eth0", **keys: Any) -> Pod:
        """A pod to attach to a network of that plugin; keys change its configuration or, None, take away."""
        pod = Pod(self, plugin, name or f"pod{len(self.pods) + 1}", ifname, keys)
        self.pods.append(pod)
        return pod

    def leases(self, network: str = "conformance") -> dict[str, str]:
        """Address → content of the lease files."""
        directory = self.data_dir / network
        if not directory.exists():
            return {}
        return {
            path.name: path.read_bytes().decode()
            for path in sorted(directory.iterdir())
            if path.name.count(".") == 3 or ":" in path.name
        }

    def lease_file(self, address: str, content: bytes, network: str = "conformance") -> Path:
        """A lease as somebody else wrote it."""
        path = self.data_dir / network / address
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


class Pod:
    """A container, a configuration, and the calls for this attachment. `result` is that of the last ADD."""

    def __init__(self, world: World, plugin: str, name: str, ifname: str, keys: dict[str, Any]) -> None:
        self.world = world
        self.plugin = plugin
        self.name = name
        self.ifname = ifname
        self.config = _without_none(
            {
                "cniVersion": "1.0.0",
                "name": "conformance",
                "type": plugin,
                **({} if plugin == "host-local" else {"master": "eth0"}),
                "ipam": world.ipam(),
                **keys,
            }
        )
        self.path = world.subject.directory  # CNI_PATH
        self.attached = False
        self.result: dict[str, Any] = {}

    @property
    def version(self) -> str:
        return str(self.config.get("cniVersion", "0.1.0"))

    def speaks(self) -> Pod:
        """NotApplicable where the plugin does not claim the configuration's version."""
        if self.version not in self.world.subject.versions(self.plugin):
            raise NotApplicable(f"{self.plugin} does not claim version {self.version}")
        return self

    @cached_property
    def container(self) -> Container:
        return self.world.net.container(self.name)

    @property
    def netns(self) -> str:
        """host-local never enters it, so that none is made for it."""
        return f"/run/netns/{self.name}" if self.plugin == "host-local" else self.container.netns

    def environment(self, command: str, variables: dict[str, str | None]) -> dict[str, str]:
        environment: dict[str, str | None] = {"CNI_COMMAND": command, "CNI_PATH": self.path}
        if command in ("ADD", "DEL", "CHECK"):
            environment |= {"CNI_CONTAINERID": self.name, "CNI_NETNS": self.netns, "CNI_IFNAME": self.ifname}
        return {name: value for name, value in (environment | variables).items() if value is not None}

    def call(
        self, command: str, keys: dict[str, Any] | None = None, *, stdin: bytes | None = None, **variables: Any
    ) -> Answer:
        """keys are put into the configuration of this one call; variables are text, or None for one that is not set."""
        if stdin is None:
            stdin = json.dumps(self.config | (keys or {})).encode()
        argv, environment = [self.world.subject.executable(self.plugin)], self.environment(command, variables)
        try:
            if self.plugin == "host-local":
                done = subprocess.run(argv, input=stdin, env=environment, capture_output=True, timeout=SECONDS)
            else:
                done = self.world.node.run(argv, input=stdin, env=environment, check=False, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"{command} did not end within {SECONDS:.0f} s") from None
        return Answer(done, self.version, ipam=self.plugin == "host-local")

    def add(self, keys: dict[str, Any] | None = None, **variables: Any) -> Answer:
        answer = self.call("ADD", keys, **variables)
        if answer.status == 0:
            self.attached = True
            self.result = answer.document
        return answer

    def added(self, **variables: Any) -> Pod:
        """With a valid result, which is then in `result`."""
        self.add(**variables).result()
        return self

    def delete(self, keys: dict[str, Any] | None = None, **variables: Any) -> Answer:
        answer = self.call("DEL", {"prevResult": self.result} | (keys or {}) if self.result else keys, **variables)
        self.attached = self.attached and answer.status != 0
        return answer

    def check(self, keys: dict[str, Any] | None = None, **variables: Any) -> Answer:
        return self.call("CHECK", {"prevResult": self.result} | (keys or {}), **variables)

    # What the result says

    @property
    def addresses(self) -> list[str]:
        """As ADDRESS/LENGTH, of a result of any version."""
        by_family = [self.result[key]["ip"] for key in ("ip4", "ip6") if key in self.result]
        return by_family + [ip["address"] for ip in self.result.get("ips", [])]

    @property
    def address(self) -> str:
        """The first, without its length."""
        return self.addresses[0].partition("/")[0]

    @property
    def interface(self) -> dict[str, Any]:
        """The one in the container. Failed."""
        found = [i for i in self.result.get("interfaces", []) if i.get("sandbox") == self.netns]
        equal("interfaces of the container in the result", [i["name"] for i in found], [self.ifname])
        return dict(found[0])

    # What the kernel says

    @property
    def link(self) -> kernel.Link:
        """Failed if there is none."""
        found = kernel.links(self.container).get(self.ifname)
        if found is None:
            raise Failed(f"there is no {self.ifname} in the container")
        return found

    @property
    def mode(self) -> str:
        return str(kernel.info_data(self.container, self.ifname)["mode"])

    @property
    def has_link(self) -> bool:
        return self.ifname in kernel.links(self.container)

    def reaches(self, address: str) -> None:
        expect(self.container.ping(address), f"{self.name} does not reach {address}")

    def does_not_reach(self, address: str) -> None:
        expect(not self.container.ping(address, expect=False), f"{self.name} reaches {address}")


def _without_none(keys: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}
