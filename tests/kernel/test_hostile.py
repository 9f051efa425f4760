"""Configurations, variables, results, lease files and a delegated plugin's output that others write, be they anything,
on a real kernel: within one process, for there are many.
"""

from __future__ import annotations

import json
import os
import re
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
from tests.unit.strategies import json_values, mutated, outputs

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
# What gets past the schema is worth more than what does not.
MACS = ["02:00:00:00:00:07", "01:00:00:00:00:07", "00:00:00:00:00:00", ""]
ADDRESSES = [
    "10.1.0.1",
    "10.1.0.9",
    "10.1.0.255",
    "10.2.0.1",
    "fd00:1::1",
    "fd00:1::ffff:0",
    "0.0.0.0",
    "::",
    "none",
    "",
]
CIDRS = ["10.1.0.0/24", "10.1.0.8/29", "10.1.0.9/32", "fd00:1::/64", "fd00:1::/126", "0.0.0.0/0", "::/0", "10.9.0.0/31"]
ROUTES = st.lists(
    st.fixed_dictionaries(
        {"dst": st.sampled_from(CIDRS)},
        optional={"gw": st.sampled_from(ADDRESSES), "mtu": st.just(1400), "table": st.just(100), "scope": st.just(253)},
    ),
    max_size=3,
)
RANGES = st.lists(st.lists(st.fixed_dictionaries({"subnet": st.sampled_from(CIDRS)}), max_size=2), max_size=3)
IPS = st.fixed_dictionaries({"ips": st.lists(st.sampled_from(ADDRESSES[:6] + CIDRS), max_size=2)})
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "master": st.sampled_from(["eth0", "eth0", "eth0.50", "eth9", "", ["eth9", "eth0"]]),
    "mode": st.sampled_from(["bridge", "private", "vepa", "passthru", "l2", "l3", "l3s", ""]),
    "flag": st.sampled_from(["bridge", "private", "vepa", ""]),
    "mtu": st.sampled_from([0, 68, 1280, 1400, 1500, 9000, 65535]),
    "vlan": st.sampled_from([1, 50, 4094]),
    "internal": st.booleans(),
    "hostRoutes": st.booleans(),
    "linkInContainer": st.booleans(),
    "dad": st.sampled_from(["off", "off", "off", "fast"]),
    "mac": st.sampled_from(MACS),
    "bcqueuelen": st.sampled_from([0, 100, 1 << 32]),
    "args": st.fixed_dictionaries({"cni": IPS | st.fixed_dictionaries({"mac": st.sampled_from(MACS)})}),
    "runtimeConfig": IPS | st.fixed_dictionaries({"ipRanges": RANGES}),
    "dns": st.just({"nameservers": ["10.1.0.1"], "search": ["example.com"]}),
    "ipam": st.sampled_from([{}, {"type": "fake"}, {"type": "host-local", "subnet": "10.1.0.0/24"}]),
    "cni.dev/valid-attachments": st.lists(st.just({"containerID": "pod", "ifname": "eth0"}), max_size=2),
    "cniVersion": st.sampled_from(["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", ""]),
    "name": st.sampled_from(["lan", "lan2", "x" * 200]),
    "ranges": RANGES,
    "routes": ROUTES,
    "subnet": st.sampled_from(CIDRS),
    "ipRange": st.sampled_from(CIDRS),
    "gateway": st.sampled_from(ADDRESSES),
    "rangeStart": st.sampled_from(ADDRESSES),
    "rangeEnd": st.sampled_from(ADDRESSES),
    "exclude": st.lists(st.sampled_from(CIDRS), max_size=2),
    "auxAddresses": st.dictionaries(st.just("printer"), st.sampled_from(ADDRESSES)),
    "address": st.sampled_from(["10.1.0.9/24", "10.1.0.2/24", "fd00:1::2/64"]),
    "interface": st.sampled_from([0, 1, 7]),
    "sandbox": st.sampled_from(["", "/proc/self/ns/net", "/nowhere"]),
    "prevResult": st.just({"cniVersion": "1.0.0", "interfaces": [], "ips": [{"address": "10.1.0.2/24"}]}),
}
IPAM_KEYS = ["subnet", "ranges", "routes", "gateway", "rangeStart", "rangeEnd", "ipRange", "auxAddresses", "exclude"]
KEYS = [*sorted(LIKELY.keys() - set(IPAM_KEYS)), "capabilities", "isGateway", "ips", "interfaces"]
VARIABLES = ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_ARGS", "CNI_PATH"]
WORDS = [b"", b"x", b"../x", b"a/b", b"eth0", b"x" * 300, b"\xff", b"/proc/self/ns/net", b"/etc/passwd", b"/dev/zero"]
WORDS += [b"IP=10.1.0.7", b"MAC=x", b"IP=", b"K8S_POD_NAME=a;IgnoreUnknown=1", b"=;="]
# Where nobody can write, root or not: what is written must stay in the directory of the test.
PATHS = ["", "/dev/null", "/dev/null/x", "/etc/passwd", "/proc/self/x", "/proc/self/fd", "/sys/x", "/dev/zero", "\0"]
PATHS += ["/etc/resolv.conf", "../../../../dev/full", "/dev/null/" * 500]
DEFAULT = "/var/lib/cni/networks"  # of dataDir
COMMANDS = ["ADD", "ADD", "ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"]


@st.composite
def value(draw: st.DrawFn, name: str) -> Any:
    """Of a member of that name, be it likely or not."""
    return draw(LIKELY[name] if name in LIKELY and draw(st.integers(0, 3)) else VALUES)


@st.composite
def changed(draw: st.DrawFn, document: Any, name: str = "") -> Any:
    """The document, a member of that name, with a value changed, a member added or one taken away, wherever."""
    if isinstance(document, dict) and "dataDir" in document and draw(st.integers(0, 9)) == 0:
        return document | {draw(st.sampled_from(["dataDir", "resolvConf"])): draw(st.sampled_from(PATHS))}
    members = sorted(document.keys() - {"dataDir"}) if isinstance(document, dict) else []
    if members and draw(st.integers(0, 3)) > 1:
        member = draw(st.sampled_from(members))
        return document | {member: draw(changed(document[member], member))}
    if isinstance(document, list) and document and draw(st.booleans()):
        at = draw(st.integers(0, len(document) - 1))
        return [*document[:at], draw(changed(document[at])), *document[at + 1 :]]
    if isinstance(document, dict):
        kept = {member: value for member, value in document.items() if member == "dataDir" or draw(st.integers(0, 19))}
        names = IPAM_KEYS if "dataDir" in document or "subnet" in document else KEYS
        return kept | {member: draw(value(member)) for member in draw(st.lists(st.sampled_from(names), max_size=2))}
    return draw(value(name))


@st.composite
def written(draw: st.DrawFn, document: Any) -> bytes:
    """The document's JSON, or nearly; where leases are to lie is not touched."""
    text = json.dumps(document, ensure_ascii=draw(st.booleans()))
    where = re.search('"dataDir": "[^"]*"', text)
    parts = [text[: where.start()], where.group(), text[where.end() :]] if where else [text]
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.sampled_from([0, -1]))
        parts[at] = draw(mutated(st.just(parts[at]), '"\\{}[]:,.0123456789-+eEud/ \n\0'))
    return "".join(parts).encode() + draw(st.sampled_from([*[b""] * 9, b"\n", b"{}", b"\xff"]))


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
        earlier = config | {"prevResult": data.draw(changed(data.draw(changed(result))))}
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
