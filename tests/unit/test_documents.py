"""What documents say of files is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
ROOMS = "cni_core|cni_cli|cni_macvlan_py|cni_ipvlan_py|ipam|launcher|conformance|tests|scripts|docs|examples|packaging"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    for name in re.findall(rf"`((?:{ROOMS})/[\w./-]*)`", document.read_text()):
        assert (REPOSITORY / name).exists(), name


def test_of_files_named_by_their_last_part_there_is_one() -> None:
    """As reliability.md has it: `tests/unit/test_undo.py`, then `test_records.py`."""
    there = {path.name for path in (REPOSITORY / "tests").rglob("*.py")}
    for document in DOCUMENTS:
        assert {*re.findall(r"`(test_\w+\.py)`", document.read_text())} <= there, document.name


def test_the_map_has_every_package() -> None:
    packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")} - {"tests"}
    rows = "\n".join(re.findall(r"^\| (`.*?) \|", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert {name for name in packages if f"`{name}/`" not in rows} == set()
