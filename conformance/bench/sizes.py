"""What inputs cost that are as long as they may be: `make sizes`, on the host's own kernel; no call takes over 2 s of
processor time or 64 MiB.

As a program, inside the lab: python3 -m conformance.bench.sizes [PART OF A CASE'S NAME]. Each case is one thing that
somebody else can make long: a key of the configuration, the earlier result, CNI_ARGS, what a container has in its
namespace. The last line says whether the bounds held, and so does the exit status.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from conformance import generated
from conformance.bench import report
from conformance.bench.side import GNU_TIME
from conformance.lab.topology import Host, Topology

LONGEST = (1 << 20) - 1  # bytes of a configuration: what is longer is refused (cni_core/strictjson.py)
LONGEST_VARIABLE = (1 << 17) - 20  # bytes of one in the environment: MAX_ARG_STRLEN, linux/binfmts.h
MOST_SECONDS = 2.0
MOST_MIB = 64.0
OWN_ROUTES = 200_000
PATIENCE = 60  # seconds, for what is far from its bounds
IN_TURN = ("ADD", "CHECK", "DEL")  # CHECK and DEL with the result of the ADD, where it gave one
INTERNAL = 100  # the code of a defect (cni_core/errors.py)
LEFT = "leases are left"

Config = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """keys are added to a plain configuration, ipam to its `ipam`; text: the whole of stdin instead.

    prepare: what is done in the container before each call.
    """

    name: str
    keys: Config = field(default_factory=dict)
    ipam: Config = field(default_factory=dict)
    text: bytes = b""
    calls: Sequence[str] = IN_TURN
    variables: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Host], None] | None = None


class Measured(NamedTuple):
    case: str
    command: str
    seconds: float
    mib: float
    answer: str

    @property
    def holds(self) -> bool:
        wrong = f"code {INTERNAL}:" in self.answer or LEFT in self.answer
        return self.seconds <= MOST_SECONDS and self.mib <= MOST_MIB and not wrong


def ipv4(number: int) -> str:
    return ".".join(str(byte) for byte in (0x0A000000 + number).to_bytes(4, "big"))


def many(item: Callable[[int], Any], *, beside: int = 400) -> list[Any]:
    """As many items as fit into a configuration, beside so many bytes of other keys."""
    found: list[Any] = []
    room = LONGEST - beside
    while room > 0:
        found.append(item(len(found)))
        room -= len(json.dumps(found[-1], separators=(",", ":"))) + 1
    return found[:-1]


def named(items: Sequence[Any]) -> dict[str, Any]:
    """The same as members of an object, which are as many fewer as their names take room."""
    found: dict[str, Any] = {}
    room = LONGEST - 400
    for i, item in enumerate(items):
        room -= len(json.dumps({f"k{i}": item}, separators=(",", ":"))) - 1
        if room < 0:
            break
        found[f"k{i}"] = item
    return found


def one_range(number: int) -> Config:
    return {"subnet": f"{ipv4(number << 8)}/24"}


def one_set(number: int) -> list[Config]:
    return [{"subnet": f"{ipv4(number << 3)}/29"}]


def ipv6_set(number: int) -> list[Config]:
    return [{"subnet": f"fd00:{number:x}::/64", "gateway": "none"}]


def result(**parts: Any) -> Config:
    return {"prevResult": {"cniVersion": "1.0.0", **parts}}


def repeated(unit: bytes) -> bytes:
    return b'{"x":[' + unit + (b"," + unit) * ((LONGEST - 40 - len(unit)) // (len(unit) + 1)) + b"]}"


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def own_routes(pod: Host) -> None:
    """As many as a container's root may make, in both families, by a link of its own."""
    links = {link["ifname"] for link in pod.ip_json("link show")}
    if "own" not in links:
        pod.ip("link add own type veth peer name own1")
        pod.ip("link set own up")
        pod.ip("link set own1 up")
        for family, first in (("-4", ipv4), ("-6", lambda number: f"fd77::{number >> 16:x}:{number & 0xFFFF:x}")):
            commands = "".join(f"route add {first(0x01000000 + i)} dev own\n" for i in range(OWN_ROUTES))
            pod.run(["ip", family, "-batch", "-"], input=commands.encode())


def own_names(pod: Host) -> None:
    """As many alternative names as a link takes: the kernel's answer about it passes 64 KiB."""
    commands = [f"link property add dev eth0 altname {f'n{i:0126}'}" for i in range(490)]
    if "eth0" in {link["ifname"] for link in pod.ip_json("link show")}:
        pod.run(["ip", "-force", "-batch", "-"], input="\n".join(commands).encode(), check=False)


WRONG = {"name": "sizes", "cniVersion": "1.0.0", "type": "macvlan"}
FLAT = {"subnet": "10.0.0.0/8"}
CASES = (
    # As they were reported.
    Case("1,800 IPv6 range sets", {"dad": "off"}, {"ranges": [ipv6_set(i) for i in range(1800)]}),
    Case("5,000 range sets", ipam={"ranges": [one_set(i) for i in range(5000)]}),
    Case(
        "12,000 range sets, 12,001 ips",
        {"runtimeConfig": {"ips": [ipv4((i << 3) + 2) for i in range(12001)]}},
        {"ranges": [one_set(i) for i in range(12000)]},
    ),
    Case("200,000 wrong names in master", {"master": ["/"] * 200_000}),
    Case(
        f"{OWN_ROUTES:,} routes of the container's own, IPv4",
        ipam={"routes": [{"dst": "0.0.0.0/0"}, {"dst": "11.0.0.0/8"}]},
        prepare=own_routes,
    ),
    Case(
        f"{OWN_ROUTES:,} routes of the container's own, IPv6",
        {"dad": "off"},
        {"ranges": [ipv6_set(1)], "routes": [{"dst": "::/0", "gw": "fd00:1::9"}]},
        prepare=own_routes,
    ),
    Case("490 alternative names of the container's link", prepare=own_names),
    # Lists and objects that are as long as they may be.
    Case("master: names that do not exist", {"master": many(lambda i: f"n{i}")}),
    Case("master: the last one is wrong", {"master": [*many(lambda i: f"n{i}"), "/"]}),
    Case("ranges: sets, too many", ipam={"ranges": many(one_set)}),
    Case(
        "ranges and ipRanges: as many sets as may be",
        {"runtimeConfig": {"ipRanges": [one_set(i) for i in range(5000)]}},
        {"ranges": [one_set(i) for i in range(5000, 10000)]},
    ),
    Case("ranges: one set", ipam={"ranges": [many(one_range)]}),
    Case("ranges: one set, the last one is wrong", ipam={"ranges": [[*many(one_range), {"subnet": "x"}]]}),
    Case("ranges: sets of nothing", ipam={"ranges": many(lambda i: [])}),
    Case("ranges: sets that are wrong", ipam={"ranges": many(lambda i: [{}])}),
    Case("ranges: sets that overlap", ipam={"ranges": many(lambda i: [{"subnet": "10.0.0.0/29"}])}),
    Case("ranges: keys", ipam={"ranges": [[FLAT | named(many(lambda i: 1))]]}),
    Case("exclude", ipam={"ranges": [[FLAT | {"exclude": many(lambda i: ipv4(i * 2))}]]}),
    Case("exclude: the same", ipam={"ranges": [[FLAT | {"exclude": many(lambda i: "10.9.9.9")}]]}),
    Case("exclude: the last one is wrong", ipam={"ranges": [[FLAT | {"exclude": [*many(ipv4), "x"]}]]}),
    Case("auxAddresses", ipam={"ranges": [[FLAT | {"auxAddresses": named(many(lambda i: ipv4(i * 2)))}]]}),
    Case("routes", ipam={"routes": many(lambda i: {"dst": f"{ipv4(0x01000000 + i)}/32"})}),
    Case("routes: the same", ipam={"routes": many(lambda i: {"dst": "11.0.0.0/32"})}),
    Case("routes: the last one is wrong", ipam={"routes": [*many(lambda i: {"dst": "11.0.0.0/32"}), {"dst": "x"}]}),
    Case(
        "routes: IPv6",
        {"dad": "off"},
        {
            "ranges": [ipv6_set(1)],
            "routes": many(lambda i: {"dst": f"fd77::{i:x}/128", "gw": "fd00:1::9"}),
        },
    ),
    Case("ipam: keys", ipam=named(many(lambda i: 1))),
    Case("ipam: keys, and it is wrong", ipam=named(many(lambda i: 1)) | {"subnet": 1}),
    Case("keys", named(many(lambda i: 1))),
    Case("keys, and it is wrong", named(many(lambda i: 1)) | {"master": 1}),
    Case("mode: a long text", {"mode": "a" * 1_000_000}),
    Case("dns: nameservers", {"dns": {"nameservers": many(lambda i: ipv4(i))}}),
    Case("dns: search, of one letter", {"dns": {"search": many(lambda i: "a")}}),
    Case("dns: wrong", {"dns": {"options": many(lambda i: 1)}}),
    Case("runtimeConfig: ips in a range", {"runtimeConfig": {"ips": many(ipv4)}}),
    Case("runtimeConfig: ips in no range", {"runtimeConfig": {"ips": many(lambda i: f"12.{ipv4(i)[3:]}")}}),
    Case("runtimeConfig: ips that are wrong", {"runtimeConfig": {"ips": many(lambda i: "x")}}),
    Case("runtimeConfig: ipRanges", {"runtimeConfig": {"ipRanges": many(one_set)}}),
    Case("args.cni.ips", {"args": {"cni": {"ips": many(ipv4)}}}),
    Case("prevResult: interfaces", result(interfaces=many(lambda i: {"name": "a"}))),
    Case("prevResult: ips", result(ips=many(lambda i: {"address": f"{ipv4(i)}/8"}))),
    Case("prevResult: routes", result(routes=many(lambda i: {"dst": f"{ipv4(i)}/32"}))),
    Case("prevResult: wrong", result(ips=many(lambda i: {"address": "x"}))),
    Case("CNI_ARGS: known keys", variables={"CNI_ARGS": ";".join(["K8S_=1"] * (LONGEST_VARIABLE // 7))}),
    Case("CNI_ARGS: unknown keys", variables={"CNI_ARGS": ";".join(f"{i:x}=" for i in range(LONGEST_VARIABLE // 7))}),
    Case("CNI_ARGS: no pairs", variables={"CNI_ARGS": "x" * (LONGEST_VARIABLE - 10)}),
    Case("CNI_PATH", ipam={"type": "nobody"}, variables={"CNI_PATH": ":".join(["/"] * (LONGEST_VARIABLE // 2 - 10))}),
    Case(
        "GC: valid attachments",
        {"cni.dev/valid-attachments": many(lambda i: {"containerID": f"{i:x}", "ifname": "a"}), "cniVersion": "1.1.0"},
        calls=("GC",),
    ),
    # What no key needs.
    Case("many numbers", text=repeated(b"1"), calls=("ADD", "DEL")),
    Case("many texts", text=repeated(b'""'), calls=("ADD", "DEL")),
    Case("many lists", text=repeated(b"[]"), calls=("ADD", "DEL")),
    Case("many objects", text=repeated(b"{}"), calls=("ADD", "DEL")),
    Case("many objects of one member", text=repeated(b'{"a":1}'), calls=("ADD", "DEL")),
    Case("many nested objects", text=repeated(nested(95)), calls=("ADD", "DEL")),
    Case("many nested lists", text=repeated(b"[" * 95 + b"]" * 95), calls=("ADD", "DEL")),
    Case("a long text of escapes", text=repeated(rb'"' + rb"\n" * 500_000 + rb'"'), calls=("ADD", "DEL")),
    Case("a long text of letters", text=repeated(b'"' + b"a" * 1_000_000 + b'"'), calls=("ADD", "DEL")),
    Case("a long number", text=repeated(b"1" * 4000), calls=("ADD", "DEL")),
    Case("white space", text=b" " * (LONGEST - 2) + b"{}", calls=("ADD", "DEL")),
    Case("one name again and again", text=b'{"a":1' + b',"a":1' * 170_000 + b"}", calls=("ADD", "DEL")),
    Case("nested too deeply", text=b"[" * LONGEST, calls=("ADD", "DEL")),
    Case("a name without its end", text=b'{"' + b"a" * 1_000_000, calls=("ADD", "DEL")),
)


class Sizes:
    """A node whose eth0 is on a cable, and a container for each case, called by a plugin's executable."""

    def __init__(self, net: Topology, executable: str, scratch: str) -> None:
        self._net = net
        self._executable = executable
        self._scratch = scratch
        self._node, beyond = net.host("node"), net.host("beyond")
        net.cable(self._node, "eth0", beyond, "eth0")

    def measured(self, case: Case, number: int) -> Iterator[Measured]:
        """Every call of a case."""
        pod, data_dir = self._net.host(f"pod{number}"), Path(self._scratch, f"leases{number}")
        config = self._config(case, data_dir)
        attached = config
        for command in case.calls:
            if case.prepare:
                case.prepare(pod)
            stdin = case.text or json.dumps(attached, separators=(",", ":")).encode()
            if command == case.calls[0] and len(stdin) > LONGEST:
                raise SystemExit(f"{case.name} has {len(stdin)} bytes")
            status, document, seconds, mib = self._call(case, command, pod, stdin)
            if command == "ADD" and status == 0:
                attached = config | {"prevResult": document}
            answer = told(status, document)
            if command == case.calls[-1]:
                left = [path for path in data_dir.glob("sizes/*") if path.name != "lock" and path.name[:5] != "last_"]
                answer += f"; {LEFT}" if left else ""
            yield Measured(case.name, command, seconds, mib, answer)

    def _config(self, case: Case, data_dir: Path) -> Config:
        ipam = {"type": "host-local", "dataDir": str(data_dir)}
        ranges = {} if "ranges" in case.ipam or "ipRanges" in case.keys.get("runtimeConfig", {}) else FLAT
        return WRONG | {"master": "eth0", "ipam": ipam | ranges | case.ipam} | case.keys

    def _call(self, case: Case, command: str, pod: Host, stdin: bytes) -> tuple[int, Any, float, float]:
        """Exit status, answer, seconds of processor time, MiB (of one process: the full program takes its place)."""
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": pod.name,
            "CNI_NETNS": pod.netns,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "",
        }
        with tempfile.NamedTemporaryFile(dir=self._scratch) as times:
            argv = [GNU_TIME, "-q", "-f", "%U %S %M", "-o", times.name, self._executable]
            try:
                done = self._node.run(
                    argv, input=stdin, env=environment | case.variables, timeout=PATIENCE, check=False
                )
            except subprocess.TimeoutExpired:
                return 1, {"code": 0, "msg": "no answer"}, PATIENCE, 0.0
            user, system, kib = map(float, times.read().split())
        return done.returncode, json.loads(done.stdout or b"null"), user + system, kib / 1024


def told(status: int, document: Any) -> str:
    if status == 0:
        return "done"
    text = f"code {document['code']}: {document['msg']}"
    return text if len(text) <= 70 else text[:69] + "…"


def table(rows: Sequence[Measured]) -> str:
    """One row a case: its calls' seconds, the most memory of them, what they answered."""
    lines = ["| case | s | MiB | answer |", "| --- | --- | ---: | --- |"]
    for case in dict.fromkeys(row.case for row in rows):
        calls = [row for row in rows if row.case == case]
        times = ", ".join(f"{row.command} {row.seconds:.2f}" for row in calls)
        answers = ", ".join(dict.fromkeys(row.answer.replace("|", "\\|") for row in calls))
        lines.append(f"| {case} | {times} | {max(row.mib for row in calls):.0f} | {answers} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m conformance.bench.sizes", description=__doc__)
    parser.add_argument("case", nargs="?", default="", help="only cases whose name has this in it")
    parser.add_argument("--ours", default="dist/cni", metavar="DIRECTORY")
    parser.add_argument("--write", action="store_true", help=f"write {report.DOCUMENT}")
    options = parser.parse_args()
    rows: list[Measured] = []
    with Topology() as net, tempfile.TemporaryDirectory(dir="/run") as scratch:
        sizes = Sizes(net, str(Path(options.ours, "macvlan").resolve()), scratch)
        for number, case in enumerate(CASES):
            if options.case not in case.name:
                continue
            for row in sizes.measured(case, number):
                print(
                    f"{'' if row.holds else '!! '}{row.case}: {row.command} {row.seconds:.2f} s, "
                    f"{row.mib:.0f} MiB, {row.answer}",
                    flush=True,
                )
                rows.append(row)
    if options.write:
        generated.write(report.DOCUMENT, "sizes", table(rows))
    broken = [row for row in rows if not row.holds]
    print(f"{len(rows)} calls: {len(broken)} over {MOST_SECONDS:g} s or {MOST_MIB:g} MiB, or with an internal error")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
