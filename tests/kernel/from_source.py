"""CNI_TIER=source: the programs run from the sources, each call under coverage (CONTRIBUTING.md)."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# A call ends by posix._exit, so that is where the data is written.
PROGRAM = """\
#!{python}
import posix, sys
import coverage

data = "{repository}/build/coverage"
measured = coverage.Coverage(data_file=data, data_suffix=True, config_file="{repository}/setup.cfg")
measured.start()
leave = posix._exit


def _exit(status):
    measured.stop()
    measured.save()
    leave(status)


posix._exit = _exit
sys.path.insert(0, "{repository}")
import {package}.__main__
"""
PACKAGES = {
    "cni-macvlan-py": "cni_macvlan_py",
    "macvlan": "cni_macvlan_py",
    "host-local": "cni_macvlan_py",
    "cni-ipvlan-py": "cni_ipvlan_py",
    "ipvlan": "cni_ipvlan_py",
}


def write(directory: Path) -> None:
    """Makes the programs, under all their names."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, package in PACKAGES.items():
        program = directory / name
        program.write_text(PROGRAM.format(python=sys.executable, repository=REPOSITORY, package=package))
        program.chmod(0o755)
