"""Puts the plugins beside PyInstaller's program: `python3 -m launcher.build DIRECTORY [FORM]`.

DIRECTORY/_internal is that program, whole in itself. What runtimes execute is the launcher under the name of each
plugin; where it cannot be built, links to PyInstaller's executables, which do the same, slower. FORM is how our modules
are frozen into it (freeze.py): without it, as suits this Python best.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NoReturn, get_args

from launcher import freeze
from launcher.programs import ALIASES, PROGRAMS, SELF_CHECK

SOURCE = Path(__file__).with_name("launcher.c")
PYTHON = (3, 11)  # or newer; tried with 3.11, 3.13 and 3.14
INCLUDE = Path(sysconfig.get_path("include"))
LIBRARY = Path(sysconfig.get_config_var("LIBPL"), sysconfig.get_config_var("LIBRARY"))
# The same source gives the same bytes: nothing of the path or the time of the build.
OPTIONS = ["-O2", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", "-Wno-unused-parameter"]
WRAPPED = ("_PyGC_InitState", "PyModule_AddIntConstant")  # functions that launcher.c has in place of CPython's
LINKER = ["-static", "-no-pie", "-s", *(f"-Wl,--wrap={name}" for name in WRAPPED), "-Wl,--build-id=none"]
# Of each function that would load the system's name services (getpwnam, getaddrinfo) ld says so. None is ever called.
NAME_SERVICES = re.compile(
    r".*: in function `.*':|.*: warning: Using '\w+' in statically linked applications requires at runtime the shared "
    r"libraries from the glibc version used for linking"
)


def missing(compiler: str) -> str:
    """What of a launcher's needs is not there, in words; empty if it can be built."""
    if sys.version_info[:2] < PYTHON:
        return "this Python is older than {}.{}".format(*PYTHON)
    apart = sorted({*freeze.BUILTIN} - {*sys.builtin_module_names})
    if apart:  # as built from its sources without Modules/Setup.local; Debian's and Ubuntu's have them
        return f"this Python has {', '.join(apart)} as files, not in its library"
    if not shutil.which(compiler):
        return f"there is no compiler {compiler} (apt-get install gcc libc6-dev)"
    for path in (LIBRARY, INCLUDE / "Python.h"):
        if not path.exists():
            return f"{path} is missing (apt-get install libpython3-dev)"
    return ""


def compile_to(target: Path, compiler: str, form: freeze.Form) -> None:
    """The launcher of all programs: it is the one that its file is named after. SystemExit if it cannot be compiled."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "frozen.h").write_text(freeze.tables(form), encoding="utf-8")
        argv = [compiler, *OPTIONS, f"-I{INCLUDE}", f"-I{directory}", str(SOURCE), *LINKER, str(LIBRARY), "-lm"]
        english = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run([*argv, "-o", str(target)], env=english, stderr=subprocess.PIPE, encoding="utf-8")
    said = [line for line in done.stderr.splitlines() if done.returncode or not NAME_SERVICES.fullmatch(line)]
    print(*said, sep="\n", end="\n" if said else "", file=sys.stderr)
    if done.returncode or said:
        _fail("it could not be compiled")


def check(launcher: Path) -> None:
    """Has what was built import every module that it should have, and answer VERSION as each plugin. SystemExit.

    launcher is called SELF_CHECK, and gets the plugins' names beside it.
    """
    done = _call(launcher)
    expected = {*freeze.frozen(freeze.modules()), *freeze.BUILTIN, *freeze.CORE, "_launcher", "_frozen_importlib"}
    if done.returncode or {*done.stdout.split()} != expected | {SELF_CHECK}:
        _fail(f"what was built cannot import its modules: {done.stderr or done.stdout or done.returncode}")
    for name in (*PROGRAMS, *ALIASES):
        plugin = launcher.with_name(name)
        plugin.hardlink_to(launcher)
        done = _call(plugin, CNI_COMMAND="VERSION")
        if done.returncode or done.stderr or "supportedVersions" not in json.loads(done.stdout or "{}"):
            _fail(f"what was built does not answer VERSION as {name}: {done.stderr or done.stdout or done.returncode}")


def _call(executable: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    nothing = subprocess.DEVNULL
    return subprocess.run([executable], env=environment, stdin=nothing, capture_output=True, encoding="utf-8")


def _fail(why: str) -> NoReturn:
    raise SystemExit(f"launcher: {why}. (CC=none builds the plugins without it; each call then starts slower.)")


def build(directory: Path, compiler: str, form: freeze.Form) -> None:
    """SystemExit, with what was there left as it was."""
    with tempfile.TemporaryDirectory(dir=directory, prefix=".launcher-") as scratch:
        launcher = Path(scratch, SELF_CHECK)
        compile_to(launcher, compiler, form)
        check(launcher)
        for program in PROGRAMS:  # one file by two names
            launcher.with_name(program).replace(directory / program)


def main() -> None:
    directory = Path(sys.argv[1])
    form: freeze.Form = sys.argv[2] if sys.argv[2:] else freeze.best_form()  # type: ignore[assignment]
    if form not in get_args(freeze.Form):
        sys.exit(f"usage: python3 -m launcher.build DIRECTORY [{'|'.join(get_args(freeze.Form))}]")
    compiler = os.environ.get("CC", "gcc")
    why = missing(compiler)
    if why:
        print(f"NO LAUNCHER: {why}. The plugins work without it, but each call starts slower.", file=sys.stderr)
        for program in PROGRAMS:
            (directory / program).unlink(missing_ok=True)
            (directory / program).symlink_to(f"_internal/{program}")
    else:
        build(directory, compiler, form)
    for alias, program in ALIASES.items():
        (directory / alias).unlink(missing_ok=True)
        (directory / alias).symlink_to(program)


if __name__ == "__main__":
    main()
