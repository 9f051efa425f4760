"""podman 5, which has no CNI: Debian 13's, with its netavark, which calls the plugins by its own API."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.busybox import busybox_root
from tests.kernel.conftest import Lan
from tests.kernel.debian import TRIXIE, overlaid
from tests.kernel.plugin import OURS, RECORDS, REPOSITORY, leases, links
from tests.kernel.podman import Podman

NETWORK = """
[network]
network_backend = "netavark"
netavark_plugin_dirs = ["{plugins}"]
network_config_dir = "{directory}/networks"
"""


@pytest.fixture(scope="module")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Debian 13's root, with our plugins where they are here."""
    with overlaid(TRIXIE, tmp_path_factory.mktemp("trixie"), str(REPOSITORY)) as root:
        (root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        yield root


class Netavark(Podman):
    def __init__(self, lan: Lan, directory: Path, root: Path) -> None:
        directory.mkdir()
        self.root = root
        network = NETWORK.format(plugins=OURS, directory=directory)
        super().__init__(lan, directory, network, ("chroot", str(root)))

    def create(self, name: str, *options: str, kind: str = "macvlan") -> None:
        self("network", "create", "-d", f"cni-{kind}-py", *options, name)

    def leases(self, network: str) -> dict[str, str]:
        """Of our own IPAM, by address."""
        return leases(self.root / "var/lib/cni/networks", network)

    def network(self, name: str) -> dict[str, Any]:
        [found] = json.loads(self("network", "inspect", name))
        return dict(found)

    def end(self, *containers: str) -> None:
        """`rm`, of all that there are: nothing is left on the node."""
        self("rm", "-f", "-t", "0", *(containers or ["-a"]))
        if not containers:
            self.left_nothing()

    def left_nothing(self) -> None:
        assert links(self.lan.node) == ["eth0"]
        assert list((RECORDS / "attachments").glob("*")) == []

    def told(self, name: str, network: str) -> dict[str, Any]:
        """What `podman inspect` says of a container in a network."""
        [found] = json.loads(self("inspect", name))
        return dict(found["NetworkSettings"]["Networks"][network])


@pytest.fixture
def podman(lan: Lan, tmp_path: Path, trixie: Path) -> Iterator[Netavark]:
    podman = Netavark(lan, tmp_path / "podman", trixie)
    yield podman
    podman.end()


def trunk(lan: Lan) -> None:
    for port in lan.switch.ports.values():
        lan.switch.set_vlans(port, None, (50,))
    lan.beyond.ip("link add link eth0 name eth0.50 type vlan id 50")
    lan.beyond.address("eth0.50", "10.50.0.1/24")


def test_a_vlan_from_create_to_rm(podman: Netavark) -> None:
    trunk(podman.lan)
    podman.create("till", "--subnet", "10.50.0.0/24", "-o", "parent=eth0.50")
    podman.run("web", "--network", "till")
    assert links(podman.lan.node) == ["eth0", "eth0.50"]
    podman.ping("web", "10.50.0.1")
    told = podman.told("web", "till")
    assert podman.addresses("web") == ["10.50.0.2/24"]
    assert (told["IPAddress"], told["Gateway"]) == ("10.50.0.2", "10.50.0.1")
    podman.run("db", "--network", "till", "--ip", "10.50.0.9", "--mac-address", "02:00:00:00:50:09")
    assert podman.addresses("db") == ["10.50.0.9/24"]
    assert podman.told("db", "till")["MacAddress"] == "02:00:00:00:50:09"
    podman.ping("db", "10.50.0.2")
    podman("restart", "-t", "0", "web")
    assert podman.told("web", "till")["MacAddress"] == told["MacAddress"]
    podman.ping("web", "10.50.0.9")
    podman("network", "reload", "-a")
    podman.ping("web", "10.50.0.9")
    podman.end("web", "db")
    assert links(podman.lan.node) == ["eth0"]
    podman("network", "rm", "till")


def test_two_networks_an_internal_one_and_addresses_of_our_own(podman: Netavark) -> None:
    podman.create("closed", "--internal", "--subnet", "10.3.0.0/24")
    podman.create(
        "lan", "--subnet", "10.1.0.0/24", "--gateway", "10.1.0.1", "-o", "parent=eth0", "-o", "ipam=host-local"
    )
    assert podman.network("lan")["options"] == {
        "parent": "eth0",
        "ipam": "host-local",
        "order": "stable",
        "mac": "stable",
        "ipv6": "false",
    }
    podman.run("web", "--network", "lan", "--network", "closed")
    podman.ping("web", "10.1.0.1")
    [own] = podman.addresses("web")
    known = podman.told("web", "lan")
    assert f"{known['IPAddress']}/24" == own
    assert [*podman.leases("lan")] == [known["IPAddress"]]
    assert podman.told("web", "closed")["IPAddress"] == "10.3.0.1"
    assert "default via 10.1.0.1 dev eth0" in podman("exec", "web", "ip", "route")
    podman.end("web")
    assert (podman.leases("lan"), links(podman.lan.node)) == ({}, ["eth0"])


def test_ipvlan_in_l3_and_a_host_that_reaches_its_macvlan_containers(podman: Netavark) -> None:
    node = podman.lan.node
    node.address("eth0", "10.1.0.7/24")
    podman.lan.beyond.ip("route add 10.8.0.0/24 via 10.1.0.7")
    podman.create("far", "--subnet", "10.8.0.0/24", "-o", "parent=eth0", "-o", "mode=l3", kind="ipvlan")
    podman.run("l3", "--network", "far")
    assert "default dev eth0 scope link" in podman("exec", "l3", "ip", "route")
    podman.ping("l3", "10.1.0.1")
    podman("network", "reload", "l3")
    podman.ping("l3", "10.1.0.1")
    podman.end("l3")
    podman.create("lan", "--subnet", "10.1.0.0/24", "-o", "parent=eth0", "-o", "host_access=true")
    podman.run("web", "--network", "lan", "--ip", "10.1.0.9")
    assert node.ping("10.1.0.9")
    podman.ping("web", "10.1.0.7")
    podman.end("web")


def test_what_cannot_be_is_refused_and_leaves_nothing(podman: Netavark) -> None:
    for options, why in (
        (["-o", "parrent=eth0"], "-o parrent: macvlan has no such option. Did you mean parent?"),
        (["-o", "parent=eth9"], "-o parent=eth9: there is no link named eth9"),
        (["-o", "parent=eth0", "-o", "ipam=lan-local", "-o", "cluster=none"], 'cluster "none"'),
    ):
        assert why in podman.refused(
            "network", "create", "-d", "cni-macvlan-py", "--subnet", "10.1.0.0/24", *options, "x"
        )
    assert podman("network", "ls", "-q", "--filter", "name=x") == ""
    podman.lan.beyond.address("eth0", "10.1.0.77/24")
    podman.create("lan", "--subnet", "10.1.0.0/24", "-o", "parent=eth0", "-o", "conflict=probe")
    run = podman.arguments("web", "--network", "lan", "--ip", "10.1.0.77")
    assert "address 10.1.0.77 is in use by " in podman.refused(*run)
    podman.left_nothing()
    # Of two networks the second fails: what the first had goes.
    podman.create("closed", "--internal", "--subnet", "10.3.0.0/24")
    podman("rm", "-f", "web")
    shutil.rmtree(podman.directory / "root-web")
    run = podman.arguments("web", "--network", "closed", "--network", "lan:ip=10.1.0.77")
    assert "address 10.1.0.77 is in use by " in podman.refused(*run)
    podman.left_nothing()
    podman.lan.beyond.ip("addr del 10.1.0.77/24 dev eth0")
    podman("start", "web")
    podman.ping("web", "10.1.0.1")


def test_the_doctor_knows_this_podman_and_where_it_looks(podman: Netavark) -> None:
    def told() -> list[str]:
        command = [*podman.prefix, str(OURS / "cni-macvlan-py"), "doctor"]
        done = podman.lan.node.run(command, env=podman.environment, check=False)
        return [line for line in done.stdout.decode().splitlines() if "podman" in line]

    [line] = told()
    assert line.startswith("ok "), line
    assert line.endswith(f"calls netavark plugins: cni-macvlan-py, cni-ipvlan-py of {OURS}"), line
    configuration = podman.directory / "containers.conf"
    configuration.write_text(configuration.read_text().replace(str(OURS), "/opt/elsewhere"))
    [line] = told()
    assert line.startswith("warning "), line
    assert "of ours it finds no cni-macvlan-py, cni-ipvlan-py in /opt/elsewhere" in line


COMPOSE = """
services:
  web:
    image: docker.io/library/busybox
    container_name: web
    command: sleep 1000
    security_opt: [seccomp=unconfined]
    cap_add: [NET_RAW]
    networks: [till]
"""


def test_compose_brings_a_container_back_with_what_it_had(podman: Netavark) -> None:
    """Its network as docs/podman.md has it, with addresses of our own IPAM."""
    trunk(podman.lan)
    page = (REPOSITORY / "docs" / "podman.md").read_text()
    [networks] = re.findall(r"```yaml\n(networks:\n.*?)```", page, re.DOTALL)
    own = "parent: eth0.50\n      ipam: host-local"
    (podman.directory / "compose.yaml").write_text(COMPOSE + networks.replace("parent: eth0.50", own))
    image = busybox_root(podman.directory / "image")
    subprocess.run(["tar", "-C", image, "-cf", podman.directory / "image.tar", "."], check=True)
    podman("import", str(podman.directory / "image.tar"), "docker.io/library/busybox:latest")

    def compose(*arguments: str) -> None:
        file = str(podman.directory / "compose.yaml")
        command = [*podman.prefix, "podman-compose", "--in-pod=false", "-p", "shop", "-f", file, *arguments]
        done = podman.lan.node.run(command, env=podman.environment, check=False, timeout=120)
        assert done.returncode == 0, (done.stdout.decode(), done.stderr.decode())

    compose("up", "-d")
    podman.ping("web", "10.50.0.1")
    known = podman.told("web", "shop_till")
    compose("down", "-t", "0")
    podman.left_nothing()
    compose("up", "-d")
    again = podman.told("web", "shop_till")
    assert [again[key] for key in ("IPAddress", "MacAddress")] == [known[key] for key in ("IPAddress", "MacAddress")]
    compose("down", "-t", "0")
