"""containerd: `ctr run --cni`, and its CRI service by the calls that a kubelet makes."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from conformance.lab.topology import BUSYBOX
from tests.kernel.busybox import busybox_root
from tests.kernel.conftest import Lan
from tests.kernel.plugin import GO, OURS, RECORDS, leases, links

PAUSE = "localhost/pause:1"
CRI, RUNTIME = "io.containerd.grpc.v1.cri", "io.containerd.runc.v2"
# User-Mode Linux has no control groups for it, nor seccomp and AppArmor.
CONFIG = """
version = 2
root = "{directory}/root"
state = "{directory}/state"
[grpc]
address = "{directory}/socket"
[plugins."io.containerd.internal.v1.opt"]
path = "{directory}/opt"
[plugins."{cri}"]
sandbox_image = "{pause}"
disable_cgroup = true
disable_apparmor = true
restrict_oom_score_adj = true
unset_seccomp_profile = ""
[plugins."{cri}".cni]
bin_dir = "{plugins}"
conf_dir = "{directory}/net.d"
max_conf_num = {networks}
[plugins."{cri}".containerd]
snapshotter = "native"
[plugins."{cri}".containerd.runtimes.runc]
runtime_type = "{runtime}"
[plugins."{cri}".containerd.runtimes.runc.options]
BinaryName = "crun"
"""
SECONDS = 60.0


class Containerd:
    """The daemon on the node. `ctr` looks for plugins in /opt/cni/bin alone: each program sees an /opt of its own."""

    def __init__(self, lan: Lan, directory: Path, networks: int = 1) -> None:
        """networks: of how many files of net.d each pod gets an interface, as by Multus."""
        self.lan = lan
        self.directory = directory
        (directory / "net.d").mkdir(parents=True)
        self.bin = directory / "bin"  # a node's: ours among the others, of which every sandbox needs loopback
        self.bin.mkdir()
        for name in ("macvlan", "ipvlan", "cni-macvlan-py", "cni-ipvlan-py"):
            (self.bin / name).symlink_to(OURS / name)
        for name in ("loopback", "bridge", "host-local"):
            (self.bin / name).symlink_to(GO / name)
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(directory)}
        names = {"directory": directory, "plugins": self.bin, "cri": CRI, "runtime": RUNTIME, "pause": PAUSE}
        names["networks"] = networks
        (directory / "config.toml").write_text(CONFIG.format(**names))

    def with_opt(self, *argv: str) -> list[str]:
        made = f"mount -t tmpfs tmpfs /opt && mkdir -p /opt/cni && ln -s {self.bin} /opt/cni/bin"
        return ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", f'{made} && exec "$@"', "-", *argv]

    @contextmanager
    def running(self) -> Iterator[None]:
        with open(self.directory / "log", "wb") as log:
            argv = ["containerd", "--config", str(self.directory / "config.toml")]
            process = self.lan.node.popen(argv, env=self.environment, stdout=log, stderr=log)
            try:
                deadline = time.monotonic() + SECONDS
                while self.ctr("version", check=False).returncode:
                    assert time.monotonic() < deadline, (self.directory / "log").read_text()[-3000:]
                    time.sleep(0.2)
                yield
            finally:
                process.terminate()
                process.wait(SECONDS)

    def ctr(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        argv = self.with_opt("ctr", "--address", f"{self.directory}/socket", *arguments)
        done = self.lan.node.run(argv, env=self.environment, check=False, timeout=SECONDS)
        assert not check or done.returncode == 0, (arguments, done.stdout.decode(), done.stderr.decode())
        return done

    def nothing_left(self, network: str) -> None:
        assert leases(self.lan.data_dir, network) == {}
        assert links(self.lan.node) == ["eth0"]
        assert list((RECORDS / "attachments").iterdir()) == []


@pytest.fixture
def containerd(lan: Lan, tmp_path: Path) -> Iterator[Containerd]:
    daemon = Containerd(lan, tmp_path / "containerd")
    with daemon.running():
        yield daemon


def conflist(lan: Lan, **plugin: Any) -> str:
    plugin = {"type": "macvlan", "master": "eth0", "ipam": lan.dual_stack, **plugin}
    return json.dumps({"cniVersion": "1.0.0", "name": "lan", "plugins": [plugin]})


def test_ctr_run(containerd: Containerd) -> None:
    net_d = Path("/etc/cni/net.d")  # where ctr looks; in the lab its own
    net_d.mkdir(parents=True, exist_ok=True)
    (net_d / "lan.conflist").write_text(conflist(containerd.lan))
    root = busybox_root(containerd.directory / "rootfs")
    script = "ping -c 1 -W 5 10.1.0.1 && ping -c 1 -W 5 fd00:1::1 && ip -o addr show dev eth0"
    options = ("--rm", "--cni", "--rootfs", "--runc-binary", "crun", "--cap-add", "CAP_NET_RAW")
    done = containerd.ctr("run", *options, str(root), "web", "/bin/sh", "-c", script)
    assert b"inet 10.1.0.2/24" in done.stdout
    assert b"inet6 fd00:1::2/64" in done.stdout
    (net_d / "lan.conflist").unlink()
    containerd.nothing_left("lan")


class Kubelet:
    """The CRI calls for a pod's sandbox."""

    def __init__(self, containerd: Containerd, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(Path(__file__).parent))
        self.messages, services = grpc.protos_and_services("cri.proto")
        channel = grpc.insecure_channel(f"unix://{containerd.directory}/socket")
        self.service = services.RuntimeServiceStub(channel)

    def network_is_ready(self) -> bool:
        conditions = self.service.Status(self.messages.StatusRequest(), timeout=SECONDS).status.conditions
        return any(condition.type == "NetworkReady" and condition.status for condition in conditions)

    def run(self, name: str, **annotations: str) -> str:
        """The sandbox's id."""
        metadata = self.messages.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="default")
        config = self.messages.PodSandboxConfig(metadata=metadata, hostname=name, annotations=annotations)
        request = self.messages.RunPodSandboxRequest(config=config)
        return str(self.service.RunPodSandbox(request, timeout=SECONDS).pod_sandbox_id)

    def addresses(self, sandbox: str) -> list[str]:
        network = self.service.PodSandboxStatus(self._of(sandbox), timeout=SECONDS).status.network
        return [network.ip, *(other.ip for other in network.additional_ips)]

    def stop(self, sandbox: str) -> None:
        self.service.StopPodSandbox(self._of(sandbox), timeout=SECONDS)

    def remove(self, sandbox: str) -> None:
        self.service.RemovePodSandbox(self._of(sandbox), timeout=SECONDS)

    def _of(self, sandbox: str) -> Any:
        return self.messages.PodSandboxRequest(pod_sandbox_id=sandbox)


@pytest.fixture
def kubelet(containerd: Containerd, monkeypatch: pytest.MonkeyPatch) -> Kubelet:
    """With the pause image that every sandbox needs, and the network of the node."""
    archive = containerd.directory / "pause.tar"
    archive.write_bytes(pause_image())
    containerd.ctr("--namespace", "k8s.io", "images", "import", "--snapshotter", "native", str(archive))
    (containerd.directory / "net.d" / "10-lan.conflist").write_text(conflist(containerd.lan))
    kubelet = Kubelet(containerd, monkeypatch)
    deadline = time.monotonic() + SECONDS
    while not kubelet.network_is_ready():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return kubelet


def test_pods_of_a_kubelet(containerd: Containerd, kubelet: Kubelet) -> None:
    web, db = kubelet.run("web"), kubelet.run("db")
    assert kubelet.addresses(web) == ["10.1.0.2", "fd00:1::2"]
    assert kubelet.addresses(db) == ["10.1.0.3", "fd00:1::3"]
    for address in ("10.1.0.2", "fd00:1::2", "10.1.0.3", "fd00:1::3"):
        assert containerd.lan.beyond.ping(address)
    for sandbox in (web, db):
        kubelet.stop(sandbox)
        kubelet.stop(sandbox)  # as kubelets do
        kubelet.remove(sandbox)
    containerd.nothing_left("lan")


def test_a_pod_whose_network_cannot_be_had_is_told_why(containerd: Containerd, kubelet: Kubelet) -> None:
    containerd.lan.node.ip_batch(["link set eth0 down", "link set eth0 name eth9"])
    with pytest.raises(grpc.RpcError, match="there is no link named eth0"):
        kubelet.run("web")
    containerd.lan.node.ip_batch(["link set eth9 name eth0", "link set eth0 up"])
    sandbox = kubelet.run("web")
    assert containerd.lan.beyond.ping(kubelet.addresses(sandbox)[0])
    kubelet.stop(sandbox)
    kubelet.remove(sandbox)
    containerd.nothing_left("lan")


def pause_image() -> bytes:
    """An OCI archive whose one layer is a busybox that sleeps."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
    blobs: dict[str, bytes] = {}

    def add(content: bytes, kind: str, **more: Any) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content), **more}

    of_layer = add(layer.getvalue(), "layer.v1.tar")
    rootfs = {"type": "layers", "diff_ids": [of_layer["digest"]]}
    command = {"Entrypoint": ["/bin/busybox", "sleep", "100000"]}
    config = {"architecture": "amd64", "os": "linux", "config": command, "rootfs": rootfs}
    of_config = add(json.dumps(config).encode(), "config.v1+json")
    manifest = {"schemaVersion": 2, "config": of_config, "layers": [of_layer]}
    named = {"annotations": {"io.containerd.image.name": PAUSE}}
    of_manifest = add(json.dumps(manifest).encode(), "manifest.v1+json", **named)
    blobs["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [of_manifest]}).encode()
    blobs["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in blobs.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()
