"""Steps that can be taken back (cni_core.undo)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from cni_core.errors import CniError, Interrupted
from cni_core.undo import Steps, whole_or_nothing


class Log:
    """What was done and undone, in its order."""

    def __init__(self) -> None:
        self.steps = Steps()
        self.entries: list[str] = []

    def take(self, name: str, do: Callable[[], None] = lambda: None, undo: Callable[[], None] = lambda: None) -> None:
        def taken() -> None:
            self.entries.append(name)
            do()

        def untaken() -> None:
            self.entries.append(f"no {name}")
            undo()

        self.steps.take(name, taken, untaken)


def fail() -> None:
    raise ValueError("a defect")


@pytest.fixture
def log() -> Log:
    log = Log()
    for name in ("claim", "link", "lease"):
        log.take(name)
    return log


def test_steps_are_taken_back_newest_first(log: Log) -> None:
    assert str(log.steps) == "claim, link, lease"
    assert log.steps.back() == []
    assert log.entries == ["claim", "link", "lease", "no lease", "no link", "no claim"]
    assert (str(log.steps), log.steps.back()) == ("", [])


def test_steps_are_taken_back_to_a_mark_and_others_taken_from_there() -> None:
    log = Log()
    log.take("link")
    mark = log.steps.mark()
    log.take("lease .5")
    assert log.steps.back(mark) == []
    log.take("lease .6")
    assert str(log.steps) == "link, lease .6"
    assert log.entries == ["link", "lease .5", "no lease .5", "lease .6"]


def test_a_step_is_known_before_it_is_taken(log: Log) -> None:
    with pytest.raises(ValueError):
        log.take("address", do=fail)
    log.steps.back()
    assert log.entries[3:] == ["address", "no address", "no lease", "no link", "no claim"]


def test_one_step_that_cannot_be_undone_leaves_the_others_to_be(log: Log) -> None:
    log.take("route", undo=fail)
    assert [(name, str(failure)) for name, failure in log.steps.back()] == [("route", "a defect")]
    assert log.entries[-4:] == ["no route", "no lease", "no link", "no claim"]


def test_what_a_step_does_is_returned() -> None:
    assert Steps().take("", lambda: 5, lambda: None) == whole_or_nothing(lambda steps: 5) == 5


def test_what_could_not_be_undone_the_error_tells() -> None:
    undone = []

    def act(steps: Steps) -> None:
        steps.take("make the link", lambda: None, lambda: undone.append("link"))
        steps.take("lease", lambda: None, fail)
        raise CniError(101, "no", "Do that.")

    with pytest.raises(CniError) as error:
        whole_or_nothing(act)
    assert (undone, error.value.details) == (["link"], "Do that. Not undone: lease: a defect.")


def test_what_cannot_be_undone_for_the_same_reason_is_told_once() -> None:
    def fail() -> None:
        raise CniError(101, "no daemon")

    with pytest.raises(CniError) as error:
        whole_or_nothing(lambda steps: steps.take("execute dhcp", fail, fail))
    assert (error.value.msg, error.value.details) == ("no daemon", "")


def test_a_signal_takes_back_what_was_done_and_a_second_one_does_not_hinder_it() -> None:
    undone = []

    def undo() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        undone.append("link")

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(Interrupted, match="SIGTERM"):
            whole_or_nothing(
                lambda steps: steps.take("make the link", lambda: os.kill(os.getpid(), signal.SIGTERM), undo)
            )
    finally:
        signal.signal(signal.SIGTERM, before)
    assert undone == ["link"]
