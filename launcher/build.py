"""Puts the plugins beside PyInstaller's program: `python3 -m launcher.build DIRECTORY`.

DIRECTORY/_internal is that program, whole in itself. What runtimes execute is the launcher under the name of each
plugin; where it cannot be built, links to PyInstaller's executables, which do the same, slower.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from launcher import freeze
from launcher.programs import ALIASES, PROGRAMS

SOURCE = Path(__file__).with_name("launcher.c")
# Its private fields and tables are this version's (PyConfig._init_main, Programs/_bootstrap_python.c).
PYTHON = (3, 11)
INCLUDE = Path(sysconfig.get_path("include"))
LIBRARY = Path(sysconfig.get_config_var("LIBPL"), f"libpython{PYTHON[0]}.{PYTHON[1]}.a")
# The same source gives the same bytes: nothing of the path or the time of the build.
OPTIONS = ["-O2", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", "-Wno-unused-parameter"]
LINKER = ["-static", "-no-pie", "-s", "-Wl,--wrap=_PyGC_InitState", "-Wl,--build-id=none", "-Wl,--no-warnings"]


def missing(compiler: str) -> str:
    """What of a launcher's needs is not there, in words; empty if it can be built."""
    if sys.version_info[:2] != PYTHON:
        return f"this is not Python {PYTHON[0]}.{PYTHON[1]}"
    if not shutil.which(compiler):
        return f"there is no compiler {compiler} (apt-get install gcc libc6-dev)"
    for path in (LIBRARY, INCLUDE / "Python.h"):
        if not path.exists():
            return f"{path} is missing (apt-get install libpython3.11-dev)"
    return ""


def compile_to(target: Path, compiler: str) -> None:
    """The launcher of all programs: it is the one that its file is named after. SystemExit if it cannot be compiled."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "frozen.h").write_text(freeze.tables(), encoding="utf-8")
        argv = [compiler, *OPTIONS, f"-I{INCLUDE}", f"-I{directory}", str(SOURCE), *LINKER, str(LIBRARY), "-lm"]
        if subprocess.run([*argv, "-o", str(target)]).returncode:
            raise SystemExit("launcher: it could not be compiled")


def main() -> None:
    directory = Path(sys.argv[1])
    compiler = os.environ.get("CC", "gcc")
    why = missing(compiler)
    for name in (*PROGRAMS, *ALIASES):
        (directory / name).unlink(missing_ok=True)
    if why:
        print(f"NO LAUNCHER: {why}. The plugins work without it, but each call starts slower.", file=sys.stderr)
        for program in PROGRAMS:
            (directory / program).symlink_to(f"_internal/{program}")
    else:
        first, *others = (directory / program for program in PROGRAMS)
        compile_to(first, compiler)
        for other in others:
            shutil.copy(first, other)
    for alias, program in ALIASES.items():
        (directory / alias).symlink_to(program)


if __name__ == "__main__":
    main()
