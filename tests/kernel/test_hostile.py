"""Configurations, variables, results, lease files and a delegated plugin's output that others write, be they anything,
on a real kernel: within one process, for there are many.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, event, given, settings, strategies as st

import ipam
from cni_core import entry, errors
from cni_core.attach import Attachments
from cni_ipvlan_py import link as ipvlan
from cni_macvlan_py import link as macvlan
from conformance.faults import files, links, routes
from tests.kernel.configurations import changed, written
from tests.kernel.conftest import Lan
from tests.kernel.plugin import RECORDS
from tests.unit.strategies import outputs

if TYPE_CHECKING:
    from cni_core.entry import Plugin

PLUGINS: dict[str, Callable[[], Plugin]] = {
    "macvlan": lambda: Attachments(macvlan, ipam.choose),
    "ipvlan": lambda: Attachments(ipvlan, ipam.choose),
}
VARIABLES = ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_ARGS", "CNI_PATH"]
WORDS = [b"", b"x", b"../x", b"a/b", b"eth0", b"x" * 300, b"\xff", b"/proc/self/ns/net", b"/etc/passwd", b"/dev/zero"]
WORDS += [b"IP=10.1.0.7", b"MAC=x", b"IP=", b"K8S_POD_NAME=a;IgnoreUnknown=1", b"=;="]
DEFAULT = "/var/lib/cni/networks"  # of dataDir
COMMANDS = ["ADD", "ADD", "ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"]


class Node:
    """What all examples of one test share."""

    def __init__(self, lan: Lan) -> None:
        self.lan = lan
        self.pod = lan.host("pod")
        self.leases = lan.data_dir / "lan"
        self.programs = lan.data_dir.parent / "bin"
        self.programs.mkdir()
        self.delegate(b'{"ips": [{"address": "10.1.0.2/24"}]}', 0)
        os.makedirs(DEFAULT, exist_ok=True)
        self.elsewhere = self.names_elsewhere()

    def names_elsewhere(self) -> list[list[str]]:
        return [
            sorted(os.listdir(path)) for path in ("/", "/run", "/var/lib", "/etc", ".", str(self.lan.data_dir.parent))
        ]

    def config(self) -> dict[str, Any]:
        ipam = self.lan.ipam("10.1.0.0/24", "fd00:1::/64")
        return {"cniVersion": "1.1.0", "name": "lan", "master": "eth0", "ipam": ipam, "dad": "off"}

    def delegate(self, output: bytes, status: int) -> None:
        """What the IPAM plugin `fake` answers from now on."""
        (self.programs / "output").write_bytes(output)
        fake = self.programs / "fake"
        fake.write_text(f"#!/bin/sh\ncat {self.programs}/output\nexit {status}\n")
        fake.chmod(0o755)

    def call(
        self, command: str, config: dict[str, Any] | bytes, variables: dict[str, bytes], kind: str = "macvlan"
    ) -> tuple[int, dict[str, Any]]:
        environment = {
            "CNI_COMMAND": command.encode(),
            "CNI_CONTAINERID": b"pod",
            "CNI_IFNAME": b"eth0",
            "CNI_NETNS": self.pod.netns.encode(),
            "CNI_PATH": str(self.programs).encode(),
        } | variables
        stdin = config if isinstance(config, bytes) else json.dumps(config).encode()
        with self.lan.node.inside():
            status, stdout = entry.call(
                {name.encode(): value for name, value in environment.items()}, stdin, PLUGINS[kind]
            )
        document = json.loads(stdout or b"{}")
        if status:
            assert document["code"] in errors.MEANING, document
            assert document["code"] != errors.INTERNAL, document
        return status, document

    def expect_nothing(self) -> None:
        assert (links(self.pod), links(self.lan.node), files(str(RECORDS))) == (["lo"], ["eth0", "lo"], [])
        assert self.names_elsewhere() == self.elsewhere

    def expect_no_lease(self) -> None:
        assert (files(str(self.lan.data_dir)), files(DEFAULT)) == ([], [])


@pytest.fixture
def node(lan: Lan) -> Iterator[Node]:
    RECORDS.mkdir(exist_ok=True)
    lan.data_dir.mkdir()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    yield Node(lan)
    assert routes(lan.node) == []  # not after each example: a process
    for number, handler in handlers.items():
        signal.signal(number, handler)


def settings_for(share: float) -> settings:
    """share: of the examples of a test that needs no kernel."""
    return settings(
        suppress_health_check=[HealthCheck.function_scoped_fixture],
        max_examples=round(settings().max_examples * share),
    )


@settings_for(2)
@given(data=st.data(), kind=st.sampled_from(sorted(PLUGINS)))
def test_any_configuration_and_environment_is_answered_and_leaves_nothing(
    node: Node, data: st.DataObject, kind: str
) -> None:
    config = node.config() | {"type": kind}
    for _ in range(data.draw(st.integers(1, 4))):
        config = data.draw(changed(config))
    stdin = data.draw(written(config))
    variables = {}
    if data.draw(st.integers(0, 4)) == 0:
        variables = {data.draw(st.sampled_from(VARIABLES)): data.draw(st.sampled_from(WORDS) | st.binary(max_size=20))}
    command = data.draw(st.sampled_from(COMMANDS))
    status, document = node.call(command, stdin, variables, kind)
    event(f"{command}: status {status}, code {document.get('code')}")
    if command == "ADD" and not status:
        status, document = node.call("DEL", stdin, variables, kind)
        assert status == 0, document
    node.expect_nothing()
    node.expect_no_lease()


@settings_for(0.5)
@given(data=st.data(), kind=st.sampled_from(sorted(PLUGINS)))
def test_any_earlier_result_is_answered_and_loses_nothing(node: Node, data: st.DataObject, kind: str) -> None:
    config = node.config() | {"type": kind}
    status, result = node.call("ADD", config, {}, kind)
    assert status == 0, result
    try:
        for _ in range(data.draw(st.integers(1, 4))):
            result = data.draw(changed(result))
        earlier = config | {"prevResult": result}
        status, document = node.call("CHECK", earlier, {}, kind)
        event(f"CHECK: status {status}, code {document.get('code')}")
        node.call("DEL", earlier, {}, kind)
    finally:  # where no data are left to be drawn, too
        assert node.call("DEL", config, {}, kind) == (0, {})
    node.expect_nothing()
    node.expect_no_lease()


@settings_for(0.25)
@given(output=outputs, status=st.sampled_from([0, 0, 0, 1, 255]), kind=st.sampled_from(sorted(PLUGINS)))
def test_any_output_of_a_delegated_plugin_is_attached_or_undone(
    node: Node, output: bytes, status: int, kind: str
) -> None:
    config = node.config() | {"type": kind, "ipam": {"type": "fake"}}
    node.delegate(output, status)
    failed, document = node.call("ADD", config, {}, kind)
    event(f"ADD: status {failed}, code {document.get('code')}")
    if failed:
        node.expect_nothing()
    node.delegate(b"", 0)
    assert node.call("DEL", config, {}, kind) == (0, {})
    node.expect_nothing()


CONTENTS = [b"", b"pod", b"pod\r\neth0", b"other\r\neth0", b"\0" * 20, b"a/b\r\neth0", b"10.1.0.9", b"\xff"]


def contents(*names: str) -> st.SearchStrategy[dict[str, bytes]]:
    return st.dictionaries(
        st.sampled_from(names), st.sampled_from(CONTENTS) | st.binary(max_size=30), max_size=len(names)
    )


NUMBERED = ("10.1.0.2", "10.1.0.3", "fd00:1::2", "010.1.0.2")
LEASES = contents(*NUMBERED, "last_reserved_ip.0", "last_reserved_ip.1", ".new", "x")
ENTRIES = contents("pod:eth0", "other:eth0", "state", "x", ".new")


@settings_for(0.25)
@given(planted=LEASES, entries=ENTRIES)
def test_any_lease_files_are_understood_or_left_alone(
    node: Node, planted: dict[str, bytes], entries: dict[str, bytes]
) -> None:
    for directory, files_of in ((node.leases, planted), (node.lan.data_dir / ".attachments" / "lan", entries)):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for name, content in files_of.items():
            (directory / name).write_bytes(content)
    config = node.config() | {"type": "macvlan"}
    status, result = node.call("ADD", config, {})
    assert status == 0, result
    for address in (ip["address"].partition("/")[0] for ip in result["ips"]):
        found = planted.get(address, b"").strip(b" \t\r\n\0")
        assert found in (b"", b"pod", b"pod\r\neth0"), "it is somebody else's"
        assert (node.leases / address).read_bytes().strip() in (b"pod", b"pod\r\neth0")
    assert node.call("CHECK", config | {"prevResult": result}, {}) == (0, {})
    assert node.call("DEL", config, {}) == (0, {})
    node.expect_nothing()
