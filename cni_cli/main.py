"""The command line: cni-macvlan-py and cni-ipvlan-py have the same commands, but for the options of their kind."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from cni_cli import cluster, doctor, install, leases, metrics, network, validate, versions
from cni_cli.errors import told
from cni_cli.parser import Parser
from cni_core.errors import INTERNAL, IO_FAILURE, CniError

FAILED = 1


def parser_of(program: str, kind: str) -> tuple[Parser, dict[str, Parser]]:
    """Of the executable `program`, whose networks are of `kind`; and of each of its commands."""
    parser = Parser(
        prog=program,
        description=f"The CNI plugin {kind}. Runtimes call it with CNI_COMMAND in the environment; people may call:",
        epilog=f"`{program} COMMAND --help` says more of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,  # which leaves the lines of --version as they are
    )
    parser.add_argument("--version", action="version", version=versions.text(program).rstrip())
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for module in (network, validate, doctor, leases, metrics, cluster, install):
        module.add_to(commands, kind)
    return parser, commands.choices


def _as_options(argv: Sequence[str]) -> Sequence[str]:
    """`help COMMAND` and `version` are what other programs have for --help and --version."""
    if argv[:1] == ["help"]:
        return [*argv[1:], "--help"]
    return ["--version"] if argv == ["version"] else argv


def main(program: str, kind: str, argv: Sequence[str]) -> int:
    """Runs one command; the exit status."""
    parser, commands = parser_of(program, kind)
    if not argv and sys.stdout.isatty():
        parser.print_help()
        return 0
    argv = _as_options(argv)
    # A command of two words, beside one that is the first of them.
    joined = " ".join(argv[:2])
    options = parser.parse_args([joined, *argv[2:]] if joined in commands else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names and configurations need not be text
    try:
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except CniError as error:
        failure = error
    except OSError as error:
        mend = "This needs root." if isinstance(error, PermissionError) and os.geteuid() else ""
        failure = CniError(IO_FAILURE, f"{error.filename or 'the system'}: {error.strerror or error}", mend)
    except Exception as error:  # a defect of ours is no traceback
        failure = CniError(INTERNAL, f"internal error: {type(error).__name__}: {error}")
    print(f"{program}: {told(failure)}", file=sys.stderr)
    return FAILED
