"""launcher.prefix: manual pages and completions are made of the commands' own parser."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cni_cli.main import parser_of

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = {"cni-macvlan-py": "macvlan", "cni-ipvlan-py": "ipvlan"}


def written(directory: Path) -> dict[str, bytes]:
    subprocess.run([sys.executable, "-m", "launcher.prefix", directory], cwd=REPOSITORY, check=True)
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("prefix")
    written(directory)
    return directory


def test_the_same_sources_give_the_same_bytes(prefix: Path, tmp_path: Path) -> None:
    first = {str(path.relative_to(prefix)): path.read_bytes() for path in prefix.rglob("*") if path.is_file()}
    assert written(tmp_path / "again") == first
    assert len(first) == 7


@pytest.mark.parametrize(("program", "kind"), PROGRAMS.items())
def test_a_manual_page_has_every_command_with_its_options(prefix: Path, program: str, kind: str) -> None:
    page = (prefix / f"share/man/man8/{program}.8").read_text().replace("\\-", "-")
    requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
    assert requests <= {".TH", ".SH", ".SS", ".TP", ".PP", ".RS", ".RE", ".B", ".I", ".br", ".sp"}  # groff_man(7)
    for name, command in parser_of(program, kind)[1].items():
        assert f"{program} {name}" in page
        for action in command._actions:
            assert not action.option_strings or action.option_strings[-1] in page, (name, action)


def completed(prefix: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words of a command line."""
    script = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '_shtab_cni_macvlan_py "$1" "${@: -1}"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    file = prefix / "share/bash-completion/completions/cni-macvlan-py"
    argv = ["bash", "-c", script, "bash", str(file), "cni-macvlan-py", *words]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split()


def test_a_shell_completes_commands_options_and_files(prefix: Path) -> None:
    assert completed(prefix, "le") == ["leases"]
    assert completed(prefix, "network", "r") == ["rm", "remove"]
    assert completed(prefix, "network", "rm", "--fo") == ["--force"]
    assert completed(prefix, "validate", "ex") == ["examples"]
    assert completed(prefix, "install", "--re") == ["--replace"]
