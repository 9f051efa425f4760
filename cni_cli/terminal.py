"""What a terminal shows that a pipe does not: colours, and a width to keep within."""

from __future__ import annotations

import os
import sys

_STYLES = {"bold": "1", "red": "31", "green": "32", "yellow": "33"}  # ECMA-48, SGR


def width() -> int:
    """The columns of the terminal that stdout is; 0 where it is none, or has none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 0


def has_colours() -> bool:
    """Of stdout: a terminal, unless the user asks for none (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str) -> str:
    """In a style, one of _STYLES, where stdout shows colours."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[m" if has_colours() else text
