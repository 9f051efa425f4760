"""Writes what `install` puts below PREFIX beside links: `python -m launcher.prefix DIRECTORY`.

Manual pages and completions for shells are made of the commands' own parser, so they say what --help says. The same
sources give the same bytes, whenever and wherever.
"""

from __future__ import annotations

import os
import shutil
import sys
from argparse import SUPPRESS, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

from launcher.programs import PROGRAMS

TMPFILES = Path("packaging/tmpfiles.d")
# Of an option's value, what a shell completes, by the word that --help has for it.
VALUES = {"DIRECTORY": "DIRECTORY", "FILE": "FILE"}  # shtab's words
COMPLETIONS = {"bash": "share/bash-completion/completions/{}", "zsh": "share/zsh/site-functions/_{}"}


def main() -> None:
    directory = Path(sys.argv[1])
    os.environ["COLUMNS"] = "80"
    shutil.rmtree(directory, ignore_errors=True)
    for program, package in PROGRAMS.items():
        for name, text in _written(program, package.split("_")[1]):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text, encoding="utf-8")
    shutil.copytree(TMPFILES, directory / "lib/tmpfiles.d")


def _written(program: str, kind: str) -> Iterator[tuple[str, str]]:
    """Of a program whose networks are of a kind: (name, content) of each file."""
    import shtab

    from cni_cli.main import parser_of

    yield f"share/man/man8/{program}.8", _manual(parser_of(program, kind)[0], kind)
    for shell, name in COMPLETIONS.items():
        parser, _ = parser_of(program, kind)
        _say_what_is_completed(parser)
        yield name.format(program), shtab.complete(parser, shell=shell)


def _manual(parser: ArgumentParser, kind: str) -> str:
    from argparse_manpage.manpage import Manpage

    from cni_core import __version__

    page = Manpage(parser)
    page.date, page.section, page.source, page.manual = "", "8", f"cni-py {__version__}", "CNI plugins"
    page.description = f"CNI plugin {kind}, and commands for its networks"
    return str(page)


def _say_what_is_completed(parser: ArgumentParser) -> None:
    import shtab

    for action in parser._actions:
        if isinstance(action.metavar, str) and action.metavar in VALUES:
            action.complete = getattr(shtab, VALUES[action.metavar])  # type: ignore[attr-defined]
        if isinstance(action, _SubParsersAction):
            for command in action._get_subactions():
                if " " in command.dest:  # `leases release`: no shell completes two words as one
                    command.help = SUPPRESS
            for command in action.choices.values():
                _say_what_is_completed(command)


if __name__ == "__main__":
    main()
