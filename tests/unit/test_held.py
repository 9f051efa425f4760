"""ipam.held and ipam.pool: what a node may give from, on a real directory and as numbers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from cni_core import files
from cni_core.address import Address
from cni_core.errors import DATA_DIRECTORY, CniError
from cni_core.files import Directory
from ipam.held import Held, HeldFile
from ipam.pool import Pool, address_of, number_of
from ipam.ranges import RangeSet

ONE, TWO, SIX = Address.parse("10.1.0.2"), Address.parse("10.1.0.3"), Address.parse("fd00::2")

numbers = st.integers(0, 2**128 - 1) | st.integers(0xFFFF << 32, (0xFFFF << 32) + 2**32 - 1)


def pool(text: str) -> Pool:
    return Pool.of(RangeSet([{"subnet": text}]))


# The file


def test_the_file_is_what_a_person_can_read(tmp_path: Path) -> None:
    held = Held("5f", registration="r1", boot="b1", ahead=[8, 0], seen=12, claims={TWO: 11, ONE: 12}, fixed=[TWO])
    with HeldFile(str(tmp_path), "lan") as file:
        file.write(held)
    assert (tmp_path / ".cluster" / "lan" / "held").read_text() == (
        "boot b1\nstate 5f\nregistration r1\nwary \nahead 8 0\nseen 12\n10.1.0.2@12\n10.1.0.3@11 fixed\n"
    )
    assert (tmp_path / ".cluster" / "lan" / "held").stat().st_mode & 0o777 == 0o600


@given(
    st.lists(st.tuples(numbers, st.integers(1, 2**63 - 1), st.booleans())),
    st.lists(st.integers(0, 64), max_size=3),
    st.booleans(),
    st.sampled_from(["", "b1"]),
)
def test_what_is_written_is_what_is_read(claims: Any, ahead: list[int], is_verified: bool, wary: str) -> None:
    held = Held(
        "s",
        registration="r",
        boot="b",
        is_verified=is_verified,
        wary=wary,
        ahead=ahead,
        seen=7,
        claims={address_of(number): revision for number, revision, _ in claims},
        fixed=[address_of(number) for number, _, is_fixed in claims if is_fixed],
    )
    again = Held.parse(str(held))
    assert {name: getattr(again, name) for name in Held.__slots__} == {n: getattr(held, n) for n in Held.__slots__}


def test_a_held_of_any_size_is_read_whole(tmp_path: Path) -> None:
    claims = {address_of(number_of(SIX) + i): 10**9 + i for i in range(9000)}
    with HeldFile(str(tmp_path), "lan") as file:
        file.write(Held("s", claims=claims))
        again = file.read()
    assert os.stat(tmp_path / ".cluster" / "lan" / "held").st_size > 2 * 65536
    assert again
    assert again.claims == claims


@pytest.mark.parametrize("content", [b"", b"\0" * 80, b"boot b\n10.1.0.2@x\n", b"boot b\nstate s\n10.1.0.2@1\n"])
def test_what_says_nothing_is_a_lost_state(tmp_path: Path, content: bytes) -> None:
    with HeldFile(str(tmp_path), "lan") as file:
        assert file.read() is None
        (tmp_path / ".cluster" / "lan" / "held").write_bytes(content)
        assert file.read() is None


def test_a_network_without_a_directory_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        HeldFile(str(tmp_path), "lan", create=False)


# Replacing a file


def test_a_replacement_is_synced_before_it_has_the_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[str] = []

    def sync(fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        did.append("directory" if path.is_dir() else f"file {path.name}")
        os.fsync(fd)

    def rename(*names: Any, **directories: Any) -> None:
        did.append("rename")
        os.rename(*names, **directories)

    monkeypatch.setattr(files, "fsync", sync)
    monkeypatch.setattr(files, "rename", rename)
    with Directory(str(tmp_path), create=False) as directory:
        directory.write("held", "a longer content than the next")
        directory.replace("held", "new")
        assert directory.read("held") == "new"
    assert did == ["file .new", "rename", "directory"]


def test_where_it_cannot_be_synced_that_is_an_error_and_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    with Directory(str(tmp_path), create=False) as directory:
        directory.replace("held", "old")
        monkeypatch.setattr(files, "fsync", fails)
        with pytest.raises(CniError) as error:
            directory.replace("held", "new")
        assert error.value.code == DATA_DIRECTORY
        assert directory.read("held") == "old"
        monkeypatch.undo()
        directory.replace("held", "newer")  # what the failed one left is in nobody's way
        assert directory.read("held") == "newer"


# What is free, and what is too much


def test_free_is_what_may_be_chosen() -> None:
    held = Held("s", claims={ONE: 1, TWO: 2, SIX: 3}, fixed=[TWO])
    assert held.free(pool("10.1.0.0/24"), {}) == [ONE]
    assert held.free(pool("10.1.0.0/24"), {ONE}) == []
    assert held.free(pool("fd00::/64"), {ONE}) == [SIX]


@pytest.mark.parametrize(
    ("ahead", "free", "back"),
    [([2], 4, 0), ([2], 5, 3), ([0], 1, 1), ([0], 0, 0), ([8], 16, 0), ([8], 17, 9), ([], 1, 1)],
)
def test_what_is_beyond_twice_as_many_as_to_be_kept_is_given_back(ahead: list[int], free: int, back: int) -> None:
    claims = {address_of(number_of(ONE) + i): i + 1 for i in range(free + 3)}
    taken = list(claims)[:3]
    surplus = Held("s", ahead=ahead, claims=claims).surplus([pool("10.1.0.0/24")], taken)
    assert len(surplus) == back
    assert not set(surplus) & set(taken)


def test_what_was_asked_for_and_what_no_pool_has_is_given_back_when_it_is_free() -> None:
    other = Address.parse("192.168.0.9")
    held = Held("s", ahead=[8], claims={ONE: 1, TWO: 2, other: 3}, fixed=[TWO])
    assert set(held.surplus([pool("10.1.0.0/24")], {})) == {TWO, other}
    assert held.surplus([pool("10.1.0.0/24")], {TWO, other}) == []


# Pools, against enumeration


spans = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30)), min_size=1, max_size=60)


def of(pairs: list[tuple[int, int]]) -> Pool:
    """From gaps and lengths."""
    made, at = [], (0xFFFF << 32) + (10 << 24)
    for gap, length in pairs:
        at += gap + 1
        made.append((at, at + length))
        at += length + 1
    return Pool(made)


@given(spans, st.integers(0, 10**6), st.integers(1, 3000))
def test_a_window_is_the_next_addresses_round_the_end(pairs: list[tuple[int, int]], start: int, count: int) -> None:
    whole = of(pairs)
    every = [number for first, last in whole.spans for number in range(first, last + 1)]
    assert whole.size == len(every)
    found, covered = whole.window(start, count)
    listed = [number for first, last in found for number in range(first, last + 1)]
    at = start % len(every)
    assert listed == (every[at:] + every[:at])[: len(listed)]
    assert len(listed) == covered
    assert covered == min(count, len(every)) or len(found) == 40
    assert all(whole.index(address_of(number)) == i for i, number in enumerate(every))
    assert address_of(every[0]) in whole
    assert address_of(every[0] - 1) not in whole


@given(numbers)
def test_an_address_is_one_number_in_the_order_of_its_text_in_keys(number: int) -> None:
    assert number_of(address_of(number)) == number


def test_a_pool_is_what_may_be_chosen_of_a_range_set() -> None:
    part = RangeSet(
        [{"subnet": "10.1.0.0/29", "exclude": ["10.1.0.4/32"]}, {"subnet": "10.2.0.0/24", "ipRange": "10.2.0.8/30"}]
    )
    assert str(Pool.of(part)) == "10.1.0.2-10.1.0.3, 10.1.0.5-10.1.0.6, 10.2.0.8-10.2.0.11"
    assert Pool.of(part).size == part.size == 8
