"""What is on a parent, in whatever namespace and of whoever's making: the kernel is asked, since no dump tells.

The kernel refuses to mix kinds, so whether a link of one can be made tells whether there are any of the other.
"""

from __future__ import annotations

from errno import EBUSY, EINVAL
from posix import listdir, stat

from cni_core.errors import CniError
from cni_core.netns import Sandbox
from cni_core.rtnl.messages import del_link, new_link, u16, u32
from cni_core.rtnl.socket import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_core.rtnl.messages import Link
    from cni_core.rtnl.socket import Rtnl

# linux/if_link.h: IFLA_MACVLAN_MODE bridge; IFLA_IPVLAN_MODE l2, which harms nobody if there is no ipvlan.
_DATA = {"macvlan": u32(1, 4), "ipvlan": u16(1, 0)}
_TAKEN = (EBUSY, EINVAL)  # by the other kind; by passthru


class Probe:
    """Makes links on a parent that go at once; what a killed call left of one goes at either end of a with block."""

    __slots__ = ("_host", "_inside", "_name", "_netns", "parent")

    def __init__(self, name: str, parent: Link, host: Rtnl, netns: int, inside: Rtnl) -> None:
        """host is the socket of the parent's namespace; the links are made in the one of the descriptor netns, whose
        socket inside is."""
        self.parent = parent
        self._name = name
        self._host = host
        self._netns = netns
        self._inside = inside

    def __enter__(self) -> Probe:
        self._clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def makes(self, kind: str) -> bool:
        """Whether a link of the kind can be made; ask for macvlan first: an ipvlan switches others of its kind."""
        message = new_link(
            self._name,
            kind,
            _DATA[kind],
            parent=self.parent.index,
            netns=self._netns,
            mtu=self.parent.mtu,
            mac=b"",
        )
        try:
            self._host.execute(message)
        except KernelError as error:
            if error.errno in _TAKEN:
                return False
            raise
        self._clear()
        return True

    def _clear(self) -> None:
        link = self._inside.link(self._name)
        if link:
            self._inside.execute(del_link(link.index))


def children_of(parent: int) -> Iterator[tuple[Link, Rtnl]]:
    """The links on a parent of our namespace in whatever other namespace we can enter, with a socket there."""
    for path in _namespaces():
        try:
            with Sandbox(path) as sandbox, sandbox.rtnl() as inside:
                for link in inside.links():
                    # The other end of a veth is told as its parent, too.
                    if link.parent == parent and link.parent_nsid is not None and link.kind != "veth":
                        yield link, inside
        except (CniError, OSError):  # gone meanwhile, or the host's own
            continue


def _namespaces() -> Iterator[str]:
    """A path of every network namespace that has a name or a process."""
    seen = set()
    for directory, suffix in (("/run/netns", ""), ("/proc", "/ns/net")):
        try:
            names = listdir(directory)
        except OSError:
            continue
        for name in names:
            path = f"{directory}/{name}{suffix}"
            try:
                inode = stat(path).st_ino
            except OSError:
                continue
            if inode not in seen:
                seen.add(inode)
                yield path
