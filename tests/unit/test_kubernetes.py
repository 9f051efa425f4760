"""cni_cli.kubernetes: what the doctor says of a node that runs pods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cni_cli.checks import FAILURE, OK, WARNING, Check
from cni_cli.conflists import Network, networks_in
from cni_cli.kubernetes import beside_clusters, of_others, of_runtimes

DIRECTORY = "/etc/cni/net.d"


class Node:
    """Files below a root: programs, and networks in DIRECTORY."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.directory = f"{root}{DIRECTORY}"
        Path(self.directory).mkdir(parents=True)
        self.write("/etc/containerd/config.toml", "version = 2\n")

    def write(self, path: str, text: str = "") -> None:
        file = Path(f"{self.root}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def link(self, path: str, to: str) -> None:
        Path(f"{self.root}{path}").symlink_to(to)

    def ours(self, directory: str, *aliases: str) -> None:
        self.write(f"{directory}/cni-macvlan-py")
        for alias in aliases:
            self.link(f"{directory}/{alias}", "cni-macvlan-py")

    def conflist(self, file: str, kind: str, **keys: Any) -> None:
        document = {"cniVersion": "1.0.0", "name": Path(file).stem, "plugins": [{"type": kind, **keys}]}
        Path(self.directory, file).write_text(json.dumps(document))

    @property
    def networks(self) -> list[Network]:
        return networks_in(self.directory)

    def of_runtimes(self, directory: str = DIRECTORY) -> list[Check]:
        return list(of_runtimes(self.networks, directory, self.root))

    def of_others(self) -> list[Check]:
        return list(of_others(self.networks, "/opt/cni/bin", self.directory, self.root))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_runtime_that_looks_where_ours_are_not(node: Node) -> None:
    [check] = node.of_runtimes()
    assert (check.level, check.mend) == (WARNING, "cni-macvlan-py install --bin-dir /opt/cni/bin")
    assert check.what == "containerd looks for plugins in /opt/cni/bin, where none is ours"
    node.ours("/opt/cni/bin")
    assert [check.level for check in node.of_runtimes()] == [OK]


@pytest.mark.parametrize(("kubelet", "level"), [(False, WARNING), (True, FAILURE)])
def test_a_plugin_that_a_runtime_does_not_find(node: Node, kubelet: bool, level: str) -> None:
    """It fails where a kubelet asks that runtime for pods."""
    node.conflist("lan.conflist", "macvlan", master="eth0")
    node.ours("/opt/cni/bin")
    node.write("/etc/containerd/config.toml", '[plugins.cri.cni]\nbin_dir = "/usr/lib/cni"\n')
    if kubelet:
        node.write("/var/lib/kubelet/config.yaml")
    [missing] = node.of_runtimes()
    assert missing.level == level
    assert "/usr/lib/cni, and finds no macvlan, which network lan is of" in missing.what
    assert missing.mend == "cni-macvlan-py install --bin-dir /usr/lib/cni --aliases"


def test_a_runtime_with_its_networks_elsewhere_is_pointed_at(node: Node) -> None:
    node.write("/etc/containerd/config.toml", '[plugins.cri.cni]\nbin_dir = "/x"\nconf_dir = "/var/lib/net.d"\n')
    [check] = node.of_runtimes()
    assert check.mend == "Ask also: doctor --dir /var/lib/net.d --bin-dir /x"
    assert node.of_runtimes("/another") == []  # which somebody asked for


def test_a_configuration_that_cannot_be_read(node: Node) -> None:
    node.write("/etc/containerd/config.toml", "version = \n")
    [check] = node.of_runtimes()
    assert check.level == WARNING
    assert "/etc/containerd/config.toml" in check.what


@pytest.mark.parametrize(
    "keys",
    [{"vlan": 50}, {"mac": "stable"}, {"master": ["eth0", "eth1"]}, {"hostAccess": True}, {"internal": True}],
    ids=str,
)
def test_a_network_of_our_keys_that_names_anothers_plugin_fails(node: Node, keys: dict[str, Any]) -> None:
    node.conflist("lan.conflist", "macvlan", **{"master": "eth0"} | keys if "internal" not in keys else keys)
    node.write("/opt/cni/bin/macvlan")
    node.ours("/opt/cni/bin")
    [check] = node.of_others()
    assert (check.level, next(iter(keys)) in check.what) == (FAILURE, True)
    assert check.mend.startswith(f'Name ours in {node.directory}/lan.conflist: "type": "cni-macvlan-py"')


def test_a_network_that_any_plugin_can_make_may_name_anybodys(node: Node) -> None:
    node.conflist("lan.conflist", "macvlan", master="eth0", mode="private")
    node.write("/opt/cni/bin/macvlan")
    assert node.of_others() == []


def test_a_name_that_leads_to_ours_is_ours(node: Node) -> None:
    node.conflist("alias.conflist", "macvlan", master="eth0", vlan=50)
    node.conflist("own.conflist", "cni-macvlan-py", master="eth0", vlan=50)
    node.ours("/opt/cni/bin", "macvlan")
    assert node.of_others() == []


def test_what_a_runtime_would_call_is_looked_at_too(node: Node) -> None:
    """The first of its directories that has the name."""
    node.conflist("lan.conflist", "macvlan", master="eth0", vlan=50)
    node.ours("/opt/cni/bin", "macvlan")
    cni = f'conf_dir = "{node.directory}"\nbin_dirs = ["/usr/lib/cni", "/opt/cni/bin"]\n'
    node.write("/etc/containerd/config.toml", f"version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\n{cni}")
    assert node.of_others() == []
    node.write("/usr/lib/cni/macvlan")
    [check] = node.of_others()
    assert check.level == WARNING
    assert check.what.startswith(f"containerd: network lan: {node.root}/usr/lib/cni/macvlan is another plugin")
    node.write("/var/lib/kubelet/config.yaml")
    assert [check.level for check in node.of_others()] == [FAILURE]


@pytest.mark.parametrize("kind", ["calico", "flannel", "cilium-cni"])
def test_a_network_beside_a_clusters(node: Node, kind: str) -> None:
    node.conflist("lan.conflist", "cni-macvlan-py", master="eth0")
    assert list(beside_clusters(node.networks, node.directory)) == []
    node.conflist(f"10-{kind}.conflist", kind)
    [check] = beside_clusters(node.networks, node.directory)
    assert check.level == WARNING
    assert f"pods have the cluster's 10-{kind}.conflist ({kind}) alone" in check.what
    node.conflist("00-lan.conflist", "cni-macvlan-py", master="eth0")
    before, _ = beside_clusters(node.networks, node.directory)
    assert "new pods get this network instead of the cluster's" in before.what


def test_multus_may_call_a_network_of_the_directory(node: Node) -> None:
    node.conflist("lan.conflist", "cni-macvlan-py", master="eth0")
    node.conflist("00-multus.conf", "multus")
    node.conflist("10-flannel.conflist", "flannel")
    assert list(beside_clusters(node.networks, node.directory)) == []
