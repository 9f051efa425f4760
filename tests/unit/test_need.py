"""scripts/need: which packages it asks apt for, and what it says where it cannot have them. apt itself is a fake."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

NEED = Path(__file__).parents[2] / "scripts" / "need"
LACKS = "echo 'lab: the kernel cannot make ipvlan' >&2; exit 125"
# What stands in PATH in place of the machine's own. `installed` is a file of package names.
FAKES = {
    "dpkg-query": 'for last; do :; done; grep -qx "$last" "$STATE/installed" && printf installed || exit 1',
    "apt-get": 'echo "$*" >>"$STATE/calls"; exit "$APT_STATUS"',
    "id": 'echo "$UID_TO_TELL"',
    "python3": 'case "$*" in "-m conformance.lab kernel") eval "$KERNEL" ;; *) exit 99 ;; esac',
}


class Machine:
    """A machine with these packages and this kernel: `calls` is what was asked of its apt-get."""

    def __init__(self, directory: Path) -> None:
        self._state = directory
        for name, script in FAKES.items():
            (directory / name).write_text(f"#!/bin/sh\n{script}\n")
            (directory / name).chmod(0o755)

    def need(
        self, step: str, installed: str = "", kernel: str = "exit 0", apt: int = 0, uid: int = 0
    ) -> subprocess.CompletedProcess[str]:
        (self._state / "installed").write_text("\n".join(installed.split()) + "\n")
        environment = {
            "PATH": f"{self._state}:{os.environ['PATH']}",
            "STATE": str(self._state),
            "KERNEL": kernel,
            "APT_STATUS": str(apt),
            "UID_TO_TELL": str(uid),
        }
        return subprocess.run([NEED, step], env=environment, capture_output=True, text=True)

    @property
    def calls(self) -> list[str]:
        calls = self._state / "calls"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


BUILD = "python3 python3-venv libpython3-dev binutils gcc libc6-dev"
DEMO = f"{BUILD} busybox-static iproute2"
INSTALL = "install -y --no-install-recommends "


def test_what_is_installed_is_not_asked_for(machine: Machine) -> None:
    done = machine.need("build", BUILD)
    assert (done.returncode, done.stdout, machine.calls) == (0, "", [])


def test_only_what_is_missing_is_installed(machine: Machine) -> None:
    assert machine.need("build", BUILD.replace("binutils gcc", "")).returncode == 0
    assert machine.calls == ["update", f"{INSTALL}binutils gcc"]


def test_no_python_is_asked_for_but_the_machines_own(machine: Machine) -> None:
    assert machine.need("test").returncode == 0
    assert not [word for word in " ".join(machine.calls).split() if "python3." in word]


def test_a_host_whose_kernel_has_every_kind_of_link_needs_no_user_mode_linux(machine: Machine) -> None:
    assert machine.need("demo", DEMO).returncode == 0
    assert machine.calls == []


@pytest.mark.parametrize("step", ["demo", "test"])
def test_a_host_whose_kernel_lacks_a_kind_of_link_gets_user_mode_linux(machine: Machine, step: str) -> None:
    done = machine.need(step, DEMO, LACKS)
    assert machine.calls[-1] == f"{INSTALL}user-mode-linux kmod"
    assert "cannot make ipvlan" in done.stdout


def test_a_measurement_needs_none(machine: Machine) -> None:
    machine.need("bench", DEMO, LACKS)
    assert machine.calls == ["update", f"{INSTALL}containernetworking-plugins strace time"]


def test_the_last_line_says_what_is_missing_where_apt_fails(machine: Machine) -> None:
    done = machine.need("build", BUILD.replace("gcc", ""), apt=100)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == "These packages are missing and apt-get could not install them: gcc."


def test_who_is_not_root_is_told_what_is_missing(machine: Machine) -> None:
    done = machine.need("demo", DEMO.replace("gcc", ""), uid=1000)
    assert (done.returncode, machine.calls) == (1, [])
    assert done.stderr.endswith("(on Debian: apt-get install gcc).\n")
