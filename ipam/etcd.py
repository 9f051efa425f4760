"""etcd as an engine: the four verbs as transactions of its v3 API, by the JSON gateway of every etcd (3.4 to 3.6).

Each record of a Claim, TakeUp or GiveBack is a transaction of its own inside of one that compares the guards, so that
the answer tells for which it was done. Records are put without an etcd lease: claims do not expire (R5).

int64 values come as text, keys and values in base64, and what is zero, false or empty is left out. Errors have `code`
(google.rpc.Code) and `message`, and up to 3.5 `error`; some are plain text, as what a proxy says.
"""

from __future__ import annotations

import json
import socket
import ssl
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from cni_core.errors import INVALID_CONFIG, NOT_AVAILABLE, CniError, strerror
from cni_core.files import Directory
from ipam.verbs import Answer, Claim, Done, GiveBack, KeyRange, List, Listing, Record, Refused, Remote, TakeUp, Unknown

Json = dict[str, Any]

# Seconds: of one endpoint, where there are others to be asked, and of a contact in all.
ENDPOINT_PATIENCE = 1.0
PATIENCE = 2.0

# Codes that say that a request was not carried out. Others (UNAVAILABLE, DEADLINE_EXCEEDED, …) leave it open: etcd
# carries out what it has proposed to its members even where it has told the client that time is up.
_INVALID, _UNAUTHENTICATED = 3, 16
_SURE = {_INVALID, 5, 7, 8, 9, 11, 12, _UNAUTHENTICATED}

# What etcd says of a token that it does not know any more (etcdserver/api/v3rpc/rpctypes/error.go).
_STALE_TOKEN = ("invalid auth token", "revision of auth store is old")

_TOKEN = "token"
_LONGEST = 16 << 20  # bytes of an answer: 4096 claims, the most of one request, have 2 MB


class _Failed(Exception):
    """One endpoint did not answer. is_open: whether the request may be carried out all the same."""

    def __init__(self, why: str, *, is_open: bool, is_last: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.is_open = is_open
        self.is_last = is_last  # the others would say the same


class Etcd:
    """One contact with an etcd: connections are kept until close, and the time that it may take begins with the first
    request.

    endpoints: http://HOST:PORT or https://HOST:PORT, tried in turn from number first on. ca, cert, key: PEM files.
    user, password: for an etcd with `auth enable`; the token that they give is kept in token_dir, since each
    authentication costs the server a tenth of a second. CniError INVALID_CONFIG for what cannot be used.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        ca: str = "",
        cert: str = "",
        key: str = "",
        user: str = "",
        password: str = "",
        token_dir: str = "",
        first: int = 0,
        patience: float = PATIENCE,
    ) -> None:
        first %= max(1, len(endpoints))
        self._endpoints = [*endpoints[first:], *endpoints[:first]]
        self._tls = _tls(ca, cert, key) if any(one.startswith("https:") for one in endpoints) else None
        self._user, self._password = user, password
        self._token_dir = token_dir
        self._token = ""
        self._patience = patience
        self._deadline = 0.0
        self._connections: dict[str, HTTPConnection] = {}
        for endpoint in endpoints:
            _split(endpoint)

    def __enter__(self) -> Etcd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        while self._connections:
            self._connections.popitem()[1].close()

    def do(self, request: Remote) -> Answer:
        """Refused and Unknown name each endpoint that was tried."""
        try:
            answer = self._ask("/v3/kv/txn", _transaction(request))
        except _Failed as failed:
            return Unknown(failed.why) if failed.is_open else Refused(failed.why)
        try:
            return _answer(request, answer)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            return Unknown(f"{self._endpoints[0]}: not the answer of an etcd: {error!r}")

    @property
    def answering(self) -> str:
        """The endpoint that answered last."""
        return self._endpoints[0] if self._endpoints else ""

    def version(self) -> str:
        """Of the member that answers, as 3.5.9; empty where it says none. CniError NOT_AVAILABLE where none answers."""
        try:
            return str(self._ask("/version", None).get("etcdserver", ""))
        except _Failed as failed:
            raise CniError(NOT_AVAILABLE, f"etcd cannot be asked for its version: {failed.why}") from None

    # The endpoints in turn

    def _ask(self, path: str, document: Json | None) -> Json:
        self._deadline = self._deadline or monotonic() + self._patience
        reasons = []
        is_open = False
        for endpoint in list(self._endpoints):
            try:
                answer = self._authenticated(endpoint, path, document)
            except _Failed as failed:
                is_open = is_open or failed.is_open
                reasons.append(f"{endpoint}: {failed.why}")
                if failed.is_last:
                    break
                continue
            # The next request begins with who answered.
            self._endpoints.remove(endpoint)
            self._endpoints.insert(0, endpoint)
            return answer
        raise _Failed("; ".join(reasons) or "there are no endpoints", is_open=is_open)

    def _authenticated(self, endpoint: str, path: str, document: Json | None) -> Json:
        if not self._user or document is None:
            return self._exchange(endpoint, path, document)
        if self._token or self._load_token():
            try:
                return self._exchange(endpoint, path, document)
            except _Failed as failed:
                if not any(text in failed.why for text in _STALE_TOKEN):
                    raise
        self._token = ""
        login = {"name": self._user, "password": self._password}
        self._token = str(self._exchange(endpoint, "/v3/auth/authenticate", login).get("token", ""))
        self._save_token()
        return self._exchange(endpoint, path, document)

    def _load_token(self) -> str:
        if self._token_dir:
            with Directory(self._token_dir, create=True) as files:
                self._token = files.read(_TOKEN) or ""
        return self._token

    def _save_token(self) -> None:
        if self._token_dir:
            with Directory(self._token_dir, create=True) as files:
                files.write(_TOKEN, self._token)

    def _exchange(self, endpoint: str, path: str, document: Json | None) -> Json:
        """One request to one endpoint."""
        left = self._deadline - monotonic()
        if len(self._endpoints) > 1:
            left = min(ENDPOINT_PATIENCE, left)
        if left <= 0:
            raise _Failed("no time was left to ask it", is_open=False)
        until = monotonic() + left
        connection = self._connection(endpoint)
        is_sent = False
        try:
            connection.timeout = left
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(max(0.001, until - monotonic()))
            headers = {"Content-Type": "application/json"} | ({"Authorization": self._token} if self._token else {})
            is_sent = True
            if document is None:
                connection.request("GET", path, headers=headers)
            else:
                connection.request("POST", path, json.dumps(document), headers)
            connection.sock.settimeout(max(0.001, until - monotonic()))
            response = connection.getresponse()
            status, content = response.status, response.read(_LONGEST + 1)
            if len(content) > _LONGEST:
                raise HTTPException(f"its answer is longer than {_LONGEST} bytes")
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a token that is no header's value
            self._connections.pop(endpoint).close()
            raise _Failed(_reason(error, left), is_open=is_sent) from None
        return _content(status, content)

    def _connection(self, endpoint: str) -> HTTPConnection:
        if endpoint not in self._connections:
            scheme, host, port = _split(endpoint)
            self._connections[endpoint] = (
                HTTPSConnection(host, port, context=self._tls) if scheme == "https" else HTTPConnection(host, port)
            )
        return self._connections[endpoint]


def weakness(version: str) -> str:
    """Why claims are not safe with an etcd of this version, in words; empty where they are.

    One that has but one member may lose what it has confirmed if it crashes, up to 3.4.20 and 3.5.4 (etcd issue 14370);
    before 3.4 the API has another path.
    """
    try:
        major, minor, patch = (int(part) for part in version.split("-")[0].split("."))
    except ValueError:
        return f"etcd calls its version {version!r}, which is none"
    fixed = {(3, 4): 21, (3, 5): 5}.get((major, minor))
    if (major, minor) < (3, 4):
        return f"etcd {version} is older than 3.4.21"
    if fixed is not None and patch < fixed:
        return f"etcd {version} may lose acknowledged claims (fixed in {major}.{minor}.{fixed})"
    return ""


def refuse_weak(version: str) -> None:
    """CniError NOT_AVAILABLE for an etcd that may lose claims."""
    why = weakness(version)
    if why:
        raise CniError(NOT_AVAILABLE, why, "Every member of it must be updated.")


# Requests


def _transaction(request: Remote) -> Json:
    if isinstance(request, List):
        ranges = [_range(keys) | ({"limit": str(request.limit)} if request.limit else {}) for keys in request.ranges]
        counts = [_range(keys) | {"count_only": True} for keys in request.counts]
        return {"success": [{"requestRange": one} for one in ranges + counts]}
    compare = [_is_at(key, revision) for key, revision in request.guards]
    return {"compare": compare, "success": [{"requestTxn": one} for one in _changes(request)]}


def _changes(request: Claim | TakeUp | GiveBack) -> Iterator[Json]:
    """A transaction for each record: what must be so, and what to do then."""
    if isinstance(request, Claim):
        for key, value in request.records:
            yield {"compare": [_is_at(key, 0)], "success": [_put(key, value)]}
    elif isinstance(request, TakeUp):
        for key, value, revision in request.records:
            yield {"compare": [_is_at(key, revision)], "success": [_put(key, value)]}
    else:
        for key, revision in request.records:
            deletion = {"requestDeleteRange": {"key": _encoded(key)}}
            yield {"compare": [_is_at(key, revision)], "success": [deletion]}


def _is_at(key: str, revision: int) -> Json:
    """The mod_revision of what is not there is 0."""
    return {"key": _encoded(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}


def _put(key: str, value: str) -> Json:
    return {"requestPut": {"key": _encoded(key), "value": _encoded(value)}}


def _range(keys: KeyRange) -> Json:
    return {"key": _encoded(keys[0]), "range_end": _encoded(keys[1])}


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


# Answers


def _answer(request: Remote, document: Json) -> Listing | Done:
    """Raises what reading a document of another shape raises."""
    revision = int(document["header"].get("revision", 0))
    responses = document.get("responses", [])
    if isinstance(request, List):
        if len(responses) != len(request.ranges) + len(request.counts):
            raise ValueError(f"{len(responses)} responses")
        found = [_either(one, "response_range") for one in responses]
        records = tuple(tuple(map(_record, one.get("kvs", []))) for one in found[: len(request.ranges)])
        counts = tuple(int(one.get("count", 0)) for one in found[len(request.ranges) :])
        return Listing(records, counts, revision)
    if not document.get("succeeded", False):
        return Done(frozenset(), revision)
    keys = [record[0] for record in request.records]
    done = [_either(one, "response_txn").get("succeeded", False) for one in responses]
    return Done(frozenset(key for key, is_done in zip(keys, done, strict=True) if is_done), revision)


def _either(document: Json, name: str) -> Json:
    """protobuf allows both spellings of a name in JSON."""
    head, *rest = name.split("_")
    found: Json = document.get(name) or document.get(head + "".join(part.title() for part in rest)) or {}
    return found


def _record(document: Json) -> Record:
    revision = document.get("mod_revision") or document["modRevision"]
    return Record(_decoded(document["key"]), _decoded(document.get("value", "")), int(revision))


def _decoded(text: str) -> str:
    return b64decode(text, validate=True).decode("utf-8", "replace")


def _content(status: int, content: bytes) -> Json:
    """The document of a response. _Failed for what is none, and for an error."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if status == 200 and isinstance(document, dict):
        return document
    if not isinstance(document, dict):
        text = " ".join(content.decode("utf-8", "replace").split())[:200] or "nothing"
        # Before it reaches etcd's own, a request that is refused so was not carried out; what a proxy means is open.
        raise _Failed(f"HTTP {status}: {text}", is_open=not 400 <= status < 500)
    code = document.get("code")
    message = document.get("message") or document.get("error") or f"HTTP {status}"
    is_sure = code in _SURE
    raise _Failed(str(message), is_open=not is_sure, is_last=is_sure)


# Connections


def _split(endpoint: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(endpoint)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port and parts.path in ("", "/"):
            return parts.scheme, parts.hostname, parts.port
    except ValueError:
        pass
    raise CniError(INVALID_CONFIG, f"endpoint {endpoint!r} is not http://HOST:PORT or https://HOST:PORT")


def _tls(ca: str, cert: str, key: str) -> ssl.SSLContext:
    """Verifies the server by ca (the system's where there is none), and shows the client's certificate."""
    path = ca
    try:
        context = ssl.create_default_context(cafile=ca or None)
        path = cert
        if cert:
            context.load_cert_chain(cert, key or None)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        reason = strerror(error) if isinstance(error, OSError) else str(error)
        raise CniError(INVALID_CONFIG, f"{path} cannot be used for TLS: {reason}") from None
    return context


def _reason(error: Exception, seconds: float) -> str:
    """In words for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return f"no answer in {seconds:.0f} s" if seconds >= 0.95 else f"no answer in {seconds:.1f} s"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if isinstance(error, socket.gaierror):
        return f"its name cannot be resolved: {strerror(error)}"
    if isinstance(error, OSError):
        return strerror(error).lower()
    return f"not the answer of an etcd: {error!r}"
