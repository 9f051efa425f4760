"""host-local as a plugin of its own, beside Go's on the same files, and other IPAM plugins delegated to."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest

from conformance.lab import syscalls
from tests.kernel.conftest import Lan
from tests.kernel.plugin import GO, OURS, Outcome, Plugin, leases, links


class Pool:
    """One host-local network, called by the name of any container: no namespace is needed."""

    def __init__(self, data_dir: Path, **keys: Any) -> None:
        self.data_dir = data_dir
        self.ipam = {"type": "host-local", "dataDir": str(data_dir), "subnet": "10.1.0.0/24"} | keys
        self.args = ""  # CNI_ARGS

    def call(self, directory: Path, command: str, container: str, *prefix: str, **keys: Any) -> Outcome:
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": "/run/netns/none",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(directory),
            "CNI_ARGS": self.args,
        }
        config = {"cniVersion": "1.1.0" if command in ("GC", "STATUS") else "1.0.0", "name": "lan", "type": "bridge"}
        stdin = json.dumps(config | {"ipam": self.ipam} | keys).encode()
        argv = [*prefix, str(directory / "host-local")]
        return Outcome(subprocess.run(argv, input=stdin, env=environment, capture_output=True))

    def add(self, directory: Path, container: str) -> str:
        """The first address given."""
        address: str = self.call(directory, "ADD", container).result["ips"][0]["address"]
        return address.partition("/")[0]

    @property
    def leases(self) -> dict[str, str]:
        return leases(self.data_dir)

    def fill(self, addresses: int) -> None:
        """Leases of other containers, written as Go writes them, from the subnet's second address on."""
        directory = self.data_dir / "lan"
        directory.mkdir(parents=True, exist_ok=True)
        for n in range(2, addresses + 2):
            path = directory / f"10.1.{n >> 8}.{n & 255}"
            path.write_bytes(b"other%d\r\neth0" % n)


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "networks")


def test_the_result_is_the_abbreviated_one_of_an_ipam_plugin(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 10.1.0.1\nsearch example.org\noptions ndots:2\n")
    pool.ipam |= {"routes": [{"dst": "0.0.0.0/0"}], "resolvConf": str(tmp_path / "resolv.conf")}
    ours, theirs = pool.call(OURS, "ADD", "a").result, pool.call(GO, "ADD", "b").result
    assert ours == {
        "cniVersion": "1.0.0",
        "ips": [{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {"nameservers": ["10.1.0.1"], "search": ["example.org"], "options": ["ndots:2"]},
    }
    theirs["ips"][0]["address"] = "10.1.0.2/24"
    assert ours == theirs


def test_either_goes_round_where_the_other_stopped_and_releases_what_the_other_gave(pool: Pool) -> None:
    given = [pool.add(directory, f"c{i}") for i, directory in enumerate([OURS, GO, GO, OURS, OURS, GO])]
    assert given == [f"10.1.0.{n}" for n in range(2, 8)]
    for i, directory in enumerate([GO, OURS, OURS, GO, OURS, GO]):
        pool.call(directory, "CHECK", f"c{i}").succeeded()
        pool.call(directory, "DEL", f"c{i}").succeeded()
    assert pool.leases == {}
    assert (pool.add(GO, "next"), pool.add(OURS, "after")) == ("10.1.0.8", "10.1.0.9")


def test_the_files_are_byte_for_byte_those_of_go(tmp_path: Path) -> None:
    trees = []
    for directory in (OURS, GO):
        pool = Pool(tmp_path / directory.parent.name, ranges=[[{"subnet": "fd00::ffff:102:0/112"}]])
        pool.add(directory, "a")
        files = [path for path in (pool.data_dir / "lan").iterdir() if path.name != "lock"]
        trees.append({path.name: path.read_bytes() for path in files})
        if directory == OURS:  # 0600 as in Go's newer releases; Debian's still has 0644
            assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert trees[0] == trees[1]


def test_leases_of_before_cni_0_7_and_blank_ones_are_understood(pool: Pool) -> None:
    directory = pool.data_dir / "lan"
    directory.mkdir(parents=True)
    (directory / "10.1.0.2").write_text("old\n")
    (directory / "10.1.0.3").write_text("")
    (directory / "10.1.0.4").write_bytes(bytes(20))
    (directory / "10.1.0.5").write_text("some notes of a person")
    pool.call(OURS, "CHECK", "old").succeeded()
    assert pool.add(OURS, "new") == "10.1.0.3"
    pool.call(OURS, "DEL", "old").succeeded()
    assert set(pool.leases) == {"10.1.0.3", "10.1.0.5"}
    pool.call(OURS, "GC", "", **{"cni.dev/valid-attachments": []}).succeeded()
    assert set(pool.leases) == {"10.1.0.5"}


def test_both_at_once_give_no_address_twice_and_lose_none(pool: Pool) -> None:
    names = [f"c{i}" for i in range(24)]
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(lambda i: pool.add((OURS, GO)[i % 2], names[i]), range(len(names))))
        assert len(set(given)) == len(names)
        assert pool.leases == {address: f"{name}\r\neth0" for address, name in zip(given, names, strict=True)}
        for outcome in threads.map(lambda i: pool.call((GO, OURS)[i % 2], "DEL", names[i]), range(len(names))):
            outcome.succeeded()
    assert pool.leases == {}


def file_operations(pool: Pool, command: str, container: str, counts: Path) -> int:
    """System calls on files but for those of starting a program, by strace."""
    argv = ["strace", "-f", "-o", str(counts), "-e", "trace=%file,%desc"]
    pool.call(OURS, command, container, *argv)
    lines = counts.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if f"{pool.data_dir}/" in line)
    return sum(1 for line in lines[start:] if not re.search(r"mmap|exit|_internal|/proc/", line))


def test_a_call_takes_no_more_file_operations_with_10_000_leases_than_with_ten(tmp_path: Path) -> None:
    counts: dict[int, list[int]] = {}
    for leases_of_others in (10, 10_000):
        pool = Pool(tmp_path / str(leases_of_others), subnet="10.1.0.0/16")
        pool.fill(leases_of_others)
        (pool.data_dir / "lan" / "last_reserved_ip.0").write_text("10.1.200.1")
        pool.add(OURS, "first")  # makes the index of what others left
        counts[leases_of_others] = [
            file_operations(pool, command, "pod", tmp_path / "strace") for command in ("ADD", "CHECK", "DEL", "DEL")
        ]
    assert counts[10] == counts[10_000]
    assert max(counts[10]) < 100


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Path]:
    """A directory for 140,000 small files."""
    directory = tmp_path / "large"
    directory.mkdir()
    syscalls.mount("tmpfs", str(directory), "tmpfs", options="size=600m,nr_inodes=200k")
    yield directory
    syscalls.umount(str(directory))


def test_the_last_free_address_of_a_subnet_is_found_without_reading_leases(large: Path, tmp_path: Path) -> None:
    pool = Pool(large, subnet="10.1.0.0/16")
    pool.fill(65_532)
    (pool.data_dir / "lan" / "last_reserved_ip.0").write_text("10.1.0.9")
    pool.call(OURS, "DEL", "nobody").succeeded()  # makes the index
    log = tmp_path / "strace"
    assert file_operations(pool, "ADD", "pod", log) < 300
    assert len(re.findall(r'openat\([^)]*"10\.1\.', log.read_text())) == 0
    assert (pool.data_dir / "lan" / "10.1.255.254").read_bytes() == b"pod\r\neth0"
    error = pool.call(OURS, "ADD", "late").error
    assert (error["code"], "65533 in use" in error["msg"]) == (104, True), error
    assert max(file_operations(pool, command, "pod", log) for command in ("CHECK", "DEL", "DEL")) < 100


def test_in_a_stable_order_a_pool_at_95_percent_is_as_quick(tmp_path: Path) -> None:
    """No lease is read but that of who has the first choice; rarely, all names are looked at at once."""
    pool = Pool(tmp_path / "networks", subnet="10.1.0.0/18", order="stable")
    directory = pool.data_dir / "lan"
    directory.mkdir(parents=True)
    for n in Random(1).sample(range(2, 16_383), 16_381 * 95 // 100):
        (directory / f"10.1.{n >> 8}.{n & 255}").write_bytes(b"other%d\r\neth0" % n)
    pool.call(OURS, "DEL", "nobody").succeeded()  # makes the index
    log, counts, before = tmp_path / "strace", [], len(list(directory.iterdir()))
    for name in range(12):
        counts.append(file_operations(pool, "ADD", f"pod{name}", log))
        assert len(re.findall(r'openat\([^)]*"10\.1\.[^)]*O_RDONLY', log.read_text())) <= 1
    assert len(list(directory.iterdir())) == before + 12 + 1  # with last_reserved_ip.0
    assert sorted(counts)[6] < 120, counts
    assert max(counts) < 300, counts


def test_in_a_stable_order_a_pod_has_its_address_again_from_the_executable(pool: Pool) -> None:
    pool.ipam["order"], pool.args = "stable", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0"
    given = pool.add(OURS, "a")
    pool.call(OURS, "CHECK", "a").succeeded()
    second = pool.add(OURS, "b")
    # Go's goes on behind the last one, with the key that it does not know, and what it gives is not given again.
    after = f"10.1.0.{(int(second.rpartition('.')[2]) - 1) % 253 + 2}"
    gos = pool.add(GO, "go")
    assert gos in (after, f"10.1.0.{int(after.rpartition('.')[2]) + 1}")
    for directory, name in ((GO, "a"), (OURS, "b"), (OURS, "go")):
        pool.call(directory, "DEL", name).succeeded()
    assert [pool.add(OURS, "c"), pool.add(OURS, "d")] == [given, second]
    pool.call(OURS, "DEL", "c").succeeded()
    (pool.data_dir / "lan" / given).write_bytes(b"go\r\neth0")
    assert pool.add(OURS, "e") not in (given, second)


def test_both_at_once_give_no_address_twice_in_a_stable_order(pool: Pool) -> None:
    """All for one pod: each of ours begins at the same address."""
    pool.ipam["order"], pool.args = "stable", "IgnoreUnknown=1;K8S_POD_NAME=web"
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(lambda i: pool.add((OURS, OURS, GO)[i % 3], f"c{i}"), range(24)))
    assert len(set(given)) == 24
    assert pool.leases == {address: f"c{i}\r\neth0" for i, address in enumerate(given)}


def test_after_a_reboot_a_container_takes_its_own_again_and_others_only_what_is_needed(
    lan: Lan, tmp_path: Path
) -> None:
    pool = Pool(lan.data_dir, subnet="10.1.0.0/29")
    given = [pool.add(OURS, name) for name in ("a", "b", "c", "d")]
    assert pool.add(GO, "theirs") == "10.1.0.6"
    with another_boot(tmp_path):
        assert pool.add(OURS, "b") == given[1]
        # The pool is exhausted: the leases of a, c and d go, but neither b's of this boot nor Go's of who knows when.
        assert pool.add(OURS, "new") == given[0]
        assert pool.leases == {given[0]: "new\r\neth0", given[1]: "b\r\neth0", "10.1.0.6": "theirs\r\neth0"}


class another_boot:
    """For the length of a with block the kernel tells another boot id, as after a reboot."""

    def __init__(self, tmp_path: Path) -> None:
        self.file = tmp_path / "boot_id"
        self.file.write_text("00000000-0000-0000-0000-000000000001\n")

    def __enter__(self) -> None:
        syscalls.mount(str(self.file), "/proc/sys/kernel/random/boot_id", flags=syscalls.MS_BIND)

    def __exit__(self, *_: object) -> None:
        syscalls.umount("/proc/sys/kernel/random/boot_id")


# Delegation


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """A directory for IPAM plugins written as scripts."""
    directory = tmp_path / "bin"
    directory.mkdir()
    return directory


def script(directory: Path, name: str, text: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_go_plugins_get_addresses_of_our_host_local_and_ours_of_gos(lan: Lan) -> None:
    pod = lan.container("pod")
    bin_dir = lan.data_dir.parent / "mixed"
    bin_dir.mkdir()
    for name, directory in (("macvlan", GO), ("host-local", OURS)):
        (bin_dir / name).symlink_to(directory / name)
    go_on_ours = Plugin(lan.node, "macvlan", bin_dir)
    result = go_on_ours.add(pod, lan.config()).result
    assert pod.ping("10.1.0.1")
    go_on_ours.check(pod, lan.config(), result).succeeded()
    go_on_ours.delete(pod, lan.config()).succeeded()
    assert leases(lan.data_dir) == {}


def test_static_of_the_go_plugins_gives_the_addresses_it_is_told(lan: Lan) -> None:
    pod = lan.container("pod")
    ipam = {"type": "static", "addresses": [{"address": "10.1.0.77/24", "gateway": "10.1.0.1"}]}
    config = lan.config(ipam=ipam | {"routes": [{"dst": "0.0.0.0/0"}]})
    result = lan.macvlan.add(pod, config, CNI_PATH=str(GO)).result
    assert result["ips"] == [{"address": "10.1.0.77/24", "gateway": "10.1.0.1", "interface": 0}]
    assert pod.ping("10.1.0.1")
    lan.macvlan.check(pod, config, result, CNI_PATH=str(GO)).succeeded()
    lan.macvlan.delete(pod, config, CNI_PATH=str(GO)).succeeded()
    assert links(pod) == []


def test_a_delegated_plugin_gets_the_call_and_the_callers_own_environment(lan: Lan, fake: Path) -> None:
    pod = lan.host("pod")
    script(
        fake,
        "spy",
        f'cat >{fake}/$CNI_COMMAND.stdin; env >{fake}/$CNI_COMMAND.env; echo \'{{"ip4":{{"ip":"10.1.0.9/24"}}}}\'',
    )
    config = lan.config(ipam={"type": "spy", "own": [1, {"key": "value"}]})
    result = lan.macvlan.add(pod, config, CNI_PATH=f"/nowhere:{fake}", LD_LIBRARY_PATH="/opt/lib").result
    assert result["ips"] == [{"address": "10.1.0.9/24", "interface": 0}]
    lan.macvlan.delete(pod, config, CNI_PATH=str(fake)).succeeded()
    for command, library_path in (("ADD", "/opt/lib"), ("DEL", None)):
        assert json.loads((fake / f"{command}.stdin").read_text()) == config
        environment = dict(line.split("=", 1) for line in (fake / f"{command}.env").read_text().splitlines())
        assert environment["CNI_CONTAINERID"] == "pod"
        assert environment.get("LD_LIBRARY_PATH") == library_path
        assert not any(name.startswith("_PYI") or name.endswith("_ORIG") for name in environment), environment


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ('echo \'{"code": 123, "msg": "no more", "details": "at all"}\'; exit 1', 123, "ipam: bad: no more"),
        ("echo oh dear >&2; exit 3", 109, "failed with exit status 3"),
        ("kill -SEGV $$", 109, "was ended by signal 11"),
        ("echo garbage", 6, "answered with no JSON"),
        ("echo '[]'", 6, "something else than a result"),
        ('echo \'{"ips": [{"address": "x"}]}\'', 6, "something else than a result"),
        ("echo '{}'", 109, "gave no address"),
    ],
)
def test_a_delegated_plugin_that_fails_gives_an_error_and_leaves_nothing(
    lan: Lan, fake: Path, text: str, code: int, words: str
) -> None:
    pod = lan.host("pod")
    script(fake, "bad", f"echo $CNI_COMMAND >>{fake}/calls; [ $CNI_COMMAND = DEL ] && exit 0\n{text}")
    outcome = lan.macvlan.add(pod, lan.config(ipam={"type": "bad"}), CNI_PATH=str(fake))
    error = outcome.document
    assert (outcome.status, error["code"], words in error["msg"]) == (1, code, True), error
    assert links(pod) == []
    assert (fake / "calls").read_text().split() == ["ADD", "DEL"]
    if "oh dear" in text:
        assert (error["details"], outcome.stderr) == ("oh dear", "oh dear\n")


def test_a_plugin_that_is_not_in_cni_path_is_named(lan: Lan, fake: Path) -> None:
    error = lan.macvlan.add(lan.host("pod"), lan.config(ipam={"type": "dhcp"}), CNI_PATH=str(fake)).error
    assert (error["code"], "'dhcp'" in error["msg"], str(fake) in error["msg"]) == (7, True, True)
    error = lan.macvlan.add(lan.host("pod2"), lan.config(ipam={"type": "../bin/sh"})).error
    assert (error["code"], error["msg"][:30]) == (7, "invalid configuration: ipam.ty")
