"""The launcher's builtin module (launcher.c)."""

second_tier: str

def setns(fd: int, /) -> None:
    """setns(2) of the calling thread into a network namespace. OSError."""
