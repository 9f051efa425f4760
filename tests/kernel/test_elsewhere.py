"""The release where there is another C library than the build's: an older one (Debian 11's, 2.31), musl, or none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import Lan
from tests.kernel.plugin import REPOSITORY, Outcome, links

MUSL = Path(f"/lib/ld-musl-{os.uname().machine}.so.1")  # loader and library in one file
BULLSEYE = REPOSITORY / "build" / "debian" / "bullseye"
BOUND = ("proc", "sys", "dev", "run", "tmp")  # the lab's own, in each system


class System:
    """A root directory, and the release in it."""

    def __init__(self, lan: Lan, root: Path, release: Path) -> None:
        self.lan = lan
        self.root = root
        for place in BOUND:
            (root / place).mkdir(exist_ok=True)
        (root / "opt").mkdir(exist_ok=True)
        subprocess.run(["cp", "-a", release, root / "opt" / "release"], check=True)  # with its hard links

    def run(self, *argv: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        """On the node, with this root."""
        binds = [f"mount --rbind /{place} {self.root}/{place}" for place in BOUND]
        script = " && ".join([*binds, f'exec chroot {self.root} "$@"'])
        outer = ["unshare", "--mount", "env", "-i", "PATH=" + os.environ["PATH"]]
        variables = [f"{name}={value}" for name, value in environment.items()]
        with self.lan.node.inside():
            return subprocess.run(
                [*outer, *variables, "sh", "-c", script, "sh", *argv], input=stdin, capture_output=True
            )

    def call(self, command: str, pod: Any, config: dict[str, Any]) -> Outcome:
        environment = self.lan.macvlan.environment(command, pod, {})
        return Outcome(self.run("/opt/release/macvlan", stdin=json.dumps(config).encode(), **environment))


@pytest.fixture(params=["Debian 11", "musl", "no C library"])
def system(request: pytest.FixtureRequest, lan: Lan, release: Path, tmp_path: Path) -> Iterator[System]:
    root = tmp_path / "root"
    root.mkdir()
    if request.param == "no C library":
        yield System(lan, root, release)
        return
    if request.param == "musl":
        (root / "lib").mkdir()
        shutil.copy(MUSL, root / "lib")
        system = System(lan, root, release)
        assert system.run(f"/lib/{MUSL.name}").stderr.startswith(b"musl libc")
        yield system
        return
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={BULLSEYE},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)
    try:
        system = System(lan, root, release)
        assert b" 2.31\n" in system.run("/usr/bin/ldd", "--version").stdout
        yield system
    finally:
        subprocess.run(["umount", root], check=True)


def test_the_full_program_cannot_run_there_by_itself(system: System) -> None:
    """So that what follows shows something: its C library is what lets it."""
    for name in ("libc.so.6", "libm.so.6"):
        (system.root / "opt/release/_internal" / name).unlink()
    done = system.run("/opt/release/cni-macvlan-py", "--version")
    assert done.returncode != 0
    assert b"cni-macvlan-py 0." not in done.stdout


def test_what_needs_the_full_program_works_there(system: System, lan: Lan) -> None:
    version = system.run("/opt/release/cni-macvlan-py", "--version")
    assert (version.returncode, version.stderr) == (0, b"")
    pod, trunk = lan.host("pod"), lan.config(vlan=50)
    result = system.call("ADD", pod, trunk).result
    assert result["ips"][0]["address"] == "10.1.0.2/24"
    assert "eth0.50" in links(lan.node)
    system.call("CHECK", pod, trunk | {"prevResult": result}).succeeded()
    refused = system.call("ADD", pod, lan.config(mode="x", mtu=1.5)).error
    assert (refused["code"], refused["details"].count("; ")) == (7, 1)
    system.call("DEL", pod, trunk).succeeded()
    assert (links(pod), links(lan.node)) == ([], ["eth0"])


def test_it_is_installed_there(system: System) -> None:
    done = system.run("/opt/release/cni-macvlan-py", "install", "--aliases", "--bin-dir", "/opt/bin")
    assert (done.returncode, done.stdout) == (0, b"installed in /opt/bin\n"), done.stderr
    first, second = (next((system.root / "opt/bin").glob(f"cni-py-*/cni-{kind}-py")) for kind in ("macvlan", "ipvlan"))
    assert first.samefile(second)
    answer = system.run("/opt/bin/ipvlan", CNI_COMMAND="VERSION")
    assert json.loads(answer.stdout)["supportedVersions"]
    doctor = system.run("/opt/bin/cni-macvlan-py", "doctor", "--bin-dir", "/opt/bin")
    assert b"Traceback" not in doctor.stderr
    assert b"/opt/bin" in doctor.stdout, (doctor.stdout, doctor.stderr)
