"""The conformance suite's own parts that need no kernel: its cases' names, its schemas, its reports."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.suite import report, results
from conformance.suite.case import TAGS, Case, Failed, equal, expect
from conformance.suite.run import FAILED, NOT_APPLICABLE, PASSED, Verdict, selected
from conformance.suite.world import validate

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"


def test_every_case_has_a_name_of_its_own_a_sentence_and_a_source() -> None:
    cases = selected([])
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        assert case.tag in TAGS
        assert case.says.endswith("."), case.name
        assert "{" not in case.says, case.name
        assert case.source
    assert len({case.body for case in cases}) >= 120


def test_the_suite_imports_nothing_of_the_plugins() -> None:
    for path in (DOCUMENT.parents[1] / "conformance" / "suite").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (cni_|ipam)", path.read_text(), re.MULTILINE), path


def test_cases_are_selected_by_a_part_of_the_name_or_a_pattern() -> None:
    assert {case.group for case in selected(["l3/"])} == {"l3"}
    assert [case.name for case in selected(["macvlan/mode[private]"])] == ["macvlan/mode[private]"]
    assert {case.name for case in selected(["results/*0.3.1"])} == {
        f"results/form[{plugin},0.3.1]" for plugin in ("macvlan", "ipvlan", "host-local")
    }
    assert len(selected(["l3/", "trunk/"])) == len(selected(["l3/"])) + len(selected(["trunk/"]))
    assert selected(["nothing like that"]) == []


# The examples of the specification ("Section 5: Result types", and those of the earlier versions)
VALID: list[tuple[str, bool, dict[str, Any]]] = [
    ("0.2.0", False, {"ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]}}),
    ("0.3.1", False, {"ips": [{"version": "4", "address": "10.1.0.5/16", "interface": 0}], "dns": {}}),
    ("0.3.1", True, {"ips": [{"version": "6", "address": "2001:db8::5/64", "gateway": "2001:db8::1"}]}),
    ("1.0.0", False, {"interfaces": [{"name": "eth0", "mac": "99:88:77:66:55:44", "sandbox": "/var/run/netns/blue"}]}),
    ("1.1.0", False, {"interfaces": [{"name": "eth0", "mtu": 1500}], "routes": [{"dst": "::/0", "priority": 7}]}),
]
INVALID: list[tuple[str, bool, dict[str, Any]]] = [
    ("0.2.0", False, {"ips": []}),
    ("0.3.1", False, {"ips": [{"address": "10.1.0.5/16"}]}),
    ("1.0.0", False, {"ips": [{"version": "4", "address": "10.1.0.5/16"}]}),
    ("1.0.0", False, {"ips": [{"address": "10.1.0.5"}]}),
    ("1.0.0", False, {"interfaces": [{"name": "eth0", "mtu": 1500}]}),
    ("1.0.0", True, {"interfaces": [{"name": "eth0"}]}),
    ("1.0.0", True, {"ips": [{"address": "10.1.0.5/16", "interface": 0}]}),
    ("1.1.0", False, {"routes": [{"gw": "10.1.0.1"}]}),
]


@pytest.mark.parametrize(("version", "ipam", "document"), VALID)
def test_what_the_specification_shows_is_valid(version: str, ipam: bool, document: dict[str, Any]) -> None:
    validate({"cniVersion": version} | document, results.add_result(version, ipam=ipam))


@pytest.mark.parametrize(("version", "ipam", "document"), INVALID)
def test_what_a_version_does_not_have_is_invalid(version: str, ipam: bool, document: dict[str, Any]) -> None:
    with pytest.raises(Failed):
        validate({"cniVersion": version} | document, results.add_result(version, ipam=ipam))


@pytest.mark.parametrize("document", [{"code": 7}, {"code": "7", "msg": "m"}, {"code": 7, "msg": ""}, {"error": "m"}])
def test_what_is_no_error_object(document: dict[str, Any]) -> None:
    with pytest.raises(Failed):
        validate(document, results.ERROR)


def test_expectations() -> None:
    expect(True, "never")
    equal("numbers", 1, 1)
    with pytest.raises(Failed, match="numbers: 1 instead of 2"):
        equal("numbers", 1, 2)


@pytest.fixture
def verdicts() -> list[Verdict]:
    def case(name: str, tag: str) -> Case:
        return Case(name, tag, "Something | holds.", "SPEC", lambda world: None)

    return [
        Verdict(case("one/a", "spec"), PASSED, "", 0.5),
        Verdict(case("one/b", "reference"), FAILED, "1 instead of 2", 1.0),
        Verdict(case("two/c", "extension"), NOT_APPLICABLE, "no 1.1.0", 0.0),
    ]


def test_a_line_says_what_should_hold_and_what_did_not(verdicts: list[Verdict]) -> None:
    assert report.line(1, 10, verdicts[:1]) == "[ 1/10] ok   spec      one/a  (0.5 s)"
    told = report.line(2, 10, verdicts[1:2])
    assert "Something | holds." in told
    assert "but: 1 instead of 2" in told


def test_the_summary_counts_by_tag(verdicts: list[Verdict]) -> None:
    assert report.summary("dir", verdicts).splitlines() == [
        "dir: 3 cases in 2 s",
        "  spec      1 passed",
        "  reference 1 failed",
        "  extension 1 n/a",
    ]


def test_for_programs(verdicts: list[Verdict]) -> None:
    document = json.loads(report.as_json("dir", verdicts))
    assert [(case["name"], case["outcome"]) for case in document["cases"]] == [
        ("one/a", PASSED),
        ("one/b", FAILED),
        ("two/c", NOT_APPLICABLE),
    ]
    suites = ET.fromstring(report.as_junit("dir", verdicts)).findall("testsuite")
    assert [(suite.get("name"), suite.get("tests"), suite.get("failures")) for suite in suites] == [
        ("one", "2", "1"),
        ("two", "1", "0"),
    ]
    failures = suites[0].findall("testcase/failure")
    assert [failure.get("message") for failure in failures] == ["1 instead of 2"]
    assert len(suites[1].findall("testcase/skipped")) == 1


def test_junit_of_what_xml_has_no_characters_for(verdicts: list[Verdict]) -> None:
    noisy = replace(verdicts[1], reason="\x00\x1b[1mnoise\ud800")
    (failure,) = ET.fromstring(report.as_junit("dir", [noisy])).iter("failure")
    assert failure.get("message") == "\ufffd\ufffd[1mnoise\ufffd"


def test_two_side_by_side(verdicts: list[Verdict]) -> None:
    passed = [Verdict(verdict.case, PASSED, "", 0.0) for verdict in verdicts]
    pairs = [list(pair) for pair in zip(passed, verdicts, strict=True)]
    told = report.side_by_side(["ours", "theirs"], pairs)
    assert "one/a" not in told
    assert "  ok   FAIL  one/b" in told
    table = report.markdown(["ours", "theirs"], pairs)
    assert "| b | reference | Something \\| holds. | ok | **FAIL** |" in table


def test_each_difference_to_the_reference_is_explained() -> None:
    """docs/conformance.md: every spec or reference case that one of the two fails stands below "What differs"."""
    table, _, explained = DOCUMENT.read_text(encoding="utf-8").partition("## What differs")
    group, missing = "", []
    for line in table.splitlines():
        if line.startswith("### "):
            group = line.removeprefix("### ")
        elif re.match(r"\| .* \| (spec|reference) \|", line) and "**FAIL**" in line:
            name = f"{group}/{line.split(' | ')[0].removeprefix('| ').partition('[')[0]}"
            if f"`{name}" not in explained:
                missing.append(name)
    assert missing == []
    assert group
