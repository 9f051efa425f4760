"""What the build consists of: requirements.txt (scripts/pin) pins each part with the hashes of its files."""

from __future__ import annotations

import os
import re
import subprocess
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


def test_without_a_package_index_the_last_line_says_what_is_missing(tmp_path: Path) -> None:
    """The environment and pip are real ones."""
    venv = tmp_path / "venv"
    done = subprocess.run(
        ["make", "--no-print-directory", f"VENV={venv}", f"{venv}/build"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
    )
    *_, ours, makes = done.stderr.splitlines()
    assert makes.startswith("make: ***")
    assert ours == (
        f"What requirements.txt lists is missing in {venv}, and pip could not install it: it needs a package index."
    )
    assert not (venv / "build").exists()


def test_no_script_names_a_package_host() -> None:
    """What the machine's apt and pip are set to is used."""
    files = [REPOSITORY / "Makefile", REPOSITORY / ".ci/run", *(REPOSITORY / "scripts").iterdir()]
    for file in files:
        assert not re.search(r"https?://", file.read_text()), file


def test_make_help_tells_of_every_target() -> None:
    text = (REPOSITORY / "Makefile").read_text()
    parts = {"kernel-launcher", "kernel-second-tier", "kernel-cluster", "kernel-faults"}  # of kernel
    [phony] = re.findall(r"^\.PHONY: (.*)$", text.replace("\\\n", " "), re.MULTILINE)
    done = subprocess.run(["make", "--no-print-directory", "help"], cwd=REPOSITORY, capture_output=True, text=True)
    assert {line.split()[0] for line in done.stdout.splitlines()} == {*phony.split()} - parts
