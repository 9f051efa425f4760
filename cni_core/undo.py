"""What an ADD has done so far, as named steps, so that it can be taken back: all of it, or to a mark.

A step is known before it is taken: whatever ends it half way, a signal above all, finds on the list what takes it back.
So an undo must be content with a step that did half of its work, or nothing; and it takes back only what the step did
itself, never what was there before.
"""

from __future__ import annotations

from cni_core.errors import CniError, Interrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


class Steps:
    """The steps of one call, in the order in which they are taken; str() prints them."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: list[tuple[str, Callable[[], None]]] = []

    def take(self, name: str, do: Callable[[], T], undo: Callable[[], None]) -> T:
        """Notes the step and takes it; returns what `do` does. name: what is done, as in "make the link eth0"."""
        self._taken.append((name, undo))
        return do()

    def mark(self) -> int:
        """Where the list is now, for back."""
        return len(self._taken)

    def back(self, mark: int = 0) -> list[tuple[str, Exception]]:
        """Takes back every step behind the mark, newest first. Each is tried; those that could not be are returned."""
        failures: list[tuple[str, Exception]] = []
        while len(self._taken) > mark:
            name, undo = self._taken.pop()
            try:
                undo()
            except Exception as failure:
                failures.append((name, failure))
        return failures

    def __str__(self) -> str:
        return ", ".join(name for name, _ in self._taken)


def whole_or_nothing(act: Callable[[Steps], T]) -> T:
    """What act returns. Where it fails, or a signal ends it (Interrupted), the steps that it took are taken back.

    What could not be taken back, the details of its CniError tell.
    """
    from cni_core import interrupts  # of ADD alone

    steps = Steps()
    interrupts.catch()
    try:
        result = act(steps)
        interrupts.ignore()
        return result
    except BaseException as error:
        try:
            interrupts.ignore()
        except Interrupted:  # of a signal that came first
            pass
        # What fails for the reason of the error itself (a daemon that does not run) is told once.
        failures = [f"{name}: {failure}" for name, failure in steps.back() if str(failure) != str(error)]
        if failures and isinstance(error, CniError):
            error.details = f"{error.details} Not undone: {'; '.join(failures)}.".lstrip()
        raise
