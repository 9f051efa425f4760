"""Network namespaces: the container's, opened and told from what is none, and entered for what only works inside."""

from __future__ import annotations

from errno import ENXIO
from fcntl import ioctl
from posix import O_CLOEXEC, O_NONBLOCK, O_RDONLY, close, fstat, open as open_fd

from cni_core.errors import (
    INVALID_ENVIRONMENT,
    IO_FAILURE,
    KERNEL_REFUSED,
    UNKNOWN_CONTAINER,
    CniError,
    Interrupted,
    strerror,
)
from cni_core.native import CLONE_NEWNET, setns
from cni_core.rtnl.socket import Rtnl

NS_GET_NSTYPE = 0xB703  # linux/nsfs.h

OWN = "/proc/thread-self/ns/net"


class Place:
    """A network namespace, held open to the end of a with block: its descriptor fd, its path, and a socket in it.

    is_host: it is our own, which in the calls of a runtime is the host's. Others are entered from home, and left to it.
    """

    __slots__ = ("_home", "_rtnl", "fd", "path")

    def __init__(self, path: str, fd: int, home: Place | None = None) -> None:
        self.path = path
        self.fd = fd
        self._home = home or self
        self._rtnl: Rtnl | None = None

    @classmethod
    def host(cls) -> Place:
        """Our own namespace. CniError."""
        try:
            return cls(OWN, open_fd(OWN, O_RDONLY | O_CLOEXEC))
        except OSError as error:
            raise CniError(KERNEL_REFUSED, f"could not open {OWN}: {strerror(error)}") from None

    def container(self, path: str, *, own: bool = False) -> Place:
        """A container's namespace, as seen from the host's; with own it may be the host's itself.

        CniError: UNKNOWN_CONTAINER where nothing is at the path, INVALID_ENVIRONMENT where something else than another
        network namespace is, IO_FAILURE where that cannot be told.
        """
        try:
            # O_NONBLOCK: opening a FIFO would else wait for its writer.
            place = Place(path, open_fd(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), self)
        except (FileNotFoundError, NotADirectoryError):
            raise CniError(
                UNKNOWN_CONTAINER,
                f"CNI_NETNS: there is no network namespace at {path}",
                "The container is gone, or the runtime has not made its namespace yet.",
            ) from None
        except OSError as error:
            code = INVALID_ENVIRONMENT if error.errno == ENXIO else IO_FAILURE  # it is a socket; else nobody knows
            raise CniError(code, f"CNI_NETNS: {path}: {strerror(error)}") from None
        try:
            place._refuse_what_is_no_container(own)
        except BaseException:
            place.close()
            raise
        return place

    def _refuse_what_is_no_container(self, own: bool) -> None:
        try:
            kind = ioctl(self.fd, NS_GET_NSTYPE)
        except OSError:
            kind = 0
        if kind != CLONE_NEWNET:
            raise CniError(INVALID_ENVIRONMENT, f"CNI_NETNS: {self.path} is not a network namespace")
        if not own and self.inode == self._home.inode:  # of one file system, nsfs
            raise CniError(
                INVALID_ENVIRONMENT,
                f"CNI_NETNS: {self.path} is the host's own network namespace, not a container's",
            )

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._rtnl:
            self._rtnl.close()
        close(self.fd)

    @property
    def is_host(self) -> bool:
        return self._home is self

    @property
    def inode(self) -> int:
        """By which the kernel tells namespaces apart, for as long as this one lives (namespaces(7))."""
        return fstat(self.fd).st_ino

    @property
    def cookie(self) -> int:
        """By which it is told from every other of this boot; 0 where the kernel gives none (before Linux 5.14)."""
        return self.rtnl.cookie

    @property
    def rtnl(self) -> Rtnl:
        """A netlink socket that stays in this namespace."""
        if not self._rtnl:
            if self.is_host:
                self._rtnl = Rtnl()
            else:
                with self.entered():
                    self._rtnl = Rtnl()
        return self._rtnl

    def entered(self) -> Entered:
        """For the length of a with block, the thread is in this namespace: its /proc/sys/net is the one seen."""
        return Entered(self, self._home)


class Entered:
    """Place.entered. CniError where the thread cannot enter or leave."""

    __slots__ = ("_home", "_place")

    def __init__(self, place: Place, home: Place) -> None:
        self._place = place
        self._home = home

    def __enter__(self) -> None:
        try:
            _enter(self._place)
        except BaseException:
            self.__exit__()  # an interruption may come when it has entered
            raise

    def __exit__(self, *_: object) -> None:
        try:
            _enter(self._home)
        except BaseException as error:
            _enter(self._home)  # whatever follows, undoing above all, must not be done in the container's
            if isinstance(error, Interrupted):
                raise


def _enter(place: Place) -> None:
    try:
        setns(place.fd)
    except OSError as error:
        message = f"could not enter the network namespace {place.path}: {strerror(error)}"
        raise CniError(KERNEL_REFUSED, message) from None
