"""What the node's administrator allows and forbids the authors of networks: /etc/cni/cni-vlan.conf, by JSON.

    {"hostRoutes": {"allow": ["10.8.0.0/16", "203.0.113.0/24"], "forbid": ["10.8.9.0/24"]},
     "parents": {"allow": ["eth1", "eth1.*"], "forbid": ["eth1.50"]},
     "dataDirs": {"allow": ["/var/lib/cni/networks"], "forbid": []}}

Each list may be left out. What `allow` does not name is refused; without it everything is allowed, of host routes to
private prefixes those alone. `forbid` wins over `allow`. The file is read only where it exists.
"""

from __future__ import annotations

from posix import O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, close, fstat, open as open_fd, read

from cni_core.address import Cidr, is_within
from cni_core.errors import INVALID_CONFIG, CniError, strerror
from cni_core.files import POLICY
from cni_core.strictjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Matches = Callable[[str, str], bool]

_LONGEST = 1 << 16
_REGULAR, _TYPE, _WRITABLE_BY_OTHERS = 0o100000, 0o170000, 0o022  # st_mode, inode(7)
_SECTIONS = ("hostRoutes", "parents", "dataDirs")
_ANY = "*"


class Rule:
    """allow: None where everything is allowed; forbid: what is not, all the same."""

    __slots__ = ("allow", "forbid")

    def __init__(self, allow: list[str] | None = None, forbid: list[str] | None = None) -> None:
        self.allow = allow
        self.forbid = forbid or []


class Policy:
    """Each method tells why something is refused, in words that end a sentence; empty where it is not."""

    __slots__ = ("_directories", "_parents", "_routes")

    def __init__(self, routes: Rule, parents: Rule, directories: Rule) -> None:
        self._routes = routes
        self._parents = parents
        self._directories = directories

    def refuses_route(self, subnet: Cidr, private: Iterable[Cidr]) -> str:
        """A host route to a subnet. ValueError where a prefix of the file is none: parse has seen to that."""
        if any(Cidr.parse(one).overlaps(subnet) for one in self._routes.forbid):
            return _forbidden("hostRoutes.forbid")
        allow = private if self._routes.allow is None else map(Cidr.parse, self._routes.allow)
        return "" if is_within(subnet, allow) else _forbidden("hostRoutes.allow")

    def refuses_parent(self, names: Iterable[str]) -> str:
        """A parent, by all names that it has: its own, and of a VLAN also that of the link below with the number."""
        return self._by_pattern("parents", self._parents, names, _matches)

    def refuses_directory(self, path: str) -> str:
        """A directory of leases. A path that is relative, or climbs, is none that the file can mean."""
        rule = self._directories
        if (rule.allow is not None or rule.forbid) and (not path.startswith("/") or ".." in path.split("/")):
            return _forbidden("dataDirs")
        return self._by_pattern("dataDirs", rule, [_normal(path)], _is_below)

    @staticmethod
    def _by_pattern(section: str, rule: Rule, names: Iterable[str], matches: Matches) -> str:
        names = list(names)
        if any(matches(pattern, name) for pattern in rule.forbid for name in names):
            return _forbidden(f"{section}.forbid")
        if rule.allow is not None and not any(matches(pattern, name) for pattern in rule.allow for name in names):
            return _forbidden(f"{section}.allow")
        return ""


def of_the_node() -> Policy:
    """CniError INVALID_CONFIG where the file is not root's alone to write, or not what it should be."""
    try:
        fd = open_fd(POLICY, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        try:
            found = fstat(fd)
            if found.st_mode & _TYPE != _REGULAR:
                raise _broken("it is not a regular file")
            if found.st_uid != 0 or found.st_mode & _WRITABLE_BY_OTHERS:
                raise _broken("others than root can write it")
            text = read(fd, _LONGEST + 1)
        finally:
            close(fd)
    except OSError as error:
        raise _broken(strerror(error)) from None
    return parse(text)


def parse(text: bytes) -> Policy:
    """CniError. What the file does not know is an error: a misspelt "forbid" would forbid nothing."""
    try:
        document = loads(text, _LONGEST)
    except ValueError as error:
        raise _broken(f"it is not JSON: {error}") from None
    if not isinstance(document, dict) or not set(_SECTIONS).issuperset(document):
        raise _broken(f"it is not an object of {', '.join(_SECTIONS)}")
    return Policy(*(_rule(section, document.get(section, {})) for section in _SECTIONS))


def _rule(section: str, found: object) -> Rule:
    if not isinstance(found, dict) or not {"allow", "forbid"}.issuperset(found):
        raise _broken(f"{section} is not an object of allow and forbid")
    for key, entries in found.items():
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise _broken(f"{section}.{key} is not a list of strings")
        for entry in entries:
            _refuse_entry(section, key, entry)
    return Rule(found.get("allow"), found.get("forbid"))


def _refuse_entry(section: str, key: str, entry: str) -> None:
    if section == "hostRoutes":
        try:
            prefix = Cidr.parse(entry)
        except ValueError as error:
            raise _broken(f"{section}.{key}: {error}") from None
        if prefix.address != prefix.first:
            raise _broken(f"{section}.{key}: {entry} has host bits set")
    if section == "dataDirs" and (not entry.startswith("/") or ".." in entry.split("/")):
        raise _broken(f"{section}.{key}: {entry} is not an absolute path")


def _matches(pattern: str, name: str) -> bool:
    """Whether a name is of a pattern, in which * stands for any characters."""
    first, *rest = pattern.split(_ANY)
    if not rest:
        return name == pattern
    if not name.startswith(first):
        return False
    at, last = len(first), rest.pop()
    for part in rest:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - at >= len(last) and name.endswith(last)


def _is_below(directory: str, path: str) -> bool:
    directory = _normal(directory)
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


def _normal(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _forbidden(section: str) -> str:
    return f"the node's administrator does not allow it ({section} in {POLICY})"


def _broken(why: str) -> CniError:
    return CniError(
        INVALID_CONFIG,
        f"{POLICY} cannot be used: {why}",
        "It says what networks may use of this node; until it is right, nothing is attached. Only root may write it.",
    )
