"""Who is attached, by the records that the plugins keep since the boot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cni_core.names import Attachment
from cni_core.records import Record, Records


def recorded() -> list[tuple[Attachment, Record]]:
    """Every attachment, of whatever network."""
    try:
        with Records(create=False) as records:
            return records.all()
    except FileNotFoundError:  # nothing since the boot
        return []


def attached(network: str) -> list[Attachment]:
    """The attachments of a network."""
    return [attachment for attachment, record in recorded() if record.network == network]


def running(network: str) -> list[Attachment]:
    """Those whose network namespace is there, or may be: an earlier version did not record which it is."""
    there = {0, *_namespaces()}
    return [attachment for attachment, record in recorded() if record.network == network and record.namespace in there]


def _namespaces(proc: Path = Path("/proc")) -> Iterator[int]:
    """The inode of every network namespace that a process is in, or that is mounted where we or PID 1 see it."""
    for link in proc.glob("[0-9]*/ns/net"):
        with suppress(OSError):  # the process is gone
            yield link.stat().st_ino
    for mounts in (proc / "self/mountinfo", proc / "1/mountinfo"):
        with suppress(OSError):
            # The root of such a mount in nsfs is "net:[INODE]" (proc_pid_mountinfo(5)).
            yield from map(int, re.findall(r" net:\[(\d+)\] ", mounts.read_text(errors="replace")))
