"""`install` and `uninstall`: the executables into a runtime's directory, from the build that this program is of."""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from cni_cli.doctor import BIN_DIRECTORY
from cni_cli.errors import CommandError

PROGRAMS = ("cni-macvlan-py", "cni-ipvlan-py")
INTERNAL = "_internal"
ALIASES = {"macvlan": "cni-macvlan-py", "ipvlan": "cni-ipvlan-py", "host-local": "cni-macvlan-py"}


def add_to(commands: Any, kind: str) -> None:
    for name, run, about in (
        ("install", install, "put the plugins where runtimes look for them"),
        ("uninstall", uninstall, "remove them from there"),
    ):
        parser = commands.add_parser(name, help=about)
        parser.add_argument(
            "--bin-dir", default=os.environ.get("CNI_BIN_DIR", BIN_DIRECTORY), metavar="DIRECTORY", help="%(default)s"
        )
        if name == "install":
            parser.add_argument(
                "--aliases",
                action="store_true",
                help=f"also as {', '.join(ALIASES)}, the Go plugins' names, where no other plugin has them",
            )
        parser.set_defaults(run=run)


def install(options: argparse.Namespace) -> int:
    """Each file is copied beside its place and renamed, and the libraries come first: a call during an upgrade finds
    the old or the new, whole."""
    source, target = _own_build(), Path(options.bin_dir)
    if target.resolve() == source:
        raise CommandError(f"{target} is where this program is already")
    target.mkdir(parents=True, exist_ok=True)
    _replace(source / INTERNAL, target / INTERNAL)
    for name in PROGRAMS:
        _replace(source / name, target / name)
    for alias, name in ALIASES.items() if options.aliases else ():
        if _is_anothers(target / alias):
            print(f"{target / alias} is another plugin's and stays.", file=sys.stderr)
        else:
            _replace_link(target / alias, name)
    print(f"installed in {target}")
    return 0


def uninstall(options: argparse.Namespace) -> int:
    """Removes what install put there, and nothing else."""
    target = Path(options.bin_dir)
    if not any((target / name).exists() for name in PROGRAMS):
        raise CommandError(f"{target} has no plugins of ours")
    for alias in ALIASES:
        if (target / alias).is_symlink() and not _is_anothers(target / alias):
            (target / alias).unlink()
    for name in PROGRAMS:
        (target / name).unlink(missing_ok=True)
    shutil.rmtree(target / INTERNAL, ignore_errors=True)
    print(f"removed from {target}")
    return 0


def _own_build() -> Path:
    """The directory that holds the executables of which this is one. CommandError where they are not together."""
    executable = Path(sys.executable).resolve()
    directory = executable.parent.parent if executable.parent.name == INTERNAL else executable.parent
    if not all((directory / name).exists() for name in (*PROGRAMS, INTERNAL)):
        raise CommandError(f"{directory} is not a whole build", "Unpack the release, and call install from there.")
    return directory


def _is_anothers(path: Path) -> bool:
    """Whether something stands there that is not a link to a program of ours."""
    return os.path.lexists(path) and not (path.is_symlink() and os.readlink(path) in PROGRAMS)


def _replace(source: Path, target: Path) -> None:
    new, old = target.with_name(f"{target.name}.new"), target.with_name(f"{target.name}.old")
    _remove(new)
    _remove(old)
    if source.is_dir():
        shutil.copytree(source, new, symlinks=True)
        if target.exists():
            target.rename(old)
        new.rename(target)
        _remove(old)
    elif not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
        shutil.copy2(source, new)
        new.rename(target)


def _replace_link(path: Path, name: str) -> None:
    new = path.with_name(f"{path.name}.new")
    _remove(new)
    new.symlink_to(name)
    new.rename(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
