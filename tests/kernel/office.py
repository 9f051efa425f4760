"""Hosts of one LAN as lan-local has them: namespaces on one switch, each with its own files, and an etcd over TLS."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cni_core.address import Address
from conformance.lab.topology import Host, Topology
from ipam.etcd import Etcd
from ipam.held import Held
from ipam.verbs import List, Listing
from tests.etcd.members import ETCD, Authority
from tests.kernel import arp
from tests.kernel.plugin import OURS, Outcome, Plugin, leases, links

_ENGINES = "10.1.0.10{}"  # by the number of the member
_AGAIN = 20
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
# Each host has these of its own: the cluster's file and the networks, the records, the notes and the lock.
PLACES = ("/etc/cni", "/run/cni-vlan", "/run/cni-lan-local")


class Node(Plugin):
    """A host of the LAN with its plugins; its eth0 is on the switch."""

    def __init__(self, net: Topology, name: str, kind: str, switch: Any, directory: Path, number: int) -> None:
        super().__init__(net.host(name), kind)
        self.name = name
        self.net = net
        self.kind = kind
        self.own = directory / name
        net.cable(self.node, "eth0", switch)
        self.node.address("eth0", f"10.1.0.{number}/24")
        for place in PLACES:
            (self.own / place[1:]).mkdir(parents=True)
            Path(place).mkdir(parents=True, exist_ok=True)
        self.network = self.own / "etc/cni/net.d/lan.conflist"
        self._gone: set[tuple[str, str]] = set()  # leases of earlier boots, which stand for nobody
        self.boot_id = self.own / "boot_id"
        self.boot_id.write_text(Path(_BOOT_ID).read_text())

    @property
    def prefix(self) -> list[str]:
        """What a command is run by, so that it finds this host's files."""
        mounts = [f"mount --bind {self.own}{place} {place}" for place in PLACES]
        mounts.append(f"mount --bind {self.boot_id} {_BOOT_ID}")
        return ["unshare", "-m", "sh", "-c", f'{" && ".join(mounts)} && exec "$@"', "sh"]

    def reboots(self, pods: Sequence[Host]) -> None:
        """Its containers are gone, and what was on a tmpfs."""
        self._gone |= set(self._leases())
        for pod in pods:
            pod.ip("link del eth0")
        for place in PLACES:
            if place.startswith("/run/"):
                shutil.rmtree(self.own / place[1:])
                (self.own / place[1:]).mkdir()
        self.boot_id.write_text(f"{uuid.uuid4()}\n")

    def knows(self, **settings: Any) -> None:
        """Changes what its file says of the cluster."""
        path = self.own / "etc/cni/cluster.d/office.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    def call(self, command: str, container: Host | None, config: dict[str, Any] | bytes, **variables: str) -> Outcome:
        environment = os.environ | self.environment(command, container, variables)
        argv = [*self.prefix, str(self.executable)]
        return Outcome(self.node.run(argv, input=json.dumps(config).encode(), env=environment, check=False))

    def config(self, **keys: Any) -> dict[str, Any]:
        ipam = {
            "type": "lan-local",
            "cluster": "office",
            "dataDir": str(self.own / "networks"),
            "ranges": [[{"subnet": "10.1.0.0/24", "ipRange": "10.1.0.128/25", "gateway": "10.1.0.254"}]],
        }
        return {"cniVersion": "1.1.0", "name": "lan", "type": self.kind, "master": "eth0", "ipam": ipam} | keys

    def write(self, config: dict[str, Any]) -> None:
        """Makes it the network that the commands know."""
        plugin = {key: value for key, value in config.items() if key not in ("cniVersion", "name")}
        self.network.write_text(json.dumps({"cniVersion": "1.1.0", "name": "lan", "plugins": [plugin]}))

    def cluster(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        program = str(OURS / "cni-macvlan-py")
        return self.node.run([*self.prefix, program, "cluster", *arguments], env=os.environ, check=False)

    def done(self, *arguments: str) -> str:
        done = self._answered(*arguments)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def refused(self, *arguments: str) -> str:
        done = self._answered(*arguments)
        assert done.returncode == 1
        return done.stderr.decode()

    def _answered(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Like a runtime, it calls again where a loaded machine let the engine be late."""
        done = self.cluster(*arguments)
        for _ in range(_AGAIN):
            if b"cannot be asked" not in done.stderr:
                break
            done = self.cluster(*arguments)
        return done

    def asks(self, pod: Host, config: dict[str, Any]) -> Outcome:
        """Of an ADD that the engine answers, likewise."""
        outcome = self.add(pod, config)
        for _ in range(_AGAIN):
            if outcome.status == 0 or outcome.error["code"] != 11:
                break
            outcome = self.add(pod, config)
        return outcome

    def asks_until(self, pod: Host, config: dict[str, Any], text: str) -> str:
        """The error of an ADD that cannot succeed, with this text: a loaded machine may give another one at first."""
        for _ in range(_AGAIN):
            message: str = self.add(pod, config).error["msg"]
            if text in message:
                return message
        raise AssertionError(message)

    def under(self, tracer: Sequence[str], command: str, argv: Sequence[str], stdin: bytes) -> Any:
        """A program as this host runs it, through another one."""
        environment = os.environ | (self.environment(command, None, {}) if command else {})
        return self.node.run([*self.prefix, *tracer, *argv], input=stdin, env=environment, check=False, timeout=60)

    def given(self, pod: Host) -> str:
        address: str = self.asks(pod, self.config()).result["ips"][0]["address"]
        return address.partition("/")[0]

    @property
    def held(self) -> Held:
        return Held.parse((self.own / "networks/.cluster/lan/held").read_text())

    @property
    def leases(self) -> set[str]:
        """The addresses that containers of this boot have."""
        return {name for name, holder in self._leases() if (name, holder) not in self._gone}

    def _leases(self) -> Iterator[tuple[str, str]]:
        found = leases(self.own / "networks").items()
        return ((name, holder) for name, holder in found if not name.startswith("."))  # .: of one that was killed


class Office:
    """Three hosts with plugins of a kind, and an etcd whose members have hosts of their own, on one LAN."""

    def __init__(self, net: Topology, directory: Path, kind: str = "macvlan", members: int = 1) -> None:
        self.net = net
        self.number = 0  # of pods so far
        self._directory = directory
        switch = self.switch = net.switch("switch")
        self.authority = Authority(directory / "ca")
        self.ca = self.authority.ca
        self.client = self.authority.certificate("client")
        self.engines = [net.host(f"engine{i}") for i in range(members)]
        self.engine = self.engines[0]
        self.urls = [f"https://{_ENGINES.format(i)}:2379" for i in range(members)]
        self.members: list[subprocess.Popen[bytes]] = []
        for i, engine in enumerate(self.engines):
            net.cable(engine, "eth0", switch)
            engine.address("eth0", f"{_ENGINES.format(i)}/24")
            self.authority.certificate(f"server{i}", address=_ENGINES.format(i))
        self.members = [self._member(i) for i in range(members)]
        self.wait()
        self.nodes = [Node(net, f"node{i}", kind, switch, directory, 10 + i) for i in range(3)]
        for node in self.nodes:
            node.network.parent.mkdir()
            node.write(node.config())
            self.join(node)

    def join(self, node: Node) -> None:
        node.done("join", "office", *self.how, "--node", node.name, "--parent", "eth0")

    @property
    def how(self) -> list[str]:
        cert, key = self.client
        return ["--etcd", ",".join(self.urls), "--ca", self.ca, "--cert", cert, "--key", key]

    # The engine

    @property
    def etcd(self) -> subprocess.Popen[bytes]:
        return self.members[0]

    def data(self, i: int) -> Path:
        return self._directory / f"etcd{i}"

    def _member(self, i: int) -> subprocess.Popen[bytes]:
        own = _ENGINES.format(i)
        client = f"https://{own}:2379"
        everybody = ",".join(f"m{j}=http://{_ENGINES.format(j)}:2380" for j in range(len(self.engines)))
        options = {
            "name": f"m{i}",
            "data-dir": self.data(i),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": f"http://{own}:2380",
            "initial-advertise-peer-urls": f"http://{own}:2380",
            "initial-cluster": everybody,
            "cert-file": self._directory / f"ca/server{i}.pem",
            "key-file": self._directory / f"ca/server{i}.key",
            "trusted-ca-file": self.ca,
        }
        command = [str(ETCD), "--client-cert-auth", *(f"--{name}={value}" for name, value in options.items())]
        silent = subprocess.DEVNULL
        return self.engines[i].popen(command, stdout=silent, stderr=silent, env={"GOMAXPROCS": "2"})

    def kills(self, i: int) -> None:
        self.members[i].kill()
        self.members[i].wait(30)

    def starts(self, i: int, **how: Any) -> None:
        self.members[i] = self._member(i)
        self.wait(**how)

    def wait(self, **how: Any) -> None:
        """Until every member answers, to who asks with this user and password."""
        deadline = time.monotonic() + 60
        for url in self.urls:
            while not isinstance(self.ask(url, **how), Listing):
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def contact(self, url: str = "", **how: Any) -> Etcd:
        cert, key = self.client
        return Etcd([url] if url else self.urls, ca=self.ca, cert=cert, key=key, patience=20, **how)

    def call(self, path: str, document: dict[str, Any], url: str = "", **how: Any) -> dict[str, Any]:
        """Any method of the engine's API; its answer."""
        with self.engine.inside(), self.contact(url, **how) as etcd:
            return etcd._ask(path, document)

    def leader(self) -> int:
        for i, url in enumerate(self.urls):
            if self.members[i].poll() is not None:
                continue
            status = self.call("/v3/maintenance/status", {}, url)
            if status.get("leader") == status["header"]["member_id"]:
                return i
        raise AssertionError("there is no leader")

    def ask(self, url: str = "", **how: Any) -> Any:
        with self.engine.inside(), self.contact(url, **how) as etcd:
            return etcd.do(List((("/cni/v1/office/a/", "/cni/v1/office/a0"),)))

    @property
    def claims(self) -> dict[str, str]:
        """Whose each address is, by the engine's own records."""
        found = {}
        for record in self.ask().records[0]:
            value = json.loads(record.value)
            number = int(record.key.rpartition("/")[2], 16) & 0xFFFFFFFF
            found[socket.inet_ntoa(struct.pack("!I", number))] = value.get("node") or f"{value.get('host')}'s own"
        return found

    def is_sound(self) -> None:
        """What has a lease is held, and what is held is claimed; no address has two leases."""
        claims, seen = self.claims, list[str]()
        for node in self.nodes:
            held = {str(address) for address in node.held.claims}
            assert node.leases <= held
            assert {claims.get(address) for address in held} <= {node.name}
            seen += node.leases
        assert len(seen) == len(set(seen))

    def pods(self, count: int) -> list[Host]:
        self.number += count
        return [self.net.host(f"pod{i}") for i in range(self.number - count, self.number)]


def echo(pod: Host, addresses: list[str]) -> set[str]:
    """Which of the addresses answer an ICMP echo request from a namespace."""
    header = struct.pack("!BBHHH", 8, 0, 0xF7FF - 1, 0, 1)  # whose checksum is right without data
    with pod.inside(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as wire:
        found = set[str]()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and found != set(addresses):
            for address in set(addresses) - found:
                wire.sendto(header, (address, 0))
            wire.settimeout(0.2)
            try:
                while found != set(addresses):
                    packet, (sender, _) = wire.recvfrom(2048)
                    if packet[20] == 0:
                        found.add(sender)
            except TimeoutError:
                pass
    return found


def is_answered_once(office: Office, given: Sequence[str]) -> None:
    """Each of the addresses, on the wire."""
    with office.engine.inside():
        answers = arp.who_has("eth0", map(Address.parse, given), seconds=3)
    assert sorted(str(address) for address, _ in answers) == sorted(given)


def is_empty(office: Office, pods: Sequence[Host]) -> None:
    """Once every container is removed, nothing of it is left: no link, no lease, and no claim that nobody keeps."""
    for pod in pods:
        assert links(pod) == []
    for node in office.nodes:
        node.done("sync")
        assert not node.leases
    office.is_sound()
    held = {str(address): node.name for node in office.nodes for address in node.held.claims}
    assert {one: owner for one, owner in office.claims.items() if owner in {node.name for node in office.nodes}} == held
