"""Bad input gets one CNI error with the right code, exit status 1, and changes nothing."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import Lan
from tests.kernel.plugin import RECORDS, leases, links


@pytest.mark.parametrize(
    ("variables", "code", "words"),
    [
        ({"CNI_COMMAND": "ATTACH"}, 4, "CNI_COMMAND: 'ATTACH' is not a command"),
        ({"CNI_COMMAND": ""}, 4, "CNI_COMMAND"),
        ({"CNI_CONTAINERID": ""}, 4, "CNI_CONTAINERID"),
        ({"CNI_IFNAME": "", "CNI_NETNS": ""}, 4, "CNI_NETNS, CNI_IFNAME"),
        ({"CNI_CONTAINERID": "../x"}, 4, "CNI_CONTAINERID"),
        ({"CNI_CONTAINERID": "a/b"}, 4, "CNI_CONTAINERID"),
        ({"CNI_CONTAINERID": "-x"}, 4, "CNI_CONTAINERID"),
        ({"CNI_IFNAME": "../x"}, 4, "CNI_IFNAME"),
        ({"CNI_IFNAME": "a/b"}, 4, "CNI_IFNAME"),
        ({"CNI_IFNAME": "."}, 4, "CNI_IFNAME"),
        ({"CNI_IFNAME": ".."}, 4, "CNI_IFNAME"),
        ({"CNI_IFNAME": "a b"}, 4, "CNI_IFNAME"),
        ({"CNI_IFNAME": "a:b"}, 4, "CNI_IFNAME"),
        ({"CNI_IFNAME": "eth%d"}, 4, "CNI_IFNAME"),
        ({"CNI_IFNAME": "default"}, 4, "CNI_IFNAME"),
        ({"CNI_IFNAME": "sixteen-bytes-xy"}, 4, "CNI_IFNAME"),
        ({"CNI_ARGS": "MAC=zz"}, 4, "CNI_ARGS"),
        ({"CNI_ARGS": "A=1;B=2"}, 4, "CNI_ARGS: unknown keys A, B"),
        ({"CNI_ARGS": "nonsense"}, 4, "CNI_ARGS"),
        ({"CNI_NETNS": "/run/netns/gone"}, 3, "CNI_NETNS"),
        ({"CNI_NETNS": "/proc/4194305/ns/net"}, 3, "CNI_NETNS"),  # a pid that none can have
        ({"CNI_NETNS": "/etc/passwd"}, 4, "is not a network namespace"),
        ({"CNI_NETNS": "/proc/self/ns/mnt"}, 4, "is not a network namespace"),
        ({"CNI_NETNS": "/proc/self/ns/net"}, 4, "the host's own"),
        ({"CNI_NETNS": "/run/netns/node"}, 4, "the host's own"),
    ],
    ids=str,
)
def test_environment(lan: Lan, variables: dict[str, str], code: int, words: str) -> None:
    pod = lan.host("pod")
    error = lan.macvlan.add(pod, lan.config(), **variables).error
    assert error["code"] == code, error
    assert words in error["msg"]
    assert error["cniVersion"] == "1.0.0"
    assert (links(pod), leases(lan.data_dir)) == ([], {})


@pytest.mark.parametrize(
    ("keys", "code", "words"),
    [
        ({"cniVersion": "9.9.9"}, 1, "9.9.9"),
        ({"name": None}, 7, "name is missing"),
        ({"name": "../x"}, 7, 'name: "../x" is not'),
        ({"name": ""}, 7, 'name: "" is not'),
        ({"mode": "bridged"}, 7, 'mode: "bridged" is not one of bridge, private, vepa, passthru'),
        ({"mtu": -1}, 7, "mtu: -1"),
        ({"mtu": "1500"}, 7, 'mtu: "1500" is not of type integer'),
        ({"mac": "nonsense"}, 7, "mac:"),
        ({"mac": "01:00:00:00:00:01"}, 7, "mac:"),
        ({"master": "eth9"}, 7, "master: there is no link named eth9"),
        ({"master": ["eth8", "eth9"]}, 7, "master: there is no link of eth8, eth9"),
        ({"master": "a/b"}, 7, "master:"),
        ({"ipam": {"type": "host-local"}}, 7, "subnet or ranges"),
        ({"ipam": {"type": "host-local", "subnet": "10.1.0.5/24"}}, 7, "host bits"),
        ({"ipam": {"type": "host-local", "subnet": "10.1.0.0/016"}}, 7, "subnet"),
    ],
    ids=str,
)
def test_configuration(lan: Lan, keys: dict[str, Any], code: int, words: str) -> None:
    pod = lan.host("pod")
    error = lan.macvlan.add(pod, lan.config(**keys)).error
    assert error["code"] == code, error
    assert words in error["msg"], error
    assert error["cniVersion"] == keys.get("cniVersion", "1.0.0")
    assert (links(pod), leases(lan.data_dir)) == ([], {})


def test_every_violation_of_the_schema_is_listed_with_its_path(lan: Lan) -> None:
    ipam = {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0"}], [{}]], "routes": [{"dst": 1}]}
    error = lan.macvlan.add(lan.host("pod"), lan.config(mode="x", mtu=1.5, ipam=ipam)).error
    for path in ("mode: ", "mtu: ", "ipam.ranges[0][0].subnet: ", "ipam.ranges[1][0]: ", "ipam.routes[0].dst: "):
        assert path in error["details"], error


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'"x"', b"{'name': 1}", b"\xff", b"[" * 5000, b" " * (1 << 20) + b"{}"], ids=range(8)
)
def test_what_is_no_json_object(lan: Lan, text: bytes) -> None:
    error = lan.macvlan.call("ADD", lan.host("pod"), text).error
    assert error["code"] == 6
    # Of what is only too long the version can be read: none is 0.1.0.
    assert error["cniVersion"] == ("0.1.0" if text.endswith(b"{}") else "1.1.0")


@pytest.mark.parametrize("name", ["", "attachments", "parents", "users"])
def test_records_behind_a_symbolic_link_are_refused(lan: Lan, tmp_path: Path, name: str) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    link = RECORDS / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(planted)
    try:
        error = lan.macvlan.add(pod := lan.host("pod"), lan.config()).error
    finally:
        link.unlink()
    assert (error["code"], str(link) in error["msg"]) == (108, True)
    assert (links(pod), leases(lan.data_dir), list(planted.iterdir())) == ([], {}, [])


@pytest.mark.parametrize("umask", [0, 0o777])
def test_what_is_made_has_the_same_modes_whatever_the_umask(lan: Lan, umask: int) -> None:
    before = os.umask(umask)
    try:
        assert lan.macvlan.add(lan.host("pod"), lan.config()).status == 0
    finally:
        os.umask(before)
    made = [path for top in (RECORDS, lan.data_dir) for path in (top, *top.rglob("*"))]
    assert {(path.is_dir(), path.stat().st_mode & 0o7777) for path in made} == {(True, 0o755), (False, 0o600)}


def test_a_fifo_as_namespace_does_not_hang(lan: Lan, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert lan.macvlan.add(lan.host("pod"), lan.config(), CNI_NETNS=str(fifo)).error["code"] == 4


@pytest.mark.parametrize("what", ["file", "fifo", "the host's own"])
def test_del_gives_back_the_rest_where_the_path_leads_to_no_container_any_more(
    lan: Lan, tmp_path: Path, what: str
) -> None:
    """As after a reboot, when files lie where namespaces were mounted, or when a pid is another process's."""
    pod, config = lan.host("pod"), lan.config()
    assert lan.macvlan.add(pod, config).status == 0
    pod.remove()
    path = tmp_path / what
    if what == "fifo":
        os.mkfifo(path)
    elif what == "file":
        path.touch()
    elsewhere = lan.node.netns if what == "the host's own" else str(path)
    lan.macvlan.delete(pod, config, CNI_NETNS=elsewhere, CNI_IFNAME="eth0").succeeded()
    assert (leases(lan.data_dir), links(lan.node), list((RECORDS / "attachments").iterdir())) == ({}, ["eth0"], [])


def test_a_socket_as_namespace(lan: Lan, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        assert lan.macvlan.add(lan.host("pod"), lan.config(), CNI_NETNS=path).error["code"] == 4


def test_without_a_command_a_person_gets_a_short_usage_and_nothing_is_read(lan: Lan) -> None:
    done = lan.node.run([str(lan.macvlan.executable)], env={}, check=False)
    assert done.returncode == 1
    assert b'"code":4' in done.stdout
    assert b"VERSION, ADD, DEL, CHECK, GC, STATUS" in done.stderr


@pytest.mark.parametrize(("command", "version"), [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "1.0.0")])
def test_a_command_that_the_version_does_not_have(lan: Lan, command: str, version: str) -> None:
    error = lan.macvlan.call(command, lan.host("pod"), lan.config(cniVersion=version)).error
    assert (error["code"], error["cniVersion"]) == (1, version)
