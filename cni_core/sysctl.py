"""Files below /proc/sys, of the network namespace that the thread is in."""

from __future__ import annotations

from posix import (
    F_OK,
    O_CLOEXEC,
    O_RDONLY,
    O_WRONLY,
    access,
    close,
    open as open_fd,
    read as read_fd,
    write as write_fd,
)

from cni_core.errors import KERNEL_REFUSED, CniError, strerror


def read(*path: str) -> str:
    """The value at net/ipv6/conf/eth0/…, its parts given one by one (an interface name may hold a dot). CniError."""
    try:
        fd = open_fd(_file(path), O_RDONLY | O_CLOEXEC)
        try:
            return read_fd(fd, 4096).decode().strip()
        finally:
            close(fd)
    except OSError as error:
        raise CniError(KERNEL_REFUSED, f"could not read sysctl {'.'.join(path)}: {strerror(error)}") from None


def write(value: str, *path: str) -> None:
    """Sets the value at a path as in read. CniError."""
    try:
        fd = open_fd(_file(path), O_WRONLY | O_CLOEXEC)
        try:
            write_fd(fd, value.encode())
        finally:
            close(fd)
    except OSError as error:
        raise CniError(KERNEL_REFUSED, f"could not set sysctl {'.'.join(path)}={value}: {strerror(error)}") from None


def exists(*path: str) -> bool:
    """Whether the kernel has it, or a directory of such, as conf/eth0 below net/ipv6."""
    return access(_file(path), F_OK)


def try_to_write(value: str, *path: str) -> None:
    """The same, where it is a courtesy: a node that is a container itself may have a /proc/sys that is read-only."""
    try:
        write(value, *path)
    except CniError:
        pass


def _file(path: tuple[str, ...]) -> str:
    return "/proc/sys/" + "/".join(path)
