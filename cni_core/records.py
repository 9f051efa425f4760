"""Records of which attachment uses what: a parent, as what; a host route.

A parent's uppers lie in the containers' namespaces, where no dump of the host's finds them, so this is how an error can
name them. Below ROOT, on a tmpfs that goes with the boot:

    lock                                flocked by whoever reads or writes
    attachments/CONTAINERID:IFNAME      "NETWORK @NAMESPACE %COOKIE PATH USED…"; written first, removed last
    users/USED/CONTAINERID:IFNAME       empty; a parent's is flocked by an ADD for as long as it runs
    parents/PARENT                      what the parent is used as (LinkKind.use)

NAMESPACE is the inode of the container's, by which a DEL knows it; COOKIE tells it from a later one of that inode, and
PATH is where the runtime had it (both left out where they are not known). USED is the key of something shared
(cni_core.shared), which is a file's name: digits first, then of [0-9a-f.:,_].
"""

from __future__ import annotations

from errno import EEXIST, ENOTEMPTY
from posix import close, rmdir, stat

from cni_core.errors import DATA_DIRECTORY, TRY_AGAIN_LATER, CniError, strerror
from cni_core.files import Directory
from cni_core.names import Attachment

ROOT = "/run/cni-vlan"

_NAMESPACE = "@"
_COOKIE = "%"
_PATH = "/"

_USED_CHARACTERS = frozenset("0123456789abcdef.:,_")


class Record:
    """Of one attachment: its network's name, the inode of its network namespace (0: an earlier version did not record
    it), and the keys of what it uses, the oldest first; of the namespace also its cookie (0 where none is known) and
    the path that the runtime gave for it (empty likewise).
    """

    __slots__ = ("cookie", "namespace", "network", "path", "used")

    def __init__(self, network: str, namespace: int, used: list[str], cookie: int = 0, path: str = "") -> None:
        self.network = network
        self.namespace = namespace
        self.used = used
        self.cookie = cookie
        self.path = path if path[:1] == _PATH and len(path.split()) == 1 else ""  # else it would be several words

    @classmethod
    def parse(cls, text: str) -> Record:
        network, *rest = text.split(" ")
        [inode, cookie] = [
            next((int(part[1:]) for part in rest if part[:1] == mark and part[1:].isdecimal()), 0)
            for mark in (_NAMESPACE, _COOKIE)
        ]
        path = next((part for part in rest if part[:1] == _PATH), "")
        used = [key for key in rest if key[:1].isdigit() and _USED_CHARACTERS.issuperset(key)]
        return cls(network, inode, used, cookie, path)

    def __str__(self) -> str:
        words = [
            self.network,
            f"{_NAMESPACE}{self.namespace}",
            f"{_COOKIE}{self.cookie}" * bool(self.cookie),
            self.path,
        ]
        return " ".join([*filter(None, words), *self.used])

    @property
    def is_there(self) -> bool:
        """Whether the namespace is still where the runtime had it, or may be; not whether it is elsewhere."""
        if not self.path:
            return True
        try:
            return stat(self.path).st_ino == self.namespace
        except OSError:
            return False


class Records:
    """The records, locked against every other process from entry to exit of a with block.

    Without create, FileNotFoundError where nothing was recorded since the boot.
    """

    __slots__ = ("_lock", "_opened", "_read", "_root")

    def __init__(self, *, create: bool) -> None:
        self._root = Directory(ROOT, create=create)
        self._opened: dict[str, Directory] = {}
        self._read: dict[str, str | None] = {}  # by path: while the lock is held nobody else writes

    def __enter__(self) -> Records:
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

    def _text(self, part: str, name: str) -> str | None:
        path = f"{part}/{name}"
        if path not in self._read:
            self._read[path] = self._part(part).read(name)
        return self._read[path]

    def _write(self, part: str, name: str, text: str | None) -> None:
        """Writes or (None) removes a file."""
        self._read.pop(f"{part}/{name}", None)  # until it is done, and if it is not, nobody knows
        if text is None:
            self._part(part).remove(name)
        else:
            self._part(part).write(name, text)
        self._read[f"{part}/{name}"] = text

    def _users(self, used: str, *, create: bool) -> Directory:
        return Directory(used, create=create, above=self._part("users"))

    # What a parent is used as

    def use(self, parent: str) -> str:
        """What the parent of that key is used as; empty if it is not."""
        return self._text("parents", parent) or ""

    # One attachment

    def of(self, attachment: Attachment) -> Record | None:
        text = self._text("attachments", attachment.record)
        return None if text is None else Record.parse(text)

    def join(
        self,
        attachment: Attachment,
        network: str,
        namespace: int,
        parent: str,
        use: str,
        cookie: int = 0,
        path: str = "",
    ) -> int:
        """Records that an attachment of the network, in the namespace of that inode, uses a parent, and as what.

        Returns a descriptor that tells others, until it is closed, that an ADD of the attachment runs. CniError
        TRY_AGAIN_LATER where another one does.
        """
        before = self.of(attachment)
        record = Record(network, namespace, before.used if before else [], cookie, path)
        if before and str(before) != str(record):  # another namespace may have the inode of the one before
            self._write("attachments", attachment.record, str(record))
        self._note(attachment, record, [parent])
        with self._users(parent, create=True) as users:
            running = users.try_lock(attachment.record, create=True)
        if running is None:
            raise CniError(
                TRY_AGAIN_LATER, f"another ADD of {attachment.ifname} in {attachment.container_id} is running"
            )
        if self.use(parent) != use:
            self._write("parents", parent, use)
        return running

    def add(self, attachment: Attachment, network: str, namespace: int, used: list[str]) -> None:
        """Records likewise that it uses what is no parent."""
        self._note(attachment, Record(network, namespace, []), used)
        for key in used:
            with self._users(key, create=True) as users:
                users.write(attachment.record, "")

    def _note(self, attachment: Attachment, record: Record, used: list[str]) -> None:
        before = self.of(attachment)
        known = set(before.used) if before else set()
        new = [key for key in used if key not in known]
        if before is None or (before.network, before.namespace) != (record.network, record.namespace):
            record.used = [*(before.used if before else []), *new]
            self._write("attachments", attachment.record, str(record))
        elif new:
            self._part("attachments").append(attachment.record, "".join(f" {key}" for key in new))
            self._read.pop(f"attachments/{attachment.record}")

    def restore(self, attachment: Attachment, before: Record | None) -> list[str]:
        """Makes an attachment's record, if it has one, what it was before.

        Returns the keys that nobody uses any more, the newest first.
        """
        now = self.of(attachment)
        if now is None:
            if not before:
                self._write("attachments", attachment.record, None)  # whatever has its name instead
            return []
        kept = set(before.used if before else ())
        left = [key for key in reversed(now.used) if key not in kept and self._remove_user(key, attachment)]
        self._write("attachments", attachment.record, str(before) if before else None)
        return left

    def leave(self, attachment: Attachment) -> list[str]:
        """Forgets an attachment; the keys that nobody uses any more, the newest first."""
        return self.restore(attachment, None)

    def _remove_user(self, used: str, attachment: Attachment) -> bool:
        """Whether it was the last."""
        try:
            with self._users(used, create=False) as users:
                users.remove(attachment.record)
            rmdir(used, dir_fd=self._part("users").fd)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (ENOTEMPTY, EEXIST):  # others are there
                return False
            raise CniError(DATA_DIRECTORY, f"{ROOT}/users/{used} cannot be removed: {strerror(error)}") from None
        self._write("parents", used, None)
        return True

    # All of them

    def users(self, used: str) -> list[tuple[Attachment, str]]:
        """The attachments that use something, each with the name of its network."""
        return [(attachment, self._network_of(attachment)) for attachment in self._users_of(used)]

    def is_used(self, used: str) -> bool:
        """Whether any attachment uses it."""
        return bool(self._users_of(used))

    def _users_of(self, used: str) -> list[Attachment]:
        try:
            with self._users(used, create=False) as users:
                return _attachments(users.names())
        except FileNotFoundError:
            return []

    def _network_of(self, attachment: Attachment) -> str:
        """Without the rest of the record, which may be long; empty where there is none."""
        return (self._text("attachments", attachment.record) or "").partition(" ")[0]

    def busy(self, parent: str) -> bool:
        """Whether an ADD to the parent is running in another process."""
        with self._users(parent, create=True) as users:
            for name in users.names():
                descriptor = users.try_lock(name)
                if descriptor is None:
                    return True
                close(descriptor)
        return False

    def all(self) -> list[tuple[Attachment, Record]]:
        attachments = _attachments(self._part("attachments").names())
        return [(attachment, record) for attachment in attachments if (record := self.of(attachment))]

    def has_living(self, parent: str, besides: Attachment) -> bool:
        """Whether another attachment's namespace is there, or may be, of those that are recorded to use a parent."""
        try:
            with self._users(parent, create=False) as users:
                others = [found for found in _attachments(users.names()) if found != besides]
        except FileNotFoundError:
            return False
        return any((record := self.of(other)) and record.is_there for other in others)

    def of_network(self, network: str) -> list[Attachment]:
        """The attachments of a network."""
        attachments = _attachments(self._part("attachments").names())
        return [found for found in attachments if self._network_of(found) == network]


def _attachments(names: list[str]) -> list[Attachment]:
    return [attachment for name in sorted(names) if (attachment := Attachment.from_record(name))]
