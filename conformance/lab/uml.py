"""User-Mode Linux: what it needs installed, the mend for CPUs with AMX, and the command that boots it.

Debian's user-mode-linux is a kernel that runs as a process on the host's own files (hostfs). Its first program is
`guest`, and its first serial line is the channel to the lab.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from .errors import LabError

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MODULES = "/usr/lib/uml/modules"
# A tmpfs that only UML sees: its memory file, its umid directory, the init script, the mend. /sys is there on every
# machine, linux.uml never reads it, and the guest covers it with its own.
SCRATCH = "/sys"
MEND_SOURCE = Path(__file__).with_name("ptrace_xsave.c")


def needs_mend() -> bool:
    """Whether UML would panic here without the mend.

    The mend is harmless elsewhere, but needs gcc, so it is made only for CPUs with AMX, or when LAB_XSAVE_MEND=1 asks.
    """
    if os.environ.get("LAB_XSAVE_MEND") == "1":
        return True
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
        return any(line.startswith("flags") and "amx_tile" in line.split() for line in cpuinfo)


def require() -> None:
    """LabError, naming the packages, if User-Mode Linux cannot boot here."""
    programs = all(shutil.which(program, path=SYSTEM_PATH) for program in ("linux.uml", "modprobe"))
    if not programs or not os.path.isdir(MODULES):
        raise LabError("User-Mode Linux would serve: apt-get install user-mode-linux kmod")
    if needs_mend() and not shutil.which("gcc", path=SYSTEM_PATH):
        raise LabError(
            "User-Mode Linux panics on this CPU (it has AMX) without a mend that gcc builds: "
            "apt-get install gcc libc6-dev"
        )


def build_mend(directory: str) -> str:
    """The path of the shared object, built in `directory`."""
    target = os.path.join(directory, "ptrace_xsave.so")
    done = subprocess.run(
        ["gcc", "-O2", "-shared", "-fPIC", "-o", target, str(MEND_SOURCE), "-ldl"],
        env={"PATH": SYSTEM_PATH, "TMPDIR": directory},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise LabError(f"gcc could not build {MEND_SOURCE} (apt-get install gcc libc6-dev): {done.stderr.strip()}")
    return target


def command(channel: int, memory: str, package_root: str) -> tuple[list[str], dict[str, str]]:
    """The argv and environment that boot UML with `channel` as its serial line. SCRATCH must be mounted."""
    init = os.path.join(SCRATCH, "init")
    first = "from conformance.lab.guest import main; main()"
    with open(init, "w", encoding="utf-8", errors="surrogateescape") as script:
        script.write(
            f"#!/bin/sh\nexport PYTHONPATH={shlex.quote(package_root)} PYTHONDONTWRITEBYTECODE=1\n"
            f"exec {shlex.quote(sys.executable)} -S -s -c {shlex.quote(first)}\n"
        )
    os.chmod(init, 0o700)
    environment = {"PATH": SYSTEM_PATH, "HOME": SCRATCH, "TMPDIR": SCRATCH}
    if needs_mend():
        environment["LD_PRELOAD"] = build_mend(SCRATCH)
    argv = [
        "linux.uml",
        f"mem={memory}",
        f"uml_dir={SCRATCH}/",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "rw",
        f"init={init}",
        "con=null",
        "con0=null,fd:1",
        "ssl=null",
        f"ssl0=fd:{channel}",
        "quiet",
        "loglevel=0",
    ]
    return argv, environment
