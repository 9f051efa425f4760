"""The schemas: the validators generated from them against jsonschema, and what people are told."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings, strategies as st
from jsonschema import Draft202012Validator

from cni_core import names
from cni_core.schema import explain, formats, generate, validators
from cni_core.schema.explain import violations
from tests.unit.calls import config, host_local
from tests.unit.strategies import json_values

SCHEMAS = {root.removesuffix(".json") for root in generate.ROOTS}

FULL = config(
    master="eth0",
    mode="bridge",
    mac="02:00:00:00:00:01",
    mtu=1500,
    bcqueuelen=1000,
    linkInContainer=False,
    dad="fast",
    dns={"nameservers": ["10.0.0.1"], "domain": "example.org", "search": ["example.org"], "options": ["ndots:2"]},
    ipam=host_local(
        "/tmp/leases",
        {
            "subnet": "10.1.0.0/16",
            "rangeStart": "10.1.0.10",
            "rangeEnd": "10.1.9.9",
            "gateway": "10.1.0.1",
            "ipRange": "10.1.0.0/20",
            "auxAddresses": {"router": "10.1.0.2"},
            "exclude": ["10.1.1.0/24"],
        },
        [{"subnet": "2001:db8::/64", "gateway": "none"}],
        routes=[
            {"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1400, "advmss": 1, "priority": 1, "table": 0, "scope": 0}
        ],
        resolvConf="/etc/resolv.conf",
    ),
    args={"cni": {"ips": ["10.1.0.11"], "mac": "02:00:00:00:00:02"}},
    runtimeConfig={
        "ips": ["10.1.0.12/16"],
        "mac": "02-00-00-00-00-03",
        "ipRanges": [[{"subnet": "10.2.0.0/16"}]],
    },
    prevResult={
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1500, "sandbox": "/run/netns/c1"}],
        "ips": [{"version": "4", "address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 0}],
        "routes": [{"dst": "::/0", "gw": ""}],
        "dns": {"domain": "example.org"},
        "ip4": {"ip": "10.1.0.5/16", "gateway": "", "routes": [{"dst": "10.0.0.0/8"}]},
    },
    **{
        "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}],
        "cni.dev/attachments": [],
    },
)
FLAT = config(
    master=["eth0", "ens1"],
    mode="",
    mac="",
    mtu=0,
    ipam=host_local("", subnet="10.1.0.0/16", rangeStart="10.1.0.9", gateway=""),
    unknownToUs={"of": ["another", "tool"]},
)
OTHER_IPAM = config(ipam={"type": "dhcp", "ranges": "not ours to judge"})
VALID = [FULL, FLAT, OTHER_IPAM, {"name": "net1"}]

# What is nearly right somewhere in a configuration, and so gets further into the schema than random JSON does.
near: st.SearchStrategy[Any] = st.sampled_from(
    [
        "", "none", "host-local", "dhcp", "bridge", "eth0", "a/b", "10.1.0.0/16", "10.1.0.1", "10.1.0.0/016", "::/0",
        "02:00:00:00:00:01", "4", 0, -1, 1, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 1.0, 1e300, True, False, None,
        [], {}, [""], [[]], [{}], {"type": "host-local"}, {"cni": {}}, {"subnet": "10.1.0.0/16"}, {"dst": "::/0"},
    ]
)  # fmt: skip


def near_to(value: Any) -> st.SearchStrategy[Any]:
    """What differs a little from a value: in type only, or by one."""
    match value:
        case bool() | None:
            return st.sampled_from([int(bool(value)), str(value).lower()])
        case int() | float():
            return st.sampled_from([value * 1.0, bool(value), str(value), -1 - value, value + 2**32])
        case str():
            return st.sampled_from([value + "x", value[:-1], value.upper(), value + "/8", [value]])
        case list():
            return st.sampled_from([[*value, *value], [*value, None], dict.fromkeys(map(str, value))])
        case _:
            return st.sampled_from([[value], list(value), {**value, "": None}])


KEYS = sorted({key for text in map(json.dumps, VALID) for key in re.findall(r'"([^"]+)":', text)})


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key or index) in a document."""
    keys: Any = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *places(value[key])]]


@st.composite
def mutated_configurations(draw: st.DrawFn) -> Any:
    document = copy.deepcopy(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 3))):
        found = places(document)
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        action = draw(st.sampled_from(["drop", "replace", "alter", "add"]))
        if action == "drop":
            del container[key]
            continue
        new = copy.deepcopy(draw(near_to(container[key]) if action == "alter" else near | json_values))
        if action != "add":
            container[key] = new
        elif isinstance(container, dict):
            container[draw(st.sampled_from(KEYS) | st.text(max_size=5))] = new
        else:
            container.append(new)
    return document


@settings(max_examples=400)
@given(mutated_configurations() | json_values, st.sampled_from(sorted(SCHEMAS)))
def test_the_generated_validators_and_jsonschema_never_disagree(document: Any, schema: str) -> None:
    lines = violations(schema, document)
    event("rejected" if lines else "accepted")
    assert getattr(validators, schema.replace("-", "_"))(document) == (not lines), lines


def resolved(document: Any, path: str) -> Any:
    """What is at a path as violations write it; KeyError, IndexError or TypeError if nothing is."""
    for key in re.findall(r"cni\.dev/[\w-]+|[^.\[\]]+|\[\d+\]", path):
        document = document[int(key[1:-1])] if key.startswith("[") else document[key]
    return document


@given(st.sampled_from(VALID), st.data())
def test_every_violation_starts_with_its_path(valid: Any, data: st.DataObject) -> None:
    document = copy.deepcopy(valid)
    container, key = data.draw(st.sampled_from(places(document)))
    container[key] = data.draw(near)
    for line in violations("macvlan", document):
        path, colon, message = line.partition(": ")
        assert colon and message, line
        resolved(document, path)


NAME = "a name of letters, digits, '_', '.' and '-' that starts with a letter or digit"
PARENT = (
    "an interface name (1 to 127 bytes, no '/', ':', '%' or white space), or one with a VLAN id from 1 to 4094, "
    "such as eth0.50"
)
MAC = "a hardware address, such as 02:00:00:00:00:01"
CIDR = "an address with a prefix length, such as 10.1.0.0/16"


@pytest.mark.parametrize(
    ("document", "lines"),
    [
        (config(name=None), ["name is missing"]),
        (config(name="-x"), [f'name: "-x" is not {NAME}']),
        (config(name=5), ["name: 5 is not of type string"]),
        ([], ["[] is not of type object"]),
        (config(mode="brigde"), ['mode: "brigde" is not one of bridge, private, vepa, passthru; did you mean bridge?']),
        (config(mac="x"), [f'mac: "x" is not {MAC}']),
        (config(mac=5), ["mac: 5 is not of type string"]),
        (config(mode="x" * 1000), [f'mode: "{"x" * 118}… is not one of bridge, private, vepa, passthru']),
        (config(master=5), ["master: 5 is not of type string or array"]),
        (config(master=[5]), ["master[0]: 5 is not of type string"]),
        (config(ipam=host_local("/a\0b")), ['ipam.dataDir: "/a\\u0000b" is not a path (no NUL)']),
        (config(ipam=host_local("", resolvConf="\0")), ['ipam.resolvConf: "\\u0000" is not a path (no NUL)']),
        (config(mtu=-1), ["mtu: -1 is less than the minimum of 0"]),
        (config(mtu=70000), ["mtu: 70000 is greater than the maximum of 65535"]),
        (config(mtu=1500.0), ["mtu: 1500.0 is not of type integer"]),
        (config(mtu="1500"), ['mtu: "1500" is not of type integer']),
        (config(mtu=True), ["mtu: true is not of type integer"]),
        (config(master="a/b"), [f'master: "a/b" is not {PARENT}']),
        (config(master=["eth0", "a b"]), [f'master[1]: "a b" is not {PARENT}']),
        (config(master=[]), ["master: is empty"]),
        (config(dad="slow"), ['dad: "slow" is not one of fast, kernel, off']),
        (config(linkInContainer="yes"), ['linkInContainer: "yes" is not of type boolean']),
        (config(ipam=[]), ["ipam: [] is not of type object"]),
        (config(ipam={"type": "../sh"}), ['ipam.type: "../sh" is not a plugin\'s file name']),
        (config(ipam=host_local("", {})), ["ipam.ranges[0][0]: subnet is missing"]),
        (config(ipam=host_local("", [])), ["ipam.ranges[0]: is empty"]),
        (config(ipam=host_local("", "10.1.0.0")), [f'ipam.ranges[0][0].subnet: "10.1.0.0" is not {CIDR}']),
        (config(ipam=host_local("", subnet="10.1.0.0/16", gateway="x")), ['ipam.gateway: "x" is not an IP address']),
        (
            config(ipam=host_local("", subnet="10.1.0.0/16", auxAddresses={"r": "x"})),
            ['ipam.auxAddresses.r: "x" is not an IP address'],
        ),
        (
            config(ipam=host_local("", routes=[{"gw": "x"}])),
            ['ipam.routes[0].gw: "x" is not an IP address', "ipam.routes[0]: dst is missing"],
        ),
        (
            config(ipam=host_local("", routes=[{"dst": "::/0", "scope": 256}])),
            ["ipam.routes[0].scope: 256 is greater than the maximum of 255"],
        ),
        (
            config(runtimeConfig={"ips": ["x"]}),
            ['runtimeConfig.ips[0]: "x" is not an IP address, with or without a prefix length'],
        ),
        (config(args={"cni": {"mac": "x"}}), [f'args.cni.mac: "x" is not {MAC}']),
        (config(prevResult={"ips": [{}]}), ["prevResult.ips[0]: address is missing"]),
        (
            config(**{"cni.dev/valid-attachments": [{"ifname": "eth0"}]}),
            ["cni.dev/valid-attachments[0]: containerID is missing"],
        ),
        (
            config(name=None, mode="x", mtu=-1),
            [
                'mode: "x" is not one of bridge, private, vepa, passthru',
                "mtu: -1 is less than the minimum of 0",
                "name is missing",
            ],
        ),
    ],
)
def test_says_what_is_wrong(document: Any, lines: list[str]) -> None:
    assert violations("macvlan", document) == lines
    assert not validators.macvlan(document)


@pytest.mark.parametrize(
    ("key", "value"), [("mac", 5), ("master", 5), ("master", [5]), ("ipam", host_local("", subnet="::/0", gateway=5))]
)
def test_a_value_of_a_type_that_no_alternative_has_is_named_with_its_path(key: str, value: Any) -> None:
    (line,) = violations("macvlan", config(**{key: value}))
    assert line.startswith(key)
    assert "5" in line


@pytest.mark.parametrize("document", VALID)
def test_accepts_a_valid_configuration(document: Any) -> None:
    assert violations("macvlan", document) == []
    assert validators.macvlan(document)


@pytest.mark.parametrize(
    "members",
    [
        {"mode": ""},
        {"mac": ""},
        {"master": ""},
        {"mtu": 0},
        {"bcqueuelen": 0},
        {"Mode": "passthru-ish", "isGateway": 7, "capabilities": {"ips": True}},
        {"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"a": "b"}, "portMappings": []}},
        {"runtimeConfig": {"mac": ""}},
        {"args": {"labels": 5, "cni": {"labels": []}}},
        {"args": {"cni": {"mac": ""}}},
        {"ipam": {}},
        {"ipam": {"type": ""}},
        {"ipam": host_local("", subnet="10.1.0.0/16", gateway="")},
        {"ipam": host_local("", subnet="10.1.0.0/16", rangeStart="")},
        {"ipam": host_local("", subnet="10.1.0.0/16", rangeEnd="")},
        {"ipam": host_local("", subnet="10.1.0.0/16", ipRange="")},
        {
            "ipam": host_local(
                "", {"subnet": "10.1.0.0/16", "gateway": "", "sandboxKey": 1}, routes=[{"dst": "::/0", "gw": ""}]
            )
        },
        {"ipam": host_local("", ranges=[], subnet="10.1.0.0/16")},
        {"prevResult": {"ips": [{"address": "10.1.0.5/16", "gateway": ""}], "interfaces": [{"name": "", "mac": ""}]}},
    ],
)
def test_accepts_what_gos_plugins_accept(members: dict[str, Any]) -> None:
    assert violations("macvlan", config(**members)) == []


def test_the_validators_on_disk_are_those_of_the_schemas() -> None:
    assert generate.TARGET.read_text() == generate.generate()


def test_generating_refuses_a_keyword_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "macvlan.json").write_text('{"properties": {"name": {"pattern": "x"}}}')
    monkeypatch.setattr(generate, "HERE", tmp_path)
    with pytest.raises(SystemExit, match=r"macvlan.json: the generator does not know \['pattern'\]"):
        generate.generate()


def test_every_schema_is_a_valid_one_and_its_formats_are_known() -> None:
    for path in generate.HERE.glob("*.json"):
        text = path.read_text()
        Draft202012Validator.check_schema(json.loads(text))
        assert set(re.findall(r'"format": "([^"]+)"', text)) <= set(formats.FORMATS)


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("eth0", True), ("a", True), ("fifteen-bytes-x", True), ("eth0.50", True), ("é", True), ("...", True),
        ("", False), ("sixteen-bytes-xy", False), ("ééééééé", True), ("éééééééé", False), (".", False), ("..", False),
        ("a/b", False), ("a:b", False), ("a b", False), ("a\tb", False), ("a\xa0b", False), ("a\u3000b", False),
        ("eth%d", False), ("a\0", False), ("a\x7f", False), ("a\u200b", False), ("all", False), ("default", False),
    ],
)  # fmt: skip
def test_an_interface_name_is_one_that_the_kernel_takes_and_sysctl_can_name(name: str, accepted: bool) -> None:
    assert formats.is_interface_name(name) == accepted


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("a", True), ("0", True), ("A_.-z9", True), ("a" * 200, True),
        ("a" * 201, False),
        ("", False), (".", False), ("..", False), ("_a", False), ("-a", False), ("a/b", False), ("a\n", False),
        ("é", False), ("a b", False), ("a\0", False), ("٣", False),
    ],
)  # fmt: skip
def test_a_networks_name_and_a_container_id_hold_nothing_that_could_leave_a_directory(
    name: str, accepted: bool
) -> None:
    assert formats.is_cni_name(name) == accepted


@given(st.text())
def test_no_text_makes_a_format_raise(text: str) -> None:
    for accepts, _ in formats.FORMATS.values():
        assert accepts(text) in (True, False)
        assert accepts(text + "\ud800") in (True, False)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("eth0.50", ("eth0", 50)), ("eth0:1", ("eth0", 1)), ("eth0.50.60", ("eth0.50", 60)), ("a.4094", ("a", 4094)),
        ("eth0", None), ("eth0.", None), (".5", None), ("eth0.0", None), ("eth0.4095", None), ("eth0.050", None),
        ("eth0.x", None), ("eth0.-1", None), ("eth0.٣", None), ("", None), ("eth0.99999999999", None),
    ],
)  # fmt: skip
def test_the_vlan_of_a_name_is_told_from_the_link_below(name: str, parts: tuple[str, int] | None) -> None:
    assert names.split_vlan(name) == parts


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("eth0", True), ("eth0:50", True), ("quite-long-name.50", True), ("quite-long-name:50.60", True),
        ("eth0.0", True), ("an-alternative-name", True), ("eth0:0", False), ("eth0:4095", False),
        ("n" * 127, True), ("n" * 128, False),
        ("a/b.50", False), ("eth0:", False),
        ("n" * 125 + ":50" * 7, True), ("n" * 125 + ":50" * 8, False), ("eth0" + ".5" * 9999, False),
    ],
)  # fmt: skip
def test_a_parents_name_may_be_a_vlans_that_does_not_exist(name: str, accepted: bool) -> None:
    assert formats.is_parent_name(name) == accepted


def test_of_ever_so_many_violations_a_hundred_are_told() -> None:
    document = {"name": "lan", "runtimeConfig": {"ips": ["x"] * 100_000}}
    assert len(violations("macvlan", document)) == 100


def test_of_a_list_that_is_too_long_its_length_alone_is_told() -> None:
    assert violations("macvlan", config(master=["/"] * 101)) == ["master: has 101 entries; 100 are the most"]


def test_no_more_is_kept_of_the_alternatives_of_a_value_than_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []

    def counted(error: Any) -> list[Any]:
        kept.append(len(error.context or []))
        return leaves(error)

    leaves = explain._leaves
    monkeypatch.setattr(explain, "_leaves", counted)
    monkeypatch.setattr(explain, "MOST", 10)
    assert len(violations("macvlan", config(master=["/"] * 100))) == 10
    assert max(kept) <= 10 + 2  # and one of each other alternative


def test_what_the_generated_code_accepts_is_not_looked_through_again(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = [{"dst": "10.0.0.0/8"}] * 1000 + [{"dst": "x"}]
    looked = 0

    def counted(text: str) -> bool:
        nonlocal looked
        looked += 1
        return is_cidr(text)

    is_cidr, meaning = formats.FORMATS["cidr"]
    monkeypatch.setitem(formats.FORMATS, "cidr", (counted, meaning))
    [problem] = violations("macvlan", config(ipam=host_local("/x", {"subnet": "10.0.0.0/8"}, routes=routes)))
    assert problem.startswith('ipam.routes[1000].dst: "x" is not')
    assert looked <= 10
