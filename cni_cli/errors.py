"""What a command says when it cannot do what it was asked for."""

from __future__ import annotations

from cni_core.errors import COMMAND_REFUSED, CniError


class CommandError(CniError):
    """One of the plugins' table of errors (docs/errors.md); mend, which may be empty, becomes its details."""

    def __init__(self, msg: str, mend: str = "", code: int = COMMAND_REFUSED) -> None:
        super().__init__(code, msg, mend)


def told(error: CniError) -> str:
    """For a person."""
    return f"{error.msg} (error {error.code})" + (f"\n  {error.details}" if error.details else "")
