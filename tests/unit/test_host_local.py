"""ipam.host_local on a real directory: what its files hold, and who gets which address when."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cni_core import errors
from cni_core.address import Address
from cni_core.errors import CniError, Interrupted
from cni_core.files import Directory
from cni_core.names import Attachment
from cni_core.request import Request
from cni_core.result import Result
from cni_core.schema.validators import host_local_plugin
from cni_core.undo import Steps
from ipam import host_local, index
from ipam.plugin import Addresses
from ipam.store import Store
from tests.unit.calls import attachment, config, host_local as ipam_of, request
from tests.unit.orders import stable_order

REPOSITORY = Path(__file__).parents[2]
SUBNET = "10.1.0.0/29"  # gives .2 to .6
SIX = "fd00::/125"  # gives ::2 to ::7


class Leases:
    """One network's host-local in a directory, and what a test asks of it."""

    def __init__(self, data_dir: Path, *sets: Any, network: str = "net1", **ipam: Any) -> None:
        self.directory = data_dir / network
        self.config = config(name=network, ipam=ipam_of(data_dir, *(sets or (SUBNET,)), **ipam))
        self.args = ""  # CNI_ARGS

    def request(self, command: str, container_id: str, ifname: str = "eth0", **members: Any) -> Request:
        return request(command, self.config | members, **attachment(container_id, ifname), CNI_ARGS=self.args)

    def add(self, container_id: str, ifname: str = "eth0", *ips: str, steps: Steps | None = None) -> list[str]:
        """The addresses that it gives; what fails is undone as attach does it."""
        return addresses(self.result(container_id, ifname, *ips, steps=steps or Steps()))

    def result(self, container_id: str, ifname: str = "eth0", *ips: str, steps: Steps) -> Result:
        try:
            return host_local.add(
                self.request("ADD", container_id, ifname, runtimeConfig={"ips": list(ips)}), steps, {}
            )
        except BaseException:
            steps.back()
            raise

    def delete(self, container_id: str, ifname: str = "eth0") -> None:
        host_local.delete(self.request("DEL", container_id, ifname))

    def check(self, container_id: str, ifname: str = "eth0") -> None:
        host_local.check(self.request("CHECK", container_id, ifname))

    def gc(self, *valid: tuple[str, str]) -> None:
        listed = [{"containerID": container_id, "ifname": ifname} for container_id, ifname in valid]
        members: dict[str, Any] = {"cni.dev/valid-attachments": listed}
        host_local.gc(self.request("GC", "x", **members))

    def status(self) -> None:
        host_local.status(self.request("STATUS", "x"))

    def files(self) -> dict[str, bytes]:
        """Every file of the network's directory but the lock."""
        if not self.directory.exists():
            return {}
        return {path.name: path.read_bytes() for path in self.directory.iterdir() if path.name != "lock"}

    def held(self) -> dict[str, str]:
        """The leases, each as ID/IFNAME."""
        return {
            name: content.decode().replace("\r\n", "/")
            for name, content in self.files().items()
            if not name.startswith("last_reserved_ip.")
        }

    def written_by_others(self, name: str, content: bytes | None) -> None:
        """A file as Go's host-local or a person writes it, or (None) removes it, at a later time than any before."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if content is None:
            (self.directory / name).unlink()
        else:
            (self.directory / name).write_bytes(content)
        now = time.time_ns()
        os.utime(self.directory, ns=(now, now))


def addresses(result: Result) -> list[str]:
    return [str(ip.cidr.address) for ip in result.ips]


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(tmp_path)


def refused(code: int, call: Callable[..., object], *args: Any) -> CniError:
    with pytest.raises(CniError) as error:
        call(*args)
    assert error.value.code == code
    return error.value


# Files


def test_a_lease_is_written_byte_for_byte_as_go_writes_it(tmp_path: Path) -> None:
    leases = Leases(tmp_path, SUBNET, SIX)
    assert leases.add("c1") == ["10.1.0.2", "fd00::2"]
    assert leases.files() == {
        "10.1.0.2": b"c1\r\neth0",
        "fd00::2": b"c1\r\neth0",
        "last_reserved_ip.0": b"10.1.0.2",
        "last_reserved_ip.1": b"fd00::2",
    }
    assert (leases.directory / "lock").read_bytes() == b""


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
def test_every_file_has_mode_0600_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    document = Leases(tmp_path / "a" / "b").config
    program = "import sys; sys.argv[0] = 'host-local'; import cni_macvlan_py.__main__"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env={"CNI_COMMAND": "ADD"} | attachment("c1"),
        input=json.dumps(document).encode(),
        capture_output=True,
        umask=umask,
        timeout=30,
        check=True,
    )
    assert json.loads(done.stdout)["ips"] == [{"address": "10.1.0.2/29", "gateway": "10.1.0.1"}]
    directory = tmp_path / "a" / "b" / "net1"
    modes = {path.name: path.stat().st_mode & 0o7777 for path in directory.iterdir()}
    assert modes == dict.fromkeys(("10.1.0.2", "last_reserved_ip.0", "lock"), 0o600)
    assert directory.stat().st_mode & 0o7777 == directory.parent.stat().st_mode & 0o7777 == 0o755


def test_networks_do_not_share_leases(tmp_path: Path) -> None:
    one, other = Leases(tmp_path), Leases(tmp_path, network="net2")
    assert one.add("c1") == other.add("c1") == ["10.1.0.2"]
    one.delete("c1")
    assert (one.held(), other.held()) == ({}, {"10.1.0.2": "c1/eth0"})


def test_an_add_tells_prefix_gateway_routes_and_dns(tmp_path: Path) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("nameserver 10.1.0.53\nsearch example.org\n")
    leases = Leases(
        tmp_path,
        SUBNET,
        {"subnet": SIX, "gateway": "none"},
        routes=[{"dst": "0.0.0.0/0"}, {"dst": "fd01::/64", "gw": "fd00::7", "mtu": 1400}],
        resolvConf=str(resolv_conf),
    )
    assert leases.result("c1", steps=Steps()).to_json("1.1.0") == {
        "cniVersion": "1.1.0",
        "ips": [{"address": "10.1.0.2/29", "gateway": "10.1.0.1"}, {"address": "fd00::1/125"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "fd01::/64", "gw": "fd00::7", "mtu": 1400}],
        "dns": {"nameservers": ["10.1.0.53"], "search": ["example.org"]},
    }


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ({"dst": "10.2.0.1/16"}, "ipam.routes[0].dst: 10.2.0.1/16 has host bits set"),
        ({"dst": "::/0", "gw": "10.1.0.1"}, "ipam.routes[0]: gw 10.1.0.1 is not of the family of ::/0"),
    ],
)
def test_a_route_that_the_kernel_would_refuse_is_refused_before_a_lease_is_taken(
    tmp_path: Path, route: dict[str, str], message: str
) -> None:
    leases = Leases(tmp_path, SUBNET, routes=[route])
    assert refused(errors.INVALID_CONFIG, leases.add, "c1").msg == message
    assert leases.files() == {}


# One attachment


def test_an_add_repeated_keeps_its_one_lease(leases: Leases) -> None:
    assert leases.add("c1") == leases.add("c1") == ["10.1.0.2"]
    before = leases.files()
    steps = Steps()
    assert leases.add("c1", steps=steps) == ["10.1.0.2"]
    steps.back()
    assert leases.files() == before == {"10.1.0.2": b"c1\r\neth0", "last_reserved_ip.0": b"10.1.0.2"}


def test_each_interface_of_a_container_has_a_lease_of_its_own(leases: Leases) -> None:
    assert (leases.add("c1", "eth0"), leases.add("c1", "eth1")) == (["10.1.0.2"], ["10.1.0.3"])
    leases.delete("c1", "eth0")
    assert leases.held() == {"10.1.0.3": "c1/eth1"}
    leases.check("c1", "eth1")
    error = refused(errors.CHECK_DIFFERS, leases.check, "c1", "eth0")
    assert error.msg == "container c1 holds no lease for eth0 of network net1"


def test_undo_releases_what_this_add_took_and_nothing_else(tmp_path: Path) -> None:
    Leases(tmp_path, SUBNET).add("c1")
    both = Leases(tmp_path, SUBNET, SIX)
    steps = Steps()
    assert both.add("c1", steps=steps) == ["10.1.0.2", "fd00::2"]
    steps.back()
    assert both.held() == {"10.1.0.2": "c1/eth0"}
    both.delete("c1")
    assert both.held() == {}


def test_undo_does_not_release_what_another_has_by_now(leases: Leases) -> None:
    steps = Steps()
    leases.add("c1", steps=steps)
    leases.written_by_others("10.1.0.2", b"c2\r\neth0")
    steps.back()
    assert leases.held() == {"10.1.0.2": "c2/eth0"}


def test_an_add_that_fails_in_the_second_set_leaves_no_lease_in_the_first(tmp_path: Path) -> None:
    leases = Leases(tmp_path, SUBNET, "fd00::/128")
    assert leases.add("c1") == ["10.1.0.2", "fd00::"]
    refused(errors.POOL_EXHAUSTED, leases.add, "c2")
    assert leases.held() == {"10.1.0.2": "c1/eth0", "fd00::": "c1/eth0"}


def test_an_add_whose_files_cannot_all_be_written_leaves_no_lease(leases: Leases) -> None:
    leases.directory.mkdir()
    (leases.directory / "last_reserved_ip.0").mkdir()
    refused(errors.DATA_DIRECTORY, leases.add, "c1")
    assert [path.name for path in leases.directory.iterdir() if path.name != "lock"] == ["last_reserved_ip.0"]


def test_deleting_what_was_never_added_is_no_error_and_makes_no_directory(leases: Leases) -> None:
    leases.delete("c1")
    leases.gc()
    assert not leases.directory.exists()
    leases.add("c1")
    leases.delete("c2")
    leases.delete("c1")
    leases.delete("c1")
    assert leases.held() == {}


# Addresses asked for


def test_an_address_asked_for_is_given_and_is_the_last_one_given(leases: Leases) -> None:
    assert leases.add("c1", "eth0", "10.1.0.5") == ["10.1.0.5"]
    assert leases.add("c1", "eth0", "10.1.0.5") == ["10.1.0.5"]
    assert leases.add("c2") == ["10.1.0.6"]
    assert leases.add("c3") == ["10.1.0.2"]


def test_an_address_asked_for_of_each_set_is_given(tmp_path: Path) -> None:
    leases = Leases(tmp_path, SUBNET, SIX)
    assert leases.add("c1", "eth0", "fd00::6", "10.1.0.5/29") == ["10.1.0.5", "fd00::6"]
    assert leases.add("c2", "eth0", "fd00::4") == ["10.1.0.6", "fd00::4"]


def test_an_address_that_another_has_is_refused_naming_who_and_where(leases: Leases) -> None:
    leases.add("c1", "eth0", "10.1.0.5")
    error = refused(errors.ADDRESS_UNAVAILABLE, leases.add, "c2", "eth0", "10.1.0.5")
    assert error.msg == "requested IP address 10.1.0.5 is not available in range set 10.1.0.1-10.1.0.6"
    assert error.details == f"Container c1 has it for eth0: the lease is {leases.directory}/10.1.0.5."
    assert leases.held() == {"10.1.0.5": "c1/eth0"}


@pytest.mark.parametrize(
    ("ip", "why"),
    [
        ("10.1.0.1", "cannot be given: it is the gateway of 10.1.0.0/29"),
        ("10.1.0.6", "cannot be given: it is the auxiliary address 'printer'"),
        ("10.1.0.4", "cannot be given: 10.1.0.4/31 is excluded"),
        ("10.1.0.7", "is in no range"),
        ("10.2.0.1", "is in no range"),
    ],
)
def test_an_address_that_is_nobodys_is_refused_with_the_reason(tmp_path: Path, ip: str, why: str) -> None:
    part = {"subnet": SUBNET, "auxAddresses": {"printer": "10.1.0.6"}, "exclude": ["10.1.0.4/31"]}
    leases = Leases(tmp_path, part)
    assert why in refused(errors.ADDRESS_UNAVAILABLE, leases.add, "c1", "eth0", ip).msg
    assert leases.held() == {}


def test_an_address_asked_for_may_lie_outside_ip_range_and_inside_the_subnet(tmp_path: Path) -> None:
    leases = Leases(tmp_path, {"subnet": SUBNET, "ipRange": "10.1.0.4/31"})
    assert leases.add("c1", "eth0", "10.1.0.2") == ["10.1.0.2"]
    assert (leases.add("c2"), leases.add("c3")) == (["10.1.0.4"], ["10.1.0.5"])
    refused(errors.POOL_EXHAUSTED, leases.add, "c4")


# A pool that is empty


def test_an_exhausted_pool_says_so_in_gos_words_and_with_numbers(leases: Leases) -> None:
    for n in range(5):
        leases.status()
        leases.add(f"c{n}")
    told = "no IP addresses available in range set: 10.1.0.1-10.1.0.6: 5 in use, 1 excluded, 0 free"
    assert refused(errors.POOL_EXHAUSTED, leases.add, "c5").msg == told
    assert refused(errors.POOL_EXHAUSTED, leases.status).msg == told
    leases.delete("c3")
    leases.status()
    assert leases.add("c5") == ["10.1.0.5"]


def test_status_looks_at_every_set(tmp_path: Path) -> None:
    leases = Leases(tmp_path, "fd00::/64", "10.1.0.0/30")
    leases.status()
    leases.add("c1")
    assert "10.1.0.1-10.1.0.2" in refused(errors.POOL_EXHAUSTED, leases.status).msg


def test_status_finds_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "net1").write_text("a file where the directory should be")
    error = refused(errors.DATA_DIRECTORY, Leases(tmp_path).status)
    assert str(tmp_path / "net1") in error.msg


def test_a_pool_of_thousands_of_leases_still_gives_the_next_one(tmp_path: Path) -> None:
    leases = Leases(tmp_path, "10.0.0.0/8")
    leases.directory.mkdir()
    for n in range(2, 5000):
        (leases.directory / f"10.0.{n >> 8}.{n & 0xFF}").write_bytes(b"other\r\neth0")
    leases.delete("c1")  # reads them all, once
    assert leases.add("c1") == ["10.0.19.136"]
    assert leases.add("c2") == ["10.0.19.137"]


# Leases that others wrote


@pytest.mark.parametrize("content", [b"c1", b"c1\n", b" c1\r\n"])
def test_a_lease_of_before_cni_0_7_is_its_containers_whatever_the_interface(leases: Leases, content: bytes) -> None:
    leases.written_by_others("10.1.0.2", content)
    leases.check("c1")
    assert leases.add("c2") == ["10.1.0.3"]
    refused(errors.CHECK_DIFFERS, leases.check, "c3")
    leases.delete("c3")
    leases.delete("c1")
    assert leases.held() == {"10.1.0.3": "c2/eth0"}


def test_a_lease_of_before_cni_0_7_outlives_the_delete_of_a_newer_one(leases: Leases) -> None:
    leases.written_by_others("10.1.0.2", b"c1")
    assert leases.add("c1", "eth1") == ["10.1.0.3"]
    leases.delete("c1", "eth1")
    assert leases.held() == {"10.1.0.2": "c1"}


def test_white_space_around_a_lease_is_ignored_as_by_go(leases: Leases) -> None:
    leases.written_by_others("10.1.0.2", b"\n c1\r\neth0\r\n\n")
    assert leases.add("c1") == ["10.1.0.2"]
    leases.delete("c1")
    assert leases.held() == {}


@pytest.mark.parametrize("content", [b"", b"\n", b"\0\0\0\0"])
def test_a_lease_that_a_crash_left_empty_is_nobodys(leases: Leases, content: bytes) -> None:
    leases.written_by_others("10.1.0.2", content)
    assert leases.add("c1") == ["10.1.0.2"]


@pytest.mark.parametrize(
    "content", [b"what is this", b"\xff\xfe", b"../c1\r\neth0", b"c1\r\neth0\r\nmore", b"c1\neth0"]
)
def test_what_is_no_lease_is_left_alone_and_its_address_not_given(leases: Leases, content: bytes) -> None:
    leases.written_by_others("10.1.0.2", content)
    assert leases.add("c1") == ["10.1.0.3"]
    leases.delete("c1")
    leases.gc()
    assert leases.files()["10.1.0.2"] == content
    error = refused(errors.ADDRESS_UNAVAILABLE, leases.add, "c1", "eth0", "10.1.0.2")
    assert error.details.startswith("Nobody knows whose: the lease is ")


@pytest.mark.parametrize("content", [b"", b"\0\0", b"x", b"10.1.0.99", b"fd00::1", b"\xff"])
def test_a_last_address_that_is_none_of_the_range_starts_the_round_again(leases: Leases, content: bytes) -> None:
    leases.written_by_others("last_reserved_ip.0", content)
    assert leases.add("c1") == ["10.1.0.2"]
    assert leases.files()["last_reserved_ip.0"] == b"10.1.0.2"


def test_the_round_goes_on_behind_the_address_that_go_gave_last(leases: Leases) -> None:
    leases.written_by_others("last_reserved_ip.0", b"10.1.0.4")
    assert leases.add("c1") == ["10.1.0.5"]


def test_a_shorter_last_address_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    leases = Leases(tmp_path, {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.99", "rangeEnd": "10.1.0.100"})
    for container, last in (("c1", b"10.1.0.99"), ("c2", b"10.1.0.100")):
        leases.add(container)
        assert leases.files()["last_reserved_ip.0"] == last
    leases.delete("c1")
    leases.add("c3")
    assert leases.files()["last_reserved_ip.0"] == b"10.1.0.99"


@pytest.mark.parametrize("asked", [[], ["fd00::5"]])
def test_a_signal_as_the_second_address_is_leased_gives_both_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    leases = Leases(tmp_path, SUBNET, SIX)
    reserve = Store.reserve

    def interrupted(store: Store, index: int, address: Address, attachment: Attachment) -> bool:
        done = reserve(store, index, address, attachment)
        if str(address).startswith("fd00:"):
            os.kill(os.getpid(), signal.SIGTERM)
        return done

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    monkeypatch.setattr(Store, "reserve", interrupted)
    try:
        with pytest.raises(Interrupted):
            Addresses(host_local, "host-local", host_local_plugin).add(
                leases.request("ADD", "c1", runtimeConfig={"ips": asked})
            )
    finally:
        signal.signal(signal.SIGTERM, before)
    assert leases.held() == {}


def test_a_signal_while_the_index_is_made_leaves_the_lock_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leases = Leases(tmp_path)

    def interrupted(_: Store) -> None:
        raise Interrupted("SIGTERM")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "reindex", interrupted)
        with pytest.raises(Interrupted):
            leases.add("c1")
        monkeypatch.setattr("cni_core.files._LOCK_SECONDS", 0.1)
    assert leases.add("c1") == ["10.1.0.2"]


def test_where_the_disk_has_no_room_for_the_index_leases_are_given_back_all_the_same(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases.add("c1")
    real = Directory.write

    def full(directory: Directory, name: str, text: str) -> None:
        if ":" in name:
            raise CniError(errors.DATA_DIRECTORY, "No space left on device")
        real(directory, name, text)

    monkeypatch.setattr(Directory, "write", full)
    refused(errors.DATA_DIRECTORY, leases.add, "c2")
    assert leases.held() == {"10.1.0.2": "c1/eth0"}
    leases.delete("c1")
    assert leases.held() == {}


def test_an_entry_of_the_index_that_could_not_be_removed_goes_with_the_next_del(
    leases: Leases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases.add("c1")
    real = Directory.remove

    def refusing(directory: Directory, name: str) -> None:
        if ":" in name and "." not in name:
            raise CniError(errors.DATA_DIRECTORY, "No space left on device")
        real(directory, name)

    with monkeypatch.context() as patch:
        patch.setattr(Directory, "remove", refusing)
        refused(errors.DATA_DIRECTORY, leases.delete, "c1")
    leases.delete("c1")
    assert [path.name for path in (tmp_path / ".attachments" / "net1").iterdir()] == ["state"]


# What somebody planted

PLANTED = ["10.1.0.2", "last_reserved_ip.0", "lock", ".new"]


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("exists", [True, False])
def test_no_symbolic_link_is_followed(leases: Leases, tmp_path: Path, name: str, exists: bool) -> None:
    target = tmp_path / "precious"
    if exists:
        target.write_bytes(b"10.1.0.5")
    leases.directory.mkdir()
    (leases.directory / name).symlink_to(target)
    try:
        assert leases.add("c1") == ["10.1.0.3" if name == "10.1.0.2" else "10.1.0.2"]
        leases.delete("c1")
        leases.gc()
    except CniError as error:
        assert error.code == errors.DATA_DIRECTORY
        assert name in ("lock", "last_reserved_ip.0")
    assert target.exists() == exists
    assert not exists or target.read_bytes() == b"10.1.0.5"


@pytest.mark.parametrize("name", [".attachments", ".attachments/net1"])
def test_a_directory_of_the_index_that_is_a_symbolic_link_is_refused(leases: Leases, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    for call in (leases.add, leases.delete):
        refused(errors.DATA_DIRECTORY, call, "c1")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_networks_directory_that_is_a_symbolic_link_is_refused(leases: Leases, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    leases.directory.symlink_to(tmp_path / "elsewhere")
    for call in (leases.add, leases.delete):
        refused(errors.DATA_DIRECTORY, call, "c1")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_under_an_addresss_name_neither_hangs_nor_is_given(
    leases: Leases, make: Callable[[Path], None]
) -> None:
    leases.directory.mkdir()
    make(leases.directory / "10.1.0.2")
    assert leases.add("c1") == ["10.1.0.3" if make is os.mkdir else "10.1.0.2"]
    leases.delete("c1")
    leases.gc()


def test_a_second_name_of_a_lease_that_a_crash_left_is_not_written_to(leases: Leases) -> None:
    leases.add("c1")
    os.link(leases.directory / "10.1.0.2", leases.directory / ".new")
    assert leases.add("c2") == ["10.1.0.3"]
    assert leases.held() == {"10.1.0.2": "c1/eth0", "10.1.0.3": "c2/eth0"}


def test_a_data_directory_with_a_slash_at_its_end_is_the_same(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    leases.config["ipam"]["dataDir"] += "//"
    leases.add("c1")
    assert leases.held() == {"10.1.0.2": "c1/eth0"}


# GC


def test_gc_releases_what_no_valid_attachment_owns(leases: Leases) -> None:
    for container_id, ifname in (("c1", "eth0"), ("c1", "eth1"), ("c2", "eth0"), ("c3", "eth0")):
        leases.add(container_id, ifname)
    leases.gc(("c1", "eth1"), ("c3", "eth0"), ("never", "seen"))
    assert leases.held() == {"10.1.0.3": "c1/eth1", "10.1.0.5": "c3/eth0"}
    assert leases.files()["last_reserved_ip.0"] == b"10.1.0.5"
    leases.check("c3")
    refused(errors.CHECK_DIFFERS, leases.check, "c2")


def test_gc_with_an_empty_list_releases_all(leases: Leases) -> None:
    leases.add("c1")
    leases.written_by_others("10.1.0.3", b"legacy")
    leases.written_by_others("10.1.0.4", b"")
    leases.gc()
    assert leases.held() == {}


@pytest.mark.parametrize("members", [{}, {"cni.dev/attachments": None}])
def test_gc_without_a_list_releases_nothing(leases: Leases, members: dict[str, Any]) -> None:
    leases.add("c1")
    asked = leases.request("GC", "x", **{key: value for key, value in members.items() if value is not None})
    refused(errors.INVALID_CONFIG, host_local.gc, asked)
    assert leases.held() == {"10.1.0.2": "c1/eth0"}


def test_gc_keeps_a_lease_of_before_cni_0_7_while_its_container_has_any_valid_attachment(leases: Leases) -> None:
    leases.written_by_others("10.1.0.2", b"c1")
    leases.written_by_others("10.1.0.3", b"c2")
    leases.gc(("c1", "eth7"))
    assert leases.held() == {"10.1.0.2": "c1"}


# Reboots


@pytest.fixture
def reboot(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    boots = iter("abcdefgh")

    def reboot() -> None:
        boot = next(boots)
        monkeypatch.setattr(index, "boot_id", lambda: boot)

    reboot()
    return reboot


def test_after_a_reboot_a_container_has_its_lease_again(leases: Leases, reboot: Callable[[], None]) -> None:
    leases.add("c1")
    leases.add("c2")
    reboot()
    assert (leases.add("c2"), leases.add("c3"), leases.add("c1")) == (["10.1.0.3"], ["10.1.0.4"], ["10.1.0.2"])


def test_leases_of_earlier_boots_are_taken_back_when_the_pool_would_else_be_empty(
    leases: Leases, reboot: Callable[[], None]
) -> None:
    for n in range(5):
        leases.add(f"old{n}")
    refused(errors.POOL_EXHAUSTED, leases.add, "new")
    reboot()
    leases.status()
    assert leases.add("old3") == ["10.1.0.5"]
    assert leases.add("new") == ["10.1.0.2"]
    assert leases.held() == {"10.1.0.5": "old3/eth0", "10.1.0.2": "new/eth0"}


def test_a_fixed_address_whose_holder_is_of_an_earlier_boot_is_given(
    leases: Leases, reboot: Callable[[], None]
) -> None:
    leases.add("c1", "eth0", "10.1.0.5")
    refused(errors.ADDRESS_UNAVAILABLE, leases.add, "c2", "eth0", "10.1.0.5")
    reboot()
    assert leases.add("c2", "eth0", "10.1.0.5") == ["10.1.0.5"]
    assert leases.held() == {"10.1.0.5": "c2/eth0"}
    refused(errors.ADDRESS_UNAVAILABLE, leases.add, "c1", "eth0", "10.1.0.5")


def test_leases_that_others_gave_are_never_taken_back(leases: Leases, reboot: Callable[[], None]) -> None:
    for n in range(2, 7):
        leases.written_by_others(f"10.1.0.{n}", b"gos\r\neth0")
    refused(errors.POOL_EXHAUSTED, leases.add, "c1")
    reboot()
    refused(errors.POOL_EXHAUSTED, leases.add, "c1")
    refused(errors.POOL_EXHAUSTED, leases.status)


# Many at once


def attach_many(data_dir: str, worker: int, results: Any) -> None:
    """What one process does: adds, of which it deletes every second again, while the others do the same."""
    leases = Leases(Path(data_dir), "10.1.0.0/26")
    given = []
    for n in range(8):
        given += leases.add(f"c{worker}-{n}")
        if n % 2:
            leases.delete(f"c{worker}-{n}")
            given.pop()
    results.put((worker, given))


def test_many_processes_at_once_are_given_no_address_twice(tmp_path: Path) -> None:
    processes = 8
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    workers = [fork.Process(target=attach_many, args=(str(tmp_path), n, results)) for n in range(processes)]
    for worker in workers:
        worker.start()
    found = dict(results.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join(timeout=60)
        assert worker.exitcode == 0
    given = [address for part in found.values() for address in part]
    assert len(given) == len(set(given)) == processes * 4
    kept = {address: f"c{n}-{2 * i}/eth0" for n, part in found.items() for i, address in enumerate(part)}
    assert Leases(tmp_path, "10.1.0.0/26").held() == kept


def wait_for_a_lease(data_dir: str, results: Any) -> None:
    results.put(Leases(Path(data_dir)).add("c2"))


def test_an_add_waits_for_whoever_holds_the_lock(leases: Leases, tmp_path: Path) -> None:
    leases.add("c1")
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    with (leases.directory / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = fork.Process(target=wait_for_a_lease, args=(str(tmp_path), results))
        waiting.start()
        time.sleep(0.2)
        assert results.empty()
        assert leases.held() == {"10.1.0.2": "c1/eth0"}
        fcntl.flock(lock, fcntl.LOCK_UN)
    assert results.get(timeout=30) == ["10.1.0.3"]
    waiting.join(timeout=30)


def test_who_waits_for_the_lock_too_long_is_to_try_again(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cni_core.files._LOCK_SECONDS", 0.1)
    leases.directory.mkdir()
    with (leases.directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for call in (leases.add, leases.delete, leases.check):
            refused(errors.TRY_AGAIN_LATER, call, "c1")
    assert leases.add("c1") == ["10.1.0.2"]


def test_two_that_make_the_first_directories_at_once_both_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = Leases(tmp_path / "var" / "networks")
    real = os.mkdir
    missed: list[str] = []

    def another_is_faster(path: str, mode: int, *, dir_fd: int | None = None) -> None:
        """Where a directory is missing above, another process makes them all before we can."""
        try:
            real(path, mode, dir_fd=dir_fd)
        except FileNotFoundError:
            if not missed:
                missed.append(path)
                os.makedirs(path)
            raise

    monkeypatch.setattr("cni_core.files.mkdir", another_is_faster)
    assert leases.add("c1") == ["10.1.0.2"]
    assert missed == [str(tmp_path / "var" / "networks" / "net1")]


# In a stable order


@pytest.fixture
def stable(tmp_path: Path) -> Leases:
    return Leases(tmp_path, "10.1.0.0/24", "fd00::/64", order="stable")


def test_a_container_that_comes_back_has_its_addresses_again(stable: Leases) -> None:
    given = {name: stable.add(name) for name in ("c1", "c2", "c3")}
    assert len({address for addresses in given.values() for address in addresses}) == 6
    for name in ("c2", "c1", "c3"):
        stable.delete(name)
        assert stable.add(name) == given[name]


def test_a_pod_that_comes_back_has_its_addresses_again_whatever_its_containers_id(stable: Leases) -> None:
    stable.args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=1"
    given = stable.add("c1")
    stable.delete("c1")
    assert stable.add("c2") == given
    # While it is there, another of the name gets the next ones of the order, which are always the same.
    others = stable.add("c3")
    assert set(others).isdisjoint(given)
    stable.delete("c3")
    assert stable.add("c4") == others
    stable.delete("c2")
    assert stable.add("c5") == given
    for args in ("K8S_POD_NAME=web-0", "K8S_POD_NAMESPACE=test;K8S_POD_NAME=web-0", ""):
        stable.args = args
        stable.delete("c5")
        assert stable.add("c5") != given


def test_a_network_and_an_interface_have_addresses_of_their_own(tmp_path: Path) -> None:
    one, other = (Leases(tmp_path, "10.1.0.0/16", network=name, order="stable") for name in ("net1", "net2"))
    assert len({one.add("c1")[0], one.add("c1", "eth1")[0], other.add("c1")[0]}) == 3


def test_what_go_gave_meanwhile_is_passed_over_and_go_goes_on_behind_ours(stable: Leases) -> None:
    given = stable.add("c1")
    stable.delete("c1")
    assert stable.files()["last_reserved_ip.0"].decode() == given[0]
    stable.written_by_others(given[0], b"gos\r\neth0")
    assert stable.add("c1")[0] not in given
    assert stable.add("c1")[1] == given[1]


def test_after_a_reboot_a_pod_takes_its_own_address_back_from_its_earlier_container(
    tmp_path: Path, reboot: Callable[[], None]
) -> None:
    stable = Leases(tmp_path, "10.1.0.0/24", order="stable")
    stable.args = "K8S_POD_NAME=web"
    given = stable.add("before")
    assert stable.add("twin") != given
    reboot()
    assert stable.add("after") == given
    assert "before/eth0" not in stable.held().values()
    # Of this boot it is the other's.
    assert stable.add("late") != given


@pytest.mark.parametrize("order", ["", "round-robin", None])
def test_any_other_order_is_the_next_free_address(tmp_path: Path, order: str | None) -> None:
    leases = Leases(tmp_path, **({} if order is None else {"order": order}))
    assert [leases.add(name) for name in ("c1", "c2")] == [["10.1.0.2"], ["10.1.0.3"]]


def test_an_exhausted_pool_in_a_stable_order_is_told_as_ever(tmp_path: Path) -> None:
    stable = Leases(tmp_path, order="stable")
    assert sorted(stable.add(f"c{n}")[0] for n in range(5)) == [f"10.1.0.{n}" for n in range(2, 7)]
    assert "5 in use" in refused(errors.POOL_EXHAUSTED, stable.add, "c5").msg


def test_addresses_that_are_refused_are_passed_over_in_a_stable_order(tmp_path: Path) -> None:
    stable = Leases(tmp_path, order="stable")
    order = stable_order(["net1", "eth0", "c1"], [f"10.1.0.{n}" for n in range(2, 7)])
    taken = {Address.parse(order[0]): "is the host's own, on eth0"}
    assert addresses(host_local.add(stable.request("ADD", "c1"), Steps(), taken)) == [order[1]]


# Any sequence of calls, ours and Go's, of crashes and reboots, against a model

FOUR_POOL = [f"10.1.0.{n}" for n in range(2, 7)]
SIX_POOL = [f"fd00::{n}" for n in range(2, 8)][:4]
POOLS = (FOUR_POOL, SIX_POOL)
PODS = ["", "web"]  # names of pods, which containers of several ids may have
ATTACHMENTS = [("c1", "eth0"), ("c1", "eth1"), ("c2", "eth0"), ("c3", "eth0"), ("c4", "eth0"), ("c5", "eth0")]
attachments = st.sampled_from(ATTACHMENTS)


class AnySequence(RuleBasedStateMachine):
    """leased: address to attachment (without an interface: a lease of before CNI 0.7); last: of each set.

    boots: of the attachments that are known to us, when they were last added; None of those that are not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.boot = 0
        self.boots: dict[tuple[str, str], int | None] = {}
        self.boot_id = index.boot_id
        index.boot_id = lambda: f"boot-{self.boot}"
        self.data_dir = Path(tempfile.mkdtemp(prefix="leases-"))
        part = {"subnet": SIX, "rangeEnd": SIX_POOL[-1]}
        self.leases = Leases(self.data_dir, SUBNET, part)
        self.leased: dict[str, tuple[str, str]] = {}
        self.last: list[str | None] = [None, None]

    def teardown(self) -> None:
        shutil.rmtree(self.data_dir)
        index.boot_id = self.boot_id

    @initialize(exists=st.booleans())
    def the_directory_may_be_there(self, exists: bool) -> None:
        if exists:
            self.leases.directory.mkdir()

    def held(self, holder: tuple[str, str], pool: Sequence[str]) -> list[str]:
        return [address for address in pool if self.leased.get(address) == holder]

    def next_free(self, number: int, stable: Sequence[str] = ()) -> str | None:
        """stable: an order that begins anew each time."""
        pool, last = POOLS[number], self.last[number]
        if stable:
            return next((address for address in stable if address not in self.leased), None)
        start = pool.index(last) + 1 if last in pool else 0
        return next((address for address in pool[start:] + pool[:start] if address not in self.leased), None)

    def see_what_others_did(self) -> None:
        """As each of our calls begins."""
        holders = set(self.leased.values())
        self.boots = {who: self.boots.get(who) for who in holders}

    def of_earlier_boots(self) -> set[tuple[str, str]]:
        return {who for who, boot in self.boots.items() if boot not in (None, self.boot)}

    def release(self, holders: set[tuple[str, str]]) -> None:
        self.leased = {address: who for address, who in self.leased.items() if who not in holders}

    @rule(who=attachments)
    def add(self, who: tuple[str, str]) -> None:
        self.added(who, [])

    @rule(who=attachments, pod=st.sampled_from(PODS))
    def add_in_a_stable_order(self, who: tuple[str, str], pod: str) -> None:
        self.leases.config["ipam"]["order"] = "stable"
        self.leases.args = f"K8S_POD_NAME={pod}" if pod else ""
        owner = ["net1", who[1], *(["", pod] if pod else [who[0]])]
        self.added(who, [], [stable_order(owner, pool) for pool in POOLS])
        del self.leases.config["ipam"]["order"]

    @rule(who=attachments, number=st.sampled_from([0, 1]), data=st.data())
    def add_asking(self, who: tuple[str, str], number: int, data: st.DataObject) -> None:
        pool = POOLS[number]
        self.added(who, [data.draw(st.sampled_from(self.held(who, pool) or pool))])

    def added(self, who: tuple[str, str], asked: list[str], orders: Sequence[Sequence[str]] = ((), ())) -> None:
        self.see_what_others_did()
        new: dict[str, tuple[str, str]] = {}
        expected: list[str] = []
        code = 0
        if who in self.boots:
            self.boots[who] = self.boot
        for number, pool in enumerate(POOLS):
            wanted = next((ip for ip in asked if ip in pool), None)
            held = [ip for ip in self.held(who, pool) if wanted in (None, ip)]
            if held:
                expected.append(held[0])
                continue
            order = orders[number]
            own = wanted or (order[0] if order else "")
            if self.leased.get(own) in self.of_earlier_boots():
                self.release({self.leased[own]})
            if wanted is None and self.next_free(number, order) is None:
                self.release(self.of_earlier_boots())
            free = self.next_free(number, order) if wanted is None else wanted if wanted not in self.leased else None
            if free is None:
                code = errors.ADDRESS_UNAVAILABLE if wanted else errors.POOL_EXHAUSTED
                break
            self.last[number] = free
            new[free] = who
            expected.append(free)
        if code:
            refused(code, self.leases.add, *who, *asked)
        else:
            self.leased |= new
            self.boots[who] = self.boot
            assert self.leases.add(*who, *asked) == expected

    @rule(who=attachments)
    def add_and_undo(self, who: tuple[str, str]) -> None:
        self.see_what_others_did()
        before = dict(self.leased)
        free = [bool(self.held(who, pool)) or self.next_free(n) is not None for n, pool in enumerate(POOLS)]
        if not all(free):
            return
        steps = Steps()
        given = self.leases.add(*who, steps=steps)
        steps.back()
        if who in self.boots:
            self.boots[who] = self.boot
        for number, address in enumerate(given):
            if address not in before:
                self.last[number] = address

    @rule(who=attachments)
    def delete(self, who: tuple[str, str]) -> None:
        self.see_what_others_did()
        self.leases.delete(*who)
        self.release({who if who in self.leased.values() else (who[0], "")})
        self.see_what_others_did()

    @rule(who=attachments)
    def check(self, who: tuple[str, str]) -> None:
        self.see_what_others_did()
        if {who, (who[0], "")} & set(self.leased.values()):
            self.leases.check(*who)
        else:
            refused(errors.CHECK_DIFFERS, self.leases.check, *who)

    @rule(valid=st.sets(attachments))
    def gc(self, valid: set[tuple[str, str]]) -> None:
        self.see_what_others_did()
        self.leases.gc(*sorted(valid))
        containers = {container_id for container_id, _ in valid}
        self.release({who for who in self.leased.values() if who not in valid and (who[1] or who[0] not in containers)})
        self.see_what_others_did()

    @rule()
    def status(self) -> None:
        self.see_what_others_did()
        if self.of_earlier_boots() or all(any(address not in self.leased for address in pool) for pool in POOLS):
            self.leases.status()
        else:
            refused(errors.POOL_EXHAUSTED, self.leases.status)

    @rule(who=attachments, number=st.sampled_from([0, 1]))
    def go_adds(self, who: tuple[str, str], number: int) -> None:
        address = self.next_free(number)
        if address and not self.held(who, POOLS[number]):
            self.leases.written_by_others(address, "\r\n".join(who).encode())
            self.leases.written_by_others(f"last_reserved_ip.{number}", address.encode())
            self.leased[address] = who
            self.last[number] = address

    @rule(who=attachments)
    def an_older_go_adds(self, who: tuple[str, str]) -> None:
        address = self.next_free(0)
        if address:
            self.leases.written_by_others(address, who[0].encode())
            self.leased[address] = (who[0], "")

    @precondition(lambda self: self.leased)
    @rule(data=st.data())
    def go_deletes(self, data: st.DataObject) -> None:
        who = data.draw(st.sampled_from(sorted(set(self.leased.values()))))
        for address in [address for address, holder in self.leased.items() if holder == who]:
            self.leases.written_by_others(address, None)
            del self.leased[address]

    @rule()
    def reboot(self) -> None:
        self.boot += 1

    @rule(data=st.data(), content=st.sampled_from([b"", b"\0" * 12]))
    def power_cut(self, data: st.DataObject, content: bytes) -> None:
        """It takes the content of what was written last."""
        self.reboot()
        for address in data.draw(st.sets(st.sampled_from(sorted(self.leased)))) if self.leased else ():
            (self.leases.directory / address).write_bytes(content)
            del self.leased[address]
        entries = [path for path in self.index.iterdir() if path.is_file()] if self.index.exists() else []
        for path in data.draw(st.sets(st.sampled_from(sorted(entries)))) if entries else ():
            path.write_bytes(content)
            container_id, _, ifname = path.name.partition(":")
            if (container_id, ifname) in self.boots:
                self.boots[container_id, ifname] = -1  # whenever: before this boot

    @property
    def index(self) -> Path:
        return self.data_dir / ".attachments" / self.leases.directory.name

    @rule()
    def the_index_is_lost(self) -> None:
        shutil.rmtree(self.data_dir / ".attachments", ignore_errors=True)
        self.boots.clear()

    @rule(content=st.sampled_from([b"", b"c1", b"c9\r\neth0"]))
    def an_add_is_killed_before_its_lease_has_its_name(self, content: bytes) -> None:
        if self.leases.directory.exists():
            unfinished = self.leases.directory / ".new"
            unfinished.unlink(missing_ok=True)
            unfinished.write_bytes(content)

    @precondition(lambda self: self.leased)
    @rule(data=st.data())
    def an_add_is_killed_behind_that(self, data: st.DataObject) -> None:
        unfinished = self.leases.directory / ".new"
        unfinished.unlink(missing_ok=True)
        os.link(self.leases.directory / data.draw(st.sampled_from(sorted(self.leased))), unfinished)

    @invariant()
    def the_files_are_those_of_the_model(self) -> None:
        expected = {address: "/".join(who).removesuffix("/") for address, who in self.leased.items()}
        held = {name: text for name, text in self.leases.held().items() if name != ".new" and text.strip("\0")}
        assert held == expected
        found = self.leases.files()
        assert [found.get(f"last_reserved_ip.{n}") for n in (0, 1)] == [last and last.encode() for last in self.last]


TestAnySequenceOfCalls = AnySequence.TestCase
TestAnySequenceOfCalls.settings = settings(max_examples=150, stateful_step_count=40)


def test_addresses_that_are_refused_are_passed_over_and_told_where_they_are_asked_for(leases: Leases) -> None:
    taken = {Address.parse("10.1.0.2"): "is the host's own, on eth0"}
    request = leases.request("ADD", "c1")
    assert addresses(host_local.add(request, Steps(), taken)) == ["10.1.0.3"]
    # What it holds already, too: it is asked again after its steps were taken back, or an earlier ADD was killed.
    again = {Address.parse("10.1.0.3"): "is in use by 02:00:00:00:00:09"}
    assert addresses(host_local.add(request, Steps(), taken | again)) == ["10.1.0.4"]
    asked = leases.request("ADD", "c2", runtimeConfig={"ips": ["10.1.0.2"]})
    error = refused(errors.ADDRESS_UNAVAILABLE, host_local.add, asked, Steps(), taken)
    assert error.msg == "the address asked for, 10.1.0.2, is the host's own, on eth0"
