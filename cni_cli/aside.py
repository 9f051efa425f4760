"""Other people's plugins of the names that we take, put aside in the same directory until they are given back.

A name leads to a plugin at every moment: it is linked aside before ours takes its place, and moved back over ours.
"""

from __future__ import annotations

import os
from pathlib import Path

DIRECTORY = "cni-py-aside"  # no runtime looks for plugins in a directory's directories


def put(directory: Path, name: str) -> None:
    """A second link to what has the name, in place of what was put aside before."""
    place = directory / DIRECTORY
    place.mkdir(exist_ok=True)
    new = place / f".{name}.{os.getpid()}"
    os.link(directory / name, new, follow_symlinks=False)
    new.rename(place / name)


def names(directory: Path) -> list[str]:
    """Of what is aside."""
    place = directory / DIRECTORY
    return sorted(os.listdir(place)) if place.is_dir() else []


def give_back(directory: Path, name: str) -> None:
    (directory / DIRECTORY / name).replace(directory / name)
    if not names(directory):
        (directory / DIRECTORY).rmdir()
