"""What a command says when it cannot do what it was asked for."""

from __future__ import annotations


class CommandError(Exception):
    """msg is what is wrong, mend what to do about it (or empty)."""

    def __init__(self, msg: str, mend: str = "") -> None:
        super().__init__(msg)
        self.msg = msg
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.msg}\n  {self.mend}" if self.mend else self.msg
