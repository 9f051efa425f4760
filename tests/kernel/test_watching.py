"""What people and Prometheus watch a node's networks by: doctor on host routes, network graph, metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.kernel.conftest import Lan
from tests.kernel.plugin import OURS

SVG = "{http://www.w3.org/2000/svg}"


class Watched:
    """A node with networks in a directory."""

    def __init__(self, lan: Lan, directory: Path) -> None:
        directory.mkdir()
        self.lan = lan
        self.directory = directory

    def network(self, **keys: Any) -> dict[str, Any]:
        """One that is in the directory; its configuration as a runtime passes it."""
        config = self.lan.config(**keys)
        document = {"cniVersion": "1.0.0", "name": config["name"], "plugins": [config]}
        (self.directory / f"{config['name']}.conflist").write_text(json.dumps(document))
        return config

    def run(self, *arguments: str, expected: int = 0) -> str:
        argv = [str(OURS / "cni-macvlan-py"), *arguments, "--dir", str(self.directory)]
        done = self.lan.node.run(argv, check=False, env={})
        assert done.returncode == expected, (done.stdout, done.stderr)
        assert b"Traceback" not in done.stderr
        return done.stdout.decode()

    def doctor(self, *arguments: str, expected: int = 0) -> dict[str, tuple[str, str]]:
        """What is said of networks → its level, and what to do about it."""
        told = self.run("doctor", "--json", "--bin-dir", str(OURS), *arguments, expected=expected)
        return {check["what"]: (check["level"], check["mend"]) for check in json.loads(told) if check["network"]}

    def metrics(self, *arguments: str) -> dict[tuple[str, ...], float]:
        """Each value by the metric's name and the values of its labels, in the order of their names."""
        return read(self.run("metrics", *arguments))


def read(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("cni_vlan_"), *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def watched(lan: Lan, tmp_path: Path) -> Iterator[Watched]:
    lan.node.ip("link set eth0 up")
    yield Watched(lan, tmp_path / "net.d")


@pytest.mark.parametrize("subnet", ["10.8.0.0/24", "fd00:8::/64"])
def test_doctor_finds_a_lost_host_route_and_what_it_says_mends_it(watched: Watched, subnet: str) -> None:
    lan = watched.lan
    config = watched.network(type="ipvlan", mode="l3", ipam=lan.ipam(subnet), name="routed")
    watched.network(name="other", master="eth0.50")
    # Nobody needs it yet.
    assert watched.doctor("routed") == {"network routed: ipvlan l3, flag bridge on eth0": ("ok", "")}
    assert lan.ipvlan.add(lan.host("pod"), config).status == 0
    assert [level for level, _ in watched.doctor().values()] == ["ok"] * 3
    lan.node.ip(f"route del {subnet} dev eth0")
    what = f"network routed: the host lost its route {subnet} dev eth0"
    found = watched.doctor("routed", expected=1)
    assert list(found) == [what]  # and no "ok" of it
    level, mend = found[what]
    assert level == "failure"
    lan.node.run(mend.partition(";")[0].split())
    assert watched.doctor("routed") == {"network routed: ipvlan l3, flag bridge on eth0": ("ok", "")}
    # One that is there, and passed by.
    lan.node.ip_batch(["link add aside type dummy", "link set aside up", f"route add {subnet} dev aside table 99"])
    lan.node.ip(f"{'-6' if ':' in subnet else '-4'} rule add to {subnet} lookup 99 priority 500")
    [(what, (level, mend))] = watched.doctor("routed", expected=1).items()
    assert what == f"network routed: the host has the route {subnet} dev eth0, but sends its packets to aside"
    assert "`ip rule` has 500 (table 99)" in mend


def test_doctor_of_one_network_blames_that_one(watched: Watched) -> None:
    for name, kind, part in (("first", "macvlan", "10.1.0.0/25"), ("second", "ipvlan", "10.1.0.128/25")):
        ranges = [[{"subnet": "10.1.0.0/24", "ipRange": part}]]
        watched.network(name=name, type=kind, ipam=watched.lan.ipam() | {"ranges": ranges})
    for name, other in (("first", "second"), ("second", "first")):
        told = list(watched.doctor(name, expected=1))
        assert told
        assert all(
            what.startswith(f"network {name}: eth0 is used as") and f"by network {other} " in what for what in told
        )
    assert (
        "no macvlan or ipvlan network third"
        in watched.lan.node.run(
            [str(OURS / "cni-macvlan-py"), "doctor", "third", "--dir", str(watched.directory)], check=False, env={}
        ).stderr.decode()
    )


def test_the_graph_has_each_parent_with_what_is_on_it(watched: Watched) -> None:
    lan = watched.lan
    flat, trunk = watched.network(name="flat"), watched.network(name="till", vlan=50, ipam=lan.ipam("10.50.0.0/24"))
    watched.network(name="later", vlan=60, ipam=None)
    watched.network(name="wrong", master="eth9")
    pods = [lan.host(name) for name in ("one", "two", "three")]
    for pod, config in zip(pods, (flat, trunk, trunk), strict=True):
        assert lan.macvlan.add(pod, config).status == 0
    inside = {pod.name: pod.ip_json("link show eth0")[0]["address"] for pod in pods}
    pods[2].remove()
    [eth0] = lan.node.ip_json("link show eth0")
    assert watched.run("network", "graph").splitlines() == [
        f"eth0  veth, up, MTU 1500, {eth0['address']}",
        "├─ flat  macvlan, IPv4 1 of 253 given",
        f"│  └─ one/eth0  10.1.0.2/24, {inside['one']}",
        "├─ eth0.60  VLAN 60, not there: made with a container",
        "│  └─ later  macvlan",
        "└─ eth0.50  VLAN 50, up, MTU 1500",
        "   └─ till  macvlan, IPv4 2 of 253 given",
        "      ├─ three/eth0  10.50.0.3/24, gone",
        f"      └─ two/eth0  10.50.0.2/24, {inside['two']}",
        "eth9  there is no link named eth9",
        "└─ wrong  macvlan, IPv4 0 of 253 given",
    ]
    drawn = ElementTree.fromstring(watched.run("network", "graph", "till", "--svg"))
    texts = [text.text for text in drawn.iter(f"{SVG}text") if text.attrib["class"] == "name"]
    assert texts == ["eth0", "eth0.50", "till", "three/eth0", "two/eth0"]
    assert [rect.attrib.get("class") for rect in drawn.iter(f"{SVG}rect")] == [None, None, None, "ill", None]


def test_metrics_of_a_node(watched: Watched, tmp_path: Path) -> None:
    lan = watched.lan
    config = watched.network(name="lan", vlan=50, ipam=lan.dual_stack)
    assert watched.metrics()[("pool_used_addresses", "IPv4", "lan", "0")] == 0
    assert ("vlan_up", "eth0.50", "eth0", "50") not in watched.metrics()
    pods = [lan.host(name) for name in ("alive", "gone")]
    for pod in pods:
        assert lan.macvlan.add(pod, config).status == 0
    pods[1].remove()
    found = watched.metrics()
    assert {key: value for key, value in found.items() if key[0] not in ("build_info", "cluster_reachable")} == {
        ("pool_addresses", "IPv4", "lan", "0"): 253,
        ("pool_addresses", "IPv6", "lan", "1"): 2.0**64,
        ("pool_used_addresses", "IPv4", "lan", "0"): 2,
        ("pool_used_addresses", "IPv6", "lan", "1"): 2,
        ("pool_free_addresses", "IPv4", "lan", "0"): 251,
        ("pool_free_addresses", "IPv6", "lan", "1"): 2.0**64,
        ("attachments", "macvlan", "lan"): 2,
        ("dead_attachments", "lan"): 1,
        ("dead_leases", "lan"): 2,
        ("vlan_up", "eth0.50", "eth0", "50"): 1,
    }
    lan.node.ip("link set eth0.50 down")
    file = tmp_path / "cni.prom"
    assert watched.run("metrics", "--output", str(file)) == ""
    assert read(file.read_text()) == found | {("vlan_up", "eth0.50", "eth0", "50"): 0}
