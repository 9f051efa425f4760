"""What is on a parent, in whatever namespace and of whoever's making: the kernel is asked, since no dump tells.

The kernel does not mix kinds on a parent, so whether a link of one can be made tells whether there are any of another.
"""

from __future__ import annotations

from errno import EBUSY, EINVAL

from cni_core.errors import CniError
from cni_core.namespaces import paths
from cni_core.rtnl.messages import del_link, new_link, u16, u32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_core.netns import Place
    from cni_core.rtnl.messages import Link

# linux/if_link.h: IFLA_MACVLAN_MODE bridge; IFLA_IPVLAN_MODE l2, which harms nobody if there is no ipvlan.
_DATA = {"macvlan": u32(1, 4), "ipvlan": u16(1, 0)}
_TAKEN = (EBUSY, EINVAL)  # by the other kind; by passthru


class Uppers:
    """Asks by making links on the parent, which go at once; what a killed call left of one goes at either end of a with
    block.
    """

    __slots__ = ("_home", "_name", "_place", "parent")

    def __init__(self, parent: Link, home: Place, name: str, place: Place) -> None:
        """home: where the parent is; the links that are made to ask have that name, in that place."""
        self.parent = parent
        self._home = home
        self._name = name
        self._place = place

    def __enter__(self) -> Uppers:
        self._clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def admit(self, kind: str) -> bool:
        """Whether a link of the kind can be made; ask for macvlan first: an ipvlan switches others of its kind."""
        message = new_link(
            self._name,
            kind,
            _DATA[kind],
            parent=self.parent.index,
            netns=self._place.fd,
            mtu=self.parent.mtu,
            mac=b"",
        )
        try:
            self._home.rtnl.execute(message)
        except CniError as error:
            if error.errno in _TAKEN:
                return False
            raise
        self._clear()
        return True

    @property
    def are_none(self) -> bool:
        """Whether there is neither a macvlan nor an ipvlan, nor a bridge or a bond that has the parent as a port."""
        return self.admit("macvlan") and self.admit("ipvlan")

    def _clear(self) -> None:
        link = self._place.rtnl.link(self._name)
        if link:
            self._place.rtnl.execute(del_link(link.index))


def elsewhere(parent: int, host: Place) -> Iterator[tuple[Link, Place]]:
    """The links on a parent of the host in whatever other namespace we can enter, each with its place."""

    def on_it(link: Link) -> bool:
        # The other end of a veth is told as its parent, too.
        return link.parent == parent and link.parent_nsid is not None and link.kind != "veth"

    for path in paths():
        try:
            with host.container(path) as place:
                for link in place.rtnl.links(on_it):
                    yield link, place
        except (CniError, OSError):  # gone meanwhile, or the host's own
            continue
