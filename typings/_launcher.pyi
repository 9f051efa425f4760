"""The launcher's builtin module (launcher.c)."""

full_program: tuple[str, str, str]

def setns(fd: int, /) -> None:
    """setns(2) of the calling thread into a network namespace. OSError."""

def readable(fd: int, milliseconds: int, /) -> bool:
    """poll(2): whether within that time there is something to be read, or the end. OSError."""
