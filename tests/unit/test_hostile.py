"""What other programs answer, be it anything: the kernel's netlink replies, and a delegated plugin's output."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from errno import EAGAIN
from itertools import chain, repeat
from time import monotonic
from typing import Any

import pytest
from hypothesis import given, strategies as st

from cni_core.address import Cidr
from cni_core.errors import TRY_AGAIN_LATER, CniError
from cni_core.result import Result
from cni_core.rtnl import socket as rtnl_socket
from cni_core.rtnl.messages import NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR, RTM_NEWLINK, Route, del_link
from cni_core.rtnl.socket import MSG_TRUNC, Rtnl
from ipam import delegate
from tests.unit.strategies import outputs


class Peer:
    """A socket whose datagrams are made up, of the kernel's port or another; a time-out where there are no more."""

    def __init__(self, datagrams: Iterator[tuple[bytes, int]], ports: Iterator[int] | None = None) -> None:
        self.datagrams = datagrams
        self.ports = ports or repeat(0)

    def setsockopt(self, *_: object) -> None:
        pass

    def connect(self, _: tuple[int, int]) -> None:
        pass

    def send(self, data: bytes) -> int:
        return len(data)

    def recvmsg(self, _: int) -> tuple[bytes, list[Any], int, tuple[int, int]]:
        try:
            datagram, flags = next(self.datagrams)
        except StopIteration:
            raise BlockingIOError(EAGAIN, "") from None
        return datagram, [], flags, (next(self.ports), 0)


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body + bytes(-len(body) % 4)


LINK = struct.pack("=BBHiII", 0, 0, 1, 5, 1, 0) + struct.pack("=HH", 8, 3) + b"eth\0"
messages = st.builds(
    message,
    st.sampled_from([NLMSG_ERROR, NLMSG_DONE, 1, 4, RTM_NEWLINK, 20, 24]),
    st.sampled_from([0, NLM_F_MULTI, 0x10]),
    st.sampled_from([0, 1, 1, 1, 2]),
    st.sampled_from([LINK, bytes(4), bytes(20), struct.pack("=i", -19) + bytes(16)]) | st.binary(max_size=40),
)
datagrams = st.lists(messages | st.binary(max_size=40), max_size=3).map(b"".join)
ASKED: list[Callable[[Rtnl], object]] = [
    lambda rtnl: rtnl.execute(del_link(5)),
    lambda rtnl: rtnl.execute(del_link(5), del_link(6)),
    lambda rtnl: rtnl.link("eth0"),
    lambda rtnl: [(link.name, link.kind, link.mac, link.parent) for link in rtnl.links()],
    lambda rtnl: [str(address.cidr) for address in rtnl.addresses(5)],
    lambda rtnl: [str(route) for route in rtnl.routes(2)],
]


@given(st.sampled_from(ASKED), st.lists(st.tuples(datagrams, st.sampled_from([0, 0, 0, MSG_TRUNC])), max_size=4))
def test_any_netlink_reply_is_an_answer_or_an_error(
    ask: Callable[[Rtnl], object], replies: list[tuple[bytes, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rtnl_socket, "socket", lambda *_: Peer(iter(replies)))
        try:
            ask(Rtnl())
        except CniError as error:
            assert error.msg


def test_a_kernel_that_does_not_answer_is_waited_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtnl_socket, "_SECONDS", 1)
    rtnl, began = Rtnl(), monotonic()  # one that was asked nothing
    with rtnl, pytest.raises(CniError, match="the kernel gave no answer over rtnetlink for 1 seconds") as failed:
        rtnl._receive()
    assert failed.value.code == TRY_AGAIN_LATER
    assert monotonic() - began >= 1


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize("sequence", [1, 7])
def test_replies_without_an_end_are_an_error(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[Rtnl], object], sequence: int
) -> None:
    endless = chain([(b"", 0)], repeat((message(3 if sequence == 7 else 99, NLM_F_MULTI, sequence, bytes(4)), 0)))
    monkeypatch.setattr(rtnl_socket, "socket", lambda *_: Peer(endless))
    monkeypatch.setattr(rtnl_socket, "_DATAGRAMS", 1000)
    with pytest.raises(CniError):
        ask(Rtnl())


def test_what_comes_from_another_port_than_the_kernels_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    success, refused = bytes(20), struct.pack("=i", -19) + bytes(16)
    forged, real = message(NLMSG_ERROR, 0, 1, success), message(NLMSG_ERROR, 0, 1, refused)
    answers, ports = iter([(forged, 0), (b"garbage", MSG_TRUNC), (real, 0)]), iter([4711, 4711, 0])
    monkeypatch.setattr(rtnl_socket, "socket", lambda *_: Peer(answers, ports))
    with pytest.raises(CniError, match="ENODEV"):
        Rtnl().execute(del_link(5))


def test_a_reply_that_never_comes_is_to_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtnl_socket, "socket", lambda *_: Peer(iter(())))
    for ask in ASKED:
        with pytest.raises(CniError) as error:
            ask(Rtnl())
        assert (error.value.code, "no answer" in error.value.msg) == (11, True)


@given(outputs)
def test_any_output_of_a_delegated_plugin_is_a_result_or_an_error(output: bytes) -> None:
    try:
        assert isinstance(delegate._result("fake", output, ""), Result)
    except CniError as error:
        assert error.msg.startswith("ipam: fake answered with ")


def route_message(sequence: int, number: int) -> bytes:
    """An RTM_NEWROUTE of the main table to 10.X.Y.0/24."""
    header = struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, 3, 0, 1, 0)
    body = header + struct.pack("=HHI", 8, 15, 254) + struct.pack("=HHBBBB", 8, 1, 10, number >> 8, number & 255, 0)
    return message(24, NLM_F_MULTI, sequence, body)


def test_of_a_dump_nothing_is_kept_that_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {Cidr.parse("10.0.7.0/24"), Cidr.parse("10.9.9.0/24"), Cidr.parse("0.0.0.0/0")}
    decoded: list[bytes] = []
    decode = Route.decode

    def noted(body: bytes) -> Route | None:
        decoded.append(body)
        return decode(body)

    monkeypatch.setattr(Route, "decode", noted)
    dump = [(route_message(1, number), 0) for number in range(500)] + [(message(NLMSG_DONE, 0, 1, bytes(4)), 0)]
    monkeypatch.setattr(rtnl_socket, "socket", lambda *_: Peer(iter(dump)))
    assert [str(route) for route in Rtnl().routes_to(wanted, 2)] == ["10.0.7.0/24"]
    assert len(decoded) == 1
    monkeypatch.setattr(rtnl_socket, "socket", lambda *_: Peer(iter(dump)))
    kept = Rtnl().routes(2, wanted=lambda route: str(route) == "10.0.9.0/24")
    assert [str(route) for route in kept] == ["10.0.9.0/24"]
