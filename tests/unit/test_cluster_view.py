"""What is told of a cluster: its addresses by host, and what is amiss, over an engine in memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cni_cli import cluster_view
from cni_cli.checks import FAILURE, OK, WARNING
from cni_cli.cluster_view import checks, file_system
from cni_cli.conflists import networks_in
from cni_cli.main import main
from cni_core.address import Address
from cni_core.errors import NOT_AVAILABLE, CniError
from cni_core.names import Attachment
from ipam import nodes
from ipam.cluster import Cluster
from ipam.contact import run
from ipam.domain import Owner, Registration, to_text
from ipam.store import Store
from ipam.verbs import Claim, Record
from tests.unit.test_cluster_commands import LAN, Office, office

__all__ = ["office"]


class Node:
    """n1 of the office, with network `lan`: 10.1.0.2 in use, 10.1.0.3 held; n2 holds 10.1.0.4."""

    def __init__(self, office: Office, tmp_path: Path) -> None:
        self.office = office
        self.data_dir = tmp_path / "networks"
        office.networks.mkdir()
        ipam = {"type": "lan-local", "cluster": "office", "dataDir": str(self.data_dir)}
        plugin = {"type": "macvlan", "master": "lo", "ipam": ipam | {"ranges": [[{"subnet": "10.1.0.0/24"}]]}}
        conflist = {"cniVersion": "1.0.0", "name": "lan", "plugins": [plugin]}
        (office.networks / "lan.conflist").write_text(json.dumps(conflist))
        office.join()
        with Store(str(self.data_dir), "lan") as store:
            store.reserve(0, Address.parse("10.1.0.2"), Attachment("c1", "eth0"))
        for address, node in (("10.1.0.2", "n1"), ("10.1.0.3", "n1"), ("10.1.0.4", "n2")):
            owner = Owner(node=node, network="lan", data_dir="d", state="s")
            office.engine.do(Claim(((LAN.address(Address.parse(address)), to_text(owner)),)))
        run(nodes.reserve(LAN, [Address.parse("10.1.0.9")], Owner(reserved="printer")), office.engine)

    def checks(self) -> list[tuple[str, str]]:
        return [(check.level, check.what) for check in checks(networks_in(str(self.office.networks)))]

    def says(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
        assert main("cni-macvlan-py", "macvlan", [*arguments, "--dir", str(self.office.networks)]) == 0
        return capsys.readouterr().out


@pytest.fixture
def node(office: Office, tmp_path: Path) -> Node:
    return Node(office, tmp_path)


def test_leases_of_a_cluster_are_those_of_all_hosts(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(node.says(capsys, "leases", "--cluster", "office", "--json"))
    assert [tuple(one.values()) for one in told if one["address"].startswith("10.")] == [
        ("10.1.0.2", "n1", "lan", "in use", "c1/eth0"),
        ("10.1.0.3", "n1", "lan", "held", ""),
        ("10.1.0.4", "n2", "lan", "held", ""),
        ("10.1.0.9", "", "", "reserved for printer", ""),
    ]
    assert {one["use"] for one in told if one["address"] == "127.0.0.1"} == {"the host's own"}
    assert "printer" not in node.says(capsys, "leases", "--cluster", "office", "lan")


def test_inspect_tells_what_each_host_holds_and_of_the_last_contact(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(node.says(capsys, "network", "inspect", "lan", "--json"))["cluster"]
    assert (told["cluster"], told["held"], told["contact"]) == ("office", {"n1": 2, "n2": 1}, "0 s ago, memory")
    assert "2 by n1, 1 by n2" in node.says(capsys, "network", "inspect", "lan")
    node.office.engine.is_away = True
    told = json.loads(node.says(capsys, "network", "inspect", "lan", "--json"))["cluster"]
    assert told == {"cluster": "office", "contact": "etcd cannot be asked: http://a:2379: connection refused"}


def test_doctor_is_content_with_a_cluster_that_works(node: Node) -> None:
    assert node.checks() == [(OK, "cluster office: n1 of 1 nodes holds 2 addresses")]


def test_doctor_finds_an_engine_that_may_lose_claims(node: Node) -> None:
    node.office.engine.release = "3.5.1"
    weak = "etcd 3.5.1 may lose acknowledged claims (fixed in 3.5.5)"
    assert node.checks()[:2] == [(FAILURE, f"cluster office: http://{one}:2379: {weak}") for one in "ab"]


def test_doctor_finds_a_clone_and_an_engine_that_was_restored(node: Node) -> None:
    other = to_text(Registration("id", "other", "b1", "1"))
    memory = node.office.engine.memory
    memory.records[LAN.node("n1")] = Record(LAN.node("n1"), other, memory.revision)
    registered = "cluster office: n1 is registered by another host (parent other, this one mac)"
    assert node.checks() == [(FAILURE, registered)]
    run(nodes.bar(LAN, "n2"), node.office.engine)
    restored = "cluster office: its engine was restored, so nobody claims addresses (n2 found it)"
    assert node.checks() == [(FAILURE, restored), (FAILURE, registered)]


def test_doctor_finds_that_nobody_answers_and_a_file_that_is_none(node: Node) -> None:
    node.office.engine.release = ""
    (node.office.file).write_text("{}")
    [(level, what)] = node.checks()
    assert level == FAILURE and what.startswith('cluster "office": ')
    Path(node.office.file).unlink()
    assert node.checks()[0][1].endswith("is missing")


@pytest.mark.parametrize(("kind", "found"), [("nfs4", True), ("ext4", False)])
def test_doctor_finds_leases_on_somebody_elses_disk(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, found: bool
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        f"90 22 0:50 / {node.data_dir} rw,relatime shared:9 - {kind} server:/leases rw\n"
    )
    monkeypatch.setattr(cluster_view, "MOUNTS", mounts)
    assert file_system(str(node.data_dir / "lan")) == kind
    assert file_system(str(tmp_path)) == "ext4"
    told = [what for level, what in node.checks() if level == FAILURE]
    mend = f"network lan: {node.data_dir} is on nfs4, which may lose what this node noted of its claims"
    assert told == ([mend] if found else [])


def test_doctor_tells_of_the_endpoints_that_do_not_answer(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, asked = node.office.engine, []

    def some(_: Cluster, endpoint: str = "", *, alone: bool = False) -> object:
        asked.append((endpoint, alone))
        return Silent() if endpoint == "http://a:2379" and alone else engine

    monkeypatch.setattr(Cluster, "engine", some)
    assert node.checks()[0] == (WARNING, "cluster office: etcd cannot be asked for its version: silent")
    assert asked[:2] == [("http://a:2379", True), ("http://b:2379", True)]
    monkeypatch.setattr(Cluster, "engine", lambda *_, **__: Silent())
    assert "cluster office: no endpoint answers; the last contact: " in node.checks()[-1][1]


class Silent:
    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def version(self) -> str:
        raise CniError(NOT_AVAILABLE, "etcd cannot be asked for its version: silent")
