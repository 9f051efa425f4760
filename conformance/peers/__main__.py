"""Judges a directory of CNI plugins by the Go plugins' own test suites, and those plugins first."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from conformance import generated
from conformance.lab import Lab, LabError
from conformance.lab.kernel import Choice
from conformance.lab.session import die_of
from conformance.peers import differences
from conformance.peers.differences import DIFFERENCES, NOT_DRIVABLE, Difference, Judgement
from conformance.peers.run import SuiteBroke, lab_for, run
from conformance.peers.suites import SUITES, Spec, Suite

DOCUMENT = Path("docs/migrating.md")
PART = "peers"
REFERENCE = "/usr/lib/cni"
EXECUTABLES = ("macvlan", "ipvlan", "host-local")
# Of a failure's message. What is further to the right are the insides of Go's values.
MOST_LINES = 12
_DEEP = " " * 9

Outcome = tuple[Choice, list[Spec]]


def main() -> int:
    options = _parser().parse_args()
    if options.write:
        generated.write(DOCUMENT, PART, differences.markdown())
        return 0
    if not options.plugins:
        _parser().error("which plugins? --plugins DIRECTORY")
    chosen = [suite for suite in SUITES if not options.suite or suite.name in options.suite]
    subjects = _subjects(os.path.abspath(options.plugins), options.reference and os.path.abspath(options.reference))
    for directory in subjects:
        for plugin in EXECUTABLES:
            if not os.access(f"{directory}/{plugin}", os.X_OK):
                _parser().error(f"{directory} has no executable {plugin}")
    try:
        outcomes = _run_all(chosen, list(subjects), options.binaries, options.kernel, options.jobs)
        return _judged(chosen, subjects, outcomes, options.json)
    except (LabError, SuiteBroke, ValueError) as error:
        print(f"peers: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        die_of(signal.SIGINT)
    except BrokenPipeError:
        die_of(signal.SIGPIPE)
    return 2


def _judged(
    chosen: Sequence[Suite],
    subjects: Mapping[str, Sequence[Difference]],
    outcomes: Mapping[tuple[Suite, str], Outcome],
    json_file: str | None,
) -> int:
    """0 if each directory differs in just what is listed, else 1."""
    held = True
    documents = []
    for directory, listed in subjects.items():
        found = {suite.name: outcomes[suite, directory] for suite in chosen}
        held &= _told(directory, found, listed)
        documents.append(_document(directory, found, listed))
    if json_file:
        Path(json_file).write_text(json.dumps(documents, indent=2) + "\n", encoding="utf-8")
    return int(not held)


def _subjects(plugins: str, reference: str) -> dict[str, list[Difference]]:
    """Each directory to judge, with what it is known to differ in. The reference is to pass all that can be driven."""
    subjects = {}
    if reference:
        subjects[reference] = [difference for difference in DIFFERENCES if difference.fate == NOT_DRIVABLE]
    if not (reference and os.path.samefile(plugins, reference)):
        subjects[plugins] = list(DIFFERENCES)
    return subjects


def _run_all(
    suites: Sequence[Suite], directories: Sequence[str], binaries: Path, kernel: str, jobs: int
) -> dict[tuple[Suite, str], Outcome]:
    """Each suite against each directory, the longest first, that many at once. LabError, SuiteBroke, ValueError."""
    pairs = [(suite, directory) for suite in suites for directory in directories]
    pairs.sort(key=lambda pair: -pair[0].seconds)
    labs: dict[tuple[Suite, str], Lab] = {pair: lab_for(*pair, kernel) for pair in pairs}
    with ThreadPoolExecutor(jobs) as pool:
        futures: dict[tuple[Suite, str], Future[Outcome]] = {
            (suite, directory): pool.submit(run, suite, directory, binaries.absolute(), lab)
            for (suite, directory), lab in labs.items()
        }
        try:
            return {pair: future.result() for pair, future in futures.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for lab in labs.values():
                lab.close()
            raise


def _told(directory: str, outcomes: dict[str, Outcome], listed: Sequence[Difference]) -> bool:
    """Prints a table, and what is not as the list has it; whether all is."""
    print(f"{directory}\n  suite      kernel specs passed listed differ seconds")
    judgements = []
    for name, (choice, specs) in outcomes.items():
        judgement = differences.judge(specs, listed)
        judgements.append(judgement)
        wrong = len(judgement.unknown) + len(judgement.outdated)
        print(
            f"  {name:10} {choice.kind:6} {len(specs):5} {sum(not spec.message for spec in specs):6} "
            f"{len(judgement.known):6} {wrong or '-':>6} {sum(spec.seconds for spec in specs):7.1f}"
        )
    for judgement in judgements:
        for line in _wrong(judgement):
            print(line)
    gone = differences.absent([spec for _, specs in outcomes.values() for spec in specs], listed)
    for spec_name in gone:
        print(f"listed, but there is no such spec: {spec_name}")
    print(flush=True)
    return not gone and all(judgement.holds for judgement in judgements)


def _wrong(judgement: Judgement) -> list[str]:
    lines = []
    for spec in judgement.unknown:
        message = [line for line in spec.message.splitlines() if line.strip() and not line.startswith(_DEEP)]
        lines += [f"FAILED, and is not listed: {spec.name}", *(f"      {line}" for line in message[:MOST_LINES])]
    lines += [f"listed, but it passes: {spec.name}" for spec in judgement.outdated]
    return lines


def _document(directory: str, outcomes: dict[str, Outcome], listed: Sequence[Difference]) -> dict[str, object]:
    return {
        "plugins": directory,
        "specs": [
            {
                "suite": spec.suite,
                "version": spec.version,
                "title": spec.title,
                "passed": not spec.message,
                "message": spec.message,
                "listed": next((f"{known.fate}: {known.reason}" for known in listed if known.covers(spec)), None),
                "seconds": round(spec.seconds, 3),
            }
            for _, specs in outcomes.values()
            for spec in specs
        ],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m conformance.peers", description=__doc__)
    parser.add_argument("--plugins", metavar="DIR", help="holds macvlan, ipvlan and host-local")
    parser.add_argument(
        "--reference", metavar="DIR", default=REFERENCE, help="Go's, which show that the harness works; '' for none"
    )
    parser.add_argument(
        "--suite", action="append", choices=[suite.name for suite in SUITES], help="only this; may be repeated"
    )
    parser.add_argument("--json", metavar="FILE", help="write every spec and its outcome there")
    parser.add_argument("--write", action="store_true", help=f"only write the list of {DOCUMENT}")
    parser.add_argument("--kernel", choices=("auto", "host", "uml"), default="auto", help="of the lab")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="suites at once (default 2)")
    parser.add_argument("--binaries", type=Path, default=Path("build/peers"), metavar="DIR", help="of build-peers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
