"""A cluster as this node knows it: the file that `cluster join` made, and contacts with its engine.

DIRECTORY/NAME.json, which root alone may read, has `engine` (etcd), `endpoints`, `ca`, `cert`, `key`, or `user` and
`password`; `node`, what this host is called there, and `parent`, the link whose hardware address tells it from a clone;
and perhaps `offlineBoot`. The name of the cluster is that of the domain: one LAN.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

from cni_core import __version__
from cni_core.address import format_mac
from cni_core.errors import INVALID_CONFIG, CniError, strerror
from cni_core.rtnl.socket import Rtnl
from ipam import last_contact
from ipam.contact import node_lock
from ipam.domain import Domain, Node
from ipam.etcd import Etcd
from ipam.index import boot_id
from ipam.verbs import Away

DIRECTORY = "/etc/cni/cluster.d"

_CONTACT = "contact"  # the note of the last one


class Settings(NamedTuple):
    """The file's content. Paths and texts are empty, where it does not have them."""

    endpoints: tuple[str, ...]
    node: str
    parent: str
    ca: str = ""
    cert: str = ""
    key: str = ""
    user: str = ""
    password: str = ""
    offline: bool = False

    def to_json(self) -> dict[str, Any]:
        document = {"engine": "etcd"} | self._asdict()
        document["offlineBoot"] = document.pop("offline")
        return {name: value for name, value in document.items() if value}


class Cluster:
    """name: of the cluster; settings: how it is reached, and as whom."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.settings = settings
        self.domain = Domain(name)

    @classmethod
    def read(cls, name: str, directory: str = DIRECTORY) -> Cluster:
        """CniError INVALID_CONFIG where the file is missing, is not for root alone, or says what cannot be."""
        path = f"{directory}/{name}.json"

        def refuse(what: str, mend: str) -> NoReturn:
            raise CniError(INVALID_CONFIG, f"cluster {json.dumps(name)}: {path} {what}", mend)

        try:
            with open(path, "rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                content = file.read()
        except FileNotFoundError:
            refuse("is missing", f"`cluster join {name}` makes it.")
        except OSError as error:
            refuse(f"cannot be read: {strerror(error)}", "It must be a file of root's.")
        if mode & 0o077:
            refuse(f"can be read by others ({mode:04o})", f"chmod 600 {path}")
        try:
            return cls(name, _settings(json.loads(content)))
        except ValueError as error:
            refuse(f"is not a cluster's: {error}", f"`cluster join {name} --force` makes it anew.")

    def node(self) -> Node:
        """This host, as the cluster is to know it. CniError where the parent is not there."""
        with Rtnl() as host:
            link = host.link(self.settings.parent)
        if not link:
            raise CniError(
                INVALID_CONFIG,
                f"cluster {json.dumps(self.name)}: its parent {self.settings.parent} is not there",
                "This host is known in the cluster by that link's hardware address.",
            )
        return Node(self.settings.node, format_mac(link.mac), boot_id(), __version__, self.settings.offline)

    def last(self) -> last_contact.Note | None:
        """Of the last contact since the boot, of whatever network."""
        return last_contact.read(self.name, _CONTACT)

    @contextmanager
    def contact(self) -> Iterator[Etcd]:
        """The engine, for who then has the lock of the node (R6).

        Away at once, where another call found that the engine is away while this one waited for the lock.
        """
        began = last_contact.now()
        with node_lock(last_contact.directory(self.name)):
            last = self.last()
            if last and last.why and last.at >= began:
                raise Away(last.why, f"{self.domain.engine} cannot be asked: {last.why}")
            with self.engine(last.endpoint if last else "") as etcd:
                try:
                    yield etcd
                except Away as away:
                    last_contact.write(self.name, _CONTACT, away.why)
                    raise
                last_contact.write(self.name, _CONTACT, "", etcd.answering)

    def engine(self, endpoint: str = "", *, alone: bool = False) -> Etcd:
        """endpoint: which to ask first, if it is one of the cluster's; alone: no other."""
        known = self.settings
        return Etcd(
            (endpoint,) if alone else known.endpoints,
            ca=known.ca,
            cert=known.cert,
            key=known.key,
            user=known.user,
            password=known.password,
            token_dir=last_contact.directory(self.name),
            first=known.endpoints.index(endpoint) if endpoint in known.endpoints else 0,
        )


def _settings(document: Any) -> Settings:
    """ValueError, with what is wrong."""
    if not isinstance(document, dict):
        raise ValueError("it is no object")
    if document.get("engine") != "etcd":
        raise ValueError(f"engine {document.get('engine')!r} is not known: etcd is")
    endpoints = document.get("endpoints")
    if not isinstance(endpoints, list) or not endpoints or not all(isinstance(one, str) for one in endpoints):
        raise ValueError("endpoints is no list of URLs")
    texts = {name: document.get(name, "") for name in ("node", "parent", "ca", "cert", "key", "user", "password")}
    for name, text in texts.items():
        if not isinstance(text, str) or (name in ("node", "parent") and not text):
            raise ValueError(f"{name} is no text")
    return Settings(tuple(endpoints), **texts, offline=document.get("offlineBoot") is True)
