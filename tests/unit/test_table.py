"""cni_cli.table and terminal: for pipes, for wide and narrow terminals, and for who wants no colours."""

from __future__ import annotations

import os
import pty
import re
import struct
import sys
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

from cni_cli.pools import count
from cni_cli.table import table

REPOSITORY = Path(__file__).parents[2]
SHOW = """
from cni_cli.checks import FAILURE, Check, as_text
from cni_cli.table import table
print(table(("NAME", "PARENT", "FILE"), [("lan", "eth0", "/etc/cni/net.d/lan.conflist"), ("x\\x1b[2J", "y", "z")]))
print("\\n".join(as_text([Check(FAILURE, "it is so", "mend it")])))
"""
STYLED = re.compile(r"\x1b\[[0-9]*m")


def shown(columns: int, **environ: str) -> str:
    """By a terminal of so many columns."""
    child, terminal = pty.fork()
    if child == 0:
        ioctl(1, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
        os.chdir(REPOSITORY)
        os.execve(sys.executable, [sys.executable, "-c", SHOW], kept | {"TERM": "xterm"} | environ)
    text = b""
    try:
        while piece := os.read(terminal, 4096):
            text += piece
    except OSError:  # the other end is closed (EIO, pty(7))
        pass
    os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0, text
    return text.decode().replace("\r\n", "\n")


WIDE = """\
NAME      PARENT  FILE
lan       eth0    /etc/cni/net.d/lan.conflist
x\\x1b[2J  y       z
failure  it is so
         → mend it
"""
NARROW = """\
NAME    lan
PARENT  eth0
FILE    /etc/cni/net.d/lan.conflist

NAME    x\\x1b[2J
PARENT  y
FILE    z
failure  it is so
         → mend it
"""


@pytest.mark.parametrize(("columns", "expected"), [(45, WIDE), (44, NARROW), (20, NARROW)])
def test_a_table_is_as_wide_as_the_terminal(columns: int, expected: str) -> None:
    text = shown(columns)
    assert STYLED.sub("", text) == expected
    assert "\x1b[31mfailure" in text  # the control of what follows


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_wants_no_colours_gets_none(environ: dict[str, str]) -> None:
    assert shown(46, **environ) == WIDE


def test_a_pipe_gets_one_line_a_row_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    row = ("lan", "eth0", "/" + "x" * 500)
    print(table(("NAME", "PARENT", "FILE"), [row]))
    assert capsys.readouterr().out == f"NAME  PARENT  FILE\nlan   eth0    {row[2]}\n"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (1022, "1,022"),
        (9_999_999, "9,999,999"),
        (1 << 64, "2^64"),
        ((1 << 64) - 3, "about 2^64"),
        ((1 << 64) + 3, "about 2^64"),
        (3 << 40, "about 2^42"),
    ],
)
def test_a_count_can_be_read(number: int, text: str) -> None:
    assert count(number) == text
