"""Who is attached, by the records that the plugins keep since the boot."""

from __future__ import annotations

from cni_core.names import Attachment
from cni_core.records import Records


def attached(network: str) -> list[Attachment]:
    """The attachments of a network."""
    try:
        with Records(create=False) as records:
            return records.of_network(network)
    except FileNotFoundError:  # nothing since the boot
        return []
