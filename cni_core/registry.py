"""Records of which attachment uses which parent, and as what, and which host routes.

A parent's children lie in the containers' namespaces, where no dump of the host's finds them, so this is how an error
can name them. Below ROOT, on a tmpfs that goes with the boot:

    lock                                flocked by whoever reads or writes
    attachments/CONTAINERID:IFNAME      "NETWORK USED…"; written first, removed last
    users/USED/CONTAINERID:IFNAME       empty; a parent's is flocked by an ADD for as long as it runs
    parents/PARENT                      what the parent is used as (LinkKind.use)

USED is a PARENT, "NAMESPACE.INDEX" (the inode of its network namespace, and the link's index there), or a host route,
"PARENT,SUBNET" with "_" for the subnet's "/".
"""

from __future__ import annotations

from errno import EEXIST, ENOTEMPTY
from posix import close, rmdir

from cni_core.errors import DATA_DIRECTORY, TRY_AGAIN_LATER, CniError, strerror
from cni_core.files import Directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.request import Request

ROOT = "/run/cni-vlan"

_USED_CHARACTERS = frozenset("0123456789abcdef.:,_")


class Registry:
    """The records, locked against every other process from entry to exit of a with block.

    Without create, FileNotFoundError where nothing was recorded since the boot.
    """

    __slots__ = ("_lock", "_opened", "_root")

    def __init__(self, *, create: bool) -> None:
        self._root = Directory(ROOT, create=create)
        self._opened: dict[str, Directory] = {}

    def __enter__(self) -> Registry:
        try:
            self._lock = self._root.lock()
        except BaseException:
            self._root.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        close(self._lock)
        for directory in (*self._opened.values(), self._root):
            directory.close()

    def _part(self, name: str) -> Directory:
        """attachments, users or parents."""
        if name not in self._opened:
            self._opened[name] = Directory(name, create=True, above=self._root)
        return self._opened[name]

    def _users(self, used: str, *, create: bool) -> Directory:
        return Directory(used, create=create, above=self._part("users"))

    def use(self, parent: str) -> str:
        """What the parent is used as; empty if it is not."""
        return self._part("parents").read(parent) or ""

    def join(self, request: Request, parent: str, use: str) -> int:
        """Records the attachment; a descriptor that tells others, until it is closed, that its ADD still runs."""
        try:
            self._note(request, parent)
            with self._users(parent, create=True) as users:
                running = users.try_lock(attachment(request), create=True)
            if self.use(parent) != use:
                self._part("parents").write(parent, use)
        except BaseException:
            self.leave(attachment(request))
            raise
        if running is None:
            raise CniError(TRY_AGAIN_LATER, f"another ADD of {request.ifname} in {request.container_id} is running")
        return running

    def add_route(self, request: Request, route: str) -> None:
        """Records that the attachment uses a host route."""
        self._note(request, route)
        with self._users(route, create=True) as users:
            users.write(attachment(request), "")

    def _note(self, request: Request, used: str) -> None:
        """Adds to what the attachment uses."""
        name, attachments = attachment(request), self._part("attachments")
        network, before = _parse(attachments.read(name))
        if network != request.name:
            attachments.write(name, " ".join([request.name, *before, used]))
        elif used not in before:
            attachments.append(name, f" {used}")

    def leave(self, name: str) -> list[str]:
        """Forgets an attachment; what nobody uses any more, the newest first."""
        attachments = self._part("attachments")
        _, used = _parse(attachments.read(name))
        left = [what for what in reversed(used) if self._remove_user(what, name)]
        attachments.remove(name)
        return left

    def _remove_user(self, used: str, name: str) -> bool:
        """Whether it was the last."""
        try:
            with self._users(used, create=False) as users:
                users.remove(name)
            rmdir(used, dir_fd=self._part("users").fd)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (ENOTEMPTY, EEXIST):  # others are there
                return False
            raise CniError(DATA_DIRECTORY, f"{ROOT}/users/{used} cannot be removed: {strerror(error)}") from None
        self._part("parents").remove(used)
        return True

    def users(self, used: str) -> list[tuple[str, str]]:
        """The attachments that use a parent or host route (CONTAINERID:IFNAME), each with its network."""
        attachments = self._part("attachments")
        try:
            with self._users(used, create=False) as users:
                return [(name, _parse(attachments.read(name))[0]) for name in sorted(users.names())]
        except FileNotFoundError:
            return []

    def busy(self, parent: str) -> bool:
        """Whether an ADD to the parent is running in another process."""
        with self._users(parent, create=True) as users:
            for name in users.names():
                descriptor = users.try_lock(name)
                if descriptor is None:
                    return True
                close(descriptor)
        return False

    def of_network(self, network: str) -> list[str]:
        """The attachments of a network (CONTAINERID:IFNAME)."""
        attachments = self._part("attachments")
        return [name for name in attachments.names() if _parse(attachments.read(name))[0] == network]


def attachment(request: Request) -> str:
    """The name of the request's attachment in the records."""
    return f"{request.container_id}:{request.ifname}"


def is_route(used: str) -> bool:
    """Whether it is a host route, not a parent."""
    return "," in used


def _parse(record: str | None) -> tuple[str, list[str]]:
    """Of an attachment's record: its network, and what it uses."""
    network, *used = (record or "").split(" ")
    return network, [what for what in used if what[:1].isdigit() and _USED_CHARACTERS.issuperset(what)]
