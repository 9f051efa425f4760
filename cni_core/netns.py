"""Network namespaces: the container's, opened and told from what is none, and entered for what only works inside."""

from __future__ import annotations

from errno import ENXIO
from fcntl import ioctl
from posix import O_CLOEXEC, O_NONBLOCK, O_RDONLY, close, fstat, open as open_fd, stat

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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from posix import stat_result

NS_GET_NSTYPE = 0xB703  # linux/nsfs.h

OWN = "/proc/thread-self/ns/net"


class Sandbox:
    """A container's network namespace, or (OWN) our own, held open by a descriptor (fd) to the end of a with block.

    Raises CniError: UNKNOWN_CONTAINER where nothing is at the path, INVALID_ENVIRONMENT where something else than
    another network namespace is, IO_FAILURE where that cannot be told. own: not a container's is asked for, but OWN.
    """

    __slots__ = ("fd", "path")

    def __init__(self, path: str, *, own: bool = False) -> None:
        self.path = path
        try:
            # O_NONBLOCK: opening a FIFO would else wait for its writer.
            self.fd = open_fd(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
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
            if not own:
                self._refuse_what_is_no_container()
        except BaseException:
            close(self.fd)
            raise

    def _refuse_what_is_no_container(self) -> None:
        try:
            kind = ioctl(self.fd, NS_GET_NSTYPE)
        except OSError:
            kind = 0
        if kind != CLONE_NEWNET:
            raise CniError(INVALID_ENVIRONMENT, f"CNI_NETNS: {self.path} is not a network namespace")
        if _same(fstat(self.fd), stat(OWN)):
            raise CniError(
                INVALID_ENVIRONMENT,
                f"CNI_NETNS: {self.path} is the host's own network namespace, not a container's",
            )

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        close(self.fd)

    def rtnl(self) -> Rtnl:
        """A netlink socket that stays in this namespace."""
        with Entered(self):
            return Rtnl()


class Entered:
    """For the length of a with block, the thread is in the sandbox's namespace: its /proc/sys/net is the one seen.

    CniError where it cannot enter or leave.
    """

    __slots__ = ("_home", "_sandbox")

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def __enter__(self) -> None:
        try:
            self._home = open_fd(OWN, O_RDONLY | O_CLOEXEC)
        except OSError as error:
            raise CniError(KERNEL_REFUSED, f"could not open {OWN}: {strerror(error)}") from None
        try:
            _enter(self._sandbox.fd, self._sandbox.path)
        except BaseException:
            self.__exit__()  # an interruption may come when it has entered
            raise

    def __exit__(self, *_: object) -> None:
        try:
            _enter(self._home, OWN)
        except BaseException as error:
            _enter(self._home, OWN)  # whatever follows, undoing above all, must not be done in the container's
            if isinstance(error, Interrupted):
                raise
        finally:
            close(self._home)


def _enter(fd: int, path: str) -> None:
    try:
        setns(fd)
    except OSError as error:
        raise CniError(KERNEL_REFUSED, f"could not enter the network namespace {path}: {strerror(error)}") from None


def _same(one: stat_result, other: stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
