"""What the build consists of: requirements.txt (scripts/pin) pins each part with the hashes of its files."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def pinned(name: str) -> dict[str, list[str]]:
    """PACKAGE==VERSION → the hashes behind it."""
    text = (REPOSITORY / name).read_text().replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {requirement: options for requirement, *options in lines}


def test_every_part_of_the_build_has_a_version_and_hashes() -> None:
    for requirement, options in pinned("requirements.txt").items():
        assert re.fullmatch(r"[a-z0-9_.-]+==[0-9][0-9a-z.]*", requirement), requirement
        assert options, requirement
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", option) for option in options), requirement


def test_what_is_asked_for_is_what_is_pinned() -> None:
    assert pinned("requirements.in").keys() <= pinned("requirements.txt").keys()
