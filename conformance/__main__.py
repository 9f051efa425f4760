"""Judges a directory of CNI plugins (macvlan, ipvlan, host-local) from outside, on a real kernel."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from conformance import generated
from conformance.lab import Lab, LabError
from conformance.lab.session import die_of, exit_status
from conformance.lab.view import inside

try:
    from conformance.suite import report
    from conformance.suite.case import Case
    from conformance.suite.run import FAILED, Verdict, judge_all, selected
    from conformance.suite.world import Subject
except ModuleNotFoundError as error:
    print(f"conformance: {error}; .venv/bin/python, which `make conformance` sets up, has it", file=sys.stderr)
    sys.exit(2)

DOCUMENT = Path("docs/conformance.md")
PLUGINS = ("macvlan", "ipvlan", "host-local")


def main() -> int:
    options = _parser().parse_args()
    chosen = selected(options.only)
    if options.list:
        for case in chosen:
            print(f"{case.tag:9} {case.name}: {case.says} ({case.source})")
        return 0
    if not options.plugins:
        _parser().error("which plugins? --plugins DIRECTORY")
    for pattern in options.only:
        if not selected([pattern]):
            _parser().error(f"no case has a name like {pattern}; --list shows all")
    directories = [directory for directory in (options.plugins, options.versus) if directory]
    if options.write and len(options.names.split(",")) != len(directories):
        _parser().error(f"--write: the names {options.names} are not one for each of {', '.join(directories)}")
    executables = [os.path.join(directory, plugin) for directory in directories for plugin in PLUGINS]
    for executable in executables:
        if not os.path.isfile(executable) or not os.access(executable, os.X_OK):
            _parser().error("{} has no executable {}".format(*os.path.split(executable)))
    places = [os.path.dirname(os.path.abspath(file)) for file in (options.json, options.junit) if file]
    for place in places:
        if not os.path.isdir(place):
            _parser().error(f"there is no directory {place}")
    if inside():
        return judged(directories, options, chosen)
    if sys.stdout.isatty():
        os.environ["CLICOLOR_FORCE"] = "1"  # the lab's own standard output is none
    try:
        targets = [os.path.dirname(os.path.realpath(executable)) for executable in executables]
        with Lab(options.kernel, keep=[*directories, *targets, *places]) as lab:
            return exit_status(lab.stream([sys.executable, "-m", "conformance", *sys.argv[1:]]))
    except LabError as error:
        print(f"conformance: there is no lab: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        die_of(signal.SIGINT)
    except BrokenPipeError:
        die_of(signal.SIGPIPE)
    return 2


def judged(directories: list[str], options: argparse.Namespace, chosen: list[Case]) -> int:
    """0 if the first directory's plugins pass all, else 1."""
    pairs: list[list[Verdict]] = []
    for verdicts in judge_all(
        chosen,
        [Subject(directory) for directory in directories],
        lambda number, verdicts: print(report.line(number, len(chosen), verdicts), flush=True),
    ):
        pairs.append(verdicts)
    print()
    for side, directory in enumerate(directories):
        print(report.summary(directory, [verdicts[side] for verdicts in pairs]))
    ours = [verdicts[0] for verdicts in pairs]
    if options.versus:
        print()
        print(report.side_by_side(directories, pairs))
    if options.json:
        Path(options.json).write_text(report.as_json(options.plugins, ours), encoding="utf-8")
    if options.junit:
        Path(options.junit).write_text(report.as_junit(options.plugins, ours), encoding="utf-8")
    if options.write:
        generated.write(DOCUMENT, "conformance", report.markdown(options.names.split(","), pairs))
    return int(any(verdict.outcome == FAILED for verdict in ours))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m conformance", description=__doc__)
    parser.add_argument("--plugins", metavar="DIR", help="holds macvlan, ipvlan and host-local")
    parser.add_argument("--versus", metavar="DIR", help="judge these too, and tell what differs")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PATTERN", help="cases with a name like that; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="only print the cases, each with its sentence and source")
    parser.add_argument("--json", metavar="FILE", help="write the verdicts of --plugins there")
    parser.add_argument("--junit", metavar="FILE", help="the same as JUnit XML")
    parser.add_argument("--write", action="store_true", help=f"write the table of {DOCUMENT}")
    parser.add_argument("--names", default="ours,theirs", metavar="A,B", help="the columns' names in that table")
    parser.add_argument("--kernel", choices=("auto", "host", "uml"), default="auto", help="of the lab")
    return parser


if __name__ == "__main__":
    sys.exit(main())
