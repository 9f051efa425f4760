"""Runs cases against plugins, one after the other."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from conformance.lab.topology import CommandFailed
from conformance.suite import cases
from conformance.suite.case import CASES, Case, Failed, NotApplicable
from conformance.suite.world import Subject, World

PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "n/a"


@dataclass(frozen=True)
class Verdict:
    """outcome is one of the three above; reason says why it is not PASSED; seconds is what the case took."""

    case: Case
    outcome: str
    reason: str
    seconds: float


def selected(only: Sequence[str]) -> list[Case]:
    """The cases of which a part of the name is one of the patterns, as fnmatch(3) has them but for brackets; all
    without patterns."""
    cases.load()
    patterns = [f"*{pattern.replace('[', '[[]')}*" for pattern in only]
    return [case for case in CASES if not patterns or any(fnmatchcase(case.name, pattern) for pattern in patterns)]


def judge(case: Case, subject: Subject) -> Verdict:
    """A case, whatever happens in it."""
    begin = time.monotonic()
    outcome, reason = PASSED, ""
    try:
        with tempfile.TemporaryDirectory(dir="/run") as scratch, World(subject, Path(scratch)) as world:
            case.run(world)
    except NotApplicable as error:
        outcome, reason = NOT_APPLICABLE, str(error)
    except (Failed, CommandFailed, subprocess.TimeoutExpired, OSError) as error:
        outcome, reason = FAILED, str(error) or type(error).__name__
    except (KeyError, IndexError, TypeError, ValueError) as error:  # the answer has another shape than the case reads
        outcome, reason = FAILED, f"{type(error).__name__}: {error}"
    return Verdict(case, outcome, reason, time.monotonic() - begin)


def judge_all(
    chosen: Sequence[Case], subjects: Sequence[Subject], told: Callable[[int, list[Verdict]], None]
) -> Iterator[list[Verdict]]:
    """A verdict per subject for each case; told of each, with its number from 1."""
    for number, case in enumerate(chosen, 1):
        verdicts = [judge(case, subject) for subject in subjects]
        told(number, verdicts)
        yield verdicts
