"""Rows for people: columns aligned, without lines, so that awk reads them too; in a narrow terminal, row by row."""

from __future__ import annotations

from collections.abc import Sequence

from cni_cli import terminal
from cni_core.names import printable


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """With a header, or an empty one for none. Names and paths in it cannot break a line, nor command a terminal.

    What is wider than the terminal is shown as blocks of a line for each column.
    """
    lines = [[printable(cell) for cell in row] for row in rows]
    columns = list(map(printable, header))
    widths = [max(map(len, column)) for column in zip(*([columns, *lines] if header else lines), strict=True)]
    screen = terminal.width()
    if header and lines and screen and sum(widths) + 2 * (len(widths) - 1) > screen:
        return "\n\n".join(_block(columns, line) for line in lines)
    body = [_line(line, widths) for line in lines]
    return "\n".join([terminal.styled(_line(columns, widths), "bold"), *body] if header else body)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _block(header: Sequence[str], cells: Sequence[str]) -> str:
    widest = max(map(len, header))
    return "\n".join(
        f"{terminal.styled(name.ljust(widest), 'bold')}  {cell}" for name, cell in zip(header, cells, strict=True)
    )
