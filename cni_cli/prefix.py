"""What `install` puts below PREFIX: links by which people find the commands, their manual pages and completions, and
tmpfiles.d's line about /run.

All but the links is copied from the build, whose PARTS are laid out as PREFIX is. Nothing there is needed by a runtime:
what cannot be put there, or would take the place of something else, is said and left out.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTS = "_internal/prefix"


def place(build: Path, prefix: Path, commands: dict[str, str]) -> None:
    """commands: of each name in PREFIX/bin, the absolute path of the program, as it is called on the node."""
    for name, program in commands.items():
        link = prefix / "bin" / name
        # A link to the program in another directory, where it was installed before, is ours too.
        if os.path.lexists(link) and not (link.is_symlink() and os.path.basename(os.readlink(link)) == name):
            print(f"{link} is something else and stays.", file=sys.stderr)
            continue
        with _said(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            new = link.with_name(f".{name}.{os.getpid()}")
            new.symlink_to(program)
            new.rename(link)
    for source, target in _parts(build, prefix):
        with _said(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def remove(build: Path, prefix: Path, commands: dict[str, str]) -> None:
    """What place put there, and is as it was."""
    for name, program in commands.items():
        link = prefix / "bin" / name
        if link.is_symlink() and os.readlink(link) == program:
            with _said(link):
                link.unlink()
    for source, target in _parts(build, prefix):
        if target.is_file() and target.read_bytes() == source.read_bytes():
            with _said(target):
                target.unlink()


def _parts(build: Path, prefix: Path) -> Iterator[tuple[Path, Path]]:
    """Each file of a build that belongs below PREFIX, and its place there."""
    for source in sorted((build / PARTS).rglob("*")):
        if source.is_file():
            yield source, prefix / source.relative_to(build / PARTS)


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """The OSError of a with block is told, and no failure: /usr is read-only on some nodes."""
    try:
        yield
    except OSError as error:
        print(f"{path}: {error.strerror}; the plugins work without it.", file=sys.stderr)
