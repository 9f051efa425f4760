"""Signals in the midst of an ADD (cni_core.interrupts): where one must not hinder what undoes it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from cni_core import interrupts, netns
from cni_core.errors import Interrupted
from cni_core.netns import OWN, Place


@pytest.fixture(autouse=True)
def caught() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    interrupts.catch()
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("interrupted", [1, 2])
def test_who_is_interrupted_as_it_enters_or_leaves_a_namespace_is_at_home(
    monkeypatch: pytest.MonkeyPatch, interrupted: int
) -> None:
    entered: list[int] = []

    def setns(fd: int) -> None:
        entered.append(fd)
        if len(entered) == interrupted:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(netns, "setns", setns)
    with Place.host() as home, Place(OWN, os.open(OWN, os.O_RDONLY), home) as place:
        with pytest.raises(Interrupted), place.entered():
            pass
        assert entered[-1] == home.fd
        assert len(entered) == interrupted + 1


def test_the_second_signal_does_nothing() -> None:
    with pytest.raises(Interrupted, match="SIGTERM"):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)


def test_what_is_ignored_is_ended_by_a_signal_again_when_another_program_is_executed() -> None:
    interrupts.ignore()
    os.kill(os.getpid(), signal.SIGTERM)
    assert os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", "kill -TERM $$; exit 7"]) == -signal.SIGTERM
