"""Containers that died without a DEL: their records and leases are there, their network namespace is gone.

Nothing is freed by this alone. Whoever looks may not see every namespace, so an ADD only tells of them, and a person
decides (`leases release --dead`).
"""

from __future__ import annotations

from cni_core.namespaces import identities
from cni_core.netns import Place
from cni_core.records import Records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni_core.names import Attachment
    from cni_core.records import Record


def dead(network: str) -> dict[Attachment, Record]:
    """The attachments of a network whose namespace is gone, as far as this process sees. CniError."""
    try:
        with Records(create=False) as records:
            recorded = {found: record for found in records.of_network(network) if (record := records.of(found))}
    except FileNotFoundError:  # nothing since the boot
        return {}
    if not recorded:
        return {}
    with Place.host() as host:
        there = identities(host, [record.path for record in recorded.values() if record.path])
    return {found: record for found, record in recorded.items() if is_gone(record, there)}


def is_gone(record: Record, there: Iterable[tuple[int, int]]) -> bool:
    """Whether the namespace of a record is none of these, by inode and cookie; a cookie of 0 tells nothing.

    A record without an inode, which an earlier version made, may be of any.
    """
    return record.namespace != 0 and not any(
        inode == record.namespace and (cookie == record.cookie or 0 in (cookie, record.cookie))
        for inode, cookie in there
    )
