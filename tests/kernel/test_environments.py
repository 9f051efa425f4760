"""Calls in environments that a node may have: limits, full pipes, planted files, a directory that hosts share."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import Lan
from tests.kernel.plugin import RECORDS, Outcome, leases, links

INVALID_CONFIG, DATA_DIRECTORY, POOL_EXHAUSTED = 7, 108, 104


def call_by(lan: Lan, words: list[str], command: str, pod: Any, config: dict[str, Any]) -> Outcome:
    """A call that another program starts."""
    argv = [*words, str(lan.macvlan.executable)]
    environment = lan.macvlan.environment(command, pod, {"PATH": os.environ["PATH"]})
    return Outcome(lan.node.run(argv, input=json.dumps(config).encode(), env=environment, check=False))


def test_files_that_may_not_grow_are_an_error_that_leaves_nothing(lan: Lan) -> None:
    pod, config = lan.host("pod"), lan.config(vlan=50)
    assert call_by(lan, ["prlimit", "--fsize=0"], "ADD", pod, config).error["code"] == DATA_DIRECTORY
    assert (links(pod), links(lan.node), leases(lan.data_dir)) == ([], ["eth0"], {})
    assert call_by(lan, ["prlimit", "--fsize=1000000"], "ADD", pod, config).status == 0  # the control


def test_a_result_is_written_whole_to_a_pipe_that_does_not_wait(lan: Lan) -> None:
    pod = lan.host("pod")
    routes = [{"dst": f"10.{i}.0.0/16", "gw": "10.1.0.1"} for i in range(2, 200)]
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    process = lan.node.popen(
        [str(lan.macvlan.executable)],
        stdin=subprocess.PIPE,
        stdout=writer,
        env=lan.macvlan.environment("ADD", pod, {}),
    )
    os.close(writer)
    assert process.stdin
    process.stdin.write(json.dumps(lan.config(ipam=lan.ipam(routes=routes))).encode())
    process.stdin.close()
    time.sleep(1)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    assert process.wait() == 0
    assert len(answer) > 4096
    assert len(json.loads(answer)["routes"]) == len(routes)


def test_a_directory_of_leases_may_lie_deep(lan: Lan, tmp_path: Path) -> None:
    pod, config = lan.host("pod"), lan.config(ipam=lan.ipam(dataDir=str(tmp_path / "deep") + "/d" * 1500))
    outcomes = lan.macvlan.add(pod, config), lan.macvlan.delete(pod, config)
    subprocess.run(["rm", "-rf", str(tmp_path / "deep")], check=True)  # which pytest cannot
    assert outcomes[0].status == 0, outcomes[0].document
    outcomes[1].succeeded()


def test_only_regular_files_are_opened_for_name_servers(lan: Lan, tmp_path: Path) -> None:
    pod, fifo, good = lan.host("pod"), tmp_path / "fifo", tmp_path / "good"
    os.mkfifo(fifo)
    good.write_text("nameserver 10.1.0.1\n")
    for path in (fifo, "/dev/zero", "/dev/tty"):
        error = lan.macvlan.add(pod, lan.config(ipam=lan.ipam(resolvConf=str(path)))).error
        assert (error["code"], error["msg"]) == (INVALID_CONFIG, f"ipam.resolvConf: {path} is not a regular file")
    # It says that it is a regular file, and what is read of it is lost to the node's own logging.
    config = lan.config(ipam=lan.ipam(resolvConf="/proc/kmsg"))
    assert not lan.macvlan.add(pod, config).result.get("dns")
    lan.macvlan.delete(pod, config).succeeded()
    result = lan.macvlan.add(pod, lan.config(ipam=lan.ipam(resolvConf=str(good)))).result
    assert result["dns"] == {"nameservers": ["10.1.0.1"]}


def test_two_hosts_that_share_a_directory_give_no_address_twice(lan: Lan, tmp_path: Path) -> None:
    """Each has a boot of its own, and the other's is no earlier one."""
    for name in ("a", "b", "a-later"):
        (tmp_path / f"boot-{name}").write_text(f"5f9c0000-0000-0000-0000-{name.encode().hex():0>12.12}\n")
        (tmp_path / f"machine-{name}").write_text(f"{name[0].encode().hex() * 16}\n")
    Path("/etc/machine-id").touch()

    def on(name: str, command: str, pod: Any) -> Outcome:
        mounts = (("machine", "/etc/machine-id"), ("boot", "/proc/sys/kernel/random/boot_id"))
        script = " && ".join(f"mount --bind {tmp_path}/{what}-{name} {where}" for what, where in mounts)
        return call_by(lan, ["unshare", "-m", "sh", "-c", f'{script} && exec "$0"'], command, pod, config)

    ranges = [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.2", "rangeEnd": "10.1.0.2"}]]
    config = lan.config(ipam=lan.ipam() | {"ranges": ranges})
    one, two = lan.host("one"), lan.host("two")
    assert on("a", "ADD", one).status == 0
    assert on("b", "ADD", two).error["code"] == POOL_EXHAUSTED
    assert leases(lan.data_dir) == {"10.1.0.2": "one\r\neth0"}
    assert on("a-later", "ADD", two).status == 0  # the control: of an earlier boot of the same host


def test_a_directory_in_the_place_of_a_lock_or_a_record_keeps_nothing_else_back(lan: Lan) -> None:
    pod, config = lan.host("pod"), lan.config()
    for planted in (lan.data_dir / "lan/lock", RECORDS / "lock"):
        assert lan.macvlan.add(pod, config).status == 0
        planted.unlink()
        (planted / "x").mkdir(parents=True)
        error = lan.macvlan.delete(pod, config).error
        assert (error["code"], str(planted) in error["msg"]) == (DATA_DIRECTORY, True), error
        assert links(pod) == []
        assert leases(lan.data_dir) == {} or planted.parent != RECORDS
        error = lan.macvlan.add(pod, config).error
        assert (error["code"], str(planted) in error["msg"]) == (DATA_DIRECTORY, True), error
        (planted / "x").rmdir()
        planted.rmdir()
        lan.macvlan.delete(pod, config).succeeded()
        assert leases(lan.data_dir) == {}
    assert lan.macvlan.add(pod, config).status == 0
    record = RECORDS / "attachments/pod:eth0"
    record.unlink()
    record.mkdir()
    lan.macvlan.delete(pod, config).succeeded()
    assert (links(pod), leases(lan.data_dir), record.exists()) == ([], {}, False)


@pytest.mark.parametrize("limit", [8, 12])
def test_few_open_files_leave_nothing_half_done(lan: Lan, limit: int) -> None:
    pod, config = lan.host("pod"), lan.config(vlan=50)
    outcome = call_by(lan, ["prlimit", f"--nofile={limit}"], "ADD", pod, config)
    if outcome.status:
        assert (links(pod), links(lan.node), leases(lan.data_dir)) == ([], ["eth0"], {})
    lan.macvlan.delete(pod, config).succeeded()
    assert (links(pod), links(lan.node), leases(lan.data_dir)) == ([], ["eth0"], {})
