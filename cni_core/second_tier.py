"""A plugin is two programs of the same modules, and this is the way from the first to the second.

The launcher (launcher/) starts as fast as Go's plugins and has what the calls of a pod need. Importing anything else is
a ModuleNotFoundError there, upon which the call begins anew in the PyInstaller program, which has everything. It brings
its own C library, and that one's loader to start it: the node's may be older than what it was built with, or none.
"""

from __future__ import annotations

import sys
from posix import MFD_CLOEXEC, dup2, environ, execve, lseek, memfd_create, stat, write

from cni_core.errors import INTERNAL, CniError, strerror
from cni_core.native import FULL_PROGRAM

IS_THIS = FULL_PROGRAM is None


def begin_anew(reason: str, stdin: bytes | None) -> CniError:
    """Executes the second tier with the same arguments, environment and stdin (None: it has not been read).

    Returns only if that cannot be done, or has been.
    """
    if FULL_PROGRAM is None:
        return CniError(INTERNAL, f"internal error: {reason}")
    directory, program, loader = FULL_PROGRAM
    needed = program
    try:
        stat(program)  # of what the loader does not find it tells in its own words, and not as a CNI error
        needed = f"{directory}/{loader}"
        if stdin is not None:
            _replace_stdin(stdin)
        # PyInstaller's own variables would be taken for those of a parent process.
        kept = {name: value for name, value in environ.items() if not name.startswith(b"_PYI_")}
        execve(needed, [needed, "--library-path", directory, program, *sys.argv[1:]], kept)
    except OSError as error:
        return CniError(
            INTERNAL,
            f"{needed}, which this call needs ({reason}), cannot be executed: {strerror(error)}",
            "Install the plugins whole: the directory _internal belongs beside them.",
        )


def _replace_stdin(content: bytes) -> None:
    fd = memfd_create("stdin", MFD_CLOEXEC)
    while content:
        content = content[write(fd, content) :]
    lseek(fd, 0, 0)
    dup2(fd, 0)
