"""ipam.type dhcp: Go's plugin and daemon, executed by ours, and a DHCP server (dnsmasq) on the network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import Lan
from tests.kernel.dhcp import RESERVED, RESERVED_MAC, Server, directory_of_the_plugin, wait_for
from tests.kernel.plugin import GO, OURS, addresses, links


@pytest.fixture
def server(lan: Lan, tmp_path: Path) -> Server:
    return Server(lan.beyond, tmp_path / "dnsmasq")


@pytest.fixture
def daemon(lan: Lan, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The path of the socket of a daemon with such options."""
    socket = tmp_path / "dhcp.sock"
    process = lan.node.popen([str(GO / "dhcp"), "daemon", "-socketpath", str(socket), *getattr(request, "param", [])])
    wait_for(socket.exists, "the daemon")
    yield str(socket)
    process.kill()
    process.wait()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return directory_of_the_plugin(tmp_path)


def config(lan: Lan, socket: str, **keys: Any) -> dict[str, Any]:
    return lan.config(ipam={"type": "dhcp", "daemonSocketPath": socket}, **keys)


def test_a_lease_is_taken_checked_and_released(lan: Lan, server: Server, daemon: str, path: str) -> None:
    pod = lan.host("pod")
    network = config(lan, daemon)
    result = lan.macvlan.add(pod, network, CNI_PATH=path).result
    [address] = [ip["address"] for ip in result["ips"]]
    assert addresses(pod) == [address]
    assert address.startswith("10.1.0.") and address.endswith("/24")
    assert pod.ping("10.1.0.1")
    assert lan.beyond.ping(address.partition("/")[0])
    lan.macvlan.check(pod, network, result, CNI_PATH=path).succeeded()
    lan.macvlan.delete(pod, network, CNI_PATH=path).succeeded()
    assert links(pod) == []
    wait_for(lambda: server.saw(f"DHCPRELEASE(eth0) {address.partition('/')[0]}"), "the release")


def test_a_reservation_goes_by_the_hardware_address(lan: Lan, server: Server, daemon: str, path: str) -> None:
    result = lan.macvlan.add(lan.host("pod"), config(lan, daemon, mac=RESERVED_MAC), CNI_PATH=path).result
    assert [ip["address"] for ip in result["ips"]] == [f"{RESERVED}/24"]


def test_one_container_on_two_networks(lan: Lan, server: Server, daemon: str, path: str, tmp_path: Path) -> None:
    other = lan.net.host("other")
    lan.net.cable(lan.node, "eth1", other, "eth0")
    other.address("eth0", "10.2.0.1/24")
    Server(other, tmp_path / "other", subnet="10.2.0")
    lan.node.ip("link set eth1 up")
    pod = lan.host("pod")
    networks = {"eth0": config(lan, daemon), "net1": config(lan, daemon, name="second", master="eth1")}
    for ifname, network in networks.items():
        lan.macvlan.add(pod, network, CNI_PATH=path, CNI_IFNAME=ifname).result["ips"]
    assert addresses(pod)[0].startswith("10.1.0.")
    assert addresses(pod, "net1")[0].startswith("10.2.0.")
    assert other.ping(addresses(pod, "net1")[0].partition("/")[0])
    for ifname, network in networks.items():
        lan.macvlan.delete(pod, network, CNI_PATH=path, CNI_IFNAME=ifname).succeeded()
    assert links(pod) == []


@pytest.mark.parametrize("daemon", [["-timeout", "1s", "-resendmax", "1s"]], indirect=True)
def test_nobody_answers_and_nothing_is_left(lan: Lan, daemon: str, path: str) -> None:
    pod = lan.host("pod")
    assert lan.macvlan.add(pod, config(lan, daemon), CNI_PATH=path).document["msg"].startswith("ipam: dhcp: ")
    assert links(pod) == []


def test_without_the_daemon_the_error_says_how_to_start_it(lan: Lan, path: str, tmp_path: Path) -> None:
    pod, socket = lan.host("pod"), f"{tmp_path}/none.sock"
    error = lan.macvlan.add(pod, config(lan, socket), CNI_PATH=path).error
    assert f"its daemon is not: there is no socket {socket}. Start it: systemctl" in error["details"]
    assert f"{path}/dhcp daemon" in error["details"]
    assert error["msg"].count("dhcp.sock") + error["details"].count("none.sock") + error["msg"].count("none.sock") == 2
    assert links(pod) == []


def test_without_the_plugin_the_error_says_where_it_comes_from(lan: Lan) -> None:
    error = lan.macvlan.add(lan.host("pod"), config(lan, "/run/none"), CNI_PATH="/nonexistent").error
    assert "there is no plugin 'dhcp' in CNI_PATH" in error["msg"]
    assert "CNI reference plugins" in error["details"]


def test_a_network_of_the_commands_works_and_the_doctor_judges_it(
    lan: Lan, server: Server, path: str, tmp_path: Path
) -> None:
    """`network create --ipam-driver dhcp` names no socket: the daemon's usual one."""
    directory, program = tmp_path / "net.d", str(OURS / "cni-macvlan-py")
    create = [program, "network", "create", "lan", "-o", "parent=eth0", "--ipam-driver", "dhcp"]
    lan.node.run([*create, "--dir", str(directory), "--bin-dir", path])
    document = json.loads((directory / "lan.conflist").read_text())
    network = document["plugins"][0] | {"name": "lan", "cniVersion": document["cniVersion"]}

    def doctor(bin_dir: str) -> list[str]:
        argv = [program, "doctor", "--dir", str(directory), "--bin-dir", bin_dir, "--json"]
        found = json.loads(lan.node.run(argv, check=False).stdout)
        return [
            f"{check['level']} {check['what']} {check['mend']}" for check in found if "network lan: " in check["what"]
        ]

    assert any("has no dhcp" in line and "failure" in line for line in doctor(str(OURS)))
    assert any("no DHCP daemon runs" in line and f"{path}/dhcp daemon" in line for line in doctor(path))
    process = lan.node.popen([str(GO / "dhcp"), "daemon"])
    try:
        wait_for(lambda: Path("/run/cni/dhcp.sock").exists(), "the daemon")
        assert any(line.startswith("ok network lan: the DHCP daemon runs") for line in doctor(path))
        pod = lan.host("pod")
        assert lan.macvlan.add(pod, network, CNI_PATH=path).result["ips"]
        lan.macvlan.delete(pod, network, CNI_PATH=path).succeeded()
    finally:
        process.kill()
        Path("/run/cni/dhcp.sock").unlink()
