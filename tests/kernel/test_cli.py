"""The commands for people, by the frozen executables on a node with containers."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import Lan
from tests.kernel.plugin import GO, OURS, Plugin, leases, links


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
    result = lan.macvlan.add(pod, config).result
    assert pod.ping("10.1.0.1")
    assert "lan" in node.ok("network", "ls", *where).splitlines()[1]
    told = json.loads(node.ok("network", "inspect", "lan", "--json", *where))
    four, six = [ip["address"].partition("/")[0] for ip in result["ips"]]
    [inside] = pod.ip_json("link show eth0")
    assert told["attachments"] == [
        {
            "container": "pod",
            "interface": "eth0",
            "namespace": pod.netns,
            "state": "alive",
            "mac": inside["address"],
            "addresses": [f"{four}/24", f"{six}/64"],
            "gateways": ["10.1.0.1", "fd00:1::1"],
            "vlan": 0,
            "hostAccess": False,
        }
    ]
    assert [(pool["used"], pool["size"] - pool["free"]) for pool in told["pools"]] == [(1, 1), (1, 1)]
    text = node.ok("network", "inspect", "lan", *where)
    assert f"{four}/24, {six}/64" in text
    # The gateway, the printer and what is no host's cannot be given.
    assert "10.1.0.3-10.1.0.254: 1 of 252 given, 251 free" in text
    assert "fd00:1::2-fd00:1::ffff:ffff:ffff:ffff: 1 of about 2^64 given, about 2^64 free" in text
    assert "in use by pod" in node.refused("network", "rm", "lan", *where)
    [lease, _] = json.loads(node.ok("leases", "lan", "--json", *where))
    assert (lease["address"], lease["container"], lease["boot"]) == (f"{four}/24", "pod", "this")
    assert lease["state"] == "alive"
    since = datetime.fromisoformat(lease["since"])
    assert since.tzinfo is not None
    assert abs(datetime.now(UTC) - since) < timedelta(minutes=5)
    assert "is attached" in node.refused("leases", "release", "lan", four, *where)
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
    assert "is in use as ipvlan l2 bridge by pod/eth0 of network lan" in told


def test_a_parent_that_somebody_else_uses_otherwise(node: Node) -> None:
    subnet = ("--subnet", "10.2.0.0/24", "-o", "parent=eth0", "--dir", str(node.directory))
    for kind, other in (("ipvlan", "macvlan"), ("macvlan", "ipvlan")):
        node.lan.node.ip(f"link add theirs link eth0 type {kind}")
        assert "by somebody else" in node.refused("network", "create", "other", *subnet, kind=other)
        node.lan.node.ip("link del theirs")
    assert links(node.lan.node) == ["eth0"]
    assert not node.directory.exists()


def test_l3_beside_a_subnet_that_the_host_sends_elsewhere(node: Node) -> None:
    where = ("-o", "ipvlan_mode=l3", "--dir", str(node.directory))
    node.lan.node.address("eth0", "10.1.0.9/24")
    for parent in ("eth0", "eth0.50"):  # there, or not yet
        create = ("network", "create", "near", "--subnet", "10.1.0.0/25", "-o", f"parent={parent}", *where, "--print")
        told = node.run("ipvlan", *create).stderr.decode()
        assert "10.1.0.0/25 gets no route on this host: eth0 itself has the address 10.1.0.9/24." in told
    node.create("l3", "--subnet", "10.8.0.0/24", "-o", "parent=eth0.50", "-o", "ipvlan_mode=l3", kind="ipvlan")
    told = node.refused(
        "network", "create", "other", "--subnet", "10.8.0.0/25", "-o", "parent=eth0.51", *where, kind="ipvlan"
    )
    assert "overlaps 10.8.0.0/24 of network l3" in told


def test_what_the_host_has_on_the_network_is_told(node: Node) -> None:
    node.lan.node.address("eth0", "10.1.0.9/24")
    node.lan.node.ip("route add default via 10.1.0.254")
    done = node.run(
        "macvlan", "network", "create", "lan", "--subnet", "10.1.0.0/24", "-o", "parent=eth0", "--dir",
        str(node.directory),
    )  # fmt: skip
    assert done.returncode == 0
    assert b"10.1.0.9 is this host's own" in done.stderr
    assert b"--gateway 10.1.0.254?" in done.stderr


def test_one_parent_by_several_names(node: Node) -> None:
    """By the link that is there, whatever it is called; isolated networks share nothing."""
    where = ("--dir", str(node.directory))
    lan = node.lan.node
    lan.ip("link add link eth0 name trunk50 type vlan id 50")
    lan.ip("link set trunk50 up")
    lan.address("eth0", "10.1.0.9/24")
    lan.ip("route add default via 10.1.0.1")
    node.create("till", "--subnet", "10.50.0.0/24", "-o", "parent=trunk50")
    create = ("network", "create", "x", "--subnet", "10.2.0.0/24", *where)
    told = node.refused(*create, "-o", "parent=eth0.50", kind="ipvlan")
    assert "used as macvlan by network till" in told
    (node.directory / "default.conf").write_text(
        json.dumps({"cniVersion": "1.0.0", "name": "default", "type": "macvlan"})
    )
    told = node.refused(*create, "-o", "parent=eth0", kind="ipvlan")
    assert "used as macvlan by network default" in told
    for name in ("a", "b"):
        node.create(name, "--subnet", "10.3.0.0/24")


def test_ranges_of_one_subnet_do_not_overlap(node: Node) -> None:
    subnet = ("--subnet", "10.1.0.0/24", "-o", "parent=eth0")
    node.create("low", *subnet, "--ip-range", "10.1.0.0/25")
    part = {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.192", "rangeEnd": "10.1.0.254"}
    config = {"type": "macvlan", "master": "eth0", "ipam": {"type": "host-local", "ranges": [[part]]}}
    document = {"cniVersion": "0.4.0", "name": "podman", "plugins": [config]}
    (node.directory / "podman.conflist").write_text(json.dumps(document))
    node.create("middle", *subnet, "--ip-range", "10.1.0.128/26")
    told = node.refused("network", "create", "x", *subnet, "--ip-range", "10.1.0.240/28", "--dir", str(node.directory))
    assert "10.1.0.240 to 10.1.0.254 are also of network podman" in told


def test_a_name_that_any_plugins_network_has(node: Node) -> None:
    node.directory.mkdir()
    (node.directory / "10-bridge.conflist").write_text(
        json.dumps({"cniVersion": "1.0.0", "name": "lan", "plugins": [{"type": "bridge"}]})
    )
    subnet = ("--subnet", "10.1.0.0/24", "-o", "parent=eth0", "--dir", str(node.directory))
    assert "network lan exists" in node.refused("network", "create", "lan", *subnet)
    assert "10-bridge.conflist exists" in node.refused("network", "create", "10-bridge", *subnet)


def test_creates_at_once(node: Node) -> None:
    """One of each race is made: of a name, and of a range."""
    for number, names in enumerate((("lan", "lan", "lan"), ("a", "b", "c"))):
        options = ["--subnet", f"10.{number}.0.0/24", "-o", "parent=eth0", "--dir", str(node.directory)]
        calls = [("macvlan", "network", "create", name, *options) for name in names]
        with ThreadPoolExecutor() as threads:
            done = threads.map(lambda call: node.run(*call), calls)
        assert sorted(one.returncode for one in done) == [0, 1, 1]


def test_what_cannot_be_written_leaves_no_vlan(node: Node) -> None:
    subnet = ("--subnet", "10.50.0.0/24", "-o", "parent=eth0.50", "--provision", "--dir", str(node.directory))
    (node.directory / "till.conflist").mkdir(parents=True)
    assert "exists" in node.refused("network", "create", "till", *subnet)
    assert node.run("macvlan", "network", "create", "other", *subnet, "--print").returncode == 2
    assert links(node.lan.node) == ["eth0"]
    assert [path.name for path in node.directory.iterdir()] == ["till.conflist"]


def test_what_is_broken_is_passed_over_and_told(node: Node) -> None:
    where = ("--dir", str(node.directory))
    node.create("lan", "--subnet", "10.1.0.0/24", "-o", "parent=eth0")
    for name, content in (
        ("nothing.conf", ""),
        ("deep.conf", "[" * 5000),
        ("list.conf", "[]"),
        ("types.conf", '{"name": "types", "type": "macvlan", "mode": ["x"], "ipam": "dhcp", "master": 5}'),
        ("type.conf", '{"name": "type", "type": ["macvlan"]}'),
        ("ranges.conf", '{"name": "r", "type": "macvlan", "ipam": {"type": "host-local", "ranges": {"subnet": 5}}}'),
        ("nulls.conf", '{"name": "nulls", "type": "macvlan", "master": null, "ipam": null}'),
    ):
        (node.directory / name).write_text(content)
    os.mkfifo(node.directory / "pipe.conf")
    done = node.run("macvlan", "network", "ls", *where)
    assert [line.split()[0] for line in done.stdout.decode().splitlines()] == ["NAME", "lan", "nulls"]
    assert [line.split()[0].rpartition("/")[2] for line in done.stderr.decode().splitlines()] == [
        "deep.conf", "nothing.conf", "pipe.conf", "ranges.conf", "types.conf",
    ]  # fmt: skip
    assert "`validate" in node.refused("network", "rm", "types", *where)
    found = levels(node)
    assert found[next(what for what in found if "types.conf: line 1" in what)] == "failure"
    assert found[f"{node.directory}/pipe.conf: it is not a file"] == "failure"


def test_rm_is_of_all_or_none(node: Node) -> None:
    where = ("--dir", str(node.directory))
    for number, name in enumerate("ab"):
        node.create(name, "--subnet", f"10.{number}.0.0/24", "-o", "parent=eth0")
    assert "no macvlan or ipvlan network c" in node.refused("network", "rm", "a", "c", "b", *where)
    assert len(list(node.directory.iterdir())) == 2
    assert node.ok("network", "remove", "a", "b", "a", *where) == "a\nb\n"


def test_rm_by_force_leaves_to_running_containers_what_they_have(node: Node) -> None:
    lan, where = node.lan, ("--dir", str(node.directory))
    create = ("till", "--subnet", "10.50.0.0/24", "-o", "parent=eth0.50")
    config = node.create(*create)
    pod, gone = lan.host("pod"), lan.host("gone")
    [given, _] = [lan.macvlan.add(container, config).result["ips"][0]["address"] for container in (pod, gone)]
    (lan.data_dir / "till" / "10.50.0.9").write_text("theirs\r\neth0")  # as by Go's host-local
    gone.remove()
    refused = node.refused("network", "rm", "till", *where)
    assert "in use by gone (its namespace is gone), pod, theirs (which another plugin attached) (error 112)" in refused
    node.ok("network", "rm", "till", "--force", *where)
    assert links(lan.node) == ["eth0", "eth0.50"]
    assert leases(lan.data_dir, "till") == {given[:-3]: "pod\r\neth0", "10.50.0.9": "theirs\r\neth0"}
    # The same network again gives nobody the address that is used.
    after = lan.host("after")
    assert lan.macvlan.add(after, node.create(*create)).result["ips"][0]["address"] not in (given, "10.50.0.9/24")
    for container in (pod, after):
        lan.macvlan.delete(container, config).succeeded()
    assert links(lan.node) == ["eth0"]


def test_inspect_tells_the_configuration_the_parent_and_the_pools(node: Node) -> None:
    where = ("--dir", str(node.directory))
    subnet = ("--subnet", "10.50.0.0/24", "--ip-range", "10.50.0.128/30", "-o", "parent=eth0.50", "-o", "mtu=1400")
    config = node.create("till", *subnet, "-o", "macvlan_mode=vepa")
    assert "it is made with a container" in node.ok("network", "inspect", "till", *where)
    pods = [node.lan.host(name) for name in ("pod", "fixed")]
    assert node.lan.macvlan.add(pods[0], config).status == 0
    assert node.lan.macvlan.add(pods[1], config, CNI_ARGS="IP=10.50.0.9").status == 0
    told = [line.split(maxsplit=1) for line in node.ok("network", "inspect", "till", *where).splitlines() if line]
    [link] = node.lan.node.ip_json("link show eth0.50")
    assert ["parent", f"eth0.50 (up, MTU 1500, MAC {link['address']}, made by us)"] in told
    assert ["pool", "10.50.0.128-10.50.0.131: 1 of 4 given, 3 free"] in told  # one is outside of what is chosen from
    assert ["mode", "vepa"] in told
    assert ["ipam.ranges[0][0].ipRange", "10.50.0.128/30"] in told
    [shown] = [rest.split() for name, rest in told if name == "fixed"]
    assert shown[:2] + shown[3:7] == ["eth0", "alive", "10.50.0.9/24", "10.50.0.1", "50", "no"]


def test_leases_of_others_and_of_nobody(node: Node) -> None:
    lan, where = node.lan, ("--dir", str(node.directory))
    config = node.create("lan", "--subnet", "10.1.0.0/24", "--subnet", "fd00:1::/64", "-o", "parent=eth0")
    config["ipam"]["order"] = "round-robin"
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
        node.ok("leases", "release", "--force", "lan", "10.1.0.9", *where)
        == "released 10.1.0.9, which theirs eth0 had\n"
    )
    assert "fd00:1::2" in node.ok("leases", "release", "lan", "FD00:1:0::0002", "--force", *where)
    assert sorted(leases(lan.data_dir)) == ["10.1.0.2"]


def test_a_network_is_of_our_plugin_by_a_name_that_is_ours(node: Node, tmp_path: Path) -> None:
    """Another's macvlan would not know what an isolated network is."""
    create = ("network", "create", "lan", "--subnet", "10.1.0.0/24", "--print", "--bin-dir", str(tmp_path))

    def kind() -> str:
        return str(json.loads(node.ok(*create))["plugins"][0]["type"])

    assert kind() == "cni-macvlan-py"
    (tmp_path / "cni-macvlan-py").write_text("ours")
    (tmp_path / "macvlan").write_text("theirs")
    assert kind() == "cni-macvlan-py"
    (tmp_path / "macvlan").unlink()
    (tmp_path / "macvlan").symlink_to("cni-macvlan-py")
    assert kind() == "macvlan"


def test_doctor_misses_the_plugins_that_the_networks_name(node: Node, tmp_path: Path) -> None:
    node.create("lan", "--subnet", "10.1.0.0/24", "-o", "parent=eth0")
    done = node.run("macvlan", "doctor", "--json", "--dir", str(node.directory), "--bin-dir", str(tmp_path))
    failures = {check["what"]: check["mend"] for check in json.loads(done.stdout) if check["level"] == "failure"}
    assert failures == {f"{tmp_path} has no cni-macvlan-py, which lan is of": "cni-macvlan-py install"}


def test_doctor_fails_where_a_network_of_our_keys_names_gos_plugin(node: Node) -> None:
    """Which attaches to the untagged link. Any plugin's network may name it."""
    plugin = {"type": "macvlan", "master": "eth0", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}}
    node.directory.mkdir()

    def failures(**keys: Any) -> list[str]:
        document = {"cniVersion": "1.0.0", "name": "till", "plugins": [plugin | keys]}
        (node.directory / "till.conflist").write_text(json.dumps(document))
        done = node.run("macvlan", "doctor", "--json", "--dir", str(node.directory), "--bin-dir", str(GO))
        return [check["what"] for check in json.loads(done.stdout) if check["level"] == "failure"]

    assert failures() == []
    assert failures(vlan=50) == [
        f"network till: {GO}/macvlan is another plugin, and knows nothing of vlan",
    ]
    assert failures(type="cni-macvlan-py", vlan=50) == [f"{GO} has no cni-macvlan-py, which till is of"]


def test_a_network_beside_a_clusters_is_warned_of(node: Node) -> None:
    node.directory.mkdir()
    flannel = {"cniVersion": "0.3.1", "name": "cbr0", "plugins": [{"type": "flannel"}, {"type": "portmap"}]}
    (node.directory / "10-flannel.conflist").write_text(json.dumps(flannel))
    create = ("network", "create", "--dir", str(node.directory), "--subnet", "10.1.0.0/24", "-o", "parent=eth0")
    told = node.run("macvlan", *create, "lan")
    assert told.returncode == 0
    assert b"Pods have the cluster's 10-flannel.conflist (flannel) alone" in told.stderr
    found = levels(node)
    [what] = [what for what in found if "10-flannel.conflist" in what]
    assert found[what] == "warning"


def test_one_program_makes_networks_of_both_kinds_and_removes_what_nobody_uses(node: Node) -> None:
    where = ("--dir", str(node.directory))
    used = node.create("used", "--subnet", "10.1.0.0/24", "-o", "parent=eth0")
    db = node.create("db", "-d", "ipvlan", "--subnet", "10.60.0.0/24", "--interface-name", "eth0", "-o", "vlan=60")
    assert (db["type"].removeprefix("cni-").removesuffix("-py"), db["master"], db["vlan"]) == ("ipvlan", "eth0", 60)
    assert node.ok("network", "ls", "-q", *where) == "db\nused\n"
    assert [node.run("macvlan", "network", "exists", name, *where).returncode for name in ("db", "other")] == [0, 1]
    assert node.ok("network", "create", "db", "--ignore", *where) == ""
    pod = node.lan.host("pod")
    assert node.lan.macvlan.add(pod, used).status == 0
    assert "nobody is there to be asked" in node.refused("network", "prune", *where)
    assert node.ok("network", "prune", "--force", *where) == "db\n"
    assert node.ok("network", "ls", "-q", *where) == "used\n"
    node.lan.macvlan.delete(pod, used).succeeded()


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
    where = ("--dir", str(node.directory))
    assert node.ok("validate", "lan", *where) == node.ok("validate", str(node.directory)) == f"{good}: valid\n"
    argv = [str(OURS / "cni-macvlan-py"), "validate", "-"]
    done = node.lan.node.run(argv, input=bad.read_bytes(), env={}, check=False)
    assert (done.returncode, b"-:" in done.stdout) == (1, True)


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
    config["ipam"]["order"] = "round-robin"
    assert lan.macvlan.add(lan.host("gone"), config).status == 0
    lease = lan.data_dir / "lan" / "10.1.0.9"
    lease.write_bytes(b"nobody\r\neth0")
    (node.directory / "other.conflist").write_text(
        json.dumps({"cniVersion": "1.0.0", "name": "other", "plugins": [{"type": "ipvlan", "master": "eth0"}]})
    )
    (node.directory / "rest.conf").write_text(json.dumps({"name": "x", "type": "macvlan", "linkInContainer": True}))
    bridged = lan.data_dir / "bridged"  # of host-local for another plugin, whose attachments are not recorded
    assert Plugin(lan.node, "host-local").add(lan.host("far"), config | {"name": "bridged"}).status == 0
    assert bridged.exists()
    lan.node.ip("link add eth7 type dummy")
    lan.node.ip("link add link eth0 name eth0.77 type vlan id 77")
    lan.node.ip("link set eth0.77 alias cni-vlan")
    (lan.data_dir / "lan" / "10.1.0.2").unlink()
    found = levels(node, "--parent", "eth7", "--parent", "eth8")
    assert (
        found["network other: eth0 is used as macvlan by network lan " + f"({node.directory}/lan.conflist)"]
        == "failure"
    )
    assert found["eth7: down, MTU 1500"] == "warning"
    assert found["eth8: there is no link named eth8"] == "failure"
    assert found["eth0.77: nobody is on this link, which we made"] == "warning"
    assert found["network lan: gone/eth0 is attached without a lease"] == "warning"


def test_doctor_looks_on_where_something_cannot_be_looked_at(node: Node) -> None:
    config = node.create("till", "--subnet", "10.50.0.0/24", "-o", "parent=eth0.50", "--provision")
    node.lan.data_dir.mkdir()
    (node.lan.data_dir / "till").symlink_to("/etc")
    config["ipam"]["dataDir"] = "/etc/passwd/networks"
    config["name"] = "other"
    (node.directory / "other.conf").write_text(json.dumps(config))
    node.lan.node.ip("link set eth0 promisc on")
    found = levels(node, "--parent", "", "--parent", os.fsdecode(b"\xff"))
    assert found["'' cannot be a link's name"] == found["'\\udcff' cannot be a link's name"] == "failure"
    assert found["/etc/passwd/networks: /etc/passwd is not a directory"] == "failure"
    assert found["eth0 is in promiscuous mode, which macvlan does not need"] == "warning"
    # What a network asks for is not stale.
    assert not [what for what in found if what.startswith("eth0.50: nobody")]


def test_doctor_says_what_it_may_not_see(node: Node) -> None:
    node.directory.mkdir(mode=0o700)
    where = ("doctor", "--json", "--dir", str(node.directory))
    nobody = ["setpriv", "--reuid", "65534", "--clear-groups", str(OURS / "cni-macvlan-py")]
    done = node.lan.node.run([*nobody, *where], env={}, check=False)
    found = {check["what"]: check["level"] for check in json.loads(done.stdout)}
    assert found["this is not root: most of what follows cannot be told"] == "failure"
    assert found[f"networks: {node.directory}: Permission denied"] == "failure"
    assert done.returncode == 1


def test_doctor_asks_the_gateway(node: Node) -> None:
    where = ("--dir", str(node.directory), "--bin-dir", str(OURS))
    node.create("lan", "--subnet", "10.1.0.0/24", "--gateway", "10.1.0.1", "-o", "parent=eth0")
    assert "network lan: its gateway 10.1.0.1 answers on eth0" in node.ok("doctor", *where)
    node.lan.beyond.ip("addr del 10.1.0.1/24 dev eth0")
    assert "network lan: its gateway 10.1.0.1 does not answer on eth0" in node.ok("doctor", *where)
