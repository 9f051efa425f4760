"""Leases on disk, exactly as Go's host-local keeps them, so that either takes over from the other at any time.

DATADIR/NETWORK/ADDRESS holds "CONTAINERID\\r\\nIFNAME" (before CNI 0.7 the id alone), last_reserved_ip.N the last
address given of range set N, and the file lock is flocked for each operation (backend/disk/backend.go there).
"""

from __future__ import annotations

from errno import EAGAIN, ELOOP
from fcntl import LOCK_EX, LOCK_NB, flock
from posix import (
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_RDONLY,
    O_TRUNC,
    O_WRONLY,
    close,
    link,
    listdir,
    mkdir,
    open as open_fd,
    read,
    unlink,
    write,
)
from time import monotonic, sleep

from cni_core.address import Address
from cni_core.errors import DATA_DIRECTORY, TRY_AGAIN_LATER, CniError, strerror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")

DEFAULT_DATA_DIR = "/var/lib/cni/networks"

_LOCK = "lock"
_LAST = "last_reserved_ip."
_NEW = ".new"
_LOCK_SECONDS = 30.0
_LONGEST = 4096  # of a lease file; a container id has 64 bytes with most runtimes


class Store:
    """The leases of one network, locked against every other process from entry to exit of a with block.

    Files are reached by way of the directory's descriptor and never through a symbolic link. CniError DATA_DIRECTORY
    where the directory cannot be used, TRY_AGAIN_LATER where the lock is held for half a minute.
    """

    def __init__(self, data_dir: str, network: str, *, create: bool = True) -> None:
        """Without create, a directory that is not there is FileNotFoundError: nobody holds a lease."""
        self.path = f"{data_dir}/{network}"
        if create:
            self._guard(_make_directories, self.path)
        self._directory = self._guard(open_fd, self.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        try:
            self._lock = self._guard(self._open, _LOCK, O_RDONLY | O_CREAT)
            self._acquire()
        except BaseException:
            close(self._directory)
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        close(self._lock)
        close(self._directory)

    def _acquire(self) -> None:
        deadline = monotonic() + _LOCK_SECONDS
        pause = 0.0005
        while True:
            try:
                flock(self._lock, LOCK_EX | LOCK_NB)
                return
            except OSError as error:
                if error.errno != EAGAIN or monotonic() > deadline:
                    close(self._lock)
                    raise CniError(
                        TRY_AGAIN_LATER, f"{self.path}/{_LOCK} is held by another process: {strerror(error)}"
                    ) from None
            sleep(pause)
            pause = min(pause * 2, 0.01)

    # One lease

    def reserve(self, address: Address, container_id: str, ifname: str) -> bool:
        """Writes the lease unless the address is taken; it appears under its name complete, in one step."""
        self._guard(self._write_new, f"{container_id}\r\n{ifname}".encode())
        try:
            link(_NEW, str(address), src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._unusable(error) from None
        finally:
            self._remove(_NEW)
        return True

    def release(self, address: Address) -> None:
        self._remove(str(address))

    def holder(self, address: Address) -> tuple[str, str] | None:
        """Who has the address: container id and interface (empty in a lease of before CNI 0.7); None if nobody."""
        content = self._content(str(address))
        return None if content is None else _parse(content)

    def set_last(self, index: int, address: Address) -> None:
        """Notes the last address given of range set number index."""
        fd = self._guard(self._open, f"{_LAST}{index}", O_WRONLY | O_CREAT | O_TRUNC)
        try:
            self._guard(write, fd, str(address).encode())
        finally:
            close(fd)

    def last(self, index: int) -> Address | None:
        """The last address given of range set number index; None if it is not known."""
        content = self._content(f"{_LAST}{index}")
        try:
            return None if content is None else Address.parse(content.strip())
        except ValueError:
            return None

    # All leases

    def taken(self) -> set[str]:
        """The names of all files: every address with a lease is among them."""
        return set(self._guard(listdir, self._directory))

    def leases(self) -> Iterator[tuple[Address, tuple[str, str]]]:
        """Each address with a lease, and its holder."""
        for name in sorted(self.taken()):
            try:
                address = Address.parse(name)
            except ValueError:
                continue  # lock, last_reserved_ip.N, and whatever else people put here
            holder = self.holder(address)
            if holder:
                yield address, holder

    def held_by(self, container_id: str, ifname: str) -> list[Address]:
        """The addresses of an attachment; if it has none, those of its container in leases of before CNI 0.7."""
        leases = list(self.leases())
        held = [address for address, holder in leases if holder == (container_id, ifname)]
        return held or [address for address, holder in leases if holder == (container_id, "")]

    # Files

    def _open(self, name: str, flags: int) -> int:
        return open_fd(name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600, dir_fd=self._directory)

    def _write_new(self, content: bytes) -> None:
        # One that a crash left may be a second name of a lease by now: never truncate it.
        self._remove(_NEW)
        fd = self._open(_NEW, O_WRONLY | O_CREAT | O_EXCL)
        try:
            written = write(fd, content)
        finally:
            close(fd)
        if written != len(content):
            self._remove(_NEW)
            raise OSError(f"{written} of {len(content)} bytes were written")

    def _content(self, name: str) -> str | None:
        """None where there is no such file, or none that can be read as text."""
        try:
            fd = self._open(name, O_RDONLY)
        except OSError as error:
            if isinstance(error, FileNotFoundError) or error.errno == ELOOP:
                return None
            raise self._unusable(error) from None
        try:
            return read(fd, _LONGEST).decode("utf-8", "replace")
        except IsADirectoryError:
            return None
        except OSError as error:
            raise self._unusable(error) from None
        finally:
            close(fd)

    def _remove(self, name: str) -> None:
        try:
            unlink(name, dir_fd=self._directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._unusable(error) from None

    def _guard(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a function of the disk; its OSError becomes a CniError that names the directory."""
        try:
            return function(*args, **kwargs)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> CniError:
        return CniError(
            DATA_DIRECTORY,
            f"the lease directory {self.path} cannot be used: {strerror(error)}",
            "It must be a directory that root can write, on a disk with room.",
        )


def _make_directories(path: str) -> None:
    try:
        mkdir(path, 0o755)
    except FileExistsError:
        return
    except FileNotFoundError:
        above = path.rstrip("/").rpartition("/")[0]
        if not above:
            raise
        _make_directories(above)
        mkdir(path, 0o755)


def _parse(content: str) -> tuple[str, str]:
    container_id, _, ifname = content.strip().partition("\r\n")
    return container_id, ifname
