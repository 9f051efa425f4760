"""Signals that end a process, in the midst of an ADD: an exception, upon which it takes back what it did."""

from __future__ import annotations

from _signal import SIG_DFL, SIGHUP, SIGINT, SIGTERM, default_int_handler, getsignal, signal

from cni_core.errors import Interrupted

_NAMES = {SIGHUP: "SIGHUP", SIGINT: "SIGINT", SIGTERM: "SIGTERM"}


def catch() -> None:
    """From now on such a signal, unless the caller has it ignored, raises Interrupted wherever the call is: once."""
    for number in _NAMES:
        if getsignal(number) in (SIG_DFL, default_int_handler):  # the latter is there since _signal was imported
            signal(number, _interrupt)


def ignore() -> None:
    """From now on they do nothing: the call is about to end, or to take back what it did."""
    for number in _NAMES:
        if getsignal(number) is _interrupt:
            signal(number, _nothing)  # rather than SIG_IGN, which the second tier and delegated plugins would inherit


def _interrupt(number: int, _: object) -> None:
    ignore()
    raise Interrupted(_NAMES[number])


def _nothing(number: int, _: object) -> None:
    pass
