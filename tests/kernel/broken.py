"""Plugins that are wrong in one way each: wrappers of our own, for the conformance suite to catch.

As a program, called by a wrapper: python3 broken.py DEFECT EXECUTABLE.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PLUGINS = ("macvlan", "ipvlan", "host-local")


def directory(path: Path, defect: str, plugins: Path) -> Path:
    """path, holding wrappers of the plugins with that defect."""
    path.mkdir()
    for plugin in PLUGINS:
        wrapper = path / plugin
        wrapper.write_text(
            f"#!/bin/sh\nexec {sys.executable} -S {Path(__file__).resolve()} {defect} {plugins / plugin}\n"
        )
        wrapper.chmod(0o755)
    return path


class Call:
    """A call as the runtime made it, to be changed before `run`, and its answer, to be changed after."""

    def __init__(self, executable: str) -> None:
        self.executable = executable
        self.environ = dict(os.environ)
        self.command = os.environ.get("CNI_COMMAND", "")
        self.stdin = sys.stdin.buffer.read()
        try:
            self.config: Any = json.loads(self.stdin)
        except ValueError:
            self.config = None
        self.status = 0
        self.stdout = b""
        self.document: Any = None

    def run(self) -> None:
        stdin = self.stdin if self.config is None else json.dumps(self.config).encode()
        done = subprocess.run([self.executable], input=stdin, env=self.environ, stdout=subprocess.PIPE)
        self.status, self.stdout = done.returncode, done.stdout
        self.document = json.loads(done.stdout) if done.stdout else None

    def answer(self) -> int:
        out = json.dumps(self.document).encode() if self.document is not None else self.stdout
        sys.stdout.buffer.write(out)
        return self.status

    @property
    def added(self) -> bool:
        return self.command == "ADD" and self.status == 0

    @property
    def network(self) -> Path:
        """Where its leases are."""
        return Path(self.config["ipam"]["dataDir"], self.config["name"])

    @property
    def leases(self) -> list[Path]:
        return [path for path in self.network.iterdir() if path.name[0].isdigit() or ":" in path.name]

    def ip(self, arguments: str) -> None:
        """In the container's namespace."""
        netns = self.environ["CNI_NETNS"]
        subprocess.run(["nsenter", f"--net={netns}", "ip", *arguments.split()], check=True, stdout=subprocess.DEVNULL)


DEFECTS: dict[str, Callable[[Call], None]] = {}


def defect(body: Callable[[Call], None]) -> Callable[[Call], None]:
    DEFECTS[body.__name__] = body
    return body


@defect
def none(call: Call) -> None:
    """The wrapper itself is no defect."""
    call.run()


# What an ADD does


@defect
def drops_a_route(call: Call) -> None:
    call.run()
    if call.added:
        call.ip("route del default")


@defect
def leaves_the_link_down(call: Call) -> None:
    call.run()
    if call.added:
        call.ip("link set eth0 down")


@defect
def loses_an_address(call: Call) -> None:
    call.run()
    if call.added:
        call.ip("addr flush dev eth0 scope global")


def _forgets(key: str) -> Callable[[Call], None]:
    def body(call: Call) -> None:
        (call.config or {}).pop(key, None)
        call.run()

    return body


DEFECTS |= {
    f"ignores_{key}": _forgets(key) for key in ("mode", "mtu", "mac", "master", "runtimeConfig", "vlan", "flag")
}


@defect
def ignores_range_end(call: Call) -> None:
    for ranges in (call.config or {}).get("ipam", {}).get("ranges", []):
        for one in ranges:
            one.pop("rangeEnd", None)
    call.run()


@defect
def keeps_no_lease(call: Call) -> None:
    call.run()
    if call.added:
        for lease in call.leases:
            lease.unlink()


@defect
def writes_leases_of_another_form(call: Call) -> None:
    call.run()
    if call.added:
        for lease in call.leases:
            lease.write_bytes(lease.read_bytes().replace(b"\r\n", b"\n"))


@defect
def adds_a_default_route(call: Call) -> None:
    call.run()
    if call.added:
        call.ip("route replace default dev eth0")


@defect
def sets_one_next_hop(call: Call) -> None:
    call.run()
    if call.added:
        call.ip("route del 10.9.0.0/16 via 10.1.0.9")


@defect
def forgets_the_last_address(call: Call) -> None:
    if call.command == "ADD":
        (call.network / "last_reserved_ip.0").unlink(missing_ok=True)
    call.run()


@defect
def takes_others_leases(call: Call) -> None:
    if call.command == "ADD" and call.network.exists():
        for lease in call.leases:
            lease.unlink()
    call.run()


@defect
def has_a_lock_of_its_own(call: Call) -> None:
    (call.network / "lock").unlink(missing_ok=True)
    call.run()


@defect
def leaves_an_empty_lease(call: Call) -> None:
    call.run()
    if call.command == "ADD" and call.status:
        (call.network / "10.1.0.2").touch()


# Delegation


@defect
def keeps_variables_from_its_ipam(call: Call) -> None:
    call.environ.pop("CNI_ARGS", None)
    call.run()


@defect
def shortens_the_configuration_of_its_ipam(call: Call) -> None:
    call.config["ipam"].pop("its", None)
    call.run()


@defect
def swallows_errors(call: Call) -> None:
    call.run()
    if call.status:
        call.status, call.stdout, call.document = 0, b"", None


# What an ADD tells


@contextmanager
def _result(call: Call) -> Iterator[dict[str, Any]]:
    """The result of a successful ADD, to be changed; else an empty one."""
    call.run()
    yield call.document if call.added else {}


@defect
def tells_a_wrong_mac(call: Call) -> None:
    with _result(call) as result:
        for interface in result.get("interfaces", []):
            interface["mac"] = "02:00:00:00:00:00"


@defect
def tells_a_wrong_sandbox(call: Call) -> None:
    with _result(call) as result:
        for interface in result.get("interfaces", []):
            interface["sandbox"] = "/run/netns/elsewhere"


@defect
def tells_a_wrong_index(call: Call) -> None:
    with _result(call) as result:
        for ip in result.get("ips", []):
            ip["interface"] = 7


@defect
def tells_one_version(call: Call) -> None:
    with _result(call) as result:
        if result:
            result["cniVersion"] = "1.0.0"


@defect
def tells_more_than_the_version_has(call: Call) -> None:
    with _result(call) as result:
        if result:
            result["interfaces"] = [interface | {"mtu": 1500} for interface in result.get("interfaces", [])]


@defect
def tells_no_gateway(call: Call) -> None:
    with _result(call) as result:
        for ip in result.get("ips", []):
            ip.pop("gateway", None)


@defect
def tells_no_dns(call: Call) -> None:
    with _result(call) as result:
        result.pop("dns", None)


# What is on stdout, and the exit status


@defect
def prints_noise(call: Call) -> None:
    call.run()
    call.stdout, call.document = b"I0101 starting\n" + call.stdout, None


@defect
def prints_on_del(call: Call) -> None:
    call.run()
    if call.command == "DEL":
        call.stdout = b"{}\n"


@defect
def succeeds_with_an_error(call: Call) -> None:
    call.run()
    call.status = 0


@defect
def fails_in_silence(call: Call) -> None:
    call.run()
    if call.status:
        call.stdout, call.document = b"", None


@defect
def has_one_code_for_all(call: Call) -> None:
    call.run()
    if call.status:
        call.document["code"] = 999


@defect
def errors_without_version(call: Call) -> None:
    call.run()
    if call.status:
        call.document.pop("cniVersion")


@defect
def crashes_on_bad_input(call: Call) -> None:
    call.run()
    if call.status:
        os.kill(os.getpid(), signal.SIGKILL)


@defect
def hides_a_version(call: Call) -> None:
    call.run()
    if call.command == "VERSION":
        call.document["supportedVersions"].remove("0.3.1")


# DEL, CHECK, GC, STATUS


@defect
def keeps_the_lease(call: Call) -> None:
    if call.command == "DEL":
        call.config.pop("ipam")
    call.run()


@defect
def keeps_the_link(call: Call) -> None:
    if call.command == "DEL":
        call.environ.pop("CNI_NETNS", None)
    call.run()


@defect
def releases_every_lease(call: Call) -> None:
    call.run()
    if call.command == "DEL":
        for lease in call.leases:
            lease.unlink()


@defect
def deletes_only_once(call: Call) -> None:
    nothing = call.command == "DEL" and not call.leases
    call.run()
    if nothing:
        call.status, call.document = 1, {"cniVersion": "1.0.0", "code": 3, "msg": "unknown container"}


@defect
def needs_a_previous_result_for_del(call: Call) -> None:
    without = call.command == "DEL" and "prevResult" not in call.config
    call.run()
    if without:
        call.status, call.document = 1, {"cniVersion": "1.0.0", "code": 7, "msg": "prevResult is missing"}


@defect
def finds_nothing_wrong(call: Call) -> None:
    if call.command != "CHECK":
        call.run()


@defect
def sees_no_ipv6(call: Call) -> None:
    if call.command == "CHECK":
        for key, kept in (("ips", "address"), ("routes", "dst")):
            result = call.config["prevResult"]
            result[key] = [one for one in result[key] if ":" not in one[kept]]
    call.run()


@defect
def mends_on_check(call: Call) -> None:
    call.run()
    if call.command == "CHECK":
        call.ip("route replace default via 10.1.0.1")


@defect
def finds_fault(call: Call) -> None:
    call.run()
    if call.command == "CHECK":
        call.status, call.document = 1, {"cniVersion": "1.0.0", "code": 100, "msg": "not as it was"}


@defect
def collects_nothing(call: Call) -> None:
    if call.command != "GC":
        call.run()


@defect
def collects_only_once(call: Call) -> None:
    before = call.leases if call.command == "GC" else []
    call.run()
    if before and before == call.leases:
        call.status, call.document = 1, {"cniVersion": "1.1.0", "code": 100, "msg": "nothing to collect"}


@defect
def collects_by_one_key(call: Call) -> None:
    if call.command == "GC" and "cni.dev/attachments" in call.config:
        call.config["cni.dev/valid-attachments"] = []
    call.run()


@defect
def removes_the_parent(call: Call) -> None:
    call.run()
    if call.command == "DEL":
        subprocess.run(["ip", "link", "del", "eth0"], check=True)


@defect
def keeps_the_sub_interface(call: Call) -> None:
    call.run()
    if call.command == "DEL":
        subprocess.run(["ip", "link", "add", "link", "eth0", "name", "eth0.50", "type", "vlan", "id", "50"])


@defect
def collects_all_without_a_list(call: Call) -> None:
    if call.command == "GC" and not call.config.get("cni.dev/valid-attachments"):
        call.config["cni.dev/valid-attachments"] = []
    call.run()


@defect
def is_always_ready(call: Call) -> None:
    if call.command != "STATUS":
        call.run()


def main() -> int:
    call = Call(sys.argv[2])
    DEFECTS[sys.argv[1]](call)
    return call.answer()


if __name__ == "__main__":
    sys.exit(main())
