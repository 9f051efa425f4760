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


def places(target: Path) -> list[str]:
    return ["--bin-dir", str(target), "--prefix", str(target.parent / "prefix")]


def install(directory: Path, target: Path, *options: str) -> str:
    """What it says on standard error."""
    done = command(directory, "install", *places(target), *options)
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
    assert command(target, "uninstall", *places(target)).returncode == 0
    assert sorted(path.name for path in target.iterdir()) == ["host-local", "ipvlan"]
    again = command(OURS, "uninstall", *places(target))
    assert (again.returncode, again.stderr.count("has no plugins of ours")) == (1, 1)


def test_a_build_that_is_installed_can_be_installed_elsewhere(target: Path, tmp_path: Path) -> None:
    install(OURS, target)
    install(target, tmp_path / "other", "--aliases")
    aliases = ["host-local", "ipvlan", "lan-local", "macvlan"]
    assert names(tmp_path / "other") == ["cni-ipvlan-py", "cni-macvlan-py", *aliases]


def test_people_find_the_commands_below_prefix(target: Path) -> None:
    prefix = target.parent / "prefix"
    install(OURS, target)
    done = subprocess.run([prefix / "bin/cni-ipvlan-py", "--version"], env={}, capture_output=True, text=True)
    assert done.stdout.startswith("cni-ipvlan-py "), done.stderr
    assert [path.name for path in (prefix / "bin").iterdir()] == ["cni-ipvlan-py", "cni-macvlan-py"]
    # From another directory: the link is turned to it. What is not ours stays, and is told of.
    (prefix / "bin/cni-ipvlan-py").unlink()
    (prefix / "bin/cni-ipvlan-py").write_text("somebody else's")
    other = target.parent / "other"
    assert f"{prefix}/bin/cni-ipvlan-py is something else and stays" in install(OURS, other)
    assert (prefix / "bin/cni-macvlan-py").readlink() == other / "cni-macvlan-py"
    assert command(target, "uninstall", *places(target)).returncode == 0
    assert (prefix / "bin/cni-macvlan-py").readlink() == other / "cni-macvlan-py"
    assert command(other, "uninstall", *places(other)).returncode == 0
    assert [path for path in prefix.rglob("*") if not path.is_dir()] == [prefix / "bin/cni-ipvlan-py"]


def test_no_prefix_or_one_that_cannot_be_written_is_no_failure(target: Path) -> None:
    (target.parent / "prefix").write_text("no directory")
    assert f"{target.parent}/prefix/bin/cni-macvlan-py: Not a directory" in install(OURS, target)
    assert install(OURS, target, "--prefix", "") == ""


def test_podman_5_finds_the_names_where_it_looks(target: Path) -> None:
    directory = target.parent / "netavark"
    install(OURS, target, "--netavark", str(directory))
    for name in ("cni-macvlan-py", "cni-ipvlan-py"):
        done = subprocess.run([directory / name, "info"], env={}, capture_output=True, text=True)
        assert json.loads(done.stdout)["api_version"] == "1.0.0", done.stderr
    assert command(target, "uninstall", *places(target), "--netavark", str(directory)).returncode == 0
    assert names(directory) == []


def test_a_package_is_made_of_destdir(tmp_path: Path) -> None:
    """As `make install DESTDIR=`: the links lead to where the files will be."""
    where = ("--destdir", str(tmp_path), "--bin-dir", "/opt/cni/bin", "--prefix", "/usr")
    assert command(OURS, "install", "--aliases", *where).returncode == 0
    assert names(tmp_path / "opt/cni/bin") == [
        "cni-ipvlan-py",
        "cni-macvlan-py",
        "host-local",
        "ipvlan",
        "lan-local",
        "macvlan",
    ]
    assert (tmp_path / "usr/bin/cni-macvlan-py").readlink() == Path("/opt/cni/bin/cni-macvlan-py")
    assert command(OURS, "uninstall", *where).returncode == 0
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()]


def test_it_is_installed_where_the_nodes_runtimes_look(tmp_path: Path) -> None:
    done = command(OURS, "install", "--detect", "--destdir", str(tmp_path), "--prefix", "")
    assert (done.returncode, "no containerd and no CRI-O" in done.stderr) == (1, True)
    files = {
        "etc/containerd/config.toml": '[plugins.cri.cni]\nbin_dir = "/usr/lib/cni"\n',
        "etc/crio/crio.conf": '[crio.network]\nplugin_dirs = ["/var/lib/cni/bin", "/usr/libexec/cni"]\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    for _ in range(2):  # an upgrade goes where it was
        done = command(OURS, "install", "--detect", "--destdir", str(tmp_path), "--prefix", "")
        assert done.returncode == 0, done.stderr
        assert "CRI-O (/etc/crio/crio.conf) looks in /var/lib/cni/bin, /usr/libexec/cni" in done.stdout
    assert names(tmp_path / "usr/lib/cni") == names(tmp_path / "var/lib/cni/bin") == ["cni-ipvlan-py", "cni-macvlan-py"]
    assert not (tmp_path / "usr/libexec").exists()
    (tmp_path / "etc/crio/crio.conf").write_text("no TOML")
    done = command(OURS, "install", "--detect", "--destdir", str(tmp_path), "--prefix", "")
    assert (done.returncode, "CRI-O: /etc/crio/crio.conf: " in done.stderr) == (1, True)


def test_other_plugins_go_aside_and_get_their_names_back(target: Path) -> None:
    (target / "macvlan").write_text("theirs")
    (target / "ipvlan").symlink_to("elsewhere/ipvlan")
    assert install(OURS, target, "--replace") == ""
    assert names(target) == ["cni-ipvlan-py", "cni-macvlan-py", "host-local", "ipvlan", "lan-local", "macvlan"]
    assert (target / "macvlan").readlink() == Path("cni-macvlan-py")
    assert install(OURS, target, "--replace") == ""  # an upgrade puts nothing of ours aside
    (target / "ipvlan").unlink()
    (target / "ipvlan").write_text("theirs, newer")
    done = command(target, "uninstall", *places(target))
    assert f"{target}/ipvlan is another plugin's; the one before stays" in done.stderr
    assert (target / "macvlan").read_text() == "theirs"
    assert (target / "ipvlan").read_text() == "theirs, newer"
    assert (target / "cni-py-aside/ipvlan").readlink() == Path("elsewhere/ipvlan")
    assert names(target) == ["ipvlan", "macvlan"]


def test_nobody_is_left_without_a_plugin(lan: Lan, target: Path, tmp_path: Path) -> None:
    (target / "macvlan").write_text("theirs")
    (tmp_path / "net.d").mkdir()
    install(OURS, target, "--replace")
    pods = {name: lan.host(name) for name in ("gone", "old", "new")}
    kinds = {"old": "macvlan", "new": "cni-macvlan-py"}
    for name, kind in kinds.items():
        config = lan.config(name=name, type=kind)
        (tmp_path / "net.d" / f"{name}.conf").write_text(json.dumps(config))
        assert Plugin(lan.node, kind, target).add(pods[name], config).status == 0
    elsewhere = lan.config(name="elsewhere")
    assert Plugin(lan.node, "macvlan", target).add(pods["gone"], elsewhere).status == 0

    def uninstall(*options: str) -> str:
        done = command(target, "uninstall", *places(target), "--dir", str(tmp_path / "net.d"), *options)
        assert bool(done.returncode) == bool(done.stderr)
        return done.stderr

    assert "gone/eth0 of network elsewhere, which has no configuration in" in uninstall()
    Plugin(lan.node, "macvlan", target).delete(pods["gone"], elsewhere).succeeded()
    assert "new/eth0 of network new would be left without cni-macvlan-py (error 112)" in uninstall()
    assert "cni-macvlan-py" in names(target)
    Plugin(lan.node, "macvlan", target).delete(pods["new"], lan.config(name="new", type="cni-macvlan-py")).succeeded()
    assert uninstall() == ""  # the one that is left is the other plugin's again
    assert (target / "macvlan").read_text() == "theirs"


def test_nobody_is_left_without_a_plugin_but_by_force(lan: Lan, target: Path) -> None:
    install(OURS, target, "--aliases")
    assert Plugin(lan.node, "macvlan", target).add(lan.host("pod"), lan.config()).status == 0
    assert "pod/eth0 of network lan" in command(target, "uninstall", *places(target)).stderr
    assert command(target, "uninstall", *places(target), "--force").returncode == 0
    assert names(target) == []


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


def test_what_is_installed_can_be_asked(target: Path, builds: list[Path]) -> None:
    """By the build that should be; other plugins' names are no fault of --aliases."""

    def check(build: Path, *options: str) -> tuple[int, str]:
        done = command(build, "install", "--check", *places(target), *options)
        assert bool(done.stdout) != bool(done.stderr)
        return done.returncode, done.stdout or done.stderr

    assert "cni-macvlan-py, cni-ipvlan-py of" in check(builds[0])[1]
    (target / "macvlan").write_text("somebody else's")
    install(builds[0], target, "--aliases")
    [installed] = [path.name for path in target.glob("cni-py-*")]
    assert check(builds[0])[1].startswith(f"{installed} (")
    assert check(builds[0], "--aliases")[0] == 0
    assert check(builds[0], "--replace") == (1, f"macvlan of {target} is not of {installed}\n")
    status, said = check(builds[1])
    assert (status, said.endswith(f"; it has {installed}\n")) == (1, True)
    (target / installed / "_internal/number").write_text("another")
    assert "somebody has written into it" in check(builds[0])[1]
    install(builds[0], target)
    assert (target / installed / "_internal/number").read_text() == "0"
    assert check(builds[0])[0] == 0


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


def test_a_release_has_the_licences_of_all_that_it_bundles(release: Path) -> None:
    assert (release / "LICENSE").read_text().startswith("SPDX-License-Identifier: Apache-2.0")
    assert "END OF TERMS AND CONDITIONS" in (release / "licenses/Apache-2.0").read_text()
    told = json.loads((release / "sbom.cdx.json").read_text())
    parts = {component["name"]: component["version"] for component in told["components"]}
    for part in ("jsonschema", "pyinstaller", "rpds-py", "libc6", "libexpat1", "libssl3"):
        assert any(name.removesuffix("t64") == part for name in parts), part
    for name, version in parts.items():
        place = release / "licenses" / f"{name}-{version.replace(':', '_')}"
        texts = [place] if place.is_file() else list(place.iterdir())
        assert texts and all(text.read_text() for text in texts), name
        assert max(len(text.read_text()) for text in texts) > 500, name  # a NOTICE beside it may be short
    said = {line.split()[0] for line in command(release, "--version").stdout.splitlines()[2:]}
    assert said <= set(parts)


def test_manual_pages_and_completions_are_installed(target: Path) -> None:
    prefix = target.parent / "prefix"
    install(OURS, target)
    assert "network create" in (prefix / "share/man/man8/cni-ipvlan-py.8").read_text()
    assert (prefix / "share/bash-completion/completions/cni-macvlan-py").exists()
    assert "/run/cni-vlan" in (prefix / "lib/tmpfiles.d/cni-vlan.conf").read_text()
