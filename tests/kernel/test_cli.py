"""The commands for people, by the frozen executables on a node with containers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import Lan
from tests.kernel.plugin import OURS, leases, links


class Node:
    """A node with a directory of networks."""

    def __init__(self, lan: Lan, directory: Path) -> None:
        self.lan = lan
        self.directory = directory

    def run(self, kind: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return self.lan.node.run([str(OURS / f"cni-{kind}-py"), *arguments], env={}, check=False)

    def ok(self, *arguments: str, kind: str = "macvlan") -> str:
        """What it prints."""
        done = self.run(kind, *arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout.decode()

    def refused(self, *arguments: str, kind: str = "macvlan") -> str:
        """What it says on stderr; nothing is on stdout."""
        done = self.run(kind, *arguments)
        assert (done.returncode, done.stdout) == (1, b""), done
        assert b"Traceback" not in done.stderr
        return done.stderr.decode()

    def create(self, name: str, *options: str, kind: str = "macvlan") -> dict[str, Any]:
        """The plugin's configuration, as a runtime would pass it."""
        self.ok("network", "create", name, "--dir", str(self.directory), *options, kind=kind)
        document = json.loads((self.directory / f"{name}.conflist").read_text())
        config = dict(document["plugins"][0], name=document["name"], cniVersion=document["cniVersion"])
        if "ipam" in config:
            config["ipam"]["dataDir"] = str(self.lan.data_dir)
        document["plugins"][0] = config
        (self.directory / f"{name}.conflist").write_text(json.dumps(document))
        return config


@pytest.fixture
def node(lan: Lan, tmp_path: Path) -> Node:
    return Node(lan, tmp_path / "net.d")


def test_a_network_from_create_to_rm(node: Node) -> None:
    lan, where = node.lan, ("--dir", str(node.directory))
    subnets = ("--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64", "--aux-address", "printer=10.1.0.2")
    config = node.create("lan", *subnets, "-o", "parent=eth0")
    pod = lan.container("pod")
    assert lan.macvlan.add(pod, config).status == 0
    assert pod.ping("10.1.0.1")
    assert "lan" in node.ok("network", "ls", *where).splitlines()[1]
    told = json.loads(node.ok("network", "inspect", "lan", "--json", *where))
    assert told["attachments"] == [{"container": "pod", "interface": "eth0", "addresses": ["10.1.0.3", "fd00:1::2"]}]
    assert [pool["used"] for pool in told["pools"]] == [1, 1]
    assert "10.1.0.3, fd00:1::2" in node.ok("network", "inspect", "lan", *where)
    assert "in use by pod" in node.refused("network", "rm", "lan", *where)
    [lease, _] = json.loads(node.ok("leases", "lan", "--json", *where))
    assert (lease["address"], lease["container"], lease["boot"]) == ("10.1.0.3", "pod", "this")
    assert "is attached" in node.refused("leases", "release", "lan", "10.1.0.3", *where)
    lan.macvlan.delete(pod, config).succeeded()
    assert node.ok("network", "rm", "lan", *where) == "lan\n"
    assert list(node.directory.iterdir()) == []


def test_a_trunk_is_provisioned_at_once_and_goes_with_its_network(node: Node) -> None:
    node.create("till", "--subnet", "10.50.0.0/24", "-o", "parent=eth0.50", "--provision")
    assert links(node.lan.node) == ["eth0", "eth0.50"]
    node.ok("network", "rm", "till", "--dir", str(node.directory))
    assert links(node.lan.node) == ["eth0"]


def test_l3_by_dockers_words(node: Node) -> None:
    subnets = ("--subnet", "10.8.1.0/24", "--subnet", "fd00:8:1::/64")
    config = node.create("l3", *subnets, "-o", "parent=eth0", "-o", "ipvlan_mode=l3", kind="ipvlan")
    pod = node.lan.container("pod")
    assert node.lan.ipvlan.add(pod, config).status == 0
    assert [route["dst"] for route in node.lan.node.ip_json("route show proto 193")] == ["10.8.1.0/24"]
    node.lan.ipvlan.delete(pod, config).succeeded()


def test_what_a_node_refuses_is_told_before_anything_is_written(node: Node) -> None:
    where = ("--dir", str(node.directory))
    node.create("lan", "--subnet", "10.1.0.0/24", "-o", "parent=eth0")
    for kind, options, told in (
        ("macvlan", ("--subnet", "10.2.0.0/24", "-o", "parent=eth9"), "no link named eth9"),
        ("macvlan", ("--subnet", "10.2.0.0/24", "-o", "parent=eth0", "-o", "mtu=9000"), "9000 is more than the 1500"),
        ("macvlan", ("--subnet", "10.1.0.0/16", "-o", "parent=eth0"), "of network lan"),
        ("ipvlan", ("--subnet", "10.2.0.0/24", "-o", "parent=eth0"), "is used as macvlan by network lan"),
        ("macvlan", ("--subnet", "10.2.0.0/24", "-o", "parent=lo"), "loopback"),
    ):
        assert told in node.refused("network", "create", "other", *options, *where, kind=kind)
    assert "network lan exists" in node.refused(
        "network", "create", "lan", "--subnet", "10.3.0.0/24", "-o", "parent=eth0", *where
    )
    assert [path.name for path in node.directory.iterdir()] == ["lan.conflist"]


def test_a_parent_that_a_container_uses_otherwise(node: Node) -> None:
    lan = node.lan
    assert lan.ipvlan.add(lan.host("pod"), lan.config(type="ipvlan")).status == 0
    told = node.refused(
        "network", "create", "other", "--subnet", "10.2.0.0/24", "-o", "parent=eth0", "--dir", str(node.directory)
    )
    assert "is used as ipvlan" in told
    assert "container pod of network lan" in told


def test_leases_of_others_and_of_nobody(node: Node) -> None:
    lan, where = node.lan, ("--dir", str(node.directory))
    config = node.create("lan", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64", "-o", "parent=eth0")
    assert lan.macvlan.add(lan.host("pod"), config).status == 0
    (lan.data_dir / "lan" / "10.1.0.2").write_text("pod")  # as before CNI 0.7
    (lan.data_dir / "lan" / "10.1.0.9").write_text("theirs\r\neth0")  # as by Go's host-local
    (lan.data_dir / "stray").write_text("")
    (lan.data_dir / "link").symlink_to("/etc")
    assert len(json.loads(node.ok("leases", "--json", *where))) == 3
    assert "pod's, which is attached" in node.refused("leases", "release", "lan", "10.1.0.2", *where)
    assert "pod's, which is attached" in node.refused("leases", "release", "lan", "FD00:1:0::0002", *where)
    assert "another plugin's to know" in node.refused("leases", "release", "lan", "10.1.0.9", *where)
    assert "nobody has 10.1.0.8" in node.refused("leases", "release", "lan", "10.1.0.8", *where)
    assert "nobody has 10.1.0.9 of network other" in node.refused("leases", "release", "other", "10.1.0.9", *where)
    for name in ("../lan", "/etc", ""):
        assert "cannot be a network's name" in node.refused("leases", "release", name, "10.1.0.9", *where)
    assert "there is no network other" in node.refused("leases", "other", *where)
    assert (
        node.ok("leases", "release", "lan", "10.1.0.9", "--force", *where)
        == "released 10.1.0.9, which theirs eth0 had\n"
    )
    assert "fd00:1::2" in node.ok("leases", "release", "lan", "FD00:1:0::0002", "--force", *where)
    assert sorted(leases(lan.data_dir)) == ["10.1.0.2"]


def test_print_writes_nothing(node: Node) -> None:
    where = ("--dir", str(node.directory))
    text = node.ok("network", "create", "lan", "--subnet", "10.1.0.0/24", "-o", "parent=eth0", "--print", *where)
    assert json.loads(text)["name"] == "lan"
    assert not node.directory.exists()


def test_validate(node: Node, tmp_path: Path) -> None:
    node.create("lan", "--subnet", "10.1.0.0/24", "-o", "parent=eth0")
    good = str(node.directory / "lan.conflist")
    assert node.ok("validate", good) == f"{good}: valid\n"
    bad = tmp_path / "bad.conflist"
    bad.write_text(Path(good).read_text().replace('"eth0"', '"eth0", "mode": "bridged"'))
    done = node.run("macvlan", "validate", good, str(bad))
    assert done.returncode == 1
    assert b"did you mean bridge?" in done.stdout
    assert node.run("macvlan", "validate", str(tmp_path / "absent")).returncode == 2


def test_help_and_misuse(node: Node) -> None:
    assert "network" in node.ok("--help")
    assert "--aux-address" in node.ok("network", "create", "--help")
    assert node.ok("--version").startswith("cni-macvlan-py ")
    assert node.run("macvlan", "frobnicate").returncode == 2


def levels(node: Node, *arguments: str) -> dict[str, str]:
    """What the doctor found → its level."""
    where = ("--dir", str(node.directory), "--bin-dir", str(OURS))
    done = node.run("macvlan", "doctor", "--json", *where, *arguments)
    checks = json.loads(done.stdout)
    assert done.returncode == int(any(check["level"] == "failure" for check in checks)), done.stderr
    assert all(check["mend"] for check in checks if check["level"] != "ok")
    return {check["what"]: check["level"] for check in checks}


def test_doctor_finds_nothing_on_a_node_that_works(node: Node) -> None:
    node.create("lan", "--subnet", "10.1.0.0/24", "-o", "parent=eth0")
    found = levels(node)
    assert "failure" not in found.values()
    assert found["kernel: makes macvlan, ipvlan, VLAN and dummy links"] == "ok"
    assert found["network lan: macvlan on eth0"] == "ok"
    assert "ok" in node.ok("doctor", "--dir", str(node.directory), "--bin-dir", str(OURS))


def test_doctor_finds_what_does_not_fit(node: Node) -> None:
    lan = node.lan
    config = node.create("lan", "--subnet", "10.1.0.0/24", "-o", "parent=eth0")
    assert lan.macvlan.add(lan.host("gone"), config).status == 0
    lease = lan.data_dir / "lan" / "10.1.0.9"
    lease.write_bytes(b"nobody\r\neth0")
    (node.directory / "other.conflist").write_text(
        json.dumps({"cniVersion": "1.0.0", "name": "other", "plugins": [{"type": "ipvlan", "master": "eth0"}]})
    )
    lan.node.ip("link add eth7 type dummy")
    lan.node.ip("link add link eth0 name eth0.77 type vlan id 77")
    lan.node.ip("link set eth0.77 alias cni-vlan")
    (lan.data_dir / "lan" / "10.1.0.2").unlink()
    found = levels(node, "--parent", "eth7", "--parent", "eth8")
    assert (
        found["network other: eth0 is used as macvlan by network lan " + f"({node.directory}/lan.conflist)"]
        == "failure"
    )
    assert found["network doctor: master: eth7 is down"] == "failure"
    assert found["network doctor: master: there is no link named eth8"] == "failure"
    assert found["eth0.77: nobody is on this link, which we made"] == "warning"
    assert found["network lan: gone eth0 is attached without a lease"] == "warning"
