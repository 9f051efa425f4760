"""Which container of this host has what a new one cannot have, told when it is too late: by going through all of them.

A container that is gone for its runtime may be there for the kernel, which keeps a network namespace, its links and
their addresses for as long as a process is in it. Its lease is free by then, and goes to the next one: to the same
container that starts anew above all.
"""

from __future__ import annotations

from posix import O_CLOEXEC, O_RDONLY, close, open as open_fd, read

from cni_core import uppers
from cni_core.names import is_link_name
from cni_core.taken import Duplicate, HardwareAddressInUse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_core.errors import CniError
    from cni_core.netns import Place
    from cni_core.rtnl.messages import Link
    from cni_core.task import Task


def explained(error: CniError, task: Task, parent: Link) -> CniError:
    """The error, saying who has what it is about if that is a container of this host."""
    if isinstance(error, Duplicate):
        address = error.address
        who, mend = _holder(
            task,
            parent,
            lambda link, place: any(one.cidr.address == address for one in place.rtnl.addresses(link.index)),
        )
        return Duplicate(address, who, mend) if who else error
    # Where another hardware address is tried next, nobody needs to know whose the first was.
    if isinstance(error, HardwareAddressInUse) and not task.network.mac_is_stable:
        mac = error.mac
        who, mend = _holder(task, parent, lambda link, _: link.mac == mac)
        return HardwareAddressInUse(mac, parent.name, who, mend) if who else error
    return error


def _holder(task: Task, parent: Link, has_it: Callable[[Link, Place], bool]) -> tuple[str, str]:
    """Who, in words that fit "in use by …", and what to do about it; both empty where no container of this host has it.

    parent: in the host's namespace. has_it: of each link on it in another namespace than the container's own.
    """
    if not task.home.is_host:
        return "", ""
    for link, place in uppers.elsewhere(parent.index, task.host):
        if place.inode != task.container.inode and has_it(link, place):
            what, mend = _held_by(place.path)
            if link.alias == task.attachment.link_name:
                return f"the container's own earlier run, whose network namespace is still there: {what}", mend
            whose = "a container" if is_link_name(link.alias) else "somebody else's container"
            return f"{whose} of this host, {link.name} in its network namespace: {what}", mend
    return "", ""


def _held_by(path: str) -> tuple[str, str]:
    """What keeps a namespace, by the path at which it was found, and what ends it."""
    _, top, number, *_ = path.split("/")
    if top != "proc":
        return path, f"See whether it is still wanted: ip netns pids {path.rpartition('/')[2]}"
    return f"process {number} ({_name_of(number)}) is in it", f"End it, and try again: kill {number}"


def _name_of(pid: str) -> str:
    try:
        fd = open_fd(f"/proc/{pid}/comm", O_RDONLY | O_CLOEXEC)
        try:
            return read(fd, 64).decode("utf-8", "replace").strip()
        finally:
            close(fd)
    except OSError:
        return "ended by now"
