"""The executables of a build, for all that takes part in one: freeze.py, build.py, PyInstaller's build.spec."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# The executable, and the package whose __main__ it runs.
PROGRAMS = {"cni-macvlan-py": "cni_macvlan_py", "cni-ipvlan-py": "cni_ipvlan_py"}
ALIASES = {  # the names that configurations use, most of them of Go's plugins
    "macvlan": "cni-macvlan-py",
    "ipvlan": "cni-ipvlan-py",
    "host-local": "cni-macvlan-py",
    "lan-local": "cni-macvlan-py",  # a name of our own
}
# The launcher under this name, and the module that it then runs: it imports all that it has. No build keeps that name.
SELF_CHECK = "launcher_selfcheck"


def loader() -> Path:
    """ld.so(8), which starts this Python (its PT_INTERP) and every program that shares libraries with it."""
    found = re.search(rb"/lib\d*/ld-linux[\w.-]*\.so\.\d+", Path(sys.executable).resolve().read_bytes())
    if not found:
        raise SystemExit(f"{sys.executable} is not started by the GNU C library's loader")
    return Path(found[0].decode())
