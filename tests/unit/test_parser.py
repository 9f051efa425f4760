"""The command line as people mistype it: what is misused says so, and what may be meant."""

from __future__ import annotations

import pytest

from cni_cli.main import main

MISTYPED = {
    "newtork ls": ("cni-macvlan-py", "there is no command newtork: did you mean network?"),
    "ls": ("cni-macvlan-py", "there is no command ls: did you mean `network ls`?"),
    "frobnicate": ("cni-macvlan-py", "there is no command frobnicate; there are network, validate,"),
    "network delete lan": ("cni-macvlan-py network", "there is no command delete: did you mean `rm`?"),
    "network crate lan": ("cni-macvlan-py network", "there is no command crate: did you mean create"),
    "network create --subent 10.1.0.0/24 lan": (
        "cni-macvlan-py network create",
        "there is no option --subent: did you mean --subnet?",
    ),
    "network create —subnet 10.1.0.0/24 lan": (
        "cni-macvlan-py network create",
        "—subnet begins with a dash that is no hyphen: --subnet",
    ),
    "network create --subn 10.1.0.0/24 lan": (
        "cni-macvlan-py network create",
        "there is no option --subn: did you mean",
    ),
    "--verison": ("cni-macvlan-py", "there is no option --verison: did you mean --version?"),
    "network create --filter x lan": ("cni-macvlan-py network create", "there is no option --filter"),
    "network ls --jso": ("cni-macvlan-py network ls", "there is no option --jso: did you mean --json?"),
    "network inspect": ("cni-macvlan-py network inspect", "the following arguments are required: NETWORK"),
    "leases lan again": ("cni-macvlan-py leases", "'again' is one argument too many"),
    "cluster forgt home n1": ("cni-macvlan-py cluster", "there is no command forgt: did you mean forget?"),
}


@pytest.mark.parametrize("line", MISTYPED)
def test_a_misuse_is_told_by_the_command_that_was_misused(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, why = MISTYPED[line]
    with pytest.raises(SystemExit) as ended:
        main("cni-macvlan-py", "macvlan", line.split())
    assert ended.value.code == 2
    usage, *_, last = capsys.readouterr().err.splitlines()
    assert usage.startswith(f"usage: {program} ")
    assert last.startswith(f"{program}: {why}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("help", "commands:"),
        ("help network create", "--subnet"),
        ("version", "cni-macvlan-py "),
        ("leases --help", "BOOT"),
    ],
)
def test_help_and_version_are_words_too(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main("cni-macvlan-py", "macvlan", line.split())
    assert ended.value.code == 0
    assert said in capsys.readouterr().out
