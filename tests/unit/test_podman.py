"""cni_cli.podman: which podman the node has, and what the doctor says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cni_cli import doctor, podman
from cni_cli.checks import FAILURE, OK, WARNING
from cni_cli.podman import CNI, NETAVARK


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node without any podman, whose files are below the directory."""
    for name in ("FILES", "HELPERS"):
        monkeypatch.setattr(podman, name, tuple(f"{tmp_path}{path}" for path in getattr(podman, name)))
    for name in ("DROP_INS", "CHOSEN"):
        monkeypatch.setattr(podman, name, f"{tmp_path}{getattr(podman, name)}")
    for name in ("PLUGIN_DIRECTORIES", "NETWORKS"):
        of_backends = {
            backend: f"{tmp_path}{value}" if isinstance(value, str) else tuple(f"{tmp_path}{path}" for path in value)
            for backend, value in getattr(podman, name).items()
        }
        monkeypatch.setattr(podman, name, of_backends)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    monkeypatch.delenv("CONTAINERS_CONF", raising=False)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def of_version(node: Path, version: str) -> podman.Podman:
    write(node / "bin/podman", f"#!/bin/sh\necho podman version {version}\n")
    found = podman.find()
    assert found
    return found


def settings(node: Path, text: str, file: str = "/etc/containers/containers.conf") -> None:
    write(node / file[1:], f"[network]\n{text}\n")


def test_there_need_be_none(node: Path) -> None:
    assert podman.find() is None
    assert list(doctor._podman()) == []
    write(node / "bin/podman", "#!/bin/sh\nexit 1\n")
    assert podman.find() is None


def test_podman_5_has_no_cni_whatever_its_configuration_says(node: Path) -> None:
    settings(node, 'network_backend = "cni"')
    assert of_version(node, "5.4.2").backend == NETAVARK
    assert of_version(node, "4.3.1").backend == CNI


def test_podman_4_has_the_backend_of_its_configuration_or_that_it_once_chose(node: Path) -> None:
    assert of_version(node, "4.3.1").backend == CNI
    write(node / "usr/lib/podman/netavark", "")
    assert of_version(node, "4.3.1").backend == NETAVARK
    write(node / podman.CHOSEN.removeprefix(f"{node}/"), "cni\n")
    assert of_version(node, "4.3.1").backend == CNI
    settings(node, 'network_backend = "netavark"')
    assert of_version(node, "4.3.1").backend == NETAVARK


def test_a_later_file_counts_and_a_list_may_be_added_to(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_version(node, "5.4.2").plugin_directories == podman.PLUGIN_DIRECTORIES[NETAVARK]
    settings(node, 'netavark_plugin_dirs = ["/a"]', "/usr/share/containers/containers.conf")
    settings(node, 'netavark_plugin_dirs = ["/b"]\nnetwork_config_dir = "/networks"')
    found = of_version(node, "5.4.2")
    assert (found.plugin_directories, found.networks) == (("/b",), Path("/networks"))
    more = 'netavark_plugin_dirs = ["/c", {append = true}]'
    settings(node, more, "/etc/containers/containers.conf.d/50-more.conf")
    assert of_version(node, "5.4.2").plugin_directories == ("/b", "/c")
    settings(node, 'netavark_plugin_dirs = ["/own"]', "/own.conf")
    monkeypatch.setenv("CONTAINERS_CONF", f"{node}/own.conf")
    assert of_version(node, "5.4.2").plugin_directories == ("/own",)


def levels() -> list[tuple[str, str, str]]:
    return [(check.level, check.what, check.mend) for check in doctor._podman()]


def test_the_doctor_says_whether_podman_finds_the_plugins(node: Path) -> None:
    of_version(node, "5.4.2")
    [(level, what, mend)] = levels()
    assert (level, mend) == (WARNING, f"cni-macvlan-py install --netavark {node}/usr/local/libexec/netavark")
    assert "podman 5.4.2 calls netavark plugins, and of ours it finds no cni-macvlan-py, cni-ipvlan-py in" in what
    network = {"name": "till", "driver": "cni-macvlan-py"}
    write(node / "etc/containers/networks/till.json", json.dumps(network))
    write(node / "etc/containers/networks/broken.json", "{")
    write(node / "etc/containers/networks/podman.json", json.dumps({"name": "podman", "driver": "bridge"}))
    [(level, what, _)] = levels()
    assert level == FAILURE
    assert what.endswith(": network till is of them")
    commands = {name: str(write(node / "opt/cni/bin" / name, "")) for name in ("cni-macvlan-py", "cni-ipvlan-py")}
    podman.place(node / "usr/local/libexec/netavark", commands)
    [(level, what, _)] = levels()
    assert level == OK
    assert what.endswith(f"cni-macvlan-py, cni-ipvlan-py of {node}/usr/local/libexec/netavark")


def test_of_podman_4_it_looks_at_the_names_of_cni(node: Path) -> None:
    of_version(node, "4.3.1")
    write(node / "usr/lib/cni/macvlan", "Go's")
    write(node / "usr/lib/cni/ipvlan", "Go's")
    [(level, what, mend)] = levels()
    assert (level, "podman 4.3.1 calls CNI plugins, and of ours it finds no macvlan, ipvlan" in what) == (WARNING, True)
    assert mend == f"cni-macvlan-py install --aliases --bin-dir {node}/usr/local/libexec/cni"
    for kind in ("macvlan", "ipvlan"):
        own = write(node / f"usr/local/libexec/cni/cni-{kind}-py", "")
        (own.parent / kind).symlink_to(own.name)
    [(level, _, _)] = levels()
    assert level == OK


def test_links_for_netavark_take_nobodys_place_and_go_with_their_program(
    node: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = node / "netavark"
    write(directory / "cni-ipvlan-py", "somebody else's")
    commands = {name: f"/opt/cni/bin/{name}" for name in ("cni-macvlan-py", "cni-ipvlan-py")}
    podman.place(directory, commands)
    assert f"{directory}/cni-ipvlan-py is something else and stays." in capsys.readouterr().err
    assert (directory / "cni-macvlan-py").readlink() == Path("/opt/cni/bin/cni-macvlan-py")
    elsewhere = {name: f"/usr/lib/cni/{name}" for name in commands}
    assert list(podman.placed(directory, elsewhere)) == []
    assert list(podman.placed(directory, commands)) == [directory / "cni-macvlan-py"]
    podman.place(directory, elsewhere)
    assert (directory / "cni-macvlan-py").readlink() == Path("/usr/lib/cni/cni-macvlan-py")
