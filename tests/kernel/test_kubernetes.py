"""What Kubernetes does with a node's networks: a kubelet by containerd's CRI, Multus' delegates, a runtime of CNI
1.1."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from cni_cli.runtimes import Runtime, runtimes
from tests.kernel.conftest import Lan
from tests.kernel.plugin import CNITOOL, GO, OURS, RECORDS, REPOSITORY, Plugin, addresses, leases, links
from tests.kernel.test_containerd import SECONDS, Containerd, Kubelet, conflist, pause_image

NETWORKS = REPOSITORY / "packaging/kubernetes/networks"
DATA_DIR = Path("/var/lib/cni/networks")  # the lab's own


def definition(name: str) -> str:
    """The configuration that a NetworkAttachmentDefinition of ours holds, which Multus hands to libcni as it is."""
    config: str = yaml.safe_load((NETWORKS / f"{name}.yaml").read_text())["spec"]["config"]
    return config


@pytest.fixture
def containerd(lan: Lan, tmp_path: Path) -> Iterator[Containerd]:
    """Each pod has the cluster's network, of Go's bridge as flannel's is, and one more."""
    daemon = Containerd(lan, tmp_path / "containerd", networks=2)
    with daemon.running():
        yield daemon


def kubelet_of(containerd: Containerd, monkeypatch: pytest.MonkeyPatch, **files: str) -> Kubelet:
    archive = containerd.directory / "pause.tar"
    archive.write_bytes(pause_image())
    containerd.ctr("--namespace", "k8s.io", "images", "import", "--snapshotter", "native", str(archive))
    for name, text in files.items():
        (containerd.directory / "net.d" / f"{name}.conflist").write_text(text)
    kubelet = Kubelet(containerd, monkeypatch)
    deadline = time.monotonic() + SECONDS
    while not kubelet.network_is_ready():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return kubelet


def as_conflist(config: str) -> str:
    """As Multus' delegate form of one plugin, and libcni's ConfListFromConf, make it."""
    plugin = json.loads(config)
    return json.dumps({key: plugin.pop(key) for key in ("cniVersion", "name")} | {"plugins": [plugin]})


def cluster_network(data_dir: Path) -> str:
    ipam = {"type": "host-local", "subnet": "10.244.0.0/24", "dataDir": str(data_dir), "routes": [{"dst": "0.0.0.0/0"}]}
    plugin = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": ipam}
    return json.dumps({"cniVersion": "1.0.0", "name": "cbr0", "plugins": [plugin]})


def in_pod(containerd: Containerd, sandbox: str, *argv: str) -> str:
    """What a command says in a sandbox's network namespace."""
    state = containerd.ctr("--namespace", "k8s.io", "task", "ls").stdout.decode()
    [pid] = [line.split()[1] for line in state.splitlines() if line.startswith(sandbox)]
    return subprocess.run(["nsenter", "-n", "-t", pid, *argv], capture_output=True, text=True, check=True).stdout


def test_a_second_network_beside_the_clusters(containerd: Containerd, monkeypatch: pytest.MonkeyPatch) -> None:
    """l3.yaml, as it stands: the pod keeps the cluster's address and default route, and the other pods and the router
    reach it by its second."""
    lan = containerd.lan
    lan.node.address("eth0", "10.1.0.7/24", "fd00:1::7/64")
    lan.node.forward()
    files = {"10-flannel": cluster_network(lan.data_dir), "20-l3": as_conflist(definition("l3"))}
    kubelet = kubelet_of(containerd, monkeypatch, **files)
    web, db = kubelet.run("web"), kubelet.run("db")
    assert kubelet.addresses(web)[0].startswith("10.244.0.")
    shown = json.loads(in_pod(containerd, web, "ip", "-j", "addr", "show", "dev", "eth1"))[0]["addr_info"]
    assert [one["local"] for one in shown if one["scope"] == "global"] == ["10.8.1.2", "fd00:8:1::2"]
    routes = json.loads(in_pod(containerd, web, "ip", "-j", "route", "show"))
    assert {(route["dst"], route["dev"]) for route in routes} >= {("default", "eth0"), ("10.8.0.0/16", "eth1")}
    in_pod(containerd, db, "ping", "-c", "1", "-W", "5", "10.8.1.2")
    lan.beyond.ip("route add 10.8.1.0/24 via 10.1.0.7")
    assert lan.beyond.ping("10.8.1.2")
    for sandbox in (web, db):
        kubelet.stop(sandbox)
        kubelet.stop(sandbox)
        kubelet.remove(sandbox)
    assert leases(DATA_DIR, "l3") == {}
    assert list((RECORDS / "attachments").iterdir()) == []


def test_a_statefulsets_pod_that_is_made_again_is_who_it_was(
    containerd: Containerd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another sandbox of the same name: its address and its hardware address, to whoever knows it on the LAN."""
    lan = containerd.lan
    network = conflist(lan, mac="stable", ipam=lan.dual_stack | {"order": "stable"})
    kubelet = kubelet_of(containerd, monkeypatch, **{"10-lan": network})
    first, other = kubelet.run("web-0"), kubelet.run("web-1")
    before = who(containerd, kubelet, first)
    assert before != who(containerd, kubelet, other)
    kubelet.stop(first)
    kubelet.remove(first)
    between = kubelet.run("job")  # takes an address meanwhile, and another one
    again = kubelet.run("web-0")
    assert again != first
    assert who(containerd, kubelet, again) == before
    for sandbox in (other, between, again):
        kubelet.stop(sandbox)
        kubelet.remove(sandbox)
    containerd.nothing_left("lan")


def who(containerd: Containerd, kubelet: Kubelet, sandbox: str) -> tuple[list[str], str]:
    """A sandbox's addresses, and its hardware address as a neighbour learns it."""
    found = kubelet.addresses(sandbox)
    assert containerd.lan.beyond.ping(found[0])
    [neighbour] = containerd.lan.beyond.ip_json(f"neigh show {found[0]} dev eth0")
    return found, neighbour["lladdr"]


def test_multus_hands_a_delegate_to_libcni(lan: Lan, tmp_path: Path) -> None:
    """As its DelegateAdd and DelegateDel do: the next interface, the pod's annotation as capabilities, K8S_* as
    arguments; this network and the cluster's do not know of each other."""
    config = json.loads(definition("trunk")) | {
        "ipam": lan.ipam("10.50.0.0/24"),
        "capabilities": {"ips": True, "mac": True},
    }
    (tmp_path / "trunk.conf").write_text(json.dumps(config))
    (tmp_path / "cbr0.conflist").write_text(cluster_network(lan.data_dir))
    pod = lan.container("till")
    args = "IgnoreUnknown=true;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=till;K8S_POD_INFRA_CONTAINER_ID=till;K8S_POD_UID=u"
    runtime = {"CAP_ARGS": json.dumps({"ips": ["10.50.0.77/24"], "mac": "02:00:00:00:50:77"}), "CNI_IFNAME": "net1"}

    def libcni(command: str, network: str, **more: str) -> dict[str, Any]:
        environment = {"CNI_PATH": f"{OURS}:{GO}", "NETCONFPATH": str(tmp_path), "PATH": "/usr/sbin:/usr/bin:/bin"}
        argv = [str(CNITOOL), command, network, pod.netns]
        done = lan.node.run(argv, env=environment | {"CNI_ARGS": args} | more, check=False)
        assert done.returncode == 0, (done.stdout.decode(), done.stderr.decode())
        return dict(json.loads(done.stdout or b"{}"))

    libcni("add", "cbr0")
    result = libcni("add", "trunk", **runtime)
    assert result["ips"][0]["address"] == "10.50.0.77/24"
    assert addresses(pod, "net1") == ["10.50.0.77/24"]
    assert pod.ip_json("link show dev net1")[0]["address"] == "02:00:00:00:50:77"
    assert "eth0.50" in links(lan.node)
    libcni("check", "trunk", **runtime)
    for _ in range(2):  # a kubelet's second stop
        libcni("del", "trunk", **runtime)
        libcni("del", "cbr0")
    assert "eth0.50" not in links(lan.node)
    assert leases(lan.data_dir, "trunk") == {}


def test_the_calls_of_a_runtime_of_cni_1_1(lan: Lan) -> None:
    """containerd 2: STATUS whenever the kubelet asks for the runtime's, also amid ADDs; DEL twice; GC of the rest."""
    plugin, config = Plugin(lan.node, "macvlan"), lan.config(cniVersion="1.1.0")
    pods = [lan.host(f"pod{i}") for i in range(6)]
    finished = False

    def statuses() -> int:
        count = 0
        while not finished:
            plugin.call("STATUS", None, config).succeeded()
            count += 1
        return count

    with ThreadPoolExecutor() as pool:
        asked = pool.submit(statuses)
        try:
            results = [plugin.add(pod, config).result for pod in pods]
        finally:
            finished = True
        assert asked.result() > 0
    assert len({result["ips"][0]["address"] for result in results}) == len(pods)
    for _ in range(2):
        plugin.delete(pods[0], config | {"prevResult": results[0]}).succeeded()
    plugin.delete(pods[0], config, CNI_NETNS="").succeeded()  # when its namespace is gone
    # Of pods 4 and 5 no DEL ever came.
    valid = [{"containerID": pod.name, "ifname": "eth0"} for pod in pods[1:4]]
    lists = dict.fromkeys(("cni.dev/valid-attachments", "cni.dev/attachments"), valid)
    plugin.call("GC", None, config | lists).succeeded()
    assert len(leases(lan.data_dir)) == 3
    assert [links(pod) for pod in pods[1:4]] == [["eth0"]] * 3
    for pod, result in zip(pods[1:4], results[1:4], strict=True):
        plugin.check(pod, config, result).succeeded()
        plugin.delete(pod, config).succeeded()
    plugin.call("STATUS", None, config).succeeded()
    lan.node.ip_batch(["link set eth0 down", "link set eth0 name eth9"])
    assert plugin.call("STATUS", None, config).error["code"] == 50


@pytest.mark.parametrize("imported", ["", 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "x"\n'])
def test_its_configuration_is_read_as_containerd_reads_it(tmp_path: Path, imported: str) -> None:
    etc = tmp_path / "etc/containerd"
    (etc / "conf.d").mkdir(parents=True)
    cni = '[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = "/usr/lib/cni"\nconf_dir = "/x/net.d"\n'
    (etc / "config.toml").write_text(f'version = 2\nimports = ["{etc}/conf.d/*.toml"]\n{cni}')
    if imported:
        (etc / "conf.d/x.toml").write_text(imported)
    done = subprocess.run(
        ["containerd", "--config", etc / "config.toml", "config", "dump"], capture_output=True, text=True, check=True
    )
    said = [line.split('"')[1] for line in done.stdout.splitlines() if line.strip().startswith(("bin_dir", "conf_dir"))]
    (etc / "config.toml").write_text(f'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n{cni}')
    [found] = [one for one in runtimes(str(tmp_path)) if isinstance(one, Runtime)]
    assert [*found.bin_dirs, found.conf_dir] == said
    assert said == (["/opt/cni/bin", "/etc/cni/net.d"] if imported else ["/usr/lib/cni", "/x/net.d"])
