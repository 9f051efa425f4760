"""`cluster` over an engine in memory: what its commands write, refuse and say."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from cni_cli import cluster as commands, cluster_view
from cni_cli.main import main
from ipam import last_contact, nodes
from ipam.cluster import Cluster, Settings
from ipam.contact import run
from ipam.domain import Domain, Node, Registration, to_text
from ipam.verbs import Claim
from tests.unit.test_lan_local import Engine

LAN = Domain("office")


class Office:
    """A host of it, and what its commands say."""

    def __init__(self, tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
        self.engine = engine
        self.file = tmp_path / "cluster.d" / "office.json"
        self.networks = tmp_path / "net.d"
        self._capsys = capsys

    def call(self, *arguments: str, status: int = 0) -> str:
        """Both outputs."""
        assert main("cni-macvlan-py", "macvlan", ["cluster", *arguments]) == status
        said = self._capsys.readouterr()
        return said.out + said.err

    def join(self, *arguments: str, status: int = 0) -> str:
        how = ("--etcd", "http://a:2379,http://b:2379", "--node", "n1", "--parent", "lo", "--dir", str(self.networks))
        return self.call("join", "office", *how, *arguments, status=status)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Office:
    engine = Engine()
    monkeypatch.setattr(Cluster, "engine", lambda *_, **__: engine)
    monkeypatch.setattr(Cluster, "node", lambda self: Node(self.settings.node, "mac", "b1", "1"))
    directory = tmp_path / "cluster.d"
    read = Cluster.read
    monkeypatch.setattr(Cluster, "read", lambda name: read(name, str(directory)))
    for module in (commands, cluster_view):
        monkeypatch.setattr(module, "DIRECTORY", str(directory))
    monkeypatch.setattr(last_contact, "ROOT", str(tmp_path / "run"))
    return Office(tmp_path, engine, capsys)


def test_join_writes_a_file_for_root_alone_and_claims_the_hosts_own_addresses(office: Office) -> None:
    office.join("--offline-boot")
    assert stat.S_IMODE(office.file.stat().st_mode) == 0o600
    assert json.loads(office.file.read_text()) == {
        "engine": "etcd",
        "endpoints": ["http://a:2379", "http://b:2379"],
        "node": "n1",
        "parent": "lo",
        "offlineBoot": True,
    }
    assert office.engine.claims["127.0.0.1"] == "n1 (host)"
    assert "has" in office.join(status=1)
    office.join("--force")
    assert Cluster.read("office").settings == Settings(("http://a:2379", "http://b:2379"), "n1", "lo")
    office.call("leave", "office", "--dir", str(office.networks))
    assert (office.engine.claims, office.file.exists()) == ({}, False)


def test_join_refuses_what_would_lose_claims_and_whose_name_is_anothers(office: Office) -> None:
    office.engine.release = "3.5.1"
    assert "etcd 3.5.1 may lose acknowledged claims (fixed in 3.5.5) (error 50)" in office.join(status=1)
    office.engine.release = "3.5.9"
    other = to_text(Registration("id", "other", "b1", "1"))
    office.engine.do(Claim(((LAN.node("n1"), other),)))
    assert "n1 is registered by another host (parent other, this one mac) (error 111)" in office.join(status=1)
    assert not office.file.exists()


def test_reserved_addresses_are_told_and_released(office: Office) -> None:
    office.join()
    office.call("reserve", "office", "10.1.0.9", "--name", "printer")
    assert "10.1.0.9 is reserved for printer" in office.call("nodes", "office")
    refused = office.call("reserve", "office", "10.1.0.9", "--name", "nas", status=1)
    assert "not reserved: 10.1.0.9 is reserved for printer (error 105)" in refused
    office.call("release", "office", "10.1.0.9")
    assert "10.1.0.9 is not reserved" in office.call("release", "office", "10.1.0.9", status=1)
    assert "127.0.0.1 is not reserved, but n1 (host)'s" in office.call("release", "office", "127.0.0.1", status=1)
    assert "is not an IP address" in office.call("release", "office", "x", status=1)


def test_open_undoes_what_a_restored_engine_brings(office: Office) -> None:
    office.join()
    assert "nothing kept nodes from claiming" in office.call("open", "office")
    run(nodes.bar(LAN, "n2"), office.engine)
    assert "addresses are claimed again" in office.call("open", "office")


def test_sync_goes_on_where_a_cluster_cannot_be_asked(office: Office) -> None:
    assert office.call("sync") == ""
    office.join()
    (office.file.parent / "a.json").write_text("{}")
    said = office.call("sync", status=1)
    assert 'a: cluster "a": ' in said
    office.engine.is_away = True
    assert "office: etcd cannot be asked: http://a:2379: connection refused" in office.call("sync", status=1)


def test_forget_knows_whom(office: Office) -> None:
    office.join()
    assert "n1 is this host" in office.call("forget", "office", "n1", status=1)
    assert "office knows no node n9" in office.call("forget", "office", "n9", status=1)
