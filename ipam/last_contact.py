"""What a node notes of its contacts with a cluster, until the next boot: below ROOT, on a tmpfs."""

from __future__ import annotations

from time import CLOCK_BOOTTIME, clock_gettime

from cni_core.files import Directory

ROOT = "/run/cni-lan-local"


class Note:
    """at: seconds since the boot; why: what failed then, in words, empty for nothing; endpoint: who answered last."""

    __slots__ = ("at", "endpoint", "why")

    def __init__(self, at: float, why: str, endpoint: str = "") -> None:
        self.at = at
        self.why = why
        self.endpoint = endpoint

    @property
    def age(self) -> float:
        """In seconds."""
        return now() - self.at


def now() -> float:
    """Seconds since the boot, those of sleep among them."""
    return clock_gettime(CLOCK_BOOTTIME)


def directory(cluster: str) -> str:
    """Where the notes of a cluster are, and its lock and token."""
    return f"{ROOT}/{cluster}"


def read(cluster: str, name: str) -> Note | None:
    try:
        with Directory(directory(cluster), create=False) as files:
            text = files.read(name) or ""
        at, endpoint, why = text.split("\n", 2)
        return Note(float(at), why, endpoint)
    except (FileNotFoundError, ValueError):  # half of one is none
        return None


def write(cluster: str, name: str, why: str, endpoint: str = "") -> None:
    with Directory(directory(cluster), create=True) as files:
        files.write(name, f"{now()!r}\n{endpoint}\n{why}")
