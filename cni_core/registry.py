"""Records of which attachment is on which parent, and as what.

A parent's children lie in the containers' namespaces, where no dump of the host's finds them, so this is how an error
can name them. Below ROOT, on a tmpfs that goes with the boot:

    lock                                flocked by whoever reads or writes
    attachments/CONTAINERID:IFNAME      "PARENT NETWORK"; written first, removed last
    users/PARENT/CONTAINERID:IFNAME     empty; flocked by an ADD for as long as it runs
    parents/PARENT                      what the parent is used as (LinkKind.use)

PARENT is "NAMESPACE.INDEX": the inode of its network namespace, and the link's index there.
"""

from __future__ import annotations

from posix import close, rmdir

from cni_core.errors import TRY_AGAIN_LATER, CniError
from cni_core.files import Directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.request import Request

ROOT = "/run/cni-vlan"

_PARENT_CHARACTERS = frozenset("0123456789.")


class Registry:
    """The records, for one process at a time: opened and locked on construction, until the end of a with block.

    Without create, FileNotFoundError where nothing was recorded since the boot.
    """

    __slots__ = ("_lock", "_root")

    def __init__(self, *, create: bool) -> None:
        self._root = Directory(ROOT, create=create)
        try:
            self._lock = self._root.lock()
        except BaseException:
            self._root.close()
            raise

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        close(self._lock)
        self._root.close()

    def use(self, parent: str) -> str:
        """What the parent is used as; empty if it is not."""
        with _Part("parents", create=True) as parents:
            return parents.read(parent) or ""

    def join(self, request: Request, parent: str, use: str) -> int:
        """Records the attachment; a descriptor that tells others, until it is closed, that its ADD still runs."""
        name = attachment(request)
        with _Part("attachments", create=True) as attachments:
            attachments.write(name, f"{parent} {request.name}")
        with _Part("parents", create=True) as parents:
            if parents.read(parent) != use:
                parents.write(parent, use)
        with _Part(f"users/{parent}", create=True) as users:
            users.write(name, "")
            running = users.try_lock(name)
        if running is None:
            raise CniError(TRY_AGAIN_LATER, f"another ADD of {request.ifname} in {request.container_id} is running")
        return running

    def leave(self, name: str) -> str:
        """Forgets an attachment, and with the last of its parent the parent's use: then returns the parent, else ""."""
        left = ""
        with _Part("attachments", create=True) as attachments:
            parent = (attachments.read(name) or "").partition(" ")[0]
            if parent and _PARENT_CHARACTERS.issuperset(parent):
                left = parent if self._leave_parent(parent, name) else ""
            attachments.remove(name)
        return left

    def _leave_parent(self, parent: str, name: str) -> bool:
        try:
            with _Part(f"users/{parent}", create=False) as users:
                users.remove(name)
            rmdir(f"{ROOT}/users/{parent}")
        except FileNotFoundError:
            pass
        except OSError:  # others are there
            return False
        with _Part("parents", create=True) as parents:
            parents.remove(parent)
        return True

    def users(self, parent: str) -> list[tuple[str, str]]:
        """The attachments on a parent (CONTAINERID:IFNAME), each with its network."""
        try:
            with _Part(f"users/{parent}", create=False) as users, _Part("attachments", create=True) as attachments:
                names = sorted(users.names())
                return [(name, (attachments.read(name) or "").partition(" ")[2]) for name in names]
        except FileNotFoundError:
            return []

    def busy(self, parent: str) -> bool:
        """Whether an ADD to the parent is running in another process."""
        with _Part(f"users/{parent}", create=True) as users:
            for name in users.names():
                descriptor = users.try_lock(name)
                if descriptor is None:
                    return True
                close(descriptor)
        return False

    def of_network(self, network: str) -> list[str]:
        """The attachments of a network (CONTAINERID:IFNAME)."""
        with _Part("attachments", create=True) as attachments:
            names = attachments.names()
            return [name for name in names if (attachments.read(name) or "").partition(" ")[2] == network]


def attachment(request: Request) -> str:
    """The name of the request's attachment in the records."""
    return f"{request.container_id}:{request.ifname}"


class _Part(Directory):
    """A directory below ROOT, closed at the end of a with block."""

    __slots__ = ()

    def __init__(self, name: str, *, create: bool) -> None:
        super().__init__(f"{ROOT}/{name}", create=create)

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
