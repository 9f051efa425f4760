"""CNI_DEBUG=FILE in a call's environment: each step of the call, with what goes in and out, is appended to the file.

Without the variable nothing of this is imported: here the doors to the outside (netlink, files, sysctls, IPAM) are
wrapped where they are, so that other calls pay nothing. A line has the process's id, milliseconds since the call began,
and what was done, in iproute2's words where it has any. Both tiers write to one file: where the launcher hands over,
the full program goes on.
"""

from __future__ import annotations

from errno import errorcode
from posix import O_APPEND, O_CLOEXEC, O_CREAT, O_NOFOLLOW, O_WRONLY, getpid, open as open_fd, write
from time import monotonic

from cni_core import attach, files, link, netns, proof, shared, sysctl, undo
from cni_core.address import Address, format_mac
from cni_core.names import printable
from cni_core.rtnl import messages as m, neighbours as n, socket
from cni_core.strictjson import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_IFINFOMSG = 16  # bytes: struct ifinfomsg, linux/rtnetlink.h
_NDMSG = 12  # struct ndmsg, linux/neighbour.h
_OF_NEIGHBOURS = {n.RTM_NEWNEIGH: "add use", n.RTM_DELNEIGH: "del", n.RTM_GETNEIGH: "get"}
_LONGEST = 500  # characters of a value
STDERR = 2


class Trace:
    """The file, open for as long as the process lives."""

    def __init__(self, path: str) -> None:
        """OSError where the file cannot be opened. /dev/stderr is a link, and the file is ours already."""
        flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC
        self._fd = STDERR if path == "/dev/stderr" else open_fd(path, flags, 0o600)
        self._began = monotonic()

    def line(self, text: str) -> None:
        """Writes one line; what would break it is escaped."""
        # The launcher has no codec for this.
        shown = printable(text)
        try:
            write(self._fd, f"{getpid()} {(monotonic() - self._began) * 1000:8.2f} {shown}\n".encode())
        except OSError:  # a full disk is no reason to fail
            pass

    def wrap(self, where: Any, name: str, say: Callable[..., str]) -> None:
        """Says what a function is called with, and what it gives or raises; say: in words, of its arguments."""
        inner = getattr(where, name)

        def traced(*arguments: Any, **keys: Any) -> Any:
            words = say(*arguments, **keys)
            try:
                given = inner(*arguments, **keys)
            except BaseException as error:
                self.line(f"{words} ✗ {type(error).__name__}: {error}")
                raise
            self.line(words if given is None else f"{words} → {_shown(given)}")
            return given

        setattr(where, name, traced)

    def announce(self, where: Any, name: str, say: Callable[..., str]) -> None:
        """Says that a function begins: for one in which other things are told."""
        inner = getattr(where, name)

        def traced(*arguments: Any, **keys: Any) -> Any:
            self.line(say(*arguments, **keys))
            return inner(*arguments, **keys)

        setattr(where, name, traced)


def begin(path: str, environ: Mapping[bytes, bytes], stdin: bytes) -> Callable[[str], None]:
    """Starts to write to the file, and says what the call was given; returns what writes a line. OSError."""
    trace = Trace(path)
    for variable, value in environ.items():
        if variable.startswith(b"CNI_"):
            trace.line(f"environment {variable.decode(errors='replace')}={value.decode(errors='replace')}")
    trace.line(f"stdin {stdin.decode(errors='replace')}")
    trace.announce(undo.Steps, "take", lambda steps, name, *_: f"step: {name}")
    trace.announce(undo.Steps, "back", lambda steps, mark=0: f"take back: {steps or 'nothing'}")
    trace.announce(shared, "join", lambda *_: "claim the parent")
    trace.announce(shared, "leave", lambda *_, **__: "forget the attachment")
    trace.announce(link, "configure", lambda *_: "configure the link")
    trace.announce(proof, "verify", lambda *_: "compare the link with the result")
    trace.wrap(attach.Attachments, "_ask", lambda plugin, request, *_: f"ipam {request.ipam.get('type', 'none')}: ADD")
    trace.wrap(sysctl, "read", lambda *path: f"sysctl {'.'.join(path)}")
    trace.wrap(sysctl, "write", lambda value, *path: f"sysctl -w {'.'.join(path)}={value}")
    for name in ("read", "write", "append", "create", "remove"):
        trace.wrap(files.Directory, name, _of_a_file(name))
    trace.announce(netns.Entered, "__enter__", lambda entered: f"enter {entered._place.path}")
    trace.announce(netns.Entered, "__exit__", lambda *_: "leave")
    trace.announce(socket.Rtnl, "_send", lambda rtnl, messages, flags: "; ".join(map(request_words, messages)))
    trace.wrap(socket.Rtnl, "_receive", lambda *_: "  kernel")
    return trace.line


def _of_a_file(what: str) -> Callable[..., str]:
    return lambda directory, name, text="": f"{what} {directory.path}/{name}{f' {text!r}' if text else ''}"


def _shown(value: Any) -> str:
    """A value that a function gives, short enough to read."""
    if isinstance(value, list) and all(isinstance(part, tuple) for part in value):
        return "; ".join(reply_words(part) for part in value)
    text = dumps(value.to_json("1.1.0")).decode() if hasattr(value, "to_json") else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


# Netlink in iproute2's words


def request_words(message: m.Message) -> str:
    """As in "ip link add eth0.50 link if2 type vlan"."""
    if message.kind in (m.RTM_NEWLINK, m.RTM_DELLINK, m.RTM_GETLINK):
        return _link_request(message)
    if message.kind == m.RTM_NEWADDR:
        address = m.InterfaceAddress(message.body)
        nodad = " nodad" if address.flags & m.IFA_F_NODAD else ""
        return f"ip address add {address.cidr} dev if{address.index}{nodad}"
    if message.kind in (m.RTM_NEWROUTE, m.RTM_DELROUTE):
        route = m.Route.decode(message.body)
        beside = "add" if message.flags & m.NLM_F_EXCL else "prepend"
        return f"ip route {'del' if message.kind == m.RTM_DELROUTE else beside} {_route(route)}"
    if message.kind in _OF_NEIGHBOURS:
        dst = Address.from_packed(m.attributes(message.body, _NDMSG)[n.NDA_DST])
        index = int.from_bytes(message.body[4:8], "little")
        return f"ip neighbour {_OF_NEIGHBOURS[message.kind]} {dst} dev if{index}"
    return f"ip {'address' if message.kind == m.RTM_GETADDR else 'route'} show"


def _link_request(message: m.Message) -> str:
    link, found = m.Link(message.body), m.attributes(message.body, _IFINFOMSG)
    which = f"if{link.index}" if link.index else link.name
    if message.kind == m.RTM_DELLINK:
        return f"ip link del {which}"
    if message.kind == m.RTM_GETLINK:
        return "ip link show" + (f" {which}" if which else "")
    words = [f"ip link {'add' if message.flags & m.NLM_F_CREATE else 'set'} {which}"]
    words += [f"name {link.name}"] if link.index and link.name else []
    words += [f"link if{link.parent}"] if link.parent else []
    words += [f"netns (fd {int.from_bytes(found[m.IFLA_NET_NS_FD], 'little')})"] if m.IFLA_NET_NS_FD in found else []
    words += [f"mtu {link.mtu}"] if link.mtu else []
    words += [f"address {format_mac(link.mac)}"] if link.mac else []
    words += [f"alias {link.alias}"] if link.alias else []
    words += ["up"] if link.up else []
    if link.kind:
        data = "".join(f" {number}:{value.hex()}" for number, value in link.data.items())
        words.append(f"type {link.kind}{data}")
    return " ".join(words)


def _route(route: m.Route | None) -> str:
    if not route:
        return "of another family"
    links = "".join(f" dev if{index}" for index in route.links)
    metric = f" metric {route.priority}" if route.priority else ""
    return f"{route}{links}{metric} table {route.table} proto {route.protocol}"


def reply_words(reply: m.Reply) -> str:
    """As iproute2 shows it; of an error its name, and the kernel's own words."""
    kind, _, _, body = reply
    if kind == m.NLMSG_ERROR:
        errno, words = m.decode_error(reply)
        return f"{errorcode.get(errno, str(errno))} {words}".rstrip() if errno else "ok"
    if kind == m.NLMSG_DONE:
        return "end of the list"
    if kind == m.RTM_NEWLINK:
        link = m.Link(body)
        below = f"@if{link.parent}" if link.parent else ""
        state = "up" if link.up else "down"
        mac = format_mac(link.mac)
        return f"{link.index}: {link.name}{below} {link.kind or 'physical'} {state} mtu {link.mtu} {mac} {link.alias}"
    if kind == m.RTM_NEWADDR:
        address = m.InterfaceAddress(body)
        return f"{address.cidr} dev if{address.index} flags {address.flags:#x}"
    if kind == n.RTM_NEWNEIGH:
        neighbour = n.Neighbour(body)
        return f"lladdr {format_mac(neighbour.mac)} state {neighbour.state:#x}"
    return _route(m.Route.decode(body)) if kind == m.RTM_NEWROUTE else f"a message of type {kind}"
