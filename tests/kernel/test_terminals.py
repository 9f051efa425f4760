"""What others name commands no terminal: names, paths and keys are shown with an escape for what a terminal obeys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kernel.conftest import Lan
from tests.kernel.plugin import OURS

EVIL = "a\x1b[2J\x07\x9b1m\nb\u202ec"  # ESC, BEL, a C1 control, a line break, an override of the direction
SHOWN = r"a\x1b[2J\x07\x9b1m\x0ab\u202ec"


@pytest.fixture
def directory(lan: Lan, tmp_path: Path) -> Path:
    """Of networks: one that works, one that is wrong, each with evil names, in a file of an evil name."""
    found = tmp_path / EVIL
    found.mkdir()
    ipam = lan.ipam("10.1.0.0/24") | {"dataDir": str(tmp_path / EVIL)}
    good = {"cniVersion": "1.0.0", "name": "good", "type": "macvlan", "master": "eth0", EVIL: EVIL, "ipam": ipam}
    wrong = good | {"name": "wrong", "mode": EVIL, "dns": {"search": {EVIL: 1}}, "ipam": ipam | {"ranges": [[EVIL]]}}
    for name, config in (("good", good), (f"{EVIL}wrong", wrong), (f"{EVIL}list", {EVIL: 1, "plugins": [{EVIL: 1}]})):
        (found / f"{name}.conf").write_text(json.dumps(config))
    return found


def call(lan: Lan, *arguments: str) -> str:
    """What is on stdout and stderr, which has no character that a terminal obeys."""
    done = lan.node.run([str(OURS / "cni-macvlan-py"), *arguments], env={}, check=False)
    told = done.stdout.decode() + done.stderr.decode()
    assert "Traceback" not in told
    assert [char for char in told if not char.isprintable() and char != "\n"] == []
    assert not any(line.startswith("b") for line in told.splitlines()), "a line break of a name's"
    return told


def test_the_commands_show_names_escaped(lan: Lan, directory: Path) -> None:
    where = ("--dir", str(directory))
    files = sorted(map(str, directory.glob("*.conf")))
    assert call(lan, "validate", *files).count(SHOWN) > len(files)
    for command in (
        ("doctor", *where),
        ("network", "ls", *where),
        ("network", "inspect", "good", *where),
        ("network", "inspect", "wrong", *where),
        ("network", "rm", EVIL, *where),
        ("leases", "release", "good", EVIL, *where),
    ):
        assert SHOWN in call(lan, *command), command


def test_doctor_shows_the_names_of_links_escaped(lan: Lan) -> None:
    name = "x\x1b[2J\x07"
    lan.node.ip_batch([f"link add name {name} type dummy", f"link set dev {name} alias cni-vlan"])
    assert r"x\x1b[2J\x07: nobody is on this link" in call(lan, "doctor")


def test_programs_read_the_names_as_they_are(lan: Lan, directory: Path) -> None:
    done = lan.node.run([str(OURS / "cni-macvlan-py"), "network", "ls", "--json", "--dir", str(directory)], env={})
    [network] = json.loads(done.stdout)
    assert network["file"] == str(directory / "good.conf")
    assert b"\x1b" not in done.stdout
