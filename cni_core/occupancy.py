"""One parent, one kind: macvlan and ipvlan cannot share a link, passthru shares with nobody, and one ipvlan mode and
flag holds for all of a parent's children, whom the kernel would switch without a word.
"""

from __future__ import annotations

from errno import EBUSY, EINVAL
from posix import fstat, listdir, stat

from cni_core.errors import PARENT_UNUSABLE, CniError
from cni_core.link import temporary_name
from cni_core.netns import Sandbox
from cni_core.registry import Registry
from cni_core.rtnl.messages import del_link, new_link, u16, u32
from cni_core.rtnl.socket import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_core.attach import LinkKind
    from cni_core.request import Request
    from cni_core.rtnl.messages import Link
    from cni_core.rtnl.socket import Rtnl

# What tells whether a parent has children of the other kind: the kernel refuses to mix them (linux/if_link.h:
# IFLA_MACVLAN_MODE bridge; IFLA_IPVLAN_MODE l2, which harms nobody if there is no ipvlan, as the first has shown).
_PROBES = (("macvlan", u32(1, 4)), ("ipvlan", u16(1, 0)))
_OF_PASSTHRU_TOO = (EBUSY, EINVAL)


def join(request: Request, kind: LinkKind, parent: Link, host: Rtnl, sandbox: Sandbox, inside: Rtnl) -> int:
    """Records that the attachment is on the parent; a descriptor to close when its ADD has ended.

    CniError PARENT_UNUSABLE where the parent is used as something else, naming by whom. host is the socket of the
    parent's namespace.
    """
    wanted = kind.use(request.config)
    key = _key(request, parent, sandbox)
    with Registry(create=True) as registry:
        recorded = registry.use(key)
        if recorded != wanted:
            probe = _Probe(temporary_name(request), parent, host, sandbox, inside)
            if recorded:
                # Where no child is left and none is being made, the records are of containers that died without a DEL.
                if registry.busy(key) or not probe.makes("macvlan") or not probe.makes("ipvlan"):
                    raise _refusal(parent, wanted, recorded, registry.users(key))
                for name, _ in registry.users(key):
                    registry.leave(name)
            elif kind.SWITCHES_OTHERS and not probe.makes("macvlan"):
                found = _uses_of_others(kind, parent)
                if found != {wanted}:
                    raise _refusal(parent, wanted, " and ".join(sorted(found)), [])
        return registry.join(request, key, wanted)


class _Probe:
    """Asks the kernel what a parent may carry: by a link made in the container, which goes at once."""

    def __init__(self, name: str, parent: Link, host: Rtnl, sandbox: Sandbox, inside: Rtnl) -> None:
        self._name = name
        self._parent = parent
        self._host = host
        self._sandbox = sandbox
        self._inside = inside

    def makes(self, kind: str) -> bool:
        """Whether a link of the kind can be made; ask for macvlan first: an ipvlan switches others of its kind."""
        left = self._inside.link(self._name)
        if left:  # a killed ADD's
            self._inside.execute(del_link(left.index))
        data = dict(_PROBES)[kind]
        parent = self._parent
        message = new_link(self._name, kind, data, parent=parent.index, netns=self._sandbox.fd, mtu=parent.mtu, mac=b"")
        try:
            self._host.execute(message)
        except KernelError as error:
            if error.errno in _OF_PASSTHRU_TOO:
                return False
            raise
        made = self._inside.link(self._name)
        if made:
            self._inside.execute(del_link(made.index))
        return True


def _key(request: Request, parent: Link, sandbox: Sandbox) -> str:
    inside = request.config.get("linkInContainer")
    namespace = fstat(sandbox.fd) if inside else stat("/proc/thread-self/ns/net")
    return f"{namespace.st_ino}.{parent.index}"


def _uses_of_others(kind: LinkKind, parent: Link) -> set[str]:
    """What the parent's children of a kind, in whatever namespace we can enter, are used as."""
    found = set()
    for path in _namespaces():
        try:
            with Sandbox(path) as sandbox, sandbox.rtnl() as inside:
                links = inside.links()
        except (CniError, OSError):  # gone meanwhile, or the host's own
            continue
        for link in links:
            if link.kind == kind.NAME and link.parent == parent.index and link.parent_nsid is not None:
                found.add(kind.use_of(link))
    return found


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


def _refusal(parent: Link, wanted: str, found: str, users: list[tuple[str, str]]) -> CniError:
    """The error for a parent that is used as something else, by us or (users empty) by somebody else."""
    who = ", ".join(f"{name.replace(':', '/')} of network {network}" for name, network in users)
    return CniError(
        PARENT_UNUSABLE,
        f"master: {parent.name} is in use as {found or 'another kind of link'} by {who or 'somebody else'}: "
        f"{wanted} cannot share it",
        "A parent carries macvlan or ipvlan; of macvlan, passthru shares with nobody; of ipvlan, one mode and flag "
        "holds for all. Use another parent (a VLAN of it will do), or the mode that is there.",
    )
