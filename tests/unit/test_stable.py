"""cni_core.stable and ipam.stable: what follows from whom an attachment is for."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_network
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, strategies as st

from cni_core import errors, stable
from cni_core.errors import CniError
from cni_core.names import fnv1a
from cni_core.request import Request
from ipam import stable as order
from ipam.pool import Pool
from ipam.ranges import RangeSet
from tests.unit.calls import attachment, config, request
from tests.unit.conftest import Node
from tests.unit.orders import number, stable_order

MACHINE = "0123456789abcdef0123456789abcdef"
# Of that machine's web-0, and of c1, in this release and every later one.
MACS = ["92:f4:a1:27:3d:ee", "f6:e0:e8:cc:79:28"]
ADDRESSES = ["10.1.0.107", "10.1.0.244", "10.1.0.128"]


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "machine-id"
    file.write_text(f"{MACHINE}\n")
    monkeypatch.setattr(stable, "MACHINE_ID", str(file))
    return file


def macs(asked: Request) -> list[bytes]:
    return list(stable.macs(asked))


def of(container_id: str = "c1", ifname: str = "eth0", args: str = "", network: str = "net1") -> Request:
    return request("ADD", config(name=network), **attachment(container_id, ifname), CNI_ARGS=args)


# The numbers


@pytest.mark.parametrize(
    ("text", "hash_"),
    [("", 0xCBF29CE484222325), ("a", 0xAF63DC4C8601EC8C), ("foobar", 0x85944171F73967E8)],  # draft-eastlake-fnv, C.2
)
def test_the_hash_is_fnv1a(text: str, hash_: int) -> None:
    assert fnv1a(text) == hash_


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 9))
def test_a_number_is_what_its_description_says(text: str, nth: int) -> None:
    assert stable.number(text, nth) == number(text.encode(), nth)


def test_a_release_gives_what_the_one_before_gave() -> None:
    """What a container has must outlive an upgrade."""
    assert [mac.hex(":") for mac in macs(of(args="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0"))[:2]] == MACS
    found = order.candidates(RangeSet([{"subnet": "10.1.0.0/24"}]), stable.owner(of()))
    assert [str(next(found)) for _ in range(3)] == ADDRESSES


# Hardware addresses


def test_a_hardware_address_is_of_a_single_host_and_local() -> None:
    for n in range(200):
        found = macs(of(f"c{n}"))
        assert len(set(found)) == len(found) == stable.TRIES
        assert all(len(mac) == 6 and mac[0] & 0b11 == 0b10 for mac in found)


def test_it_follows_from_whom_it_is_for_and_from_the_machine(machine: Path) -> None:
    pod = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0"
    own = macs(of(args=pod))
    assert macs(of("c2", args=f"IgnoreUnknown=1;K8S_POD_UID=7;{pod}")) == own
    others = [
        of(args="K8S_POD_NAME=web-0"),
        of(args="K8S_POD_NAMESPACE=test;K8S_POD_NAME=web-0"),
        of(args="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1"),
        of(args=pod, ifname="eth1"),
        of(args=pod, network="net2"),
        of("web-0"),
    ]
    assert len({own[0], *(macs(other)[0] for other in others)}) == len(others) + 1
    machine.write_text(MACHINE[::-1])
    assert set(macs(of(args=pod))).isdisjoint(own)


@pytest.mark.parametrize("content", ["", "uninitialized\n", MACHINE[1:], MACHINE.upper(), None])
def test_without_a_machine_id_nothing_is_guessed(machine: Path, content: str | None) -> None:
    machine.unlink() if content is None else machine.write_text(content)
    with pytest.raises(CniError) as error:
        macs(of())
    assert (error.value.code, error.value.path) == (errors.INVALID_CONFIG, ("mac",))


def test_no_text_of_one_part_is_taken_for_another() -> None:
    owners = [
        of("a"),
        of("c", args="K8S_POD_NAME=a"),
        of("c", args="K8S_POD_NAMESPACE=a;K8S_POD_NAME=b"),
        of("c", args="K8S_POD_NAMESPACE=a"),
        of("a", network="net1eth0"),
    ]
    assert len({stable.owner(one) for one in owners}) == len(owners)


def test_an_attachment_has_its_own_hardware_address_again(node: Node) -> None:
    network = node.config(mac="stable")
    found = []
    for _ in range(2):
        [interface] = node.add(network, "c1", CNI_ARGS="K8S_POD_NAME=web").interfaces
        found.append(interface.mac)
        node.delete(network)
    assert found == [macs(of(args="K8S_POD_NAME=web"))[0].hex(":")] * 2


@pytest.mark.parametrize(
    ("members", "args", "expected"),
    [
        ({"runtimeConfig": {"mac": "02:00:00:00:00:11"}}, "MAC=02:00:00:00:00:12", "02:00:00:00:00:11"),
        ({}, "MAC=02:00:00:00:00:12", "02:00:00:00:00:12"),
        ({"args": {"cni": {"mac": "02:00:00:00:00:13"}}}, "", "02:00:00:00:00:13"),
    ],
)
def test_a_hardware_address_that_is_asked_for_goes_before(
    node: Node, members: dict[str, object], args: str, expected: str
) -> None:
    [interface] = node.add(node.config(mac="stable", **members), CNI_ARGS=args).interfaces
    assert interface.mac == expected


@pytest.mark.parametrize("keys", [{"type": "ipvlan"}, {"mode": "passthru"}], ids=str)
def test_a_link_that_has_its_parents_hardware_address_keeps_that(
    node: Node, machine: Path, keys: dict[str, str]
) -> None:
    machine.unlink()
    node.add(node.config(mac="stable", **keys))


def test_while_another_has_its_hardware_address_it_gets_the_next_one(
    node: Node, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = macs(of())
    node.kernel.busy = {first}
    result = node.add(node.config(mac="stable"))
    assert result.interfaces[0].mac == second.hex(":")
    assert node.container().names == ["eth0"]
    assert len(node.leases()) == len(result.ips) == 1
    assert capfd.readouterr().err == (
        f"the hardware address {first.hex(':')} is in use on eth0 already: eth0 gets another one\n"
    )


def test_where_others_have_all_of_them_that_is_told(node: Node) -> None:
    node.kernel.busy = set(macs(of()))
    error = node.refused(node.config(mac="stable"))
    assert (error.code, "is in use on eth0 already" in error.msg) == (errors.PARENT_UNUSABLE, True)


def test_one_that_is_asked_for_is_not_replaced(node: Node) -> None:
    node.kernel.busy = {bytes.fromhex("020000000005")}
    assert node.refused(node.config(mac="02:00:00:00:00:05")).code == errors.PARENT_UNUSABLE


# The order of addresses

subnets = st.sampled_from(["10.1.0.0/24", "10.1.0.0/27", "10.1.0.8/29", "10.1.0.4/30", "10.1.0.6/31", "10.1.0.9/32"])
subnets_of_ipv6 = st.sampled_from(["fd00::/120", "fd00::/126", "fd00::8/127", "fd00::9/128"])
owners = st.lists(st.text("abc", max_size=3), min_size=3, max_size=4)


@st.composite
def range_sets(draw: st.DrawFn) -> list[dict[str, object]]:
    one: dict[str, object] = {"subnet": draw(subnets | subnets_of_ipv6)}
    hosts = list(ip_network(str(one["subnet"])))
    one["exclude"] = [str(ip) for ip in draw(st.lists(st.sampled_from(hosts), max_size=3, unique=True))]
    return [one, {"subnet": "10.2.0.0/28" if ":" not in str(one["subnet"]) else "fd01::/124"}]


@given(range_sets(), owners)
def test_the_order_is_of_all_that_can_be_chosen_each_once(documents: list[dict[str, object]], owner: list[str]) -> None:
    part = RangeSet(documents)
    pool = sorted((str(address) for address in part.candidates(None)), key=ip_address)
    found = [str(address) for address in order.candidates(part, "\0".join(owner))]
    assert found == stable_order(owner, pool)
    assert sorted(found, key=ip_address) == pool


def test_nothing_to_choose_from_is_no_order() -> None:
    part = RangeSet([{"subnet": "10.1.0.4/30", "exclude": ["10.1.0.6"]}])
    assert list(order.candidates(part, "a")) == []


def test_a_pool_knows_its_addresses_by_their_places() -> None:
    pool = Pool.of(RangeSet([{"subnet": "10.1.0.0/29", "exclude": ["10.1.0.3"]}, {"subnet": "10.2.0.6/31"}]))
    assert [str(pool[i]) for i in range(pool.size)] == [
        "10.1.0.2",
        *(f"10.1.0.{n}" for n in (4, 5, 6)),
        "10.2.0.6",
        "10.2.0.7",
    ]
    assert [pool.index(pool[i]) for i in range(pool.size)] == list(range(pool.size))
    for beyond in (pool.size, -1):
        with pytest.raises(IndexError):
            pool[beyond]


def test_first_choices_are_spread_over_the_pool() -> None:
    """As evenly as chance has it: of 5,060 over 253, none has more than three times its share, and hardly one none."""
    part = RangeSet([{"subnet": "10.1.0.0/24"}])
    names = [f"net1\0eth0\0shop\0web-{n}" for n in range(5060)]
    first = Counter(str(next(order.candidates(part, name))) for name in names)
    assert len(first) >= 252
    assert max(first.values()) < 60


def test_of_a_pool_that_is_95_percent_full_few_are_tried() -> None:
    part = RangeSet([{"subnet": "10.1.0.0/20"}])
    everything = [str(address) for address in part.candidates(None)]
    free = set(Random(1).sample(everything, len(everything) // 20))
    tries = [
        next(n for n, address in enumerate(order.candidates(part, f"c{name}"), 1) if str(address) in free)
        for name in range(400)
    ]
    assert sum(tries) / len(tries) < 25
    assert sum(n > order.TRIES for n in tries) / len(tries) < 0.08


def test_the_addresses_of_a_large_ipv6_pool_are_far_apart() -> None:
    part = RangeSet([{"subnet": "fd00::/48"}])
    found = {int(ip_address(str(next(order.candidates(part, f"c{n}"))))) >> 48 for n in range(100)}
    assert len(found) == 100
