"""Configurations, variables and lease files that others write, be they anything, on a real kernel: within one process,
for there are many.
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
from tests.kernel.conftest import Lan
from tests.kernel.plugin import RECORDS
from tests.unit.strategies import json_values

if TYPE_CHECKING:
    from cni_core.entry import Plugin

PLUGINS: dict[str, Callable[[], Plugin]] = {
    "macvlan": lambda: Attachments(macvlan, ipam.choose),
    "ipvlan": lambda: Attachments(ipvlan, ipam.choose),
}
TEXTS = ["", "eth0", "eth0.50", "eth0:4095", "../x", "a/b", ".", "..", "lo", "x" * 300, "\0", "é", "l3", "passthru"]
TEXTS += ["10.1.0.0/24", "10.1.0.9", "fd00::/64", "0.0.0.0/0", "::/0", "10.1.0.0/33", "02:00:00:00:00:01"]
TEXTS += ["host-local", "../host-local"]
NUMBERS = [0, -1, 1, 50, 4094, 4095, 1500, 1 << 31, 1 << 64, 0.5, 1e300]
OTHERS: list[Any] = [None, True, False, [], {}, [[]], [{}], [[{}]]]
VALUES = st.sampled_from(TEXTS) | st.sampled_from(NUMBERS) | st.sampled_from(OTHERS) | json_values
KEYS = ["master", "mode", "flag", "mtu", "vlan", "internal", "hostRoutes", "linkInContainer", "dad", "mac", "args"]
KEYS += ["runtimeConfig", "capabilities", "dns", "prevResult", "ipam", "isGateway", "cni.dev/valid-attachments"]
IPAM_KEYS = ["subnet", "ranges", "routes", "gateway", "rangeStart", "rangeEnd", "ipRange", "auxAddresses", "exclude"]
VARIABLES = ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_ARGS", "CNI_PATH"]
WORDS = [b"", b"x", b"../x", b"a/b", b"eth0", b"x" * 300, b"\xff", b"/proc/self/ns/net", b"/etc/passwd", b"/dev/zero"]
WORDS += [b"IP=10.1.0.7", b"MAC=x", b"IP=", b"K8S_POD_NAME=a;IgnoreUnknown=1", b"=;="]
COMMANDS = ["ADD", "ADD", "ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"]


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """The document with a value changed, a member added or one taken away, wherever."""
    members = sorted(document.keys() - {"dataDir"}) if isinstance(document, dict) else []
    if members and draw(st.integers(0, 3)) > 0:
        name = draw(st.sampled_from(members))
        return document | {name: draw(changed(document[name]))}
    if isinstance(document, list) and document and draw(st.booleans()):
        at = draw(st.integers(0, len(document) - 1))
        return [*document[:at], draw(changed(document[at])), *document[at + 1 :]]
    if isinstance(document, dict):
        names = IPAM_KEYS if "dataDir" in document or "subnet" in document else KEYS
        kept = {name: value for name, value in document.items() if name == "dataDir" or draw(st.integers(0, 9))}
        return kept | draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=2))
    return draw(VALUES)


class Node:
    """What all examples of one test share."""

    def __init__(self, lan: Lan) -> None:
        self.lan = lan
        self.pod = lan.host("pod")
        self.leases = lan.data_dir / "lan"
        self.elsewhere = self.names_elsewhere()

    def names_elsewhere(self) -> list[list[str]]:
        return [
            sorted(os.listdir(path)) for path in ("/", "/run", "/var/lib", "/etc", ".", str(self.lan.data_dir.parent))
        ]

    def config(self) -> dict[str, Any]:
        ipam = self.lan.ipam("10.1.0.0/24", "fd00:1::/64")
        return {"cniVersion": "1.1.0", "name": "lan", "master": "eth0", "ipam": ipam, "dad": "off"}

    def call(self, command: str, config: dict[str, Any], variables: dict[str, bytes]) -> tuple[int, dict[str, Any]]:
        environment = {
            "CNI_COMMAND": command.encode(),
            "CNI_CONTAINERID": b"pod",
            "CNI_IFNAME": b"eth0",
            "CNI_NETNS": self.pod.netns.encode(),
            "CNI_PATH": b"/nowhere",
        } | variables
        plugin = PLUGINS["ipvlan" if config.get("type") == "ipvlan" else "macvlan"]
        with self.lan.node.inside():
            status, stdout = entry.call(
                {name.encode(): value for name, value in environment.items()}, json.dumps(config).encode(), plugin
            )
        document = json.loads(stdout or b"{}")
        if status:
            assert document["code"] in errors.MEANING, document
            assert document["code"] != errors.INTERNAL, document
        return status, document

    def expect_nothing(self) -> None:
        assert (links(self.pod), links(self.lan.node), files(str(RECORDS))) == (["lo"], ["eth0", "lo"], [])
        assert self.names_elsewhere() == self.elsewhere


@pytest.fixture
def node(lan: Lan) -> Iterator[Node]:
    RECORDS.mkdir(exist_ok=True)
    lan.data_dir.mkdir()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    yield Node(lan)
    assert routes(lan.node) == []  # not after each example: a process
    for number, handler in handlers.items():
        signal.signal(number, handler)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=settings().max_examples * 2)
@given(data=st.data())
def test_any_configuration_and_environment_is_answered_and_leaves_nothing(node: Node, data: st.DataObject) -> None:
    config = node.config() | {"type": data.draw(st.sampled_from(sorted(PLUGINS)))}
    for _ in range(data.draw(st.integers(1, 3))):
        config = data.draw(changed(config))
    variables = data.draw(st.dictionaries(st.sampled_from(VARIABLES), st.sampled_from(WORDS), max_size=1))
    command = data.draw(st.sampled_from(COMMANDS))
    status, document = node.call(command, config, variables)
    event(f"{command}: status {status}, code {document.get('code')}")
    if command == "ADD" and not status:
        status, document = node.call("DEL", config | {"cniVersion": "1.0.0"}, variables)
        assert status == 0, document
    node.expect_nothing()
    assert files(str(node.lan.data_dir)) == []


CONTENTS = [b"", b"pod", b"pod\r\neth0", b"other\r\neth0", b"\0" * 20, b"a/b\r\neth0", b"10.1.0.9", b"\xff"]


def contents(*names: str) -> st.SearchStrategy[dict[str, bytes]]:
    return st.dictionaries(
        st.sampled_from(names), st.sampled_from(CONTENTS) | st.binary(max_size=30), max_size=len(names)
    )


NUMBERED = ("10.1.0.2", "10.1.0.3", "fd00:1::2", "010.1.0.2")
LEASES = contents(*NUMBERED, "last_reserved_ip.0", "last_reserved_ip.1", ".new", "x")
ENTRIES = contents("pod:eth0", "other:eth0", "state", "x", ".new")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=settings().max_examples // 4)
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
