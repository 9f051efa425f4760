"""Records of who uses what (cni_core.records), where the disk or another process is in the way."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from cni_core import errors, files, records as module
from cni_core.errors import CniError
from cni_core.names import Attachment
from cni_core.records import Record, Records

ONE, OTHER = Attachment("c1", "eth0"), Attachment("c2", "eth0")
PARENT, ROUTE = "1.2", "1.2,10.8.1.0_24"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "ROOT", str(tmp_path / "records"))
    return tmp_path / "records"


def join(attachment: Attachment = ONE, network: str = "net1", parent: str = PARENT, use: str = "macvlan") -> None:
    """As an ADD that has ended."""
    with Records(create=True) as records:
        os.close(records.join(attachment, network, 5, parent, use))


def files_of(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def test_a_lock_that_is_held_is_to_be_tried_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LOCK_SECONDS", 0.1)
    root.mkdir()
    with open(root / "lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CniError) as error, Records(create=True):
            pass
    assert (error.value.code, str(root) in error.value.msg) == (errors.TRY_AGAIN_LATER, True)
    with Records(create=True):
        pass


def test_a_record_that_could_not_be_added_to_whole_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    join()
    with monkeypatch.context() as patch:
        patch.setattr(files, "write", lambda fd, data: os.write(fd, data[:3]))
        with pytest.raises(CniError) as error, Records(create=True) as records:
            records.add(ONE, "net1", 5, [ROUTE])
    assert error.value.code == errors.DATA_DIRECTORY
    with Records(create=True) as records:
        assert records.users(PARENT) == [(ONE, "net1")]
        assert records.leave(ONE) == [PARENT]


def test_a_parent_is_free_when_the_last_has_left(root: Path) -> None:
    for one in (ONE, OTHER):
        join(one)
    with Records(create=True) as records:
        assert (records.leave(ONE), records.use(PARENT)) == ([], "macvlan")
        assert (records.leave(OTHER), records.use(PARENT)) == ([PARENT], "")
        assert records.leave(OTHER) == []
    assert files_of(root) == ["lock"]


def test_what_was_used_last_is_told_first() -> None:
    join()
    with Records(create=True) as records:
        records.add(ONE, "net1", 5, [ROUTE])
        assert records.leave(ONE) == [ROUTE, PARENT]


def test_a_record_is_restored_with_what_was_used_before_and_for_the_network_of_then() -> None:
    join()
    with Records(create=True) as records:
        before = records.of(ONE)
        os.close(records.join(ONE, "net2", 6, "1.7", "ipvlan l2 bridge"))
        records.add(ONE, "net2", 5, [ROUTE])
        assert [user for user, _ in records.users("1.7")] == [ONE]
        assert records.restore(ONE, before) == [ROUTE, "1.7"]
        assert (records.users(PARENT), records.users("1.7"), records.use("1.7")) == ([(ONE, "net1")], [], "")
        assert (records.of_network("net1"), records.of_network("net2")) == ([ONE], [])
        assert str(records.of(ONE)) == f"net1 @5 {PARENT}"


def test_what_another_call_has_forgotten_meanwhile_is_not_restored(root: Path) -> None:
    with Records(create=True) as records:
        assert records.restore(ONE, Record("net1", 5, [PARENT])) == []
    assert files_of(root) == ["lock"]


def test_two_adds_of_one_attachment_do_not_run_at_once() -> None:
    with Records(create=True) as records:
        running = records.join(ONE, "net1", 5, PARENT, "macvlan")
        assert records.busy(PARENT)
        with pytest.raises(CniError) as error:
            records.join(ONE, "net1", 5, PARENT, "macvlan")
        assert (error.value.code, "another ADD of eth0 in c1" in error.value.msg) == (errors.TRY_AGAIN_LATER, True)
        os.close(running)
        assert not records.busy(PARENT)


def test_a_file_that_is_no_record_is_passed_over(root: Path) -> None:
    join()
    (root / "attachments" / "notes").write_text("net1 1.2")
    (root / "users" / PARENT / "notes").write_text("")
    with Records(create=True) as records:
        assert records.of_network("net1") == [ONE]
        assert records.users(PARENT) == [(ONE, "net1")]


def test_what_a_record_should_not_hold_becomes_no_path() -> None:
    record = Record.parse("net1 @x ../../etc 1.2 1/2 .1")
    assert (record.network, record.namespace, record.used) == ("net1", 0, ["1.2"])


def test_without_records_nothing_is_made(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Records(create=False)
    assert not root.exists()


def test_thousands_of_uses_are_one_write_to_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"5.2,10.{i >> 8}.{i & 255}.0_24" for i in range(2000)]
    written: list[str] = []
    append = files.Directory.append

    def noted(self: files.Directory, name: str, text: str) -> None:
        written.append(name)
        append(self, name, text)

    monkeypatch.setattr(files.Directory, "append", noted)
    join()
    with Records(create=True) as records:
        records.add(ONE, "net1", 5, keys)
        assert written == [ONE.record]
        record = records.of(ONE)
        assert record
        assert record.used == [PARENT, *keys]
        assert records.is_used(keys[-1])
        assert records.leave(ONE) == [*reversed(keys), PARENT]
        assert not records.is_used(keys[-1])


def test_a_record_tells_its_namespace_from_a_later_one_of_that_inode(tmp_path: Path) -> None:
    path = tmp_path / "netns"
    path.touch()
    inode = path.stat().st_ino
    for cookie in (70, 71):  # a new namespace of the same name and inode
        with Records(create=True) as records:
            os.close(records.join(ONE, "net1", inode, PARENT, "macvlan", cookie, str(path)))
            assert str(records.of(ONE)) == f"net1 @{inode} %{cookie} {path} {PARENT}"
            assert records.has_living(PARENT, OTHER)
            assert not records.has_living(PARENT, ONE)
    path.unlink()
    with Records(create=True) as records:
        assert not records.has_living(PARENT, OTHER)
        assert not records.has_living("1.9", OTHER)


@pytest.mark.parametrize("path", ["netns/c1", "/run/netns/c 1", ""])
def test_a_path_that_a_record_cannot_hold_tells_nothing(path: str) -> None:
    record = Record("net1", 5, [PARENT], 70, path)
    assert (str(record), record.is_there) == (f"net1 @5 %70 {PARENT}", True)
