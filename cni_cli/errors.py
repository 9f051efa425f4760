"""What a command says when it cannot do what it was asked for."""

from __future__ import annotations

from cni_core.errors import COMMAND_REFUSED, CniError
from cni_core.names import printable


class CommandError(CniError):
    """One of the plugins' table of errors (docs/errors.md); mend, which may be empty, becomes its details."""

    def __init__(self, msg: str, mend: str = "", code: int = COMMAND_REFUSED) -> None:
        super().__init__(code, msg, mend)


def told(error: CniError) -> str:
    """For a person."""
    details = f"\n  {printable(error.details)}" if error.details else ""
    return f"{printable(error.msg)} (error {error.code}){details}"
