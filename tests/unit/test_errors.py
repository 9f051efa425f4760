"""docs/errors.md is the table of cni_core.errors, with cause and mend."""

from __future__ import annotations

import re
from pathlib import Path

from cni_core import errors

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "errors.md"


def test_every_code_stands_in_the_document_with_its_meaning() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*?) \| (.*?) \| (.*?) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert {int(code): meaning for code, meaning, _, _ in rows} == errors.MEANING
    assert all(mend for _, _, _, mend in rows)


def test_every_code_has_a_meaning() -> None:
    codes = {value for name, value in vars(errors).items() if name.isupper() and type(value) is int}
    assert codes == set(errors.MEANING)
