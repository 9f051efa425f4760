"""The verdicts for people (live lines, summary, two implementations side by side) and for programs (JSON, JUnit)."""

from __future__ import annotations

import json
import os
import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from typing import Any

from conformance.suite.case import TAGS
from conformance.suite.run import FAILED, NOT_APPLICABLE, PASSED, Verdict

MARKS = {PASSED: "ok", FAILED: "FAIL", NOT_APPLICABLE: "n/a"}
# What plugins print and XML 1.0 has no characters for ("Char" of its section 2.2).
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
COLOURS = {PASSED: "\033[32m", FAILED: "\033[31m", NOT_APPLICABLE: "\033[33m"}


def line(number: int, of: int, verdicts: Sequence[Verdict]) -> str:
    """A case with its verdicts, and the reason of each that is no pass."""
    case = verdicts[0].case
    marks = " ".join(_mark(verdict.outcome) for verdict in verdicts)
    seconds = sum(verdict.seconds for verdict in verdicts)
    text = f"[{number:>{len(str(of))}}/{of}] {marks} {case.tag:9} {case.name}  ({seconds:.1f} s)"
    for verdict in verdicts:
        if verdict.outcome == FAILED:
            text += f"\n      {case.says}\n      but: {verdict.reason}\n      ({case.source})"
    return text


def _mark(outcome: str) -> str:
    mark = f"{MARKS[outcome]:4}"
    return f"{COLOURS[outcome]}{mark}\033[0m" if "CLICOLOR_FORCE" in os.environ or sys.stdout.isatty() else mark


def summary(directory: str, verdicts: Sequence[Verdict]) -> str:
    """Counts by tag, a line each."""
    lines = [f"{directory}: {len(verdicts)} cases in {sum(verdict.seconds for verdict in verdicts):.0f} s"]
    for tag in TAGS:
        counts = Counter(verdict.outcome for verdict in verdicts if verdict.case.tag == tag)
        if counts:
            told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in MARKS if counts[outcome])
            lines.append(f"  {tag:9} {told}")
    return "\n".join(lines)


def as_json(directory: str, verdicts: Sequence[Verdict]) -> str:
    document: dict[str, Any] = {
        "plugins": directory,
        "cases": [
            {
                "name": verdict.case.name,
                "tag": verdict.case.tag,
                "says": verdict.case.says,
                "source": verdict.case.source,
                "outcome": verdict.outcome,
                "reason": verdict.reason,
                "seconds": round(verdict.seconds, 3),
            }
            for verdict in verdicts
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def as_junit(directory: str, verdicts: Sequence[Verdict]) -> str:
    """A testsuite for each group of cases; what is not applicable is skipped."""
    root = ET.Element("testsuites", name=directory)
    for group in dict.fromkeys(verdict.case.group for verdict in verdicts):
        members = [verdict for verdict in verdicts if verdict.case.group == group]
        outcomes = Counter(verdict.outcome for verdict in members)
        suite = ET.SubElement(
            root,
            "testsuite",
            name=group,
            tests=str(len(members)),
            failures=str(outcomes[FAILED]),
            skipped=str(outcomes[NOT_APPLICABLE]),
            time=f"{sum(verdict.seconds for verdict in members):.3f}",
        )
        for verdict in members:
            element = ET.SubElement(
                suite,
                "testcase",
                classname=f"{verdict.case.tag}.{group}",
                name=verdict.case.name,
                time=f"{verdict.seconds:.3f}",
            )
            if verdict.outcome != PASSED:
                kind = "failure" if verdict.outcome == FAILED else "skipped"
                ET.SubElement(element, kind, message=_NO_XML.sub("\ufffd", verdict.reason)).text = verdict.case.says
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def side_by_side(names: Sequence[str], pairs: Sequence[Sequence[Verdict]]) -> str:
    """The cases in which the two differ, a line each."""
    widths = [max(len(name), 4) for name in names]
    lines = [f"{_aligned(names, widths)}  what differs"]
    for verdicts in pairs:
        if len({verdict.outcome for verdict in verdicts}) > 1:
            marks = _aligned([MARKS[verdict.outcome] for verdict in verdicts], widths)
            lines.append(f"{marks}  {verdicts[0].case.name}: {verdicts[0].case.says}")
    return "\n".join(lines)


def _aligned(words: Sequence[str], widths: Sequence[int]) -> str:
    return " ".join(f"{word:>{width}}" for word, width in zip(words, widths, strict=True))


def markdown(names: Sequence[str], pairs: Sequence[Sequence[Verdict]]) -> str:
    """The whole table, a section per group."""
    lines = ["| tag | cases | " + " | ".join(names) + " |", "|---|---:|" + "---|" * len(names)]
    for tag in TAGS:
        of_tag = [verdicts for verdicts in pairs if verdicts[0].case.tag == tag]
        cells = []
        for side in range(len(names)):
            counts = Counter(verdicts[side].outcome for verdicts in of_tag)
            cells.append(", ".join(f"{counts[outcome]} {outcome}" for outcome in MARKS if counts[outcome]))
        lines.append(f"| {tag} | {len(of_tag)} | {' | '.join(cells)} |")
    for group in dict.fromkeys(verdicts[0].case.group for verdicts in pairs):
        lines += ["", f"### {group}", "", f"| case | tag | what holds | {' | '.join(names)} |"]
        lines.append("|---|---|---|" + "---|" * len(names))
        for verdicts in pairs:
            case = verdicts[0].case
            if case.group == group:
                says = case.says.replace("|", "\\|")
                marks = " | ".join(_cell(verdict) for verdict in verdicts)
                lines.append(f"| {case.name.partition('/')[2]} | {case.tag} | {says} | {marks} |")
    return "\n".join(lines)


def _cell(verdict: Verdict) -> str:
    return f"**{MARKS[verdict.outcome]}**" if verdict.outcome == FAILED else MARKS[verdict.outcome]
