"""What ipam.etcd makes of answers that are none of an etcd's: one Refused or Unknown, whatever a server says."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from ipam.etcd import Etcd
from ipam.verbs import Claim, Done, GiveBack, List, Refused, Unknown

CLAIM = Claim((("/a", "1"),))
LIST = List((("/", "0"),))


class Server(HTTPServer):
    """Answers every request with the status and the content that it is given, by path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, tuple[int, bytes]] = {}

    def client(self, **keys: str) -> Etcd:
        return Etcd([f"http://127.0.0.1:{self.server_port}"], patience=60, **keys)  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, content = self.server.answers[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


def test_an_answer_of_an_etcd_is_understood(server: Server) -> None:
    """The control of what follows."""
    server.answers["/v3/kv/txn"] = (
        200,
        b'{"header":{"revision":"7"},"succeeded":true,"responses":[{"response_txn":{}}]}',
    )
    with server.client() as etcd:
        assert etcd.do(CLAIM) == Done(frozenset(), 7)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"header":[]}',
        b'{"header":"x"}',
        b'{"header":{"revision":[]}}',
        b'{"header":{"revision":"x"}}',
        b'{"header":{},"succeeded":true,"responses":[7]}',
        b'{"header":{},"succeeded":true,"responses":7}',
        b'{"header":{},"succeeded":true,"responses":[{"response_txn":[1],"response_range":[1]}]}',
        b'{"header":{},"succeeded":true,"responses":[{"response_range":{"kvs":[7]}}]}',
        b'{"header":{},"succeeded":true,"responses":[{"response_range":{"kvs":[{"key":"%","mod_revision":"1"}]}}]}',
        b'{"header":{},"succeeded":true,"responses":[{"response_range":{"kvs":[{"key":7,"mod_revision":"1"}]}}]}',
        b"{" + b" " * (17 << 20) + b"}",
    ],
    ids=lambda content: repr(content[:70]),
)
@pytest.mark.parametrize(
    "request_", [CLAIM, LIST, GiveBack((("/a", 1), ("/b", 1)))], ids=lambda one: type(one).__name__
)
def test_no_other_answer_is_believed(server: Server, request_: Claim | List | GiveBack, content: bytes) -> None:
    server.answers["/v3/kv/txn"] = 200, content
    with server.client() as etcd:
        answer = etcd.do(request_)
    # Never done; where nothing says that it was, that is a claim to be looked for (R3).
    assert isinstance(answer, Unknown) or answer == Done(frozenset(), 0), answer


@pytest.mark.parametrize("token", [r"a\nb: c", r"\u1234", ""])
def test_a_token_that_is_none_raises_nothing(server: Server, token: str) -> None:
    server.answers["/v3/auth/authenticate"] = 200, b'{"token":"%s"}' % token.encode()
    server.answers["/v3/kv/txn"] = 401, b'{"code":16,"message":"no"}'
    with server.client(user="node", password="x") as etcd:
        assert isinstance(etcd.do(CLAIM), (Refused, Unknown))
