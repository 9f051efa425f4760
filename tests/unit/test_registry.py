"""Records of who is on which parent (cni_core.registry), where the disk or another process is in the way."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from cni_core import errors, files, registry
from cni_core.errors import CniError
from cni_core.registry import Registry
from tests.unit.calls import attachment, request


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(registry, "ROOT", str(tmp_path / "records"))
    return tmp_path / "records"


def test_a_lock_that_is_held_is_to_be_tried_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LOCK_SECONDS", 0.1)
    root.mkdir()
    with open(root / "lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CniError) as error, Registry(create=True):
            pass
    assert (error.value.code, str(root) in error.value.msg) == (errors.TRY_AGAIN_LATER, True)
    with Registry(create=True):
        pass


def test_a_record_that_could_not_be_added_to_whole_is_as_it_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Registry(create=True) as records:
        records.join(request(), "1.2", "macvlan")
    with monkeypatch.context() as patch:
        patch.setattr(files, "write", lambda fd, data: os.write(fd, data[:3]))
        with pytest.raises(CniError) as error, Registry(create=True) as records:
            records.add_route(request(), "1.2,10.8.1.0_24")
    assert error.value.code == errors.DATA_DIRECTORY
    with Registry(create=True) as records:
        assert records.users("1.2") == [("c1:eth0", "net1")]
        assert records.leave("c1:eth0") == ["1.2"]


def test_a_parent_is_free_when_the_last_has_left(root: Path) -> None:
    other = request("ADD", None, **attachment("c2"))
    with Registry(create=True) as records:
        for one in (request(), other):
            records.join(one, "1.2", "macvlan")
        assert (records.leave("c1:eth0"), records.use("1.2")) == ([], "macvlan")
        assert (records.leave("c2:eth0"), records.use("1.2")) == (["1.2"], "")
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == ["lock"]


def test_without_records_nothing_is_made(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Registry(create=False)
    assert not root.exists()
