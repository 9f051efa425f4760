"""`install`, upgrades under the feet of running calls, `uninstall`, and the release that others unpack."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kernel.conftest import Lan
from tests.kernel.plugin import LAUNCHERS, OURS, Plugin


def command(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([directory / "cni-macvlan-py", *arguments], capture_output=True, text=True, env={})


def install(directory: Path, target: Path, *options: str) -> str:
    """What it says on standard error."""
    done = command(directory, "install", "--bin-dir", str(target), *options)
    assert done.returncode == 0, done.stderr
    return done.stderr


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("cni-py-"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    target = tmp_path / "bin"
    target.mkdir()
    return target


def test_install_and_uninstall(target: Path) -> None:
    install(OURS, target)
    assert names(target) == ["cni-ipvlan-py", "cni-macvlan-py"]
    (target / "ipvlan").write_text("somebody else's")
    (target / "host-local").symlink_to("/usr/lib/cni/host-local")
    said = install(OURS, target, "--aliases")
    assert f"{target}/ipvlan is another plugin's and stays" in said
    assert f"{target}/host-local is another plugin's and stays" in said
    assert names(target) == ["cni-ipvlan-py", "cni-macvlan-py", "host-local", "ipvlan", "lan-local", "macvlan"]
    assert (target / "ipvlan").read_text() == "somebody else's"
    for name in ("macvlan", "cni-ipvlan-py"):
        done = subprocess.run([target / name], input=b"{}", env={"CNI_COMMAND": "VERSION"}, capture_output=True)
        assert json.loads(done.stdout)["supportedVersions"]
        assert "network" in subprocess.run([target / name, "--help"], env={}, capture_output=True, text=True).stdout
    assert command(target, "uninstall", "--bin-dir", str(target)).returncode == 0
    assert sorted(path.name for path in target.iterdir()) == ["host-local", "ipvlan"]
    again = command(OURS, "uninstall", "--bin-dir", str(target))
    assert (again.returncode, again.stderr.count("has no plugins of ours")) == (1, 1)


def test_a_build_that_is_installed_can_be_installed_elsewhere(target: Path, tmp_path: Path) -> None:
    install(OURS, target)
    install(target, tmp_path / "other", "--aliases")
    aliases = ["host-local", "ipvlan", "lan-local", "macvlan"]
    assert names(tmp_path / "other") == ["cni-ipvlan-py", "cni-macvlan-py", *aliases]


@pytest.fixture
def builds(tmp_path: Path) -> list[Path]:
    """Two that differ."""
    found = []
    for number in range(2):
        build = tmp_path / f"build{number}"
        shutil.copytree(LAUNCHERS, build, symlinks=True)
        (build / "_internal" / "number").write_text(str(number))
        found.append(build)
    return found


def test_calls_during_upgrades_are_answered(lan: Lan, target: Path, builds: list[Path]) -> None:
    install(builds[0], target, "--aliases")
    macvlan = Plugin(lan.node, "macvlan", target)
    pod = lan.host("pod")
    upgraded = False

    def called() -> int:
        """How often, of one call that the launcher answers, and one for which it needs the program beside it."""
        count = 0
        while not upgraded:
            assert macvlan.call("VERSION", None, b"{}").result["supportedVersions"]
            assert '"bridged" is not one of' in macvlan.add(pod, lan.config(mode="bridged")).error["msg"]
            count += 1
        return count

    with ThreadPoolExecutor() as pool:
        answered = pool.submit(called)
        try:
            for number in range(6):
                install(builds[number % 2], target, "--aliases")
        finally:
            upgraded = True
        assert answered.result() > 3
    assert len(list(target.glob("cni-py-*"))) == 2  # that of before, for calls that still run


def test_builds_of_long_ago_are_removed(target: Path, builds: list[Path]) -> None:
    install(builds[0], target)
    (target / "cni-py-0123456789ab").mkdir()
    (target / "cni-py-0.1.0-linux-x86_64").mkdir()  # somebody unpacked a release there
    install(builds[1], target)
    left = {path.name for path in target.glob("cni-py-*")}
    assert len(left) == 3
    assert "cni-py-0123456789ab" not in left
    assert "cni-py-0.1.0-linux-x86_64" in left


def test_a_release_works_from_where_it_is_unpacked_and_installed(lan: Lan, release: Path, target: Path) -> None:
    install(release, target, "--aliases")
    for directory in (release, target):
        plugin, pod = Plugin(lan.node, "ipvlan", directory), lan.host(f"pod-{directory.name[:3]}")
        config = lan.config(type="ipvlan", ipam=lan.dual_stack)
        result = plugin.add(pod, config).result
        plugin.check(pod, config, result).succeeded()
        plugin.delete(pod, config).succeeded()
    assert (release / "README.md").exists()
