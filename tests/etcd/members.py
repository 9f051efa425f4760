"""etcd members of Debian's package on loopback, and a CA with certificates for them and their clients."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from signal import SIGCONT, SIGKILL
from typing import Any

from ipam.etcd import Etcd
from ipam.verbs import List, Listing

ETCD = Path(os.environ.get("ETCD", Path(__file__).parents[2] / "build" / "etcd" / "etcd"))
_READY_SECONDS = 30


class Authority:
    """A CA made by openssl, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self.ca = str(directory / "ca.pem")
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self._new_key = new_key
        self._openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/O=ca")

    def certificate(
        self, name: str, *, subject: str = "/O=nodes", days: int = 1, address: str = "127.0.0.1"
    ) -> tuple[str, str]:
        """The files of a certificate for an address, and its key. etcd's gateway wants no CN in those of clients."""
        request = ("req", *self._new_key, "-keyout", f"{name}.key", "-subj", subject, "-addext")
        self._openssl(*request, f"subjectAltName=IP:{address}", "-out", f"{name}.csr")
        signing = ("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
        self._openssl(*signing, "-copy_extensions", "copyall", "-days", str(days), "-out", f"{name}.pem")
        return str(self._directory / f"{name}.pem"), str(self._directory / f"{name}.key")

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._directory, check=True, capture_output=True, timeout=30)


class Members:
    """An etcd of count members. A with block starts them, waits until they answer, and ends them."""

    def __init__(self, directory: Path, authority: Authority, count: int) -> None:
        self._directory = directory
        self._authority = authority
        ports = _free_ports(2 * count)
        self._peers = [f"http://127.0.0.1:{port}" for port in ports[count:]]
        self.endpoints = [f"https://127.0.0.1:{port}" for port in ports[:count]]
        self._server = authority.certificate(f"server-{ports[0]}")
        self._client = authority.certificate(f"client-{ports[0]}")
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * count

    def __enter__(self) -> Members:
        try:
            for i in range(len(self.processes)):
                self.start(i)
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for i in range(len(self.processes)):
            self.kill(i)

    def data(self, i: int) -> Path:
        return self._directory / f"member{i}"

    def start(self, i: int) -> None:
        cert, key = self._server
        cluster = ",".join(f"m{j}={peer}" for j, peer in enumerate(self._peers))
        options = {
            "name": f"m{i}",
            "data-dir": self.data(i),
            "listen-client-urls": self.endpoints[i],
            "advertise-client-urls": self.endpoints[i],
            "listen-peer-urls": self._peers[i],
            "initial-advertise-peer-urls": self._peers[i],
            "initial-cluster": cluster,
            "cert-file": cert,
            "key-file": key,
            "trusted-ca-file": self._authority.ca,
        }
        command = [str(ETCD), "--client-cert-auth", *(f"--{name}={value}" for name, value in options.items())]
        self._directory.mkdir(parents=True, exist_ok=True)
        with open(self._directory / f"member{i}.log", "ab") as log:
            self.processes[i] = subprocess.Popen(command, stdout=log, stderr=log, env={"GOMAXPROCS": "2"})

    def kill(self, i: int) -> None:
        process = self.processes[i]
        if process:
            process.send_signal(SIGKILL)
            process.wait(30)
        self.processes[i] = None

    def signal(self, i: int, number: int) -> None:
        process = self.processes[i]
        if process:
            process.send_signal(number)

    def heal(self) -> None:
        """Every member runs, and answers."""
        for i, process in enumerate(self.processes):
            if process is None:
                self.start(i)
            else:
                process.send_signal(SIGCONT)
        self.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        for i in range(len(self.endpoints)):
            while True:
                with self.client(endpoints=self.endpoints[i : i + 1]) as etcd:
                    answer = etcd.do(List((("a", "b"),)))
                if isinstance(answer, Listing):
                    break
                assert time.monotonic() < deadline, answer
                time.sleep(0.05)

    def client(
        self,
        *,
        endpoints: Sequence[str] = (),
        ca: str = "",
        cert: tuple[str, str] | None = None,
        user: str = "",
        password: str = "",
        token_dir: str = "",
        first: int = 0,
        patience: float = 2.0,
    ) -> Etcd:
        """A contact, with the client's certificate unless another one is given."""
        pem, key = cert if cert is not None else self._client
        return Etcd(
            list(endpoints) or self.endpoints,
            ca=ca or self._authority.ca,
            cert=pem,
            key=key,
            user=user,
            password=password,
            token_dir=token_dir,
            first=first,
            patience=patience,
        )

    def leader(self) -> int:
        """The number of the leading member."""
        for i in range(len(self.endpoints)):
            status = self.call("/v3/maintenance/status", {}, i)
            if status.get("leader") == status["header"]["member_id"]:
                return i
        raise AssertionError("there is no leader")

    def call(self, path: str, document: dict[str, Any], i: int = 0) -> dict[str, Any]:
        """Any method of member i's API; its answer."""
        with self.client(endpoints=self.endpoints[i : i + 1]) as etcd:
            return etcd._ask(path, document)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
