"""cni_cli.main: exit statuses, and what a person is told when a command fails."""

from __future__ import annotations

import errno
from argparse import Namespace
from pathlib import Path

import pytest

from cni_cli import leases
from cni_cli.errors import CommandError, told
from cni_cli.main import main
from cni_cli.table import table
from cni_core.errors import PARENT_UNUSABLE
from cni_core.names import printable


def run(*argv: str) -> int:
    return main("cni-macvlan-py", "macvlan", argv)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (CommandError("no", "do"), "no (error 111)\n  do\n"),
        (CommandError("no", code=PARENT_UNUSABLE), "no (error 102)\n"),
        (OSError(errno.ENOSPC, "No space left", "/x"), "/x: No space left (error 5)\n"),
        (OSError("short"), "the system: short (error 5)\n"),
        (RuntimeError("oops"), "internal error: RuntimeError: oops (error 100)\n"),
    ],
)
def test_every_failure_is_one_of_the_table_and_no_traceback(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(options: Namespace) -> int:
        raise error

    monkeypatch.setattr(leases, "run", fail)
    assert run("leases") == 1
    assert capsys.readouterr().err == f"cni-macvlan-py: {words}"


def test_what_is_not_text_is_printed_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lan.conf"
    file.write_text('{"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "mode": "\\ud800"}')
    assert run("validate", str(file)) == 1
    assert "\\ud800" in capfd.readouterr().out


def test_misuse_is_status_2() -> None:
    for argv in ((), ("frobnicate",), ("network",), ("validate",)):
        with pytest.raises(SystemExit) as error:
            run(*argv)
        assert error.value.code == 2


def test_help_is_short_and_says_all(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for argv, first in (
        (("--help",), "usage: cni-macvlan-py [-h] [--version] COMMAND ..."),
        (("network", "create", "--help"), "usage: cni-macvlan-py network create [OPTIONS] NETWORK"),
    ):
        with pytest.raises(SystemExit) as error:
            run(*argv)
        told = capsys.readouterr().out
        assert error.value.code == 0
        assert told.splitlines()[0] == first
        assert "\x1b" not in told
        assert max(map(len, told.splitlines())) <= 100
    assert "--aux-address" in told
    assert "--config-only" not in told


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("eth0.50 ä 網", "eth0.50 ä 網"),
        ("\x1b]0;x\x07\r\n\t\x7f\x9b", r"\x1b]0;x\x07\x0d\x0a\x09\x7f\x9b"),
        ("\u202e\u2028\udcff\U000e0001", r"\u202e\u2028\udcff\U000e0001"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert table((), [(text,)]) == shown
    assert told(CommandError(text, text)) == f"{shown} (error 111)\n  {shown}"
