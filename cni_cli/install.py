"""`install` and `uninstall`: the executables into a runtime's directory, from the build that this program is of.

A build is copied whole into a directory of its own, BUILD-DIGEST, and the names that runtimes call are links into it:

    cni-macvlan-py -> cni-py-4f1c2a90b3de/cni-macvlan-py
    cni-py-4f1c2a90b3de/{cni-macvlan-py,cni-ipvlan-py,_internal}

So an upgrade is the renaming of a link: a call is answered by the old build or the new one, never by parts of both. The
build before stays for the calls that still run in it, and goes with the next upgrade.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from cni_cli.doctor import add_bin_directory
from cni_cli.errors import CommandError
from cni_core.names import printable

PROGRAMS = ("cni-macvlan-py", "cni-ipvlan-py")
INTERNAL = "_internal"
ALIASES = {"macvlan": "cni-macvlan-py", "ipvlan": "cni-ipvlan-py"}
ALIASES |= {"host-local": "cni-macvlan-py", "lan-local": "cni-macvlan-py"}
BUILD = "cni-py-"


def add_to(commands: Any, kind: str) -> None:
    for name, run, about in (
        ("install", install, "put the plugins where runtimes look for them"),
        ("uninstall", uninstall, "remove them from there"),
    ):
        parser = commands.add_parser(name, help=about)
        add_bin_directory(parser)
        if name == "install":
            parser.add_argument(
                "--aliases",
                action="store_true",
                help=f"also as {', '.join(ALIASES)}, names that no other plugin has there",
            )
        parser.set_defaults(run=run)


def install(options: argparse.Namespace) -> int:
    source, target = _own_build(), Path(options.bin_dir)
    if target.resolve() == source:
        raise CommandError(f"{target} is where this program is already")
    target.mkdir(parents=True, exist_ok=True)
    before = _current(target)
    build = _copied(source, target)
    for name in PROGRAMS:
        _point(target / name, f"{build}/{name}")
    for alias, name in ALIASES.items() if options.aliases else ():
        if _is_anothers(target / alias):
            print(f"{printable(str(target / alias))} is another plugin's and stays.", file=sys.stderr)
        else:
            _point(target / alias, name)
    for old in _builds(target):
        if old.name not in (build, before):
            shutil.rmtree(old)
    print(f"installed in {printable(str(target))}")
    return 0


def uninstall(options: argparse.Namespace) -> int:
    """Removes what install put there, and nothing else."""
    target = Path(options.bin_dir)
    if not _current(target):
        raise CommandError(f"{target} has no plugins of ours")
    for name in (*ALIASES, *PROGRAMS):
        if (target / name).is_symlink() and not _is_anothers(target / name):
            (target / name).unlink()
    for build in _builds(target):
        shutil.rmtree(build)
    print(f"removed from {printable(str(target))}")
    return 0


def _own_build() -> Path:
    """The directory that holds the executables of which this is one. CommandError where they are not together."""
    executable = Path(sys.executable).resolve()
    directory = executable.parent.parent if executable.parent.name == INTERNAL else executable.parent
    if not all((directory / name).exists() for name in (*PROGRAMS, INTERNAL)):
        raise CommandError(f"{directory} is not a whole build", "Unpack the release, and call install from there.")
    return directory


def _builds(target: Path) -> list[Path]:
    """Those that install made: a release that somebody unpacked there has another name."""
    return [path for path in target.glob(f"{BUILD}*") if re.fullmatch("[0-9a-f]{12}", path.name.removeprefix(BUILD))]


def _current(target: Path) -> str:
    """The build that the names of a directory lead to; empty if it has none."""
    link = target / PROGRAMS[0]
    return os.readlink(link).partition("/")[0] if link.is_symlink() else ""


def _copied(source: Path, target: Path) -> str:
    """The name of the build's directory, which is made whole under another name first."""
    name = f"{BUILD}{_digest(source)}"
    unfinished = target / f".{name}.{os.getpid()}"
    if not (target / name).exists():
        try:
            unfinished.mkdir()
            for program in PROGRAMS:
                _copy_program(source, program, unfinished)
            shutil.copytree(source / INTERNAL, unfinished / INTERNAL, symlinks=True)
            unfinished.rename(target / name)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return name


def _copy_program(source: Path, program: str, target: Path) -> None:
    """The launchers are one file by two names, and stay that."""
    first = PROGRAMS[0]
    if program != first and not (source / program).is_symlink() and (source / program).samefile(source / first):
        (target / program).hardlink_to(target / first)
    else:
        shutil.copy2(source / program, target, follow_symlinks=False)


def _digest(source: Path) -> str:
    """Of all that is copied."""
    digest = hashlib.sha256()
    files = (path for path in (source / INTERNAL).rglob("*") if path.is_file())
    for path in (*(source / name for name in PROGRAMS), *sorted(files)):
        digest.update(f"{path.relative_to(source)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _is_anothers(path: Path) -> bool:
    """Whether something stands there that is not a link of ours."""
    if not os.path.lexists(path):
        return False
    return not (path.is_symlink() and os.readlink(path).startswith((BUILD, *PROGRAMS)))


def _point(link: Path, to: str) -> None:
    """Makes the link, or turns it, in one step."""
    new = link.with_name(f".{link.name}.{os.getpid()}")
    new.symlink_to(to)
    new.rename(link)
