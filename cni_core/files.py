"""Files of one directory, reached by its descriptor and never through a symbolic link."""

from __future__ import annotations

from errno import EAGAIN, ELOOP
from fcntl import LOCK_EX, LOCK_NB, flock
from posix import (
    F_OK,
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_RDONLY,
    O_WRONLY,
    access,
    close,
    fstat,
    fsync,
    ftruncate,
    link,
    listdir,
    mkdir,
    open as open_fd,
    read,
    rename,
    rmdir,
    stat,
    unlink,
    write,
)

from cni_core.errors import DATA_DIRECTORY, TRY_AGAIN_LATER, CniError, strerror

LOCK = "lock"
POLICY = "/etc/cni/cni-vlan.conf"  # of the node's administrator (cni_core.policy)

_NEW = ".new"
_OPEN_DIRECTORY = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
_LOCK_SECONDS = 30.0
_LONGEST = 1 << 16  # of one read: a file of ours or of Go's host-local has some hundred bytes


def is_there_a_policy() -> bool:
    """Whether the administrator has written the file. What hinders looking is for reading it to tell."""
    try:
        stat(POLICY, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


class Directory:
    """Open from construction to close, or the end of a with block.

    path: absolute; with above, which is open, a name in it. Only what stands before the last part of an absolute path
    may be a symbolic link. Every OSError but a missing directory becomes a CniError that names the path. Without
    create, a directory that is not there is FileNotFoundError.
    """

    __slots__ = ("fd", "path")

    fd: int
    path: str

    def __init__(self, path: str, *, create: bool, above: Directory | None = None) -> None:
        self.path = f"{above.path}/{path}" if above else path
        at = above.fd if above else None
        try:
            try:
                self.fd = open_fd(path, _OPEN_DIRECTORY, dir_fd=at)
            except FileNotFoundError:
                if not create:
                    raise
                _make(path, at)
                self.fd = open_fd(path, _OPEN_DIRECTORY, dir_fd=at)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not create:
                raise
            raise self._unusable(error) from None

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        close(self.fd)

    def lock(self) -> int:
        """Waits for the lock file, against every other process; a descriptor to close when done.

        CniError TRY_AGAIN_LATER where somebody holds it for half a minute.
        """
        try:
            fd = self._open(LOCK, O_RDONLY | O_CREAT)
        except OSError as error:
            raise self._unusable(error, LOCK) from None
        try:
            self._wait(fd)
        except BaseException:
            close(fd)
            raise
        return fd

    def try_lock(self, name: str, *, create: bool = False) -> int | None:
        """Locks a file without waiting; a descriptor to close when done, None where another process holds it."""
        try:
            fd = self._open(name, O_RDONLY | O_CREAT if create else O_RDONLY)
        except OSError as error:
            raise self._unusable(error, name) from None
        try:
            flock(fd, LOCK_EX | LOCK_NB)
        except OSError as error:
            close(fd)
            if error.errno != EAGAIN:
                raise self._unusable(error, name) from None
            return None
        return fd

    def _wait(self, fd: int) -> None:
        deadline = 0.0
        pause = 0.0005
        while True:
            try:
                return flock(fd, LOCK_EX | LOCK_NB)
            except OSError as error:
                from time import monotonic, sleep  # reads /etc/localtime: not for a call that need not wait

                deadline = deadline or monotonic() + _LOCK_SECONDS
                if error.errno != EAGAIN or monotonic() > deadline:
                    raise CniError(
                        TRY_AGAIN_LATER, f"{self.path}/{LOCK} is held by another process: {strerror(error)}"
                    ) from None
            sleep(pause)
            pause = min(pause * 2, 0.01)

    def read(self, name: str) -> str | None:
        """The text of a file; None where there is none, or something else than a file."""
        try:
            fd = self._open(name, O_RDONLY)
        except OSError as error:
            if isinstance(error, FileNotFoundError) or error.errno == ELOOP:
                return None
            raise self._unusable(error, name) from None
        try:
            data = piece = read(fd, _LONGEST)
            while len(piece) == _LONGEST:
                piece = read(fd, _LONGEST)
                data += piece
            return data.decode("utf-8", "replace")
        except IsADirectoryError:
            return None
        except OSError as error:
            raise self._unusable(error, name) from None
        finally:
            close(fd)

    def write(self, name: str, text: str) -> None:
        """Writes a file in place. A reader may see half of it: for what can be told from the rest if it is lost."""
        try:
            self._write(name, 0, text)
        except OSError as error:
            raise self._unusable(error, name) from None

    def append(self, name: str, text: str) -> None:
        """Adds to the end of a file, in one step: who is killed has added all of it or nothing."""
        try:
            self._write(name, O_APPEND, text)
        except OSError as error:
            raise self._unusable(error, name) from None

    def create(self, name: str, text: str) -> bool:
        """Makes a file that appears under its name complete, in one step; False where the name is taken.

        For one process at a time, which has called remove_unfinished.
        """
        try:
            self._write(_NEW, O_EXCL, text)
            link(_NEW, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._unusable(error) from None
        finally:
            try:
                self._unlink(_NEW)
            except OSError:  # the next one removes it
                pass
        return True

    def replace(self, name: str, text: str) -> None:
        """Puts a file in the place of another, so that it lasts: after the return no power cut brings the old one back.

        In one step: a reader, or who comes after a kill or a power cut, finds the old file or the new one, whole. For
        one process at a time. Takes two writes to the disk: for what somebody else is told next.
        """
        try:
            self._unlink(_NEW)
            self._write(_NEW, O_EXCL, text, lasting=True)
            rename(_NEW, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            fsync(self.fd)
        except OSError as error:
            raise self._unusable(error) from None

    def has(self, name: str) -> bool:
        """Whether there is anything of that name."""
        return access(name, F_OK, dir_fd=self.fd, follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Removes a file, or an empty directory that somebody put there; that there is none is no error."""
        try:
            try:
                self._unlink(name)
            except IsADirectoryError:
                rmdir(name, dir_fd=self.fd)
        except OSError as error:
            raise self._unusable(error, name) from None

    def remove_unfinished(self) -> None:
        """What a create left that was killed. It may be a second name of another file by now."""
        self.remove(_NEW)

    def names(self) -> list[str]:
        try:
            return listdir(self.fd)
        except OSError as error:
            raise self._unusable(error) from None

    @property
    def changed(self) -> int:
        """When a name was last added or removed, in ns."""
        return fstat(self.fd).st_mtime_ns

    def _open(self, name: str, flags: int) -> int:
        return open_fd(name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600, dir_fd=self.fd)

    def _write(self, name: str, flags: int, text: str, *, lasting: bool = False) -> None:
        data = text.encode()
        fd = self._open(name, O_WRONLY | O_CREAT | flags)
        try:
            size = fstat(fd).st_size
            # Not O_TRUNC, which drops the page that is written next: that takes longer than all the rest.
            if size > len(data) and not flags & O_APPEND:
                ftruncate(fd, 0)
            written = write(fd, data)
            if written != len(data):
                if flags & O_APPEND:
                    ftruncate(fd, size)
                else:
                    self._unlink(name)
                raise OSError(f"{written} of {len(data)} bytes of {name} were written")
            if lasting:
                fsync(fd)
        finally:
            close(fd)

    def _unlink(self, name: str) -> None:
        try:
            unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            pass

    def _unusable(self, error: OSError, name: str = "") -> CniError:
        """name: of what in the directory it is, where it is something in it."""
        what = f"{self.path}/{name}" if name else f"the directory {self.path}"
        return CniError(
            DATA_DIRECTORY,
            f"{what} cannot be used: {strerror(error)}",
            "It must be a directory that root can write, on a disk with room.",
        )


def _make(path: str, at: int | None) -> None:
    """With those above it that are missing, however many: a path may have some 2,000 parts."""
    missing = [path.rstrip("/")]
    while missing:
        try:
            mkdir(missing[-1], 0o755, dir_fd=at)
        except FileExistsError:
            pass
        except FileNotFoundError:
            above = missing[-1].rpartition("/")[0].rstrip("/")
            if not above or len(missing) > path.count("/"):
                raise
            missing.append(above)
            continue
        missing.pop()
