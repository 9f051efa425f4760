"""Rows for people: columns aligned, without colour or lines, so that awk reads them too."""

from __future__ import annotations

from collections.abc import Sequence

from cni_core.names import printable


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """With a header, or an empty one for none. Names and paths in it cannot break a line, nor command a terminal."""
    lines = [[printable(cell) for cell in row] for row in ([header, *rows] if header else rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in lines)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)
