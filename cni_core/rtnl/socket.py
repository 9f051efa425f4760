"""A NETLINK_ROUTE socket: sends messages.Message, waits for the kernel's word on each, gives the replies."""

from __future__ import annotations

from _socket import AF_NETLINK, SO_RCVTIMEO, SOCK_CLOEXEC, SOCK_RAW, SOL_SOCKET, socket
from _struct import pack
from errno import EAGAIN, ENODEV, ENOENT
from posix import strerror
from sys import byteorder

from cni_core.errors import KERNEL_REFUSED, TRY_AGAIN_LATER, CniError
from cni_core.rtnl.messages import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    InterfaceAddress,
    Link,
    Message,
    Reply,
    Route,
    decode,
    decode_error,
    get_addresses,
    get_link,
    get_links,
    get_routes,
    malformed,
    of_destinations,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import TypeVar

    from cni_core.address import Address, Cidr
    from cni_core.rtnl.neighbours import Neighbour

    T = TypeVar("T")

NETLINK_ROUTE = 0  # linux/netlink.h
SOL_NETLINK = 270
SO_NETNS_COOKIE = 71  # asm-generic/socket.h
NETLINK_EXT_ACK = 11
NETLINK_CAP_ACK = 10
NETLINK_GET_STRICT_CHK = 12
MSG_TRUNC = 0x20  # linux/socket.h

# The kernel fills dumps up to 32 KiB a datagram (netlink_dump, net/netlink/af_netlink.c). What it tells of one link may
# be longer: an attribute has at most 64 KiB, and a container's root can fill two, the alternative names of a link and
# what it is made of (macvlan's list of addresses).
_LONGEST = 1 << 18
_SECONDS = 10
_DUMP_TRIES = 5
_AT_ONCE = 100  # their answers wait in the socket's buffer, which holds some 270 (net.core.rmem_default)
_DATAGRAMS = 100_000  # in answer to one call; all the Internet's routes are some thousand


def _every(_: object) -> bool:
    return True


def refusal(message: Message, errno: int, words: str) -> CniError:
    """The error of a message that the kernel refused, with its errno: why, in the kernel's own words if it has any."""
    from errno import errorcode  # not for a call to pay for that is refused nothing

    name = errorcode.get(errno, str(errno))
    why = f"{strerror(errno)} ({name}: {words})" if words else f"{strerror(errno)} ({name})"
    return CniError(KERNEL_REFUSED, f"could not {message.purpose}: {why}", refused=(message, errno))


class Rtnl:
    """An open socket in the network namespace that was the process's own when it was made.

    Every call ends: CniError TRY_AGAIN_LATER where no reply comes within ten seconds.
    """

    __slots__ = ("_datagrams", "_sequence", "_socket")

    def __init__(self) -> None:
        self._sequence = 0
        self._datagrams = 0
        try:
            self._socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)
            # The kernel's own limit: with a timeout of Python's each call would ask by poll(2) first.
            self._socket.setsockopt(SOL_SOCKET, SO_RCVTIMEO, pack("@ll", _SECONDS, 0))  # struct timeval
            # The last one makes the kernel heed what a dump asks for, so that it is not read in vain (Linux 4.20).
            for option in (NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK):
                self._socket.setsockopt(SOL_NETLINK, option, 1)
            # To the kernel: it refuses datagrams of anybody else (netlink_getsockbyportid, net/netlink/af_netlink.c). A
            # container's root could else answer in its place, or fill the socket's buffer.
            self._socket.connect((0, 0))
        except OSError as error:
            raise _unreachable(error) from None

    def __enter__(self) -> Rtnl:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    @property
    def cookie(self) -> int:
        """Of the socket's network namespace, by which it is told from all others of the boot; 0 before Linux 5.14."""
        try:
            return int.from_bytes(self._socket.getsockopt(SOL_SOCKET, SO_NETNS_COOKIE, 8), byteorder)
        except OSError:
            return 0

    def execute(self, *messages: Message) -> None:
        """Carries out the messages in order, many in one send; CniError with an errno for the first that is refused.

        Those behind it in the same send are tried by the kernel all the same.
        """
        for at in range(0, len(messages), _AT_ONCE):
            self._execute(messages[at : at + _AT_ONCE])

    def _execute(self, messages: tuple[Message, ...]) -> None:
        first = self._send(messages, NLM_F_REQUEST | NLM_F_ACK)
        refused = None
        waiting = len(messages)
        while waiting:
            for reply in self._receive():
                kind, _, sequence, _ = reply
                if kind == NLMSG_ERROR and first <= sequence < first + len(messages):
                    waiting -= 1
                    errno, words = decode_error(reply)
                    if errno and refused is None:
                        refused = refusal(messages[sequence - first], errno, words)
        if refused:
            raise refused

    def link(self, name: str = "", index: int = 0) -> Link | None:
        """The link of that name, which is no alternative name of it, or index; None if there is none."""
        found = self._get(get_link(name, index))
        link = Link(found) if found else None
        return link if link and name in ("", link.name) else None

    def link_by_any_name(self, name: str) -> Link | None:
        """The link that has the name, be it an alternative one, which may have 127 bytes (ALTIFNAMSIZ, linux/if.h)."""
        found = self._get(get_link(name))
        return Link(found) if found else None

    def neighbour(self, index: int, address: Address) -> Neighbour | None:
        """What is known of an address on a link; None where nobody has asked for it."""
        from cni_core.rtnl.neighbours import Neighbour, get_neighbour  # not for a call to pay for that asks nobody

        found = self._get(get_neighbour(index, address))
        return Neighbour(found) if found else None

    def _get(self, message: Message) -> bytes | None:
        """The body of the one reply; None where there is no such thing."""
        asked = self._send([message], NLM_F_REQUEST)
        while True:
            for reply in self._receive():
                kind, _, sequence, body = reply
                if sequence != asked:
                    continue
                if kind != NLMSG_ERROR:
                    return body
                errno, words = decode_error(reply)
                if errno in (ENODEV, ENOENT):
                    return None
                raise refusal(message, errno, words)

    # Dumps. wanted: which are kept, where the namespace may be a container's, which has as many as its root likes.

    def links(self, wanted: Callable[[Link], bool] = _every) -> list[Link]:
        """The links of the namespace. Never on the way of a call that all is well with: there may be thousands."""
        return self.dump(get_links(), Link, wanted)

    def addresses(self, index: int = 0, wanted: Callable[[InterfaceAddress], bool] = _every) -> list[InterfaceAddress]:
        """The addresses on a link, both families; without one, all of the namespace."""

        def on_it(address: InterfaceAddress) -> bool:
            return index in (0, address.index) and wanted(address)

        return self.dump(get_addresses(index), InterfaceAddress, on_it)

    def routes(self, family: int, link: int = 0, wanted: Callable[[Route], bool] = _every) -> list[Route]:
        """The routes of a family (AF_UNSPEC: of all), in the kernel's order, of every table; with a link, those of the
        main table by it.
        """
        return self._routes(get_routes(family, link), Route.decode, wanted)

    def routes_to(
        self, destinations: Collection[Cidr], family: int, link: int = 0, wanted: Callable[[Route], bool] = _every
    ) -> list[Route]:
        """The same, of those that lead to the destinations."""
        return self._routes(get_routes(family, link), of_destinations(destinations), wanted)

    def _routes(
        self, message: Message, read: Callable[[bytes], Route | None], wanted: Callable[[Route], bool]
    ) -> list[Route]:
        try:
            return self.dump(message, read, wanted)
        except CniError as error:
            # Of a link: a namespace that never had a route has no main table (inet_dump_fib, net/ipv4/fib_frontend.c).
            if error.errno == ENOENT:
                return []
            raise

    def dump(
        self, message: Message, read: Callable[[bytes], T | None], wanted: Callable[[T], bool] = _every
    ) -> list[T]:
        """What read makes of each reply, where that is not None, and is wanted: of others nothing is kept."""
        for _ in range(_DUMP_TRIES):
            found: list[T] = []
            interrupted = False
            for kind, flags, _, body in self._dump_once(message):
                interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                if kind != NLMSG_DONE:
                    value = read(body)
                    if value is not None and wanted(value):
                        found.append(value)
            # Something changed while the kernel listed it: entries may be missing (NLM_F_DUMP_INTR, linux/netlink.h).
            if not interrupted:
                break
        return found

    def _dump_once(self, message: Message) -> Iterator[Reply]:
        """Every reply of one dump, NLMSG_DONE last."""
        asked = self._send([message], NLM_F_REQUEST | NLM_F_DUMP)
        while True:
            for reply in self._receive():
                kind, _, sequence, _ = reply
                if sequence != asked:
                    continue
                ends = kind in (NLMSG_ERROR, NLMSG_DONE)
                if ends:
                    errno, words = decode_error(reply)
                    if errno:
                        raise refusal(message, errno, words)
                yield reply
                if ends:
                    return

    def _send(self, messages: tuple[Message, ...] | list[Message], flags: int) -> int:
        """Sends the messages; returns the sequence number of the first, the others count up from it."""
        self._datagrams = 0
        first = self._sequence + 1
        self._sequence += len(messages)
        try:
            self._socket.send(b"".join([message.encode(first + i, flags) for i, message in enumerate(messages)]))
        except OSError as error:
            raise _unreachable(error) from None
        return first

    def _receive(self) -> list[Reply]:
        try:
            # A buffer that is not cleared first: its pages are there when they are written to.
            datagram, _, flags, sender = self._socket.recvmsg(_LONGEST)
        except OSError as error:
            raise _unreachable(error) from None
        if sender[0]:  # the kernel's port is 0 (netlink(7))
            return []
        self._datagrams += 1
        if self._datagrams > _DATAGRAMS:
            raise malformed("it has no end")
        if flags & MSG_TRUNC:
            raise malformed("a datagram is larger than any the kernel sends")
        return decode(datagram)


def _unreachable(error: OSError) -> CniError:
    if error.errno == EAGAIN:
        return CniError(TRY_AGAIN_LATER, f"the kernel gave no answer over rtnetlink for {_SECONDS} seconds")
    return CniError(KERNEL_REFUSED, f"rtnetlink cannot be used: {strerror(error.errno or 0)}")
