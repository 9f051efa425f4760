"""Another Debian in the lab: its root directory, as scripts/on-debian made it, to which nothing is written."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BOUND = ("proc", "sys", "dev", "run", "tmp")  # the lab's own, there too


@contextmanager
def overlaid(lower: Path, directory: Path) -> Iterator[Path]:
    """A root over lower, of which what is written is in directory."""
    root, upper, work = (directory / name for name in ("root", "upper", "work"))
    for path in (root, upper, work):
        path.mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)
    try:
        for place in BOUND:
            subprocess.run(["mount", "--rbind", f"/{place}", root / place], check=True)
            subprocess.run(["mount", "--make-rslave", root / place], check=True)
        yield root
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", root], check=True)
