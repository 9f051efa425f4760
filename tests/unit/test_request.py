"""cni_core.request: what a runtime's variables, CNI_ARGS and configuration are taken for, and which are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given, strategies as st

from cni_core import errors
from cni_core.address import Address
from cni_core.config import LATEST, SINCE, SUPPORTED, parse_config, version_of
from cni_core.errors import CniError
from cni_core.gojson import as_go_reads
from cni_core.network import Network
from cni_core.request import Request
from cni_core.schema.formats import is_cni_name, is_interface_name
from cni_core.schema.spellings import USUAL
from cni_macvlan_py import link as macvlan
from tests.unit.calls import ATTACHMENT, config, request
from tests.unit.strategies import json_values


def refusal(code: int, *args: Any, **kwargs: Any) -> CniError:
    """What request refuses with, which has this code."""
    with pytest.raises(CniError) as refused:
        request(*args, **kwargs)
    assert refused.value.code == code
    return refused.value


# The environment

NEEDED = {
    "ADD": {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"},
    "DEL": {"CNI_CONTAINERID", "CNI_IFNAME"},
    "CHECK": {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"},
    "GC": set[str](),
    "STATUS": set[str](),
}


@pytest.mark.parametrize("command", SINCE)
@pytest.mark.parametrize("given_", range(8))
def test_each_command_names_the_variables_that_it_misses(command: str, given_: int) -> None:
    environ = {name: value for bit, (name, value) in enumerate(ATTACHMENT.items()) if given_ >> bit & 1}
    missing = [name for name in ATTACHMENT if name in NEEDED[command] - environ.keys()]
    for absent in ({}, dict.fromkeys(missing, "")):  # an empty one is as good as none
        if missing:
            with pytest.raises(CniError) as refused:
                Request(command, environ | absent, config())
            assert refused.value.code == errors.INVALID_ENVIRONMENT
            assert refused.value.msg == f"required environment variables are missing: {', '.join(missing)}"
        else:
            made = Request(command, environ | absent, config())
            assert made.container_id == environ.get("CNI_CONTAINERID", "")
            assert made.netns == environ.get("CNI_NETNS", "")
            assert made.ifname == environ.get("CNI_IFNAME", "")


@given(st.sampled_from(sorted(SINCE)), st.text(min_size=1, max_size=20))
def test_a_container_id_that_could_leave_the_lease_directory_is_refused_by_every_command(
    command: str, text: str
) -> None:
    if is_cni_name(text):
        assert request(command, config(), CNI_CONTAINERID=text).container_id == text
    else:
        error = refusal(errors.INVALID_ENVIRONMENT, command, config(), CNI_CONTAINERID=text)
        assert error.msg == f"CNI_CONTAINERID: {text!r} is not a container id (letters, digits, '_', '.', '-')"


@given(st.sampled_from(sorted(SINCE)), st.text(min_size=1, max_size=20))
def test_an_interface_name_that_the_kernel_would_refuse_is_refused_by_every_command(command: str, text: str) -> None:
    if is_interface_name(text):
        assert request(command, config(), CNI_IFNAME=text).ifname == text
    else:
        error = refusal(errors.INVALID_ENVIRONMENT, command, config(), CNI_IFNAME=text)
        assert error.msg.startswith(f"CNI_IFNAME: {text!r} is not an interface name")


@pytest.mark.parametrize("text", ["../x", "a/b", ".", "..", "-rf", "a b", "a\n"])
def test_names_with_a_path_in_them_are_refused(text: str) -> None:
    refusal(errors.INVALID_ENVIRONMENT, "DEL", config(), CNI_CONTAINERID=text)


@pytest.mark.parametrize(
    ("text", "directories"), [("", []), ("/a:/b", ["/a", "/b"]), ("::/a:", ["/a"]), ("/opt/cni/bin", ["/opt/cni/bin"])]
)
def test_the_directories_of_cni_path_are_those_between_its_colons(text: str, directories: list[str]) -> None:
    assert request(CNI_PATH=text).path == directories


# CNI_ARGS


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("", {}),
        ("IP=10.1.0.9", {"IP": "10.1.0.9"}),
        ("IP=10.1.0.9/24;MAC=02:00:00:00:00:01", {"IP": "10.1.0.9/24", "MAC": "02:00:00:00:00:01"}),
        ("IP=", {"IP": ""}),
        ("IgnoreUnknown=1;Foo=a=b", {"IgnoreUnknown": "1", "Foo": "a=b"}),
        ("IgnoreUnknown=TRUE;Foo=", {"IgnoreUnknown": "TRUE", "Foo": ""}),
        ("K8S_POD_NAME=web;K8S_POD_UID=1", {"K8S_POD_NAME": "web", "K8S_POD_UID": "1"}),
        ("IP=10.1.0.8;IP=10.1.0.9", {"IP": "10.1.0.9"}),
    ],
)
def test_cni_args_are_pairs(text: str, args: dict[str, str]) -> None:
    assert request(CNI_ARGS=text).args == args


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("IP", "CNI_ARGS: 'IP' is not KEY=VALUE"),
        ("IP=10.1.0.9;", "CNI_ARGS: '' is not KEY=VALUE"),
        (";", "CNI_ARGS: '' is not KEY=VALUE"),
        ("=x", "CNI_ARGS: '=x' is not KEY=VALUE"),
        ("IP=x", "CNI_ARGS: IP='x' is invalid"),
        ("IP=10.1.0.9/33", "CNI_ARGS: IP='10.1.0.9/33' is invalid"),
        ("MAC=x", "CNI_ARGS: MAC='x' is invalid"),
        ("IgnoreUnknown=yes", "CNI_ARGS: IgnoreUnknown='yes' is invalid"),
        ("Foo=1;ip=10.1.0.9", "CNI_ARGS: unknown keys Foo, ip"),
        ("IgnoreUnknown=0;Foo=1", "CNI_ARGS: unknown keys Foo"),
        ("IgnoreUnknown=;Foo=1", "CNI_ARGS: unknown keys Foo"),
    ],
)
def test_cni_args_that_are_wrong_are_named(text: str, message: str) -> None:
    assert refusal(errors.INVALID_ENVIRONMENT, CNI_ARGS=text).msg == message


@given(st.text(st.sampled_from("IPMACgnoreUkw=;1.:/x \0")) | st.text())
def test_cni_args_are_taken_or_refused_whatever_their_text(text: str) -> None:
    try:
        made = request(CNI_ARGS=text)
    except CniError as error:
        assert error.code == errors.INVALID_ENVIRONMENT
    else:
        assert len(made.ips) <= 1
        assert len(made.mac) in (0, 6)


# Versions


@pytest.mark.parametrize("version", SUPPORTED)
@pytest.mark.parametrize(
    ("command", "since"), [("ADD", "0.1.0"), ("DEL", "0.1.0"), ("CHECK", "0.4.0"), ("GC", "1.1.0"), ("STATUS", "1.1.0")]
)
def test_a_command_is_answered_from_the_version_on_that_brought_it(command: str, since: str, version: str) -> None:
    if SUPPORTED.index(version) >= SUPPORTED.index(since):
        assert request(command, config(cniVersion=version)).cni_version == version
    else:
        error = refusal(errors.INCOMPATIBLE_VERSION, command, config(cniVersion=version))
        if command == "CHECK":  # as Go's plugins say it, and no more
            assert (error.msg, error.details) == ("config version does not allow CHECK", "")
        else:
            assert error.msg == f"cniVersion {version} has no {command}"
            assert since in error.details


@pytest.mark.parametrize("version", ["0.0.9", "0.3.2", "1.2.0", "2.0.0", "1.1", "v1.0.0", " 1.0.0", "x"])
def test_a_version_that_is_not_supported_is_refused_with_those_that_are(version: str) -> None:
    error = refusal(errors.INCOMPATIBLE_VERSION, config=config(cniVersion=version))
    assert error.msg == f"cniVersion {version!r} is not supported"
    assert all(supported in error.details for supported in SUPPORTED)


@pytest.mark.parametrize(
    ("members", "version"),
    [({}, "0.1.0"), ({"cniVersion": ""}, "0.1.0"), ({"cniVersion": "9"}, "9"), ({"cniVersion": 5}, LATEST)],
)
def test_a_version_that_is_absent_is_the_first_and_one_that_is_no_text_the_latest(
    members: dict[str, object], version: str
) -> None:
    assert version_of(members) == version


# The configuration


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        (b"", "the configuration on stdin is not JSON: line 1, column 1: a value is expected"),
        (b"{", "the configuration on stdin is not JSON: line 1, column 2: a member name in double quotes is expected"),
        (b"[]", "the configuration on stdin is not a JSON object"),
        (b"null", "the configuration on stdin is not a JSON object"),
    ],
)
def test_a_configuration_that_is_no_json_object_is_a_decoding_failure(stdin: bytes, message: str) -> None:
    with pytest.raises(CniError) as refused:
        parse_config(stdin)
    assert (refused.value.code, refused.value.msg) == (errors.DECODING_FAILURE, message)


def in_another_case(value: Any) -> bool:
    """Whether a key is a known one but for its case, at any depth."""
    if isinstance(value, dict):
        return any(USUAL.get(key.lower(), key) != key for key in value) or any(map(in_another_case, value.values()))
    return isinstance(value, list) and any(map(in_another_case, value))


def holds_null(value: Any) -> bool:
    """Whether a null is a member of an object, at any depth."""
    if isinstance(value, dict):
        return None in value.values() or any(map(holds_null, value.values()))
    return isinstance(value, list) and any(map(holds_null, value))


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=5))
def test_a_member_that_is_null_is_absent_as_for_go(document: dict[str, Any]) -> None:
    assume(not in_another_case(document))
    found = parse_config(json.dumps(document).encode())
    assert not holds_null(found)
    if not holds_null(document):
        assert found == document
    assert found.keys() == {name for name, value in document.items() if value is not None}


def test_nulls_in_a_list_keep_their_place() -> None:
    assert parse_config(b'{"a": [null, {"b": null, "c": 1}, [null]]}') == {"a": [None, {"c": 1}, [None]]}


MACS = [f"02:00:00:00:00:0{n}" for n in range(1, 5)]


@pytest.mark.parametrize("absent", range(5))
def test_the_most_specific_hardware_address_wins(absent: int) -> None:
    """runtimeConfig, then CNI_ARGS, then args.cni, then the configuration's own."""
    told = ["", "", "", ""][:absent] + MACS[absent:]
    made = request(
        config=config(runtimeConfig={"mac": told[0]}, args={"cni": {"mac": told[2]}}, mac=told[3]),
        CNI_ARGS=f"MAC={told[1]}",
    )
    assert macvlan.mac(made, Network(made.config)).hex(":") == "".join(told[absent : absent + 1])


def test_addresses_asked_for_come_together_each_once() -> None:
    made = request(
        config=config(
            args={"cni": {"ips": ["10.1.2.11/24", "11.11.11.11", "2001:db8:1::11/64"]}},
            runtimeConfig={"ips": ["10.1.2.10", "10.1.2.12"]},
        ),
        CNI_ARGS="IP=10.1.2.10/24",
    )
    assert [str(address) for address in made.ips] == [
        "10.1.2.10",
        "10.1.2.11",
        "11.11.11.11",
        "2001:db8:1::11",
        "10.1.2.12",
    ]


@pytest.mark.parametrize(
    ("members", "environ", "expected"),
    [
        pytest.param({}, {"CNI_ARGS": "IP=10.1.2.10"}, ["10.1.2.10"], id="CNI_ARGS env without prefix"),
        pytest.param({}, {"CNI_ARGS": "IP=10.1.2.11/24"}, ["10.1.2.11"], id="CNI_ARGS env with prefix"),
        pytest.param(
            {"runtimeConfig": {"ips": ["192.168.0.1", "192.168.0.5/24", "2001:db8::1/64"]}},
            {},
            ["192.168.0.1", "192.168.0.5", "2001:db8::1"],
            id="custom IPs from runtime configuration",
        ),
        pytest.param({"args": {}}, {}, [], id="no arguments"),
        pytest.param({}, {"CNI_ARGS": "IP="}, [], id="an empty IP"),
    ],
)
def test_go_should_parse_addresses_asked_for(
    members: dict[str, Any], environ: dict[str, str], expected: list[str]
) -> None:
    assert request(config=config(**members), **environ).ips == [Address.parse(text) for text in expected]


def test_what_a_configuration_leaves_out_is_empty() -> None:
    made = request()
    assert (made.name, made.ipam, made.ip_ranges, made.mac, made.ips, made.prev_result) == (
        "net1",
        {},
        [],
        "",
        [],
        None,
    )


def test_the_result_of_the_plugins_before_is_read_in_the_form_of_any_version() -> None:
    for document in ({"ips": [{"address": "10.1.0.5/16"}]}, {"ip4": {"ip": "10.1.0.5/16"}}):
        result = request(config=config(prevResult=document)).prev_result
        assert result
        assert [str(ip.cidr) for ip in result.ips] == ["10.1.0.5/16"]


# GC


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"cni.dev/valid-attachments": []}, set()),
        ({"cni.dev/attachments": []}, set()),
        ({"cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}]}, {("a", "eth0")}),
        (
            {"cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}], "cni.dev/attachments": []},
            {("a", "eth0")},
        ),
        ({"cni.dev/attachments": [{"containerID": "b", "ifname": "eth1"}]}, {("b", "eth1")}),
    ],
)
def test_the_valid_attachments_are_those_of_the_newer_key(
    members: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    assert request("GC", config(**members)).valid_attachments == expected


@pytest.mark.parametrize("members", [{}, {"cni.dev/valid-attachments": None}, {"cni.dev/attachments": None}])
def test_no_list_of_valid_attachments_is_an_error_and_not_an_empty_list(members: dict[str, Any]) -> None:
    document = parse_config(json.dumps(config() | members).encode())
    with pytest.raises(CniError) as refused:
        _ = request("GC", document).valid_attachments
    assert refused.value.code == errors.INVALID_CONFIG
    assert "nothing was freed" in refused.value.msg


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"Master": "eth1", "MTU": 1400}, {"master": "eth1", "mtu": 1400}),
        ({"IPAM": {"Type": "host-local", "datadir": "/x"}}, {"ipam": {"type": "host-local", "dataDir": "/x"}}),
        (
            {"ipam": {"Ranges": [[{"subnet": "10.1.0.0/24", "rangestart": "10.1.0.5", "RANGEEND": "10.1.0.9"}]]}},
            {"ipam": {"ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.9"}]]}},
        ),
        ({"RuntimeConfig": {"IPs": ["10.1.0.7"], "MAC": "x"}}, {"runtimeConfig": {"ips": ["10.1.0.7"], "mac": "x"}}),
        ({"PrevResult": {"IPs": [{"Address": "10.1.0.7/24"}]}}, {"prevResult": {"ips": [{"address": "10.1.0.7/24"}]}}),
        ({"master": "eth0", "Master": "eth1"}, {"master": "eth1"}),
        ({"Master": "eth1", "master": "eth0"}, {"master": "eth0"}),
        ({"Master": "eth1", "master": None}, {"master": "eth1"}),
        ({"AuxAddresses": {"Gateway": "10.1.0.9"}}, {"auxAddresses": {"Gateway": "10.1.0.9"}}),
        ({"nobodyKnows": {"MTU": 1}}, {"nobodyKnows": {"mtu": 1}}),
    ],
)
def test_keys_are_matched_as_gos_json_reader_does(written: dict[str, Any], read: dict[str, Any]) -> None:
    assert as_go_reads(written) == parse_config(json.dumps(written).encode()) == read
