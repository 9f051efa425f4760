"""The image of packaging/kubernetes, built of the release, and run by podman as its DaemonSet says: it installs on a
node, upgrades it under load, and tells what somebody else has done there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance.lab.topology import Host
from tests.kernel.conftest import Lan
from tests.kernel.plugin import CNITOOL, GO, RECORDS, REPOSITORY, Plugin, leases, links
from tests.kernel.podman import environment

MANIFESTS = REPOSITORY / "packaging/kubernetes"
FIRST, SECOND = "localhost/cni-py:first", "localhost/cni-py:second"
SECONDS = 60.0
PAUSE = 0.1


class Images:
    """podman with the two images: that of the release, and one whose build differs."""

    def __init__(self, directory: Path, release: Path) -> None:
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment(directory, "")}
        self("build", "-f", str(release / "packaging/kubernetes/Containerfile"), "-t", FIRST, str(release))
        (directory / "more").mkdir()
        (directory / "more/number").write_text("2")
        (directory / "more/Containerfile").write_text(f"FROM {FIRST}\nCOPY number /cni-py/_internal/number\n")
        self("build", "-t", SECOND, str(directory / "more"))

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = ["podman", *arguments]
        return subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=2 * SECONDS)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, release: Path) -> Iterator[Images]:
    directory = tmp_path_factory.mktemp("images")
    yield Images(directory, release)
    shutil.rmtree(directory)


class DaemonSet:
    """Its pod on this node, with what the manifest gives it and nothing else; `names` is an option that a user adds."""

    def __init__(self, images: Images, target: Path, names: str = "") -> None:
        self.images = images
        done = subprocess.run(
            [Path(sys.executable).parent / "kubectl", "kustomize", MANIFESTS / "install"],
            capture_output=True,
            check=True,
        )
        [document] = yaml.safe_load_all(done.stdout)
        [container] = document["spec"]["template"]["spec"]["containers"]
        self.added = [names] if names else []
        self.args = [*container["args"], *self.added]
        self.probe = [*container["readinessProbe"]["exec"]["command"], *self.added]
        context, [mount] = container["securityContext"], container["volumeMounts"]
        self.options = ["--network", "host", "--user", str(context["runAsUser"]), "--cgroups", "disabled"]
        self.options += ["--cap-drop", *context["capabilities"]["drop"], "-v", f"{target}:{mount['mountPath']}"]
        if context["readOnlyRootFilesystem"]:
            self.options += ["--read-only", "--read-only-tmpfs=false"]
        if not context["allowPrivilegeEscalation"]:
            self.options += ["--security-opt", "no-new-privileges"]
        self.options += ["--security-opt", "seccomp=unconfined"]  # User-Mode Linux has none

    @contextmanager
    def running(self, image: str) -> Iterator[None]:
        """From the moment at which it is ready."""
        self.images("run", "-d", "--name", "installer", *self.options, image, *self.args)
        try:
            deadline = time.monotonic() + SECONDS
            while (ready := self.ready()).returncode:
                assert time.monotonic() < deadline, (ready.stderr, self.images.run("logs", "installer"))
                time.sleep(0.2)
            yield
            self.images("stop", "-t", "30", "installer")
            assert self.images("inspect", "-f", "{{.State.ExitCode}}", "installer") == "0\n"  # it was not killed
        finally:
            self.images("rm", "-f", "-t", "0", "installer")

    def ready(self) -> subprocess.CompletedProcess[str]:
        return self.images.run("exec", "installer", *self.probe)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A node's directory, with Go's plugins."""
    target = tmp_path / "bin"
    target.mkdir()
    for name in ("macvlan", "ipvlan", "host-local", "bridge", "loopback"):
        shutil.copy(GO / name, target)
    return target


def leads_to(directory: Path, name: str) -> str:
    """`ours`, or `Go's`."""
    return "Go's" if (directory / name).read_bytes() == (GO / name).read_bytes() else "ours"


NAMES = ("macvlan", "ipvlan", "host-local", "bridge")


def test_it_installs_and_mends_what_another_installer_does(images: Images, target: Path) -> None:
    pod = DaemonSet(images, target)
    with pod.running(FIRST):
        said = pod.ready().stdout
        [build] = target.glob("cni-py-*")
        assert said.startswith(f"{build.name} (")
        assert "is installed in /host/cni/bin: cni-macvlan-py, cni-ipvlan-py" in said
        whole = (target / "cni-ipvlan-py").read_bytes()
        (build / "cni-ipvlan-py").write_bytes(b"somebody else's")  # as `cp` does it, through the links
        assert "is not as it was installed" in pod.ready().stderr
        (target / "cni-macvlan-py").unlink()
        shutil.copy(GO / "macvlan", target / "cni-macvlan-py")
        assert "cni-macvlan-py of /host/cni/bin is not of cni-py-" in pod.ready().stderr
    assert [leads_to(target, name) for name in NAMES] == ["Go's"] * 4  # which are not asked for
    with DaemonSet(images, target, "--replace").running(FIRST):  # as the kubelet starts it again
        assert [leads_to(target, name) for name in NAMES] == ["ours", "ours", "ours", "Go's"]
        assert (target / "cni-ipvlan-py").read_bytes() == whole
    done = subprocess.run([target / "macvlan", "--version"], env={}, capture_output=True, text=True)
    assert done.stdout.startswith("macvlan "), done.stderr


class Load:
    """Pods that come and go, by direct calls and by libcni, until it is stopped; each call must succeed. It leaves some
    time to podman: User-Mode Linux has one processor."""

    def __init__(self, lan: Lan, target: Path, directory: Path) -> None:
        self.lan, self.target, self.directory = lan, target, directory
        self.stopped = False
        self.count: Counter[str] = Counter()
        self.calls: list[Future[None]] = []

    def config(self, name: str, number: int, **keys: Any) -> dict[str, Any]:
        return self.lan.config(name=name, ipam=self.lan.ipam(f"10.{number}.0.0/24"), **keys)

    def direct(self, pod: Host) -> None:
        plugin, config = Plugin(self.lan.node, "macvlan", self.target), self.config("direct", 1)
        while not self.stopped:
            assert plugin.add(pod, config).result["ips"]
            plugin.delete(pod, config).succeeded()
            self.count["direct"] += 1
            time.sleep(PAUSE)

    def libcni(self, pod: Host) -> None:
        plugin = self.config("libcni", 2, type="ipvlan", master="eth1")
        document = {key: plugin.pop(key) for key in ("cniVersion", "name")} | {"plugins": [plugin]}
        (self.directory / "libcni.conflist").write_text(json.dumps(document))
        paths = {"CNI_PATH": str(self.target), "NETCONFPATH": str(self.directory), "PATH": "/usr/sbin:/usr/bin:/bin"}
        while not self.stopped:
            for command in ("add", "del"):
                done = self.lan.node.run([str(CNITOOL), command, "libcni", pod.netns], env=paths, check=False)
                assert done.returncode == 0, (command, done.stdout.decode(), done.stderr.decode())
            self.count["libcni"] += 1
            time.sleep(PAUSE)

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor() as pool:
            pods = self.lan.host("pod0"), self.lan.host("pod1")
            self.calls = [pool.submit(self.direct, pods[0]), pool.submit(self.libcni, pods[1])]
            try:
                yield
            finally:
                self.stopped = True
            for call in self.calls:
                call.result()

    def goes_on(self) -> None:
        """Each has called again since now, unless one failed."""
        before, deadline = self.count.copy(), time.monotonic() + SECONDS
        while not all(self.count[caller] > before[caller] for caller in ("direct", "libcni")):
            for call in self.calls:
                if call.done():
                    call.result()
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_an_upgrade_under_load_fails_no_call(images: Images, lan: Lan, target: Path, tmp_path: Path) -> None:
    """From Go's plugins to ours, and from one build of ours to another, while pods come and go."""
    lan.node.ip("link add eth1 up type dummy")
    pod, load = DaemonSet(images, target, "--replace"), Load(lan, target, tmp_path)
    with load.running():
        for image in (FIRST, SECOND):
            load.goes_on()
            with pod.running(image):
                assert [leads_to(target, name) for name in NAMES] == ["ours", "ours", "ours", "Go's"]
            load.goes_on()
    assert [leads_to(target / "cni-py-aside", name) for name in NAMES[:3]] == ["Go's"] * 3
    for name in ("direct", "libcni"):
        assert leases(lan.data_dir, name) == {}
    assert links(lan.node) == ["eth0", "eth1"]
    assert list((RECORDS / "attachments").iterdir()) == []
