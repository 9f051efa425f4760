"""Another Debian in the lab: its root directory, as scripts/on-debian made it, to which nothing is written."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kernel.plugin import REPOSITORY

BOUND = ("proc", "sys", "dev", "run", "tmp")  # the lab's own, there too


# Debian 13, with podman 5 and its netavark (Makefile).
TRIXIE = REPOSITORY / "build" / "debian" / "trixie"


@contextmanager
def overlaid(lower: Path, directory: Path, *bound: str) -> Iterator[Path]:
    """A root over lower, of which what is written is in directory. bound: what else is the lab's own there."""
    root, upper, work = (directory / name for name in ("root", "upper", "work"))
    for path in (root, upper, work):
        path.mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)
    try:
        for place in (*BOUND, *(path.strip("/") for path in bound)):
            (root / place).mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "--rbind", f"/{place}", root / place], check=True)
            subprocess.run(["mount", "--make-rslave", root / place], check=True)
        yield root
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", root], check=True)
