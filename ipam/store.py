"""Leases on disk, exactly as Go's host-local keeps them, so that either takes over from the other at any time.

DATADIR/NETWORK/ADDRESS holds "CONTAINERID\\r\\nIFNAME" (before CNI 0.7 the id alone), last_reserved_ip.N the last
address given of range set N, and the file lock is flocked for each operation (backend/disk/backend.go there).
"""

from __future__ import annotations

from posix import close

from cni_core.address import Address
from cni_core.errors import CniError
from cni_core.files import Directory
from cni_core.names import Attachment
from cni_core.schema.formats import is_cni_name, is_interface_name
from ipam.index import UNKNOWN_BOOT, Entry, Index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_DATA_DIR = "/var/lib/cni/networks"

_LAST = "last_reserved_ip."
_BLANK = " \t\r\n\0"  # all that a crash or a power cut leaves of a lease


class Store:
    """The leases of one network, locked against every other process from entry to exit of a with block.

    CniError DATA_DIRECTORY where the directory cannot be used, TRY_AGAIN_LATER where the lock is held for 30 s.
    """

    def __init__(self, data_dir: str, network: str, *, create: bool = True) -> None:
        """Without create, a directory that is not there is FileNotFoundError: nobody holds a lease."""
        self._files = Directory(f"{data_dir}/{network}", create=create)
        try:
            self._index = Index(data_dir, network)
        except BaseException:
            self._files.close()
            raise
        self._lock = -1
        self._last: dict[int, str | None] = {}
        self._is_noted = True  # False since leases changed
        self._leases: dict[Attachment, list[Address]] | None = None  # as read, where the index cannot be written

    def __enter__(self) -> Store:
        try:
            self._lock = self._files.lock()
            self._files.remove_unfinished()
            if not self._index.is_complete(self._signature()):
                self.reindex()
        except BaseException as error:
            # Where there is no room for the index, what was read will do.
            if self._leases is None or not isinstance(error, CniError):
                self._close()  # whatever undoes the call needs the lock
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        try:
            # After a failure the index may lack something, or have too much: the next call makes it anew.
            if kind is None and not self._is_noted and self._leases is None:
                self._index.note(self._signature())
        finally:
            self._close()

    @property
    def path(self) -> str:
        return self._files.path

    @property
    def boot(self) -> str:
        """The running kernel's boot id."""
        return self._index.boot

    def _close(self) -> None:
        self._index.close()
        if self._lock >= 0:
            close(self._lock)
        self._files.close()

    # Leases of one attachment

    def held_by(self, attachment: Attachment) -> list[Address]:
        """The addresses of an attachment; also those whose lease has lost the interface, as before CNI 0.7."""
        if self._leases is not None:
            known = self._leases.get(attachment, [])
        else:
            entry = self._index.get(attachment)
            known = entry.addresses if entry else []
        holders = attachment, Attachment(attachment.container_id, "")
        return [address for address in known if self.holder(address) in holders]

    def reserve(self, index: int, address: Address, attachment: Attachment) -> bool:
        """Writes the lease of an address of range set number index, unless it is taken."""
        if self._files.has(str(address)):
            return False
        # Before the lease: by this the next call knows, should this one be killed, that the index lacks something.
        self._set_last(index, address)
        return self._files.create(str(address), "\r\n".join(attachment))

    def hold(self, attachment: Attachment, addresses: list[Address]) -> None:
        """Notes all that an attachment holds, as of this boot: to be said after each reserve and release."""
        self._index.set(attachment, self._index.ours(addresses) if addresses else Entry("", ()))
        self._is_noted = False

    def release(self, address: Address) -> None:
        self._files.remove(str(address))
        self._is_noted = False

    def release_all(self, attachment: Attachment) -> None:
        """Releases every address of an attachment."""
        for address in self.held_by(attachment):
            self.release(address)
        self.hold(attachment, [])

    def holder(self, address: Address) -> Attachment | None:
        """Who has the address; None where it has no lease, or one that names nobody."""
        text = self._files.read(str(address))
        return None if text is None else _parse(text)

    # The order

    def last(self, index: int) -> Address | None:
        """The last address given of range set number index; None if it is not known."""
        text = self._last_text(index)
        try:
            return None if text is None else Address.parse(text.strip())
        except ValueError:
            return None

    def _last_text(self, index: int) -> str | None:
        if index not in self._last:
            self._last[index] = self._files.read(f"{_LAST}{index}")
        return self._last[index]

    def _set_last(self, index: int, address: Address) -> None:
        self._last[index] = str(address)
        self._files.write(f"{_LAST}{index}", str(address))

    # All leases

    def taken(self) -> set[str]:
        """The names of all files: every address with a lease is among them."""
        return set(self._files.names())

    def in_use(self) -> Iterator[Address]:
        """The addresses with a lease, but for those of earlier boots, which can be had again."""
        for address in self._addresses():
            holder = self.holder(address)
            if not holder or not self.is_of_an_earlier_boot(holder, address):
                yield address

    def leases(self) -> Iterator[tuple[Address, Attachment]]:
        """Each address whose lease names a holder."""
        for address in self._addresses():
            holder = self.holder(address)
            if holder:
                yield address, holder

    def boot_of(self, attachment: Attachment, address: Address) -> str:
        """Under which boot id a lease was given, or UNKNOWN_BOOT."""
        entry = self._index.get(attachment)
        return entry.boot if entry and address in entry.addresses else UNKNOWN_BOOT

    def is_of_an_earlier_boot(self, attachment: Attachment, address: Address) -> bool:
        """Whether whoever had it is gone for certain."""
        entry = self._index.get(attachment)
        return bool(entry and address in entry.addresses and self._index.is_over(entry))

    def is_of_another_host(self, attachment: Attachment, address: Address) -> bool:
        """Whether a host that shares the directory gave the lease, which alone knows whether it is in use."""
        entry = self._index.get(attachment)
        return bool(entry and address in entry.addresses and self._index.is_anothers(entry))

    def release_earlier_boots(self) -> bool:
        """Releases what attachments of earlier boots hold, none of which exists any more; whether there was any."""
        earlier = [attachment for attachment, entry in self._index.entries() if self._index.is_over(entry)]
        for attachment in earlier:
            self.release_all(attachment)
        return bool(earlier)

    def holds_earlier_boots(self) -> bool:
        return any(self._index.is_over(entry) for _, entry in self._index.entries())

    def _addresses(self) -> Iterator[Address]:
        for name in sorted(self.taken()):
            try:
                yield Address.parse(name)
            except ValueError:
                continue  # lock, last_reserved_ip.N, and whatever else people put here

    def _signature(self) -> str:
        """Changes when a lease appears. The directory's time alone would miss one of the same clock tick (4 ms)."""
        return f"{self._files.changed} {self._last_text(0)}"

    def reindex(self) -> None:
        """Reads every lease once; a blank one, which nobody is writing while we hold the lock, is removed."""
        leases: dict[Attachment, list[Address]] = {}
        for address in self._addresses():
            text = self._files.read(str(address))
            holder = _parse(text) if text is not None else None
            if holder:
                leases.setdefault(holder, []).append(address)
            elif text is not None and not text.strip(_BLANK):
                self.release(address)
        self._leases = leases
        self._index.rebuild(leases)
        self._index.note(self._signature())
        self._leases, self._is_noted = None, True


def _parse(text: str) -> Attachment | None:
    """The holder that a lease names; None where it is blank or not a lease."""
    container_id, line_break, ifname = text.strip(_BLANK).partition("\r\n")
    if is_cni_name(container_id) and (is_interface_name(ifname) or not line_break):
        return Attachment(container_id, ifname)
    return None
