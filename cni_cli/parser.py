"""The command line's grammar: argparse's, which says of what it does not know what may be meant.

A misuse is told by the command that was misused: its usage, and what comes nearest to what was typed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

MISUSED = 2  # the exit status, as argparse's
DASHES = ("—", "–")  # which blogs and word processors make of two hyphens
# What other programs call a command, and what it is called here.
ELSEWHERE = {
    "ls": "network ls",
    "list": "network ls",
    "create": "network create",
    "inspect": "network inspect",
    "networks": "network ls",
    "check": "doctor",
    "lint": "validate",
    "ps": "leases",
}
OF_NETWORKS = {
    "delete": "rm",
    "del": "rm",
    "remove": "rm",
    "list": "ls",
    "show": "inspect",
    "add": "create",
    "new": "create",
}


class Parser(argparse.ArgumentParser):
    """Of the program, and of each of its commands: an option is written in full, and a misuse ends the process."""

    def __init__(self, **keys: Any) -> None:
        super().__init__(**{"allow_abbrev": False} | keys)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Nothing is left over: who is called for a command's own arguments is that command's parser."""
        given = list(sys.argv[1:] if args is None else args)
        dashed = next((word for word in given if word.startswith(DASHES)), None)
        if dashed and self._subparsers is None:  # else it is a command's own parser that says so
            self.error(f"{dashed} begins with a dash that is no hyphen: --{dashed.lstrip('—–-')}")
        # Of the program: before argparse misses a command.
        first = given[0] if given and self._subparsers else ""
        if first.startswith("-") and first.partition("=")[0] not in self._option_string_actions:
            self.error(self._unknown(first))
        found, rest = super().parse_known_args(given, namespace)
        if rest:
            self.error(self._unknown(rest[0]))
        return found, rest

    def _unknown(self, word: str) -> str:
        option = word.partition("=")[0]
        if option.startswith("-"):
            return f"there is no option {option}{_meant(option, self._option_string_actions)}"
        return f"{word!r} is one argument too many"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Of the choices of an option, or of the commands."""
        if action.choices is None or value in action.choices:
            return
        known = [str(name) for name in action.choices if " " not in str(name)]
        if not isinstance(action, argparse._SubParsersAction):
            raise argparse.ArgumentError(action, f"{value!r} is none of {', '.join(known)}{_meant(str(value), known)}")
        others = OF_NETWORKS if "rm" in known else ELSEWHERE
        meant = f": did you mean `{others[value]}`?" if value in others else _meant(str(value), known)
        among = f"; there are {', '.join(known)}"
        raise argparse.ArgumentError(None, f"there is no command {value}{meant or among}")

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(MISUSED, f"{self.prog}: {message}\n")


def _meant(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about a word that is not known; empty where nothing comes near it."""
    near = get_close_matches(word, list(known), n=2, cutoff=0.75)
    return f": did you mean {' or '.join(near)}?" if near else ""
