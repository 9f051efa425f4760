"""docs/errors.md is the table of cni_core.errors, with cause and mend."""

from __future__ import annotations

import re
from pathlib import Path

from cni_core import errors
from cni_core.errors import INVALID_CONFIG, CniError

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "errors.md"


def test_every_code_stands_in_the_document_with_its_meaning() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*?) \| (.*?) \| (.*?) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert {int(code): meaning for code, meaning, _, _ in rows} == errors.MEANING
    assert all(mend for _, _, _, mend in rows)


def test_every_code_has_a_meaning() -> None:
    codes = {value for name, value in vars(errors).items() if name.isupper() and type(value) is int}
    assert codes == set(errors.MEANING)


def test_an_error_has_an_end() -> None:
    document = CniError(INVALID_CONFIG, "x" * 100_000, "y" * 100_000).to_json("1.0.0")
    assert (document["msg"], document["details"]) == ("x" * 9_999 + "…", "y" * 9_999 + "…")
    assert CniError(INVALID_CONFIG, "x" * 10_000).to_json("1.0.0")["msg"] == "x" * 10_000
