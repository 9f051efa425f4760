"""Which network namespaces there are, as far as this process sees: by that a container that died is told from others.

An inode alone does not tell, since the kernel gives that of a namespace that ended to the next one. A cookie it gives
once a boot (SO_NETNS_COOKIE, asm-generic/socket.h; Linux 5.14).
"""

from __future__ import annotations

from posix import O_CLOEXEC, O_RDONLY, close, listdir, open as open_fd, read, stat

from cni_core.errors import CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cni_core.netns import Place

_ROOT_OF_INIT = "/proc/1/root"
_PIECE = 1 << 16


def paths() -> Iterator[str]:
    """A path of every network namespace that has a name or a process, or that is mounted where we or init see it."""
    seen = set()
    for path in _candidates():
        try:
            inode = stat(path).st_ino
        except OSError:
            continue
        if inode not in seen:
            seen.add(inode)
            yield path


def identities(host: Place, more: Iterable[str] = ()) -> set[tuple[int, int]]:
    """The inode and the cookie of every namespace of paths(), and of those at more paths, but the host's own.

    The cookie is 0 of one that cannot be entered, and where the kernel gives none.
    """
    found = set()
    for path in (*paths(), *more):
        try:
            with host.container(path) as place:
                try:
                    found.add((place.inode, place.cookie))
                except CniError:
                    found.add((place.inode, 0))
        except (CniError, OSError):  # gone meanwhile, or the host's own
            continue
    return found


def _candidates() -> Iterator[str]:
    for directory, suffix in (("/run/netns", ""), ("/proc", "/ns/net")):
        try:
            names = listdir(directory)
        except OSError:
            continue
        for name in names:
            yield f"{directory}/{name}{suffix}"
    yield from _mounted("/proc/self/mountinfo", "")
    if _mount_namespace("1") != _mount_namespace("self"):  # as in a pod that calls the plugins for the node
        yield from _mounted("/proc/1/mountinfo", _ROOT_OF_INIT)


def _mount_namespace(process: str) -> int:
    try:
        return stat(f"/proc/{process}/ns/mnt").st_ino
    except OSError:
        return 0


def _mounted(table: str, root: str) -> Iterator[str]:
    try:
        fd = open_fd(table, O_RDONLY | O_CLOEXEC)
        try:
            data = b""
            while piece := read(fd, _PIECE):
                data += piece
        finally:
            close(fd)
    except OSError:
        return
    for path in parse_mounts(data):
        yield root + path


def parse_mounts(table: bytes) -> Iterator[str]:
    """Where network namespaces are mounted, by the text of a mountinfo file (proc_pid_mountinfo(5)): the root of such
    a mount is "net:[INODE]". A path with a character that is escaped there is passed over.
    """
    for line in table.decode("utf-8", "replace").splitlines():
        fields = line.split(" ")
        if len(fields) > 4 and fields[3].startswith("net:[") and "\\" not in fields[4]:
            yield fields[4]
