"""ipam.lan_local on real directories, over an engine in memory: what each call gives, asks for and takes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cni_core.address import Address
from cni_core.errors import (
    ADDRESS_UNAVAILABLE,
    CHECK_DIFFERS,
    INVALID_CONFIG,
    LIMITED_CONNECTIVITY,
    NOT_AVAILABLE,
    POOL_EXHAUSTED,
    TRY_AGAIN_LATER,
    CniError,
)
from cni_core.request import Request
from cni_core.undo import Steps
from ipam import index, lan_local, last_contact, nodes
from ipam.cluster import Cluster, Settings
from ipam.contact import NetworkFiles, run
from ipam.domain import Domain, Node, Owner
from ipam.etcd import Etcd
from ipam.plugin import Addresses
from ipam.verbs import Answer, Refused, Remote
from tests.unit.calls import attachment, config, request
from tests.unit.engine import Memory

LAN = Domain("office")


class Engine:
    """In place of ipam.etcd.Etcd: one memory for all nodes, or nobody who answers."""

    answering = "memory"

    def __init__(self) -> None:
        self.memory = Memory()
        self.is_away = False
        self.contacts = 0
        self.release = "3.4.23"

    def __enter__(self) -> Engine:
        self.contacts += 1
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def do(self, asked: Remote) -> Answer:
        return Refused("http://a:2379: connection refused") if self.is_away else self.memory.do(asked)

    def version(self) -> str:
        return self.release

    @property
    def claims(self) -> dict[str, str]:
        return {str(address): str(owner) for address, owner, _ in run(nodes.everything(LAN), self.memory)[1]}


class Host:
    """A node with network `lan` in a directory of its own. It is this host where a call of its runs."""

    def __init__(self, name: str, directory: Path, monkeypatch: pytest.MonkeyPatch, *sets: str, **ipam: Any) -> None:
        self.name = name
        self.boot = "b1"
        self.offline = False
        self.data_dir = directory / name
        self._monkeypatch = monkeypatch
        ranges = [[{"subnet": subnet}] for subnet in sets]
        self.ipam = {"type": "lan-local", "cluster": "office", "dataDir": str(self.data_dir), "ranges": ranges} | ipam

    def request(self, command: str, container: str = "c1", *ips: str, valid: Any = None) -> Request:
        self._monkeypatch.setattr(Cluster, "node", lambda cluster: self.node(cluster))
        self._monkeypatch.setattr(index, "boot_id", lambda: self.boot)
        self._monkeypatch.setattr(last_contact, "ROOT", str(self.data_dir / "run"))
        members = {"cni.dev/valid-attachments": valid, "runtimeConfig": {"ips": list(ips)}}
        document = config(name="lan", ipam=self.ipam, **members)
        return request(command, document, **attachment(container))

    def node(self, _: Cluster) -> Node:
        return Node(self.name, f"mac-{self.name}", self.boot, "1", self.offline)

    def add(self, container: str, *ips: str, again: bool = True) -> list[str]:
        steps = Steps()
        try:
            result = lan_local.add(self.request("ADD", container, *ips), steps, {}, again=again)
        except BaseException:
            steps.back()
            raise
        return [str(ip.cidr.address) for ip in result.ips]

    def delete(self, container: str) -> None:
        lan_local.delete(self.request("DEL", container))

    def status(self) -> None:
        lan_local.status(self.request("STATUS"))

    @property
    def held(self) -> dict[str, int]:
        held = NetworkFiles(str(self.data_dir), "lan").held()
        return {str(address): revision for address, revision in held.claims.items()} if held else {}

    def leases(self) -> set[str]:
        return {path.name for path in (self.data_dir / "lan").glob("[0-9f]*")}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr(Cluster, "engine", lambda *_: made)
    monkeypatch.setattr(Cluster, "read", lambda name: Cluster(name, Settings(("http://a:2379",), "n", "eth0")))
    return made


@pytest.fixture
def two(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> tuple[Host, Host]:
    """Of a pool with room."""
    first, second = (Host(name, tmp_path, monkeypatch, "10.1.0.0/24") for name in ("n1", "n2"))
    return first, second


@pytest.fixture
def scarce(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> tuple[Host, Host]:
    """10.1.0.2 to .6 for both."""
    first, second = (Host(name, tmp_path, monkeypatch, "10.1.0.0/29") for name in ("n1", "n2"))
    return first, second


def code_of(error: pytest.ExceptionInfo[CniError]) -> int:
    return error.value.code


def test_two_nodes_give_each_address_once_and_ask_seldom(two: tuple[Host, Host], engine: Engine) -> None:
    given = [host.add(f"c{i}")[0] for i in range(20) for host in two]
    assert len(set(given)) == 40
    assert engine.contacts <= 10
    for host in two:
        assert host.leases() <= set(host.held)
    assert set(two[0].held) | set(two[1].held) == set(engine.claims)


def test_what_is_held_needs_nobody(two: tuple[Host, Host], engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    [first] = two[0].add("c1")
    contacts = engine.contacts
    monkeypatch.setattr(Cluster, "read", None)  # nor its file
    [second] = two[0].add("c2")
    assert first != second
    two[0].delete("c1")
    lan_local.check(two[0].request("CHECK", "c2"))
    two[0].status()
    assert engine.contacts == contacts


def test_of_a_scarce_pool_every_address_is_given(scarce: tuple[Host, Host], engine: Engine) -> None:
    given = [scarce[i % 2].add(f"c{i}")[0] for i in range(5)]
    assert sorted(given) == [f"10.1.0.{n}" for n in range(2, 7)]
    with pytest.raises(CniError, match=r"every address of 10.1.0.2-10.1.0.6 is claimed: 3 n1 .*, 2 n2") as error:
        scarce[1].add("c9")
    assert code_of(error) == POOL_EXHAUSTED
    scarce[0].delete("c0")
    assert scarce[1].add("c9") == given[:1]


def test_a_fixed_address_is_claimed_alone_and_given_back(two: tuple[Host, Host], engine: Engine) -> None:
    assert two[0].add("c1", "10.1.0.200") == ["10.1.0.200"]
    with pytest.raises(CniError, match=r"10.1.0.200 is held by n1 \(network lan\)") as error:
        two[1].add("c1", "10.1.0.200")
    assert code_of(error) == ADDRESS_UNAVAILABLE
    two[0].delete("c1")
    assert two[1].add("c1", "10.1.0.200") == ["10.1.0.200"]
    with pytest.raises(CniError, match="is the gateway"):
        two[1].add("c2", "10.1.0.1")
    assert "10.1.0.1" not in engine.claims


def test_both_families(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (Host(name, tmp_path, monkeypatch, "10.1.0.0/29", "fd00:1::/64") for name in ("n1", "n2"))
    given = first.add("c0", "fd00:1::5") + second.add("c0") + first.add("c1") + second.add("c1")
    assert given[1] == "fd00:1::5"
    assert len(set(given)) == 8
    first.delete("c0")
    assert second.add("c2", "fd00:1::5")[1] == "fd00:1::5"


def test_the_engine_away(two: tuple[Host, Host], engine: Engine) -> None:
    two[0].add("c0")
    engine.is_away = True
    given = 1
    with pytest.raises(
        CniError, match="no address of this host is free, and etcd cannot be asked for more: http"
    ) as error:
        while True:
            two[0].add(f"c{given}")
            given += 1
    assert code_of(error) == TRY_AGAIN_LATER
    assert given == len(two[0].held) == 8
    assert two[0].leases() == set(two[0].held)
    with pytest.raises(CniError, match="no address that this host holds is free: etcd cannot be asked: http") as error:
        two[0].status()
    assert code_of(error) == NOT_AVAILABLE
    two[0].delete("c3")
    assert two[0].add("c9")
    two[0].delete("c9")
    lan_local.gc(two[0].request("GC", valid=[]))
    assert not two[0].leases()
    engine.is_away = False
    assert two[0].add("d0")


def test_taking_back_never_fails_and_does_not_wait_again(
    scarce: tuple[Host, Host], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = scarce[0]
    for i in range(3):
        host.add(f"c{i}")
    engine.is_away = True
    contacts = engine.contacts
    for i in range(3):
        host.delete(f"c{i}")
    assert engine.contacts == contacts + 1  # the others saw that it is away
    assert not host.leases()
    engine.is_away = False
    now = last_contact.now()
    monkeypatch.setattr(last_contact, "now", lambda: now + 11)
    host.add("c9")
    host.delete("c9")
    assert len(engine.claims) < 3


def test_after_a_boot_it_asks_once_before_it_gives(two: tuple[Host, Host], engine: Engine) -> None:
    host = two[0]
    [before] = host.add("c1")
    host.boot = "b2"
    engine.is_away = True
    with pytest.raises(CniError, match="what this host held must be verified after its start"):
        host.add("c2")
    engine.is_away = False
    contacts = engine.contacts
    assert host.add("c1") == [before]
    assert host.add("c2") != [before]
    assert engine.contacts == contacts + 1


def test_with_offline_boot_it_gives_what_it_held_without_asking(two: tuple[Host, Host], engine: Engine) -> None:
    host = two[0]
    host.offline = True
    host.add("c1")
    held = host.held
    host.boot = "b2"
    engine.is_away = True
    given = {host.add(f"d{i}")[0] for i in range(len(held))}
    assert given == set(held)
    engine.is_away = False
    assert host.add("e1")[0] not in given
    assert given <= set(host.held) == set(engine.claims)


def test_leases_of_host_local_are_claimed_with_the_first_contact(two: tuple[Host, Host], engine: Engine) -> None:
    host = two[0]
    host.ipam["type"] = "host-local"
    from ipam import host_local

    [lease] = host_local.add(host.request("ADD", "old"), Steps(), {}).ips
    host.ipam["type"] = "lan-local"
    host.add("new")
    assert engine.claims[str(lease.cidr.address)] == "n1 (network lan)"
    host.status()
    lan_local.check(host.request("CHECK", "old"))


def test_a_conflict_of_the_migration_is_told_and_hinders_nobody_else(two: tuple[Host, Host], engine: Engine) -> None:
    host = two[0]
    host.ipam["type"] = "host-local"
    from ipam import host_local

    host_local.add(host.request("ADD", "old", "10.1.0.9"), Steps(), {})
    host.ipam["type"] = "lan-local"
    run(nodes.reserve(LAN, [Address.parse("10.1.0.9")], Owner(reserved="printer")), engine.memory)
    assert host.add("new") != ["10.1.0.9"]
    with pytest.raises(CniError, match=r"10\.1\.0\.9") as error:
        host.status()
    assert code_of(error) == LIMITED_CONNECTIVITY
    with pytest.raises(CniError, match="is not held by this node in cluster office") as error:
        lan_local.check(host.request("CHECK", "old"))
    assert code_of(error) == CHECK_DIFFERS
    with pytest.raises(CniError):  # it runs
        host.add("old", again=False)
    assert host.add("old") != ["10.1.0.9"]
    assert "10.1.0.9" not in host.leases()


def test_a_lost_state_is_taken_up_by_gc(two: tuple[Host, Host], engine: Engine) -> None:
    host = two[0]
    [lost] = host.add("c1")
    before = set(engine.claims)
    (host.data_dir / ".cluster" / "lan" / "held").unlink()
    (host.data_dir / "lan" / lost).unlink()
    given = {host.add(f"d{i}")[0] for i in range(3)}
    assert not given & before
    valid = [{"containerID": f"d{i}", "ifname": "eth0"} for i in range(3)]
    lan_local.gc(host.request("GC", valid=valid))
    assert set(host.held) == set(engine.claims)
    assert given <= set(host.held)


def test_status_asks_once_a_minute_and_gives_back(
    scarce: tuple[Host, Host], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = scarce
    second.status()
    for i in range(5):
        first.add(f"c{i}")
    contacts = engine.contacts
    now = last_contact.now()
    second.status()  # of what was found before
    assert engine.contacts == contacts
    monkeypatch.setattr(last_contact, "now", lambda: now + 61)
    for _ in range(3):
        with pytest.raises(CniError, match=r"every address of 10.1.0.2-10.1.0.6 is claimed") as error:
            second.status()
        assert code_of(error) == NOT_AVAILABLE
    assert engine.contacts == contacts + 1
    engine.release = "3.5.1"
    monkeypatch.setattr(last_contact, "now", lambda: now + 123)
    with pytest.raises(CniError, match="may lose acknowledged claims"):
        second.status()


def test_the_executable_refuses_a_second_add(two: tuple[Host, Host]) -> None:
    plugin = Addresses(lan_local, "lan-local", lambda _: True)
    plugin.add(two[0].request("ADD", "c1"))
    leases = two[0].leases()
    with pytest.raises(CniError, match="duplicate allocation is not allowed"):
        plugin.add(two[0].request("ADD", "c1"))
    assert two[0].leases() == leases


def test_without_a_cluster_it_says_so(two: tuple[Host, Host]) -> None:
    del two[0].ipam["cluster"]
    with pytest.raises(CniError, match=r"ipam\.cluster: lan-local needs the name of a cluster") as error:
        two[0].add("c1")
    assert code_of(error) == INVALID_CONFIG
    two[0].delete("c1")


# The cluster's file


def write(directory: Path, mode: int = 0o600, **members: Any) -> None:
    document = {"engine": "etcd", "endpoints": ["https://a:2379"], "node": "n1", "parent": "eth0"} | members
    file = directory / "office.json"
    file.write_text(json.dumps(document))
    file.chmod(mode)


def test_the_file_says_how_the_cluster_is_reached(tmp_path: Path) -> None:
    settings = Settings(
        ("https://a:2379", "https://b:2379"), "n1", "eth0", ca="/ca", cert="/cert", key="/key", offline=True
    )
    file = tmp_path / "office.json"
    file.write_text(json.dumps(settings.to_json()))
    file.chmod(0o600)
    cluster = Cluster.read("office", str(tmp_path))
    assert (cluster.name, cluster.settings, cluster.domain) == ("office", settings, Domain("office"))


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    def refused() -> str:
        with pytest.raises(CniError) as error:
            Cluster.read("office", str(tmp_path))
        assert code_of(error) == INVALID_CONFIG
        return error.value.msg

    path = tmp_path / "office.json"
    assert refused() == f'cluster "office": {path} is missing'
    write(tmp_path, 0o644)
    assert refused() == f'cluster "office": {path} can be read by others (0644)'
    wrong: list[tuple[str, Any]] = [
        ("engine", "consul"),
        ("endpoints", []),
        ("endpoints", "x"),
        ("node", ""),
        ("ca", 1),
    ]
    for key, value in wrong:
        write(tmp_path, **{key: value})
        assert refused().startswith(f'cluster "office": {path} is not a cluster\'s: {key} ')
    path.write_text("{")
    assert "is not a cluster's" in refused()


def test_the_parent_must_be_there(tmp_path: Path) -> None:
    cluster = Cluster("office", Settings(("http://a:1",), "n1", "none0"))
    with pytest.raises(CniError, match="its parent none0 is not there"):
        cluster.node()


def test_who_waited_while_another_found_the_engine_away_does_not_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_contact, "ROOT", str(tmp_path))
    cluster = Cluster("office", Settings(("http://127.0.0.1:1",), "n1", "lo"))
    times = iter([10.0, 11.0])
    monkeypatch.setattr(last_contact, "now", lambda: next(times))
    last_contact.write("office", "contact", "nobody is there")  # at 10
    monkeypatch.setattr(last_contact, "now", lambda: 9.0)
    with pytest.raises(CniError, match="etcd cannot be asked: nobody is there"), cluster.contact():
        pass
    monkeypatch.setattr(last_contact, "now", lambda: 12.0)
    with cluster.contact() as etcd:
        assert isinstance(etcd, Etcd)
    last = cluster.last()
    assert last
    assert (last.why, last.endpoint) == ("", "http://127.0.0.1:1")


def stable_hosts(directory: Path, monkeypatch: pytest.MonkeyPatch, subnet: str, **ipam: Any) -> list[Host]:
    return [Host(name, directory, monkeypatch, subnet, order="stable", **ipam) for name in ("n1", "n2")]


def test_a_container_that_comes_back_has_its_address_again_on_any_node(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = stable_hosts(tmp_path, monkeypatch, "10.1.0.0/24", ahead=0)
    given = {f"c{i}": (first, second)[i % 2].add(f"c{i}") for i in range(20)}
    assert len({address for [address] in given.values()}) == 20
    last = given.pop("c19")  # all run while it comes back
    for host in (second, first, second):
        host.delete("c19")
        assert host.add("c19") == last
        host.delete("c19")
    for i in range(19):
        (first, second)[i % 2].delete(f"c{i}")
    moved = {container: (second, first)[i % 2].add(container) for i, container in enumerate(given)}
    assert sum(moved[container] == given[container] for container in given) >= 16  # the others met in a first choice
    assert not {address for address, owner in engine.claims.items() if not owner.startswith(("n1", "n2"))}


def test_a_stable_order_stays_while_what_is_held_changes(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, other = stable_hosts(tmp_path, monkeypatch, "10.1.0.0/24")
    given = {f"c{i}": host.add(f"c{i}") for i in range(5)}
    for i in range(30):
        host.add(f"d{i}")
        other.add(f"e{i}")

    def come_back() -> dict[str, list[str]]:
        for container in given:
            host.delete(container)
        return {container: host.add(container) for container in reversed(given)}

    assert come_back() == given
    host.boot = "b2"
    assert {container: host.add(container) for container in reversed(given)} == given
    engine.is_away = True
    assert come_back() == given
    [spare] = host.add("c9")  # of what it keeps for that
    engine.is_away = False
    assert come_back() == given
    assert [spare] not in given.values()
    assert host.leases() <= set(host.held)


def test_a_stable_order_gives_every_address_of_a_scarce_pool(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = stable_hosts(tmp_path, monkeypatch, "10.1.0.0/29")
    given = [hosts[i % 2].add(f"c{i}")[0] for i in range(5)]
    assert sorted(given) == [f"10.1.0.{n}" for n in range(2, 7)]
    with pytest.raises(CniError, match="is claimed") as error:
        hosts[0].add("c9")
    assert code_of(error) == POOL_EXHAUSTED
    hosts[1].delete("c3")
    assert hosts[0].add("c9") == [given[3]]


def test_a_stable_order_of_both_families_passes_over_what_is_refused(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges = [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]
    first, second = stable_hosts(tmp_path, monkeypatch, "10.1.0.0/24", ahead=0, ranges=ranges)
    given = first.add("c1")
    first.delete("c1")
    assert second.add("c1") == given
    second.delete("c1")
    refused = {Address.parse(given[1]): "is another's"}
    steps = Steps()
    [same, other] = lan_local.add(first.request("ADD", "c1"), steps, refused).ips
    assert [str(same.cidr.address), str(other.cidr.address) == given[1]] == [given[0], False]
    steps.back()
    assert not first.leases()
