"""Which addresses an attachment holds, without reading every lease.

DATADIR/.attachments/NETWORK/ lies beside Go's files, where its host-local does not look. It has one file an attachment,
CONTAINERID:IFNAME, with the boot that the leases were given in and an address a line; and the file `state`, which tells
whether the index is complete: it notes the boot and what the lease directory looked like after our last change. Whoever
else gives a lease, be it Go's host-local or a person, changes that, and then the index is made anew from the leases. An
entry is never believed alone: the lease itself says who holds it.
"""

from __future__ import annotations

from cni_core import sysctl
from cni_core.address import Address
from cni_core.files import Directory
from cni_core.names import Attachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DIRECTORY = ".attachments"
_STATE = "state"  # no attachment's file: it has no colon
UNKNOWN_BOOT = "unknown"  # of leases that somebody else gave
LOST_BOOT = "lost"  # of an entry without content: a power cut took it, so it is of an earlier boot


def boot_id() -> str:
    """Of the running kernel: another after each start. CniError."""
    return sysctl.read("kernel", "random", "boot_id")


class Entry:
    """boot: the boot id under which the leases were given, or UNKNOWN_BOOT, LOST_BOOT; addresses: what they are."""

    __slots__ = ("addresses", "boot")

    def __init__(self, boot: str, addresses: Iterable[Address]) -> None:
        self.boot = boot
        self.addresses = list(addresses)


class Index:
    """The index of one network, for whoever holds the lock of its leases."""

    def __init__(self, data_dir: str, network: str) -> None:
        with Directory(f"{data_dir}/{_DIRECTORY}", create=True) as above:
            self._files = Directory(network, create=True, above=above)
        self.boot = boot_id()

    def close(self) -> None:
        self._files.close()

    def is_complete(self, signature: str) -> bool:
        """Whether nobody else has given a lease since note, by a signature of the lease directory."""
        return self._files.read(_STATE) == f"{self.boot}\n{signature}"

    def note(self, signature: str) -> None:
        """The index is complete, and the lease directory looks like this."""
        self._files.write(_STATE, f"{self.boot}\n{signature}")

    def get(self, attachment: Attachment) -> Entry | None:
        text = self._files.read(attachment.record)
        return None if text is None else _parse(text)

    def set(self, attachment: Attachment, entry: Entry) -> None:
        """An entry without addresses is removed."""
        if entry.addresses:
            lines = [entry.boot, *[str(address) for address in entry.addresses]]
            self._files.write(attachment.record, "\n".join(lines))
        else:
            self._files.remove(attachment.record)

    def entries(self) -> Iterator[tuple[Attachment, Entry]]:
        for name in self._files.names():
            attachment = Attachment.from_record(name)
            entry = self.get(attachment) if attachment else None
            if attachment and entry:
                yield attachment, entry

    def rebuild(self, leases: dict[Attachment, list[Address]]) -> None:
        """Makes the entries those of the leases; what was known of their boot stays."""
        known = dict(self.entries())
        for attachment, addresses in leases.items():
            entry = known.get(attachment)
            if entry is None:
                self.set(attachment, Entry(UNKNOWN_BOOT, addresses))
            elif set(entry.addresses) != set(addresses):
                self.set(attachment, Entry(entry.boot, addresses))
        for attachment in known.keys() - leases.keys():
            self.set(attachment, Entry("", ()))


def _parse(text: str) -> Entry:
    boot, *lines = text.strip("\0\n").split("\n")
    try:
        return Entry(boot or LOST_BOOT, map(Address.parse, lines))
    except ValueError:
        return Entry(LOST_BOOT, ())
