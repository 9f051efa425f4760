"""What `make peers` makes of the reports of Go's test suites, and its list of what is known to differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import generated
from conformance.peers import differences
from conformance.peers.differences import DIFFERENCES, KEPT, NOT_DRIVABLE, Difference
from conformance.peers.suites import SUITES, Spec, specs

ROOT = Path(__file__).resolve().parents[2]

# As ginkgo 1.16 writes it.
REPORT = """<?xml version="1.0" encoding="UTF-8"?>
  <testsuite name="plugins/main/macvlan" tests="4" failures="1" errors="0" time="1.5">
      <testcase name="macvlan Operations [0.3.1] makes a link" classname="plugins/main/macvlan" time="0.25"></testcase>
      <testcase name="macvlan Operations [1.0.0] makes a link" classname="plugins/main/macvlan" time="0.5">
          <failure type="Failure">macvlan_test.go:30&#xA;Unexpected error:&#xA;    &lt;nil&gt;</failure>
      </testcase>
      <testcase name="parsing a file" classname="plugins/main/macvlan" time="0.25"></testcase>
      <testcase name="parsing a file" classname="plugins/main/macvlan" time="0.25"></testcase>
  </testsuite>
"""

DIFFERENCE = Difference("macvlan", ("makes a link",), ("0.4.0", "1.0.0"), KEPT, "it must not")


def spec(version: str, *, passes: bool, title: str = "makes a link") -> Spec:
    return Spec("macvlan", version, title, "" if passes else "it failed", 0.1)


def test_a_report_gives_a_spec_for_each_case() -> None:
    found = specs("macvlan", REPORT)
    assert [(spec.version, spec.title) for spec in found] == [
        ("0.3.1", "makes a link"),
        ("1.0.0", "makes a link"),
        ("", "parsing a file"),
        ("", "parsing a file (no. 2)"),
    ]
    assert [spec.name for spec in found][1:3] == ["macvlan: [1.0.0] makes a link", "macvlan: parsing a file"]
    assert [bool(spec.message) for spec in found] == [False, True, False, False]
    assert found[1].message.splitlines()[1] == "Unexpected error:"
    assert sum(spec.seconds for spec in found) == 1.25


def test_a_failure_without_words_is_a_failure() -> None:
    report = REPORT.replace("macvlan_test.go:30&#xA;Unexpected error:&#xA;    &lt;nil&gt;", "")
    assert [bool(spec.message) for spec in specs("macvlan", report)] == [False, True, False, False]


@pytest.mark.parametrize(
    "report",
    ['<testsuite tests="0"></testsuite>', REPORT.replace('time="0.25"></testcase>', 'time="0"><skipped/></testcase>')],
    ids=["no spec", "one left out"],
)
def test_a_report_that_leaves_specs_out_is_none(report: str) -> None:
    with pytest.raises(ValueError, match="macvlan"):
        specs("macvlan", report)


def test_a_run_holds_if_just_what_is_listed_fails() -> None:
    expected = [spec("0.3.1", passes=True), spec("0.4.0", passes=False), spec("1.0.0", passes=False)]
    judgement = differences.judge(expected, [DIFFERENCE])
    assert judgement.holds
    assert (judgement.passed, judgement.known) == (expected[:1], expected[1:])


def test_a_failure_that_is_not_listed_is_told() -> None:
    other = spec("1.0.0", passes=False, title="takes a link away")
    judgement = differences.judge([spec("0.3.1", passes=False), spec("1.0.0", passes=False), other], [DIFFERENCE])
    assert not judgement.holds
    assert judgement.unknown == [spec("0.3.1", passes=False), other]


def test_what_is_listed_and_passes_is_told() -> None:
    judgement = differences.judge([spec("0.4.0", passes=True), spec("1.0.0", passes=False)], [DIFFERENCE])
    assert not judgement.holds
    assert judgement.outdated == [spec("0.4.0", passes=True)]
    assert judgement.known == [spec("1.0.0", passes=False)]


def test_what_is_listed_and_not_there_is_told_of_the_suites_that_ran() -> None:
    listed = [DIFFERENCE, Difference("ipvlan", ("makes a link",), ("1.0.0",), KEPT, "it must not")]
    assert differences.absent([spec("1.0.0", passes=False)], listed) == ["macvlan: [0.4.0] makes a link"]


def test_the_list_tells_of_suites_that_are_there_and_of_each_spec_once() -> None:
    listed = [
        (difference.suite, version, title)
        for difference in DIFFERENCES
        for version in difference.versions
        for title in difference.titles
    ]
    assert len(set(listed)) == len(listed)
    assert {difference.suite for difference in DIFFERENCES} <= {suite.name for suite in SUITES}
    assert {difference.fate for difference in DIFFERENCES} <= {KEPT, NOT_DRIVABLE}


def test_the_document_has_the_list() -> None:
    """`python3 -m conformance.peers --write` writes it."""
    assert generated.read(ROOT / "docs" / "migrating.md", "peers") == differences.markdown()
