"""Which addresses an attachment holds, without reading every lease.

DATADIR/.attachments/NETWORK/ lies beside Go's files, where its host-local does not look. It has one file an attachment,
CONTAINERID:IFNAME, with the boot that the leases were given in, the machine's id (hosts may share a directory), and an
address a line; and the file `state`, which tells whether the index is complete: it notes the boot and what the lease
directory looked like after our last change. Whoever else gives a lease, Go's host-local or a person, changes that,
and then the index is made anew from the leases. An entry is never believed alone: the lease itself says who holds it.
"""

from __future__ import annotations

from posix import O_CLOEXEC, O_NONBLOCK, O_RDONLY, close, open as open_fd, read

from cni_core import sysctl
from cni_core.address import Address
from cni_core.files import Directory
from cni_core.names import Attachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DIRECTORY = ".attachments"
_HEX = frozenset("0123456789abcdef")
_STATE = "state"  # no attachment's file: it has no colon
UNKNOWN_BOOT = "unknown"  # of leases that somebody else gave
LOST_BOOT = "lost"  # of an entry without content: a power cut took it, so it is of an earlier boot


MACHINE_ID = "/etc/machine-id"  # machine-id(5)


def boot_id() -> str:
    """Of the running kernel: another after each start. CniError."""
    return sysctl.read("kernel", "random", "boot_id")


def machine_id() -> str:
    """Of this host, by which its boots are told from another's that has the same disk; empty where it has none."""
    try:
        fd = open_fd(MACHINE_ID, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        try:
            text = read(fd, 64).decode("ascii", "replace").strip()
        finally:
            close(fd)
    except OSError:
        return ""
    return text if len(text) == 32 and _HEX.issuperset(text) else ""  # systemd writes "uninitialized" at first


class Entry:
    """boot: the boot id under which the leases were given, or UNKNOWN_BOOT, LOST_BOOT; machine: the host's id, empty
    where none is known; addresses: what they are.
    """

    __slots__ = ("addresses", "boot", "machine")

    def __init__(self, boot: str, addresses: Iterable[Address], machine: str = "") -> None:
        self.boot = boot
        self.addresses = list(addresses)
        self.machine = machine


class Index:
    """The index of one network, for whoever holds the lock of its leases."""

    def __init__(self, data_dir: str, network: str) -> None:
        with Directory(f"{data_dir}/{_DIRECTORY}", create=True) as above:
            self._files = Directory(network, create=True, above=above)
        self.boot = boot_id()
        self._machine: str | None = None  # read where it is needed: not to release a lease

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
            lines = [f"{entry.boot} {entry.machine}".rstrip(), *[str(address) for address in entry.addresses]]
            self._files.write(attachment.record, "\n".join(lines))
        else:
            self._files.remove(attachment.record)

    def ours(self, addresses: Iterable[Address]) -> Entry:
        """An entry of addresses that are given now, by this host."""
        return Entry(self.boot, addresses, self.machine)

    def is_over(self, entry: Entry) -> bool:
        """Whether its boot has ended, for all that this host can tell: another's may run on."""
        if entry.boot in (self.boot, UNKNOWN_BOOT):
            return False
        return not self.is_anothers(entry)

    def is_anothers(self, entry: Entry) -> bool:
        """Whether another host made it, which shares the directory."""
        return entry.machine not in ("", self.machine)

    @property
    def machine(self) -> str:
        if self._machine is None:
            self._machine = machine_id()
        return self._machine

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
                self.set(attachment, Entry(entry.boot, addresses, entry.machine))
        for attachment in known.keys() - leases.keys():
            self.set(attachment, Entry("", ()))


def _parse(text: str) -> Entry:
    first, *lines = text.strip("\0\n").split("\n")
    boot, _, machine = first.partition(" ")
    try:
        return Entry(boot or LOST_BOOT, map(Address.parse, lines), machine)
    except ValueError:
        return Entry(LOST_BOOT, ())
