"""What is User-Mode Linux's own. `make lab` runs this where the lab uses it: elsewhere it is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.lab import Lab, LabError, kernel, uml

ROOT = Path(__file__).resolve().parents[2]


def test_a_kernel_that_dies_under_a_command_is_an_error_not_a_hang() -> None:
    with Lab("uml") as lab, pytest.raises(LabError, match="ended by itself"):
        lab.run(["sh", "-c", "echo o > /proc/sysrq-trigger; sleep 100"], timeout=30)


def test_a_cpu_with_amx_needs_gcc(monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.which
    monkeypatch.setattr(uml, "needs_mend", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if name == "gcc" else real(name, path=path))
    with pytest.raises(LabError, match="apt-get install gcc"):
        kernel.choose("uml")


def test_uml_boots_and_runs_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_XSAVE_MEND", "1")
    with Lab("uml") as lab:
        maps = [path for path in Path("/proc").glob("[0-9]*/maps") if "ptrace_xsave.so" in _read(path)]
        assert maps, "the mend is not loaded"
        assert lab.run(["/usr/bin/python3", "-c", "print(sum(x * 0.5 for x in range(1000)))"]).stdout == b"249750.0\n"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_the_hosts_options_for_modules_are_not_the_labs() -> None:
    """A Debian without systemd has no modprobe.d that says how many links the module dummy makes by itself."""
    places = [place for place in ("/etc/modprobe.d", "/usr/lib/modprobe.d", "/run/modprobe.d") if os.path.isdir(place)]
    hide = [f"mount -t tmpfs tmpfs {place}" for place in places]
    shown = f"{sys.executable} -m conformance.lab run --kernel uml -- ip -o link"
    script = " && ".join([*hide, shown])
    links = subprocess.run(["unshare", "-m", "sh", "-c", script], cwd=ROOT, capture_output=True, check=True).stdout
    assert [line.split(": ")[1] for line in links.decode().splitlines()] == ["lo"]
