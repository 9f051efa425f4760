"""The documents: every command that they show is run, every configuration tried, every link followed.

A document is one session on a node, in the order of the page. A block that begins with ```sh is the node's, one with
```sh router the router's; in one with ```sh podman5 the node's podman is Debian 13's.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cni_core.policy import parse
from conformance.lab.topology import BUSYBOX, Host, Topology
from tests.etcd.members import ETCD
from tests.kernel.busybox import busybox_root
from tests.kernel.debian import TRIXIE, overlaid
from tests.kernel.plugin import CNITOOL, GO, OURS, RECORDS, REPOSITORY, Plugin, links
from tests.kernel.podman import CONFINED, environment

CLUSTERS = Path("/etc/cni/cluster.d")
NET_D, NETWORKS, BIN = Path("/etc/cni/net.d"), Path("/var/lib/cni/networks"), Path("/opt/cni/bin")
DOCUMENTS = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")])
PLACES = ("/opt", "/usr/local")  # where `make install` puts what these sessions use
VLANS = (50, 60, 70)
# What a command of a document is here, where it is not what its name says.
PROGRAMS = {
    # All but install has been done, or runs this test.
    "make": f'[ "$1" != install ] || exec /usr/bin/make -C {REPOSITORY} "$@"\ngrep "^$1:" {REPOSITORY}/Makefile',
    "cnitool": f'CNI_PATH={BIN} exec {CNITOOL} "$@"',
    "apt-get": "exit 0",
    # An etcd as its unit starts it, until it answers; a unit of ours is but looked at.
    "systemctl": f"""case $* in
        "restart etcd") set -a && . /etc/default/etcd && cd "$HOME"
            {ETCD} --listen-peer-urls http://127.0.0.1:2380 >etcd.log 2>&1 &
            until grep -q "ready to serve" "$HOME/etcd.log"; do sleep 0.1; done ;;
        "enable --now "*) grep -q ^ExecStart "/etc/systemd/system/$(basename "$3" .timer).service" ;;
    esac""",
    "ping": f'exec {BUSYBOX} ping "$@"',
    "podman": f'case $1 in run) shift; set -- run {" ".join(CONFINED)} "$@" ;; esac\nexec $PODMAN "$@"',
}


class Session:
    """A node with eth0 and eth1 (and eth2, without address) on a switch, and a router there, in the VLANs too."""

    def __init__(self, net: Topology, directory: Path) -> None:
        self.net = net
        self.directory = directory
        self.node, self.router, switch = net.host("node"), net.host("router"), net.switch("switch")
        for name in ("eth0", "eth1", "eth2"):
            net.cable(self.node, name, switch, trunk=VLANS)
        net.cable(self.router, "eth0", switch, trunk=VLANS)
        self.node.address("eth0", "192.168.50.7/24", "fd00:50::7/64")
        self.node.address("eth1", "192.168.60.7/24")
        self.router.address("eth0", "192.168.50.1/24", "192.168.60.1/24", "fd00:50::1/64")
        for vlan in VLANS:
            self.router.ip(f"link add link eth0 name eth0.{vlan} type vlan id {vlan}")
            self.router.address(f"eth0.{vlan}", f"10.{vlan}.0.1/24")
        self.programs = directory / "programs"
        self.programs.mkdir()
        for name, script in PROGRAMS.items():
            (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (self.programs / name).chmod(0o755)
        self.environment = {
            "PATH": f"{self.programs}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(directory),
            "PODMAN": "/usr/bin/podman",
        }
        self.podman5: dict[str, str] = {}  # what is otherwise in its blocks

    def sh(self, script: str, host: Host | None = None, **environment: str) -> str:
        """What a script says, every command of which must succeed."""
        argv = ["bash", "-euo", "pipefail", "-c", script]
        env = self.environment | environment
        done = (host or self.node).run(argv, env=env, cwd=str(self.directory), check=False, timeout=240)
        assert done.returncode == 0, f"{script}\n{done.stdout.decode()}\n{done.stderr.decode()}"
        return done.stdout.decode()

    def follow(self, document: Path) -> None:
        """Runs the page's commands."""
        for info, block in blocks(document):
            if info.startswith("sh"):
                others = self.podman5 if info == "sh podman5" else {}
                self.sh(block, self.router if info == "sh router" else None, **others)

    def with_plugins(self) -> None:
        self.sh("make install CNI_BIN_DIR=/opt/cni/bin")

    def with_lan(self) -> None:
        self.sh(
            "cni-macvlan-py network create lan --subnet 192.168.50.0/24 --gateway 192.168.50.1 "
            "--ip-range 192.168.50.128/25 --aux-address node=192.168.50.129 -o parent=eth0"
        )


def blocks(document: Path) -> list[tuple[str, str]]:
    """(what stands behind the opening fence, what is in it) of each fenced block."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    shutil.rmtree(RECORDS, ignore_errors=True)
    for directory in (NET_D, NETWORKS):
        shutil.rmtree(directory, ignore_errors=True)
    NET_D.mkdir(parents=True)
    for place in PLACES:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    try:
        BIN.mkdir(parents=True)
        shutil.copy(GO / "loopback", BIN)
        with Topology() as net:
            yield Session(net, tmp_path)
    finally:
        for place in PLACES:
            subprocess.run(["umount", "-l", place], check=True)


# Before a page's first command


def nothing(session: Session) -> None:
    pass


def of_kubernetes(session: Session) -> None:
    for file in (REPOSITORY / "dist").glob("*.tar.gz*"):
        shutil.copy(file, session.directory)
    shutil.copytree(REPOSITORY / "examples", session.directory / "examples")
    # A node of kubeadm's, whose containerd has no word of plugins; Debian's has.
    Path("/etc/containerd").mkdir(exist_ok=True)
    Path("/etc/containerd/config.toml").write_text("version = 2\n")


def of_podman(session: Session) -> Iterator[None]:
    [documented] = [block for info, block in blocks(REPOSITORY / "docs/podman.md") if info == "toml"]
    session.environment |= environment(session.directory, documented + f'network_config_dir = "{NET_D}"')
    root = busybox_root(session.directory / "root")
    image = f"tar -C {root} -c . | podman import - docker.io/library/busybox:latest"
    session.sh(image)
    (session.directory / "podman5").mkdir()
    with overlaid(TRIXIE, session.directory / "trixie", *PLACES) as debian:
        podman5 = environment(session.directory / "podman5", "")
        session.podman5 = podman5 | {"PODMAN": f"chroot {debian} /usr/bin/podman"}
        session.sh(image, None, **session.podman5)
        yield


def of_migrating(session: Session) -> None:
    for name in ("macvlan", "ipvlan", "host-local"):
        shutil.copy(GO / name, BIN)
    for name in ("web", "db"):
        session.net.host(name)
    ipam = {"type": "host-local", "ranges": [[{"subnet": "192.168.50.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    document = {"cniVersion": "1.0.0", "name": "lan", "plugins": [{"type": "macvlan", "master": "eth0", "ipam": ipam}]}
    (NET_D / "lan.conflist").write_text(json.dumps(document))


def of_cluster(session: Session) -> Iterator[None]:
    shutil.copytree(REPOSITORY / "packaging", session.directory / "packaging")
    for directory in (Path("/etc/systemd/system"), CLUSTERS.parent):
        directory.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(CLUSTERS, ignore_errors=True)
    session.node.ip("route add default via 192.168.50.1")
    yield
    shutil.rmtree(CLUSTERS)


def of_troubleshooting(session: Session) -> None:
    session.with_plugins()
    session.with_lan()
    session.net.host("web")
    RECORDS.mkdir(exist_ok=True)


def of_watching(session: Session) -> None:
    session.with_plugins()
    session.with_lan()
    shutil.copytree(REPOSITORY / "packaging", session.directory / "packaging")
    Path("/etc/systemd/system").mkdir(parents=True, exist_ok=True)


# A generator goes on when the page is done.
BEFORE: dict[str, Callable[[Session], Iterator[None] | None]] = {
    "README.md": nothing,
    "cluster.md": of_cluster,
    "home.md": nothing,
    "kubernetes.md": of_kubernetes,
    "podman.md": of_podman,
    "migrating.md": of_migrating,
    "troubleshooting.md": of_troubleshooting,
    "watching.md": of_watching,
}


@pytest.mark.parametrize("name", BEFORE)
def test_every_command_of_a_document_does_what_it_says(session: Session, name: str) -> None:
    [document] = [document for document in DOCUMENTS if document.name == name]
    with ExitStack() as stack:
        before = BEFORE[name](session)
        if before:
            stack.enter_context(contextmanager(lambda: before)())
        session.follow(document)
    assert [link for link in links(session.node) if link not in ("eth0", "eth1", "eth2", "shop")] == []


def test_no_document_has_commands_that_are_not_run() -> None:
    for document in DOCUMENTS:
        for info, _ in blocks(document):
            assert info in ("sh", "sh router", "sh podman5", "json", "yaml", "toml", ""), f"{document.name}: ```{info}"
            assert document.name in BEFORE or not info.startswith("sh"), document.name


def test_every_link_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def rows() -> list[tuple[str, dict[str, Any]]]:
    """docker's words of each line of the README's table, and the conflist of the section that the line leads to."""
    sections = re.findall(
        r"^## (.+?)$\n(?:.*\n)*?```json\n((?:.*\n)+?)```$", (REPOSITORY / "docs/docker.md").read_text(), re.M
    )
    files = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-"): file for title, file in sections}
    found = re.findall(
        r"^\| \[[^]]+\]\(docs/docker.md#([^)]+)\) \| `(-d [^`]+)` \|$", (REPOSITORY / "README.md").read_text(), re.M
    )
    assert len(found) == len(files) >= 10
    return [(words, json.loads(files[section])) for section, words in found]


def test_dockers_words_make_the_networks_that_the_page_shows(session: Session) -> None:
    session.with_plugins()
    for words, file in rows():
        name, kind = shlex.split(words)[-1], file["plugins"][0]["type"]
        command = f"cni-{kind}-py network create {words}"
        assert f"    {command}\n" in (REPOSITORY / "docs/docker.md").read_text()
        session.sh(command)
        assert json.loads((NET_D / f"{name}.conflist").read_text()) == file, words
        pod = session.net.host(f"pod-{name}")
        assert json.loads(session.sh(f"cnitool add {name} {pod.netns}"))["ips"], words
        session.sh(f"cnitool check {name} {pod.netns}")
        session.sh(f"cnitool del {name} {pod.netns}")
    assert links(session.node) == ["eth0", "eth1", "eth2"]


def test_the_pages_conflists_are_valid(session: Session) -> None:
    session.with_plugins()
    pages = [block for document in DOCUMENTS for info, block in blocks(document) if info == "json"]
    # The node's own file (cni_core/policy.py) names no plugin, and is read by another reader.
    of_the_node = [page for page in pages if '"parents"' in page]
    assert [parse(page.encode()).refuses_parent(["eth9"]) != "" for page in of_the_node] == [True]
    pages = [page for page in pages if page not in of_the_node]
    for page in [page for document in DOCUMENTS for info, page in blocks(document) if info == "yaml"]:
        literal = re.search(r"config: \|\n((?:    .*\n)+)", page)
        pages += [literal[1]] if literal else []
    assert len(pages) > 8
    for i, page in enumerate(pages):
        (session.directory / f"{i}.json").write_text(page)
    session.sh("cni-macvlan-py validate *.json | (! grep -vE ': valid$|is obeyed; Go')")


def examples() -> Iterator[dict[str, Any]]:
    for kind in ("macvlan", "ipvlan"):
        yield from json.loads((REPOSITORY / f"cni_core/schema/{kind}.json").read_text())["examples"]


@pytest.mark.parametrize("config", [pytest.param(config, id=config["name"]) for config in examples()])
def test_every_example_of_the_configuration_reference_works(session: Session, config: dict[str, Any]) -> None:
    plugin, pod = Plugin(session.node, config["type"], OURS), session.net.host("pod")
    pod.ip("link add net0 up type dummy")
    result = plugin.add(pod, config).result
    plugin.check(pod, config, result).succeeded()
    plugin.delete(pod, config).succeeded()
    assert (links(pod), links(session.node)) == (["net0"], ["eth0", "eth1", "eth2"])
