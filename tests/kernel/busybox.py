"""A root file system for containers that a runtime starts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from conformance.lab.topology import BUSYBOX


def busybox_root(directory: Path) -> Path:
    """directory, made with busybox under all its names and nothing else."""
    for name in ("bin", "dev", "etc", "proc", "sys", "root", "run", "tmp", "var"):
        (directory / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, directory / "bin")
    subprocess.run([BUSYBOX, "chroot", str(directory), BUSYBOX, "--install", "-s", "/bin"], check=True)
    return directory
