"""Which namespaces there are, and who died (cni_core.namespaces, cni_core.dead)."""

from __future__ import annotations

import pytest

from cni_core import namespaces
from cni_core.dead import dead, is_gone
from cni_core.names import Attachment
from cni_core.namespaces import paths
from cni_core.records import Record
from tests.unit.conftest import Node

MOUNTS = b"""\
23 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw
594 26 0:4 net:[4026532281] /run/docker/netns/1f rw shared:320 - nsfs nsfs rw
595 26 0:4 mnt:[4026532282] /run/other rw shared:320 - nsfs nsfs rw
596 26 0:4 net:[4026532283] /run/with\\040space rw shared:320 - nsfs nsfs rw
short line
"""


def test_a_namespace_is_looked_at_once_whatever_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {"/run/netns": ["one", "gone"], "/proc": ["7", "8", "self"]}
    inodes = {"/run/netns/one": 1, "/proc/7/ns/net": 1, "/proc/8/ns/net": 2}

    class Stat:
        def __init__(self, inode: int) -> None:
            self.st_ino = inode

    def stat(path: str) -> Stat:
        if path not in inodes:
            raise FileNotFoundError(path)
        return Stat(inodes[path])

    monkeypatch.setattr(namespaces, "listdir", listed.__getitem__)
    monkeypatch.setattr(namespaces, "stat", stat)
    monkeypatch.setattr(namespaces, "_mounted", lambda table, root: iter([f"{root}/run/netns/one"]))
    assert list(paths()) == ["/run/netns/one", "/proc/8/ns/net"]
    del listed["/run/netns"]
    monkeypatch.setattr(namespaces, "listdir", lambda path: listed[path] if path in listed else _absent(path))
    assert list(paths()) == ["/proc/7/ns/net", "/proc/8/ns/net"]


def _absent(path: str) -> list[str]:
    raise FileNotFoundError(path)


def test_a_namespace_that_is_only_mounted_is_found() -> None:
    assert list(namespaces.parse_mounts(MOUNTS)) == ["/run/docker/netns/1f"]


@pytest.mark.parametrize(
    ("inode", "cookie", "gone"),
    [(7, 70, False), (7, 71, True), (8, 80, False), (8, 0, False), (9, 90, True), (6, 61, False), (0, 0, False)],
)
def test_a_later_namespace_of_the_same_inode_is_another(inode: int, cookie: int, gone: bool) -> None:
    """Where one of them has no cookie, the inode must do."""
    assert is_gone(Record("net1", inode, [], cookie), {(7, 70), (8, 80), (6, 0)}) == gone


def test_a_container_whose_namespace_ended_is_dead_and_stays_so_when_its_inode_is_anothers(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespaces, "paths", lambda: list(node.kernel.namespaces))
    one, two = node.config(), node.config("10.2.0.0/24", name="net2")
    for name in ("c1", "c2"):
        node.add(one, name)
    node.add(two, "c3")
    assert not dead("net1")
    ended = node.kernel.namespaces.pop("/run/netns/c1")
    assert list(dead("net1")) == [Attachment("c1", "eth0")]
    node.container("c9").number = ended.number
    assert list(dead("net1")) == [Attachment("c1", "eth0")]
    assert not dead("net2")
    assert not dead("net3")
