"""What the launcher gives that Python's builtin modules do not, and what takes its place in the full program.

The full program (PyInstaller's, the second tier) has all of Python, so the same is made of that; slower, which is why
the launcher brings its own: to import select takes 0.05 ms, ctypes 4.
"""

from __future__ import annotations

CLONE_NEWNET = 0x40000000  # linux/sched.h


def writable(fd: int, milliseconds: int) -> bool:
    """Whether one can write within that time. Seldom asked, so it may cost an import."""
    from select import POLLOUT, poll

    poller = poll()
    poller.register(fd, POLLOUT)
    return bool(poller.poll(milliseconds))


TYPE_CHECKING = False
if TYPE_CHECKING:
    from _launcher import readable as readable, setns as setns

    # The program that has everything, to hand over to: its directory, its path, and the name there of its loader, which
    # starts it with the C library that lies beside. None where this is it.
    FULL_PROGRAM: tuple[str, str, str] | None
else:
    try:
        from _launcher import full_program as FULL_PROGRAM, readable, setns
    except ImportError:
        import posix

        FULL_PROGRAM = None

        def readable(fd, milliseconds, /):
            from select import POLLIN, poll

            poller = poll()
            poller.register(fd, POLLIN)
            return bool(poller.poll(milliseconds))

        def setns(fd, /):
            if hasattr(posix, "setns"):  # came with Python 3.12
                posix.setns(fd, CLONE_NEWNET)
                return
            import ctypes

            if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
                errno = ctypes.get_errno()
                raise OSError(errno, f"setns: errno {errno}")
