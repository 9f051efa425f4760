from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.etcd.members import Authority, Members


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture
def one(tmp_path: Path, authority: Authority) -> Iterator[Members]:
    with Members(tmp_path / "etcd", authority, 1) as members:
        yield members


@pytest.fixture
def three(tmp_path: Path, authority: Authority) -> Iterator[Members]:
    with Members(tmp_path / "etcd", authority, 3) as members:
        yield members
