"""Networks for tests, made of namespaces: hosts, containers, and switches with access and trunk ports.

For use inside the lab, as root. A host's commands run in its network namespace only: files are shared by all, and /sys
shows the lab's own links (/proc/sys/net is the host's own). Namespaces belong to threads, so entering one is two system
calls and no process.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import IO, Any

from . import syscalls, view
from .capture import Capture
from .errors import LabError

BUSYBOX = "/bin/busybox"
CONTAINER_ENVIRONMENT = {"PATH": "/bin", "HOME": "/root"}
PING_TRY_SECONDS = 1


class CommandFailed(subprocess.CalledProcessError):
    """A command's exit status was not 0; the message holds its standard error."""

    def __str__(self) -> str:
        said = (self.stderr or b"").decode(errors="replace").strip()
        return f"{super().__str__()} {said}" if said else super().__str__()


class Host:
    """A network namespace, and commands in it. `netns` is its path, fit for CNI_NETNS."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.netns = os.path.join(view.NETNS_DIRECTORY, name)
        os.close(os.open(self.netns, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0))
        try:
            with _own_namespace_restored():
                syscalls.unshare(syscalls.CLONE_NEWNET)
                syscalls.mount("/proc/thread-self/ns/net", self.netns, flags=syscalls.MS_BIND)
                syscalls.link_up("lo")
            self._fd = os.open(self.netns, os.O_RDONLY)
        except BaseException:
            self._forget()
            raise
        self._started: list[subprocess.Popen[bytes]] = []

    def remove(self) -> None:
        """End every process in the namespace, and the namespace with its links; once more does nothing."""
        if self._fd < 0:
            return
        inode = os.fstat(self._fd).st_ino
        for pid in _processes_in(inode):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for process in self._started:
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()
        os.close(self._fd)
        self._fd = -1
        self._forget()

    def _forget(self) -> None:
        try:
            syscalls.umount(self.netns)
        except OSError:
            pass  # nothing was mounted, or somebody removed it
        if os.path.exists(self.netns):
            os.unlink(self.netns)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread is in the namespace: for sockets, /proc/sys/net, and children started meanwhile."""
        with _own_namespace_restored():
            syscalls.setns(self._fd, syscalls.CLONE_NEWNET)
            yield

    def popen(
        self,
        argv: Sequence[str],
        *,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> subprocess.Popen[bytes]:
        """A command in the background, killed at the topology's end if it still runs."""
        with self.inside():  # and no preexec_fn, so that subprocess can vfork: a fork of pytest is slow on UML
            process = subprocess.Popen(
                self._command(argv), stdin=stdin, stdout=stdout, stderr=stderr, env=self._environment(env), cwd=cwd
            )
        self._started.append(process)
        return process

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 30,
        check: bool = True,
        cwd: str | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """A command to its end. CommandFailed if `check` and its status is not 0; subprocess.TimeoutExpired."""
        done = self._outer(self._command(argv), input=input, env=self._environment(env), timeout=timeout, cwd=cwd)
        if check and done.returncode != 0:
            raise CommandFailed(done.returncode, argv, done.stdout, done.stderr)
        return done

    def _outer(
        self,
        argv: Sequence[str],
        *,
        input: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 30,
        cwd: str | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """The lab's own program rather than the container's."""
        with self.inside():
            return subprocess.run(
                argv,
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                env=env,
                capture_output=True,
                timeout=timeout,
                cwd=cwd,
            )

    def _outer_checked(self, argv: Sequence[str], input: bytes | None = None) -> bytes:
        done = self._outer(argv, input=input)
        if done.returncode != 0:
            raise CommandFailed(done.returncode, argv, done.stdout, done.stderr)
        return done.stdout

    def _command(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def _environment(self, env: Mapping[str, str] | None) -> Mapping[str, str] | None:
        return env

    def ip(self, arguments: str) -> None:
        """ip-link(8) and the others: `host.ip("addr add 10.1.0.1/24 dev eth0")`."""
        self._outer_checked(["ip", *shlex.split(arguments)])

    def ip_json(self, arguments: str) -> list[dict[str, Any]]:
        """What `ip -j -d` shows: `host.ip_json("link show dev eth0")[0]["mtu"]`."""
        shown = self._outer_checked(["ip", "-j", "-d", *shlex.split(arguments)])
        links: list[dict[str, Any]] = json.loads(shown or b"[]")
        return links

    def ip_batch(self, lines: Sequence[str]) -> None:
        """Several lines for one `ip -batch`, which stops at the first that fails."""
        self._outer_checked(["ip", "-batch", "-"], "\n".join([*lines, ""]).encode())

    def address(self, ifname: str, *cidrs: str) -> None:
        """Add addresses, usable at once, and bring the interface up."""
        self.ip_batch(
            [f"addr add {cidr} dev {ifname}{' nodad' if ':' in cidr else ''}" for cidr in cidrs]
            + [f"link set {ifname} up"]
        )

    def sysctl(self, name: str, value: str) -> None:
        """`name` as a path below /proc/sys, because interface names have dots: net/ipv4/ip_forward."""
        with self.inside(), open(f"/proc/sys/{name}", "w", encoding="ascii") as setting:
            setting.write(value)

    @contextmanager
    def without_dad(self) -> Iterator[None]:
        """Interfaces made meanwhile do no duplicate address detection; those made later do."""
        self.sysctl("net/ipv6/conf/default/accept_dad", "0")
        try:
            yield
        finally:
            self.sysctl("net/ipv6/conf/default/accept_dad", "1")

    def forward(self) -> None:
        """Route between the interfaces, IPv4 and IPv6."""
        self.sysctl("net/ipv4/ip_forward", "1")
        self.sysctl("net/ipv6/conf/all/forwarding", "1")

    def ping(self, address: str, *, count: int = 1, deadline: float = 5, expect: bool = True) -> bool:
        """Whether `count` echo requests were answered, each within a second.

        An answer that is expected is tried for until `deadline` seconds have passed. With expect=False one try is
        enough: `assert not host.ping(address, expect=False)`.
        """
        argv = [BUSYBOX, "ping", "-q", "-c", str(count), "-W", str(PING_TRY_SECONDS), address]
        end = time.monotonic() + deadline
        while True:
            done = self._outer(argv, timeout=deadline + count * 2)
            if b" 0% packet loss" in done.stdout:
                return True
            if not expect or time.monotonic() >= end:
                return False
            time.sleep(0.05)

    @contextmanager
    def capture(self, ifname: str, filter: str = "") -> Iterator[Capture]:
        """Frames in and out of an interface while the block runs, as tcpdump's `filter` selects them."""
        with self.inside():
            capture = Capture(ifname, filter)
        with capture:
            yield capture


class Container(Host):
    """A host whose commands see a root file system of busybox alone."""

    def __init__(self, name: str, root: str) -> None:
        super().__init__(name)
        self.root = root

    def _command(self, argv: Sequence[str]) -> list[str]:
        return [BUSYBOX, "chroot", self.root, *argv]

    def _environment(self, env: Mapping[str, str] | None) -> Mapping[str, str]:
        return CONTAINER_ENVIRONMENT if env is None else env


class Switch(Host):
    """A namespace that holds `br0`, a bridge that keeps VLANs apart. Its ports are named p1, p2, …"""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ports: dict[tuple[str, str], str] = {}  # (host's name, its interface) → port
        # No link-local chatter of the switch's own, and multicast is flooded: snooping would wait for a querier.
        self.sysctl("net/ipv6/conf/default/disable_ipv6", "1")
        self.ip_batch(["link add br0 type bridge vlan_filtering 1 mcast_snooping 0", "link set br0 up"])

    def set_vlans(self, port: str, access: int | None, trunk: Sequence[int]) -> None:
        """Beside, or instead of, VLAN 1, which a new port carries untagged."""
        vlans = [f"vlan add dev {port} vid {vid}" for vid in trunk]
        if access is not None:
            vlans += [f"vlan del dev {port} vid 1", f"vlan add dev {port} vid {access} pvid untagged"]
        if vlans:
            self._outer_checked(["bridge", "-batch", "-"], "\n".join([*vlans, ""]).encode())


class Topology:
    """What it makes is removed at the end of its `with` block. LabError outside the lab."""

    def __init__(self) -> None:
        if not view.inside():
            raise LabError("networks are built inside the lab only: python3 -m conformance.lab run -- COMMAND")
        self._made = ExitStack()
        self._root: str | None = None

    def __enter__(self) -> Topology:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._made.close()

    def host(self, name: str) -> Host:
        """A network namespace /run/netns/NAME with its loopback up."""
        host = Host(name)
        self._made.callback(host.remove)
        return host

    def container(self, name: str) -> Container:
        """The same, for a container's programs."""
        container = Container(name, self._root_file_system())
        self._made.callback(container.remove)
        return container

    def switch(self, name: str) -> Switch:
        switch = Switch(name)
        self._made.callback(switch.remove)
        return switch

    def cable(
        self,
        host: Host,
        ifname: str,
        to: Host,
        port: str | None = None,
        *,
        access: int | None = None,
        trunk: Sequence[int] = (),
        mtu: int = 1500,
    ) -> None:
        """A veth pair, both ends up: `ifname` in `host`, and `port` in another host or a port of a switch (named by
        the switch unless said).

        A switch's port carries VLAN 1 untagged; access=50: VLAN 50 untagged instead; trunk=(50, 60): these tagged as
        well. IPv6 addresses on the ends of hosts are usable at once: no duplicate address detection.
        """
        if isinstance(to, Switch):
            port = port or f"p{len(to.ports) + 1}"
        elif port is None:
            raise ValueError("a cable between two hosts needs the second one's interface name")
        elif access is not None or trunk:
            raise ValueError("access and trunk are for a switch's port")
        master = "master br0" if isinstance(to, Switch) else ""
        with host.without_dad(), to.without_dad():
            to.ip_batch(
                [f"link add {port} up mtu {mtu} {master} type veth peer name {ifname} mtu {mtu} netns {host.name}"]
            )
        with host.inside():
            syscalls.link_up(ifname)
        if isinstance(to, Switch):
            to.ports[host.name, ifname] = port
            to.set_vlans(port, access, trunk)

    def _root_file_system(self) -> str:
        if self._root is None:
            self._root = tempfile.mkdtemp(prefix="lab-root-", dir="/run")
            self._made.callback(shutil.rmtree, self._root)
            for directory in ("bin", "dev", "etc", "proc", "root", "tmp"):
                os.mkdir(os.path.join(self._root, directory))
            shutil.copy(BUSYBOX, f"{self._root}/bin/busybox")
            subprocess.run([BUSYBOX, "chroot", self._root, BUSYBOX, "--install", "-s", "/bin"], check=True)
            for kind, directory, flags in (("", "/dev", syscalls.MS_BIND | syscalls.MS_REC), ("proc", "/proc", 0)):
                syscalls.mount(directory, self._root + directory, kind, flags)
                self._made.callback(syscalls.umount, self._root + directory)
        return self._root


@contextmanager
def _own_namespace_restored() -> Iterator[None]:
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        yield
    finally:
        syscalls.setns(own, syscalls.CLONE_NEWNET)
        os.close(own)


def _processes_in(netns_inode: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and int(entry) != os.getpid():
            try:
                if os.stat(f"/proc/{entry}/ns/net").st_ino == netns_inode:
                    found.append(int(entry))
            except OSError:
                pass  # it ended meanwhile
    return found
