"""python3 -m conformance.lab run [--timeout SECONDS] [--kernel auto|host|uml] -- COMMAND [ARG...]
python3 -m conformance.lab kernel

`run` gives COMMAND the caller's directory, environment and standard input, and ends with its exit status; standard
output and standard error stay apart. 124: the time limit was hit. 125: there was no lab to be had.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys

from .errors import LabError
from .kernel import choose
from .session import Lab, die_of, exit_status

TIME_LIMIT_HIT = 124  # as timeout(1)
NO_LAB = 125


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python3 -m conformance.lab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="run a command in the lab")
    run.add_argument("--timeout", type=float, metavar="SECONDS", help="kill the command after this long")
    run.add_argument("--memory", default="1G", help="of User-Mode Linux (default 1G)")
    run.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="DIRECTORY",
        help="stays visible although below /tmp, /var, /etc or /run, as the current directory does",
    )
    run.add_argument("command", nargs="+", metavar="COMMAND")
    kernel = actions.add_parser("kernel", help="say which kernel the lab would use, and why")
    for action in (run, kernel):
        action.add_argument("--kernel", choices=("auto", "host", "uml"), default="auto")
    options = parser.parse_args()
    try:
        if options.action == "kernel":
            choice = choose(options.kernel)
            print(f"{choice.kind}: {choice.why}")
            return 0
        with Lab(options.kernel, memory=options.memory, keep=options.keep) as lab:
            return exit_status(lab.stream(options.command, timeout=options.timeout))
    except subprocess.TimeoutExpired:
        print(f"lab: the time limit of {options.timeout:g} s was hit: {' '.join(options.command)}", file=sys.stderr)
        return TIME_LIMIT_HIT
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return NO_LAB
    except KeyboardInterrupt:
        die_of(signal.SIGINT)
    except BrokenPipeError:
        die_of(signal.SIGPIPE)
    return 1


if __name__ == "__main__":
    sys.exit(main())
