"""Signals in the midst of an ADD (cni_core.interrupts): where one must not hinder what undoes it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from cni_core import interrupts, netns
from cni_core.attach import take_back
from cni_core.errors import CniError, Interrupted
from cni_core.netns import OWN, Entered, Sandbox


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
    with Sandbox(OWN, own=True) as sandbox:
        with pytest.raises(Interrupted), Entered(sandbox):
            pass
        assert entered[-1] != sandbox.fd
        assert len(entered) == interrupted + 1


def test_the_second_signal_does_nothing() -> None:
    with pytest.raises(Interrupted, match="SIGTERM"):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)


def test_what_is_ignored_is_ended_by_a_signal_again_when_another_program_is_executed() -> None:
    interrupts.ignore()
    os.kill(os.getpid(), signal.SIGTERM)
    assert os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", "kill -TERM $$; exit 7"]) == -signal.SIGTERM


def test_one_step_that_cannot_be_undone_leaves_the_others_to_be() -> None:
    undone = []

    def fail() -> None:
        raise ValueError("a defect")

    undo: list[Callable[[], None]] = [lambda: undone.append(1), fail, lambda: undone.append(3)]
    error = CniError(101, "no")
    take_back(undo, error)
    assert (undone, error.details) == ([3, 1], "Not undone: a defect.")
