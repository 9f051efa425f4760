"""cnitool: fixed addresses, and a chain in which another plugin gives the interface that ipvlan's links are on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance.lab.topology import Container
from tests.kernel.conftest import Lan
from tests.kernel.plugin import CNITOOL, OURS, RECORDS, addresses, leases, links

# As the plugins of clouds do that give a pod an address of the node's second interface.
UPLINK = """#!/bin/sh
cat >/dev/null
case $CNI_COMMAND in
    VERSION) echo '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}' ;;
    ADD) echo '{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0"}], "ips": [
        {"address": "10.1.0.77/24", "gateway": "10.1.0.1", "interface": 0},
        {"address": "fd00:1::77/64", "interface": 0}], "routes": [{"dst": "0.0.0.0/0"}]}' ;;
esac
"""


def test_ipvlan_chained_on_another_plugins_interface(lan: Lan, tmp_path: Path) -> None:
    (tmp_path / "uplink").write_text(UPLINK)
    (tmp_path / "uplink").chmod(0o755)
    document = {"cniVersion": "1.0.0", "name": "chain", "plugins": [{"type": "uplink"}, {"type": "ipvlan"}]}
    (tmp_path / "chain.conflist").write_text(json.dumps(document))
    pod = lan.container("pod")

    def cnitool(command: str, container: Container) -> bytes:
        environment = {"CNI_PATH": f"{tmp_path}:{OURS}", "NETCONFPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
        argv = [str(CNITOOL), command, "chain", container.netns]
        return lan.node.run(argv, env=environment).stdout

    result = json.loads(cnitool("add", pod))
    assert [interface["name"] for interface in result["interfaces"]] == ["eth0", "eth0"]
    assert {ip["interface"] for ip in result["ips"]} == {1}
    assert addresses(pod) == ["10.1.0.77/24", "fd00:1::77/64"]
    assert pod.ping("10.1.0.1")
    assert pod.ping("fd00:1::1")
    cnitool("check", pod)
    cnitool("del", pod)
    assert links(pod) == []
    assert list((RECORDS / "attachments").iterdir()) == []


# The two ways in which a runtime asks for an address: CNI_ARGS, and the capability `ips`.
ASKED = {"CNI_ARGS": "IgnoreUnknown=1;IP=10.1.0.77", "CAP_ARGS": '{"ips": ["10.1.0.77/24"]}'}


@pytest.mark.parametrize("way", ASKED)
@pytest.mark.parametrize("plugin", ["macvlan", "ipvlan"])
def test_a_fixed_address(lan: Lan, tmp_path: Path, plugin: str, way: str) -> None:
    config = {"type": plugin, "master": "eth0", "ipam": lan.dual_stack, "capabilities": {"ips": True}}
    document = {"cniVersion": "1.0.0", "name": "lan", "plugins": [config]}
    (tmp_path / "lan.conflist").write_text(json.dumps(document))
    pod = lan.container("pod")
    environment = {"CNI_PATH": str(OURS), "NETCONFPATH": str(tmp_path), "PATH": "/usr/bin:/bin", way: ASKED[way]}
    for command in ("add", "check", "del"):
        lan.node.run([str(CNITOOL), command, "lan", pod.netns], env=environment)
        if command == "add":
            assert addresses(pod) == ["10.1.0.77/24", "fd00:1::2/64"]
            assert pod.ping("10.1.0.1")
            assert lan.beyond.ping("fd00:1::2")
    assert (links(pod), leases(lan.data_dir)) == ([], {})
