"""cni_cli.runtimes: where containerd and CRI-O look, by files as distributions write them. What a real containerd makes
of its own is asked in tests/kernel/test_kubernetes.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cni_cli.runtimes import Runtime, Unreadable, directory_for, runtimes

K3S = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"
RKE2 = "/var/lib/rancher/rke2/agent/etc/containerd/config.toml"
CONTAINERD = "/etc/containerd/config.toml"


class Node:
    """The files of a node, below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str = "") -> None:
        file = Path(f"{self.root}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    @property
    def found(self) -> list[tuple[str, tuple[str, ...], str]]:
        """Name, directories of plugins, directory of networks."""
        return [(x.name, x.bin_dirs, x.conf_dir) for x in runtimes(str(self.root)) if isinstance(x, Runtime)]

    @property
    def only(self) -> Runtime:
        [runtime] = runtimes(str(self.root))
        assert isinstance(runtime, Runtime)
        return runtime


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_node_without_a_runtime(node: Node) -> None:
    assert node.found == []


def test_a_containerd_without_a_file(node: Node) -> None:
    node.write("/run/containerd/containerd.sock")
    assert node.found == [("containerd", ("/opt/cni/bin",), "/etc/cni/net.d")]


@pytest.mark.parametrize(
    ("text", "bin_dirs"),
    [
        ('version = 2\n[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = "/usr/lib/cni"\n', ("/usr/lib/cni",)),
        ("version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\nbin_dir = '/a/'\n", ("/a",)),
        # A list, since containerd 2.1.
        ("version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\nbin_dirs = ['/a', '/b']\n", ("/a", "/b")),
        ("[plugins.cri.cni]\nbin_dir = '/one'\n", ("/one",)),
        ('version = 2\n[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = ""\n', ("/opt/cni/bin",)),
        ('version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "pause"\n', ("/opt/cni/bin",)),
    ],
)
def test_the_versions_of_containerds_configuration(node: Node, text: str, bin_dirs: tuple[str, ...]) -> None:
    node.write(CONTAINERD, text)
    assert node.found == [("containerd", bin_dirs, "/etc/cni/net.d")]


def test_imports_are_read_after_their_file_and_once(node: Node) -> None:
    cri = "[plugins.'io.containerd.cri.v1.runtime'.cni]\n"
    node.write(CONTAINERD, f"version = 3\nimports = ['conf.d/*.toml', '/etc/last.toml']\n{cri}bin_dir = '/first'\n")
    node.write("/etc/containerd/conf.d/10.toml", f"version = 3\n{cri}conf_dir = '/ten'\n")
    node.write("/etc/containerd/conf.d/20.toml", f"version = 3\nimports = ['10.toml']\n{cri}conf_dir = '/twenty'\n")
    node.write("/etc/containerd/conf.d/30.conf", f"version = 3\n{cri}conf_dir = '/not-toml'\n")
    node.write("/etc/last.toml", f"version = 3\nimports = ['{CONTAINERD}']\n{cri}max_conf_num = 2\n")
    assert node.found == [("containerd", ("/first",), "/twenty")]


def test_in_version_2_an_import_takes_the_place_of_a_plugins_section(node: Node) -> None:
    """As containerd 1.x does it: what a file of NVIDIA's leaves out is the default again."""
    cri = '[plugins."io.containerd.grpc.v1.cri"'
    node.write(CONTAINERD, f'version = 2\nimports = ["/etc/x.toml"]\n{cri}.cni]\nbin_dir = "/first"\n')
    node.write("/etc/x.toml", f'version = 2\n{cri}.containerd]\ndefault_runtime_name = "nvidia"\n')
    assert node.found == [("containerd", ("/opt/cni/bin",), "/etc/cni/net.d")]


@pytest.mark.parametrize("name", ["cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"])
def test_dockers_containerd_runs_no_pods(node: Node, name: str) -> None:
    node.write(CONTAINERD, f'disabled_plugins = ["{name}"]\n')
    assert node.found == []
    node.write(CONTAINERD, 'disabled_plugins = ["io.containerd.snapshotter.v1.zfs"]\n')
    assert len(node.found) == 1


def test_k3s_and_rke2_have_one_of_their_own(node: Node) -> None:
    cri = '[plugins."io.containerd.grpc.v1.cri".cni]'
    networks = "/var/lib/rancher/k3s/agent/etc/cni/net.d"
    plugins = "/var/lib/rancher/k3s/data/cni"
    node.write(K3S, f'version = 2\n{cri}\nbin_dir = "{plugins}"\nconf_dir = "{networks}"\n')
    node.write(RKE2, f'version = 2\n{cri}\nbin_dir = "/opt/cni/bin"\nconf_dir = "/etc/cni/net.d"\n')
    assert node.found == [("k3s", (plugins,), networks), ("RKE2", ("/opt/cni/bin",), "/etc/cni/net.d")]


def test_flatcars_own_file_holds_until_somebody_writes_another(node: Node) -> None:
    node.write("/usr/share/containerd/config.toml", "version = 2\n")
    assert node.only.file == "/usr/share/containerd/config.toml"
    node.write(CONTAINERD, "version = 2\n")
    assert node.only.file == CONTAINERD


def test_crio_reads_its_drop_ins_in_the_order_of_their_paths(node: Node) -> None:
    node.write(
        "/etc/crio/crio.conf", '[crio.network]\nnetwork_dir = "/etc/kubernetes/cni/net.d/"\nplugin_dirs = ["/a"]\n'
    )
    assert node.found == [("CRI-O", ("/a",), "/etc/kubernetes/cni/net.d")]
    node.write("/etc/crio/crio.conf.d/20", '[crio.network]\nplugin_dirs = ["/var/lib/cni/bin", "/usr/libexec/cni"]\n')
    node.write("/etc/crio/crio.conf.d/10/x.conf", '[crio.network]\nplugin_dirs = ["/b"]\n')
    assert node.found == [("CRI-O", ("/var/lib/cni/bin", "/usr/libexec/cni"), "/etc/kubernetes/cni/net.d")]
    node.write("/etc/crio/crio.conf.d/30", '[crio.network]\nplugin_dir = "/older"\n')
    assert node.only.bin_dirs == ("/var/lib/cni/bin", "/usr/libexec/cni", "/older")


def test_crio_without_a_word_looks_where_all_do(node: Node) -> None:
    node.write("/etc/crio/crio.conf", "[crio.runtime]\n")
    assert node.found == [("CRI-O", ("/opt/cni/bin",), "/etc/cni/net.d")]


@pytest.mark.parametrize(
    "text", ["version = \n", "plugins = 3\n", "imports = ['/nowhere.toml']\n", "version = 'x'\n[plugins.cri]\n"]
)
def test_a_file_that_tells_nothing_is_told(node: Node, text: str) -> None:
    node.write(CONTAINERD, text)
    [found] = runtimes(str(node.root))
    assert isinstance(found, Unreadable)
    assert found.why


def test_a_fifo_is_not_waited_for(node: Node) -> None:
    node.write("/etc/containerd/other")
    os.mkfifo(f"{node.root}{CONTAINERD}")
    [found] = runtimes(str(node.root))
    assert isinstance(found, Unreadable)


def test_which_of_several_directories_is_installed_in(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(node.root)
    runtime = Runtime("CRI-O", "/etc/crio/crio.conf", ("/usr/libexec/cni", "/var/lib/cni/bin"), "/etc/cni/net.d")
    assert directory_for(runtime, root) == "/usr/libexec/cni"
    node.write("/usr/libexec/other")
    monkeypatch.setattr("os.access", lambda path, mode: "/usr" not in path)  # a read-only one, to root too
    assert directory_for(runtime, root) == "/var/lib/cni/bin"
    node.write("/usr/libexec/cni/cni-macvlan-py")
    assert directory_for(runtime, root) == "/usr/libexec/cni"
