"""A plugin is two programs of the same modules, and this is the way from the first to the second.

The launcher (launcher/) starts as fast as Go's plugins and has what the calls of a pod need. Importing anything else is
a ModuleNotFoundError there, upon which the call begins anew in the PyInstaller program, which has everything.

`readable` is the launcher's own where there is one: to import select takes 0.05 ms, which every call would pay.
"""

from __future__ import annotations

import sys
from posix import MFD_CLOEXEC, dup2, environ, execve, lseek, memfd_create, write

from cni_core.errors import INTERNAL, CniError, strerror

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _launcher
    from _launcher import readable as readable
else:
    try:
        import _launcher
        from _launcher import readable
    except ImportError:
        _launcher = None

        def readable(fd, milliseconds, /):
            from select import POLLIN, poll

            poller = poll()
            poller.register(fd, POLLIN)
            return bool(poller.poll(milliseconds))


IS_THIS = _launcher is None


def begin_anew(reason: str, stdin: bytes | None) -> CniError:
    """Executes the second tier with the same arguments, environment and stdin (None: it has not been read).

    Returns only if that cannot be done, or has been.
    """
    if IS_THIS:
        return CniError(INTERNAL, f"internal error: {reason}")
    try:
        if stdin is not None:
            _replace_stdin(stdin)
        # PyInstaller's own variables would be taken for those of a parent process.
        kept = {name: value for name, value in environ.items() if not name.startswith(b"_PYI_")}
        execve(_launcher.second_tier, sys.argv, kept)
    except OSError as error:
        return CniError(
            INTERNAL,
            f"{_launcher.second_tier}, which this call needs ({reason}), cannot be executed: {strerror(error)}",
            "Install the plugins whole: the directory _internal belongs beside them.",
        )


def _replace_stdin(content: bytes) -> None:
    fd = memfd_create("stdin", MFD_CLOEXEC)
    while content:
        content = content[write(fd, content) :]
    lseek(fd, 0, 0)
    dup2(fd, 0)
