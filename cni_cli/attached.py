"""Who is attached, by the records that the plugins keep since the boot, and who of them is dead."""

from __future__ import annotations

from cni_core.dead import dead
from cni_core.names import Attachment
from cni_core.records import Record, Records


def recorded() -> list[tuple[Attachment, Record]]:
    """Every attachment, of whatever network."""
    try:
        with Records(create=False) as records:
            return records.all()
    except FileNotFoundError:  # nothing since the boot
        return []


GONE = "its namespace is gone"


def attached(network: str) -> list[Attachment]:
    """The attachments of a network."""
    return [attachment for attachment, record in recorded() if record.network == network]


def gone(network: str) -> list[Attachment]:
    """Those whose container died without a DEL."""
    return list(dead(network))


def how_to_free(network: str) -> str:
    return f"leases release --dead {network}"
