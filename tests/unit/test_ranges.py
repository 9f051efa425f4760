"""ipam.ranges against a model that enumerates small subnets, and against the iterator and the test cases of Go's."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import Any

import pytest
from hypothesis import assume, event, example, given, strategies as st

from cni_core.address import Address, Cidr
from cni_core.config import SUPPORTED
from cni_core.errors import ADDRESS_UNAVAILABLE, INCOMPATIBLE_VERSION, INVALID_CONFIG, CniError
from ipam.ranges import Places, Range, RangeSet, assign, range_sets
from tests.unit.calls import config, request
from tests.unit.strategies import AnyAddress, ips

# The model: every address of a small subnet, and for each whether it may be given and whether it may be chosen.

ROOTS = ("10.1.0.0/23", "fd00::/119")


class Model:
    """One range, by enumeration. contradiction: why the configuration is none, empty if it is one."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.contradiction: tuple[str, ...] = ()
        self.subnet: IPv4Network | IPv6Network = ip_network(document["subnet"], strict=False)
        every: list[AnyAddress] = list(self.subnet)
        usable = every
        if len(every) > 2:
            usable = every[1:-1] if self.subnet.version == 4 else every[1:]
        gateway = document.get("gateway", "")
        default = every[1] if len(every) > 2 else None
        self.gateway = None if gateway == "none" else ip_address(gateway) if gateway else default
        self.start = ip_address(document.get("rangeStart", str(usable[0])))
        self.end = ip_address(document.get("rangeEnd", str(usable[-1])))
        aux = {ip_address(text) for text in document.get("auxAddresses", {}).values()}
        exclude = [ip_network(text, strict=False) for text in document.get("exclude", [])]
        part = ip_network(document.get("ipRange", document["subnet"]), strict=False)

        if str(self.subnet) != document["subnet"]:
            self.contradiction = (document["subnet"], str(self.subnet))
        for address in [self.start, self.end, *aux]:
            if address and address not in self.subnet:
                self.contradiction = self.contradiction or (str(address), str(self.subnet))
        text = document.get("ipRange")
        if text is not None and not (text == str(ip_network(text, strict=False)) and self.holds(ip_network(text))):
            self.contradiction = self.contradiction or (text,)
        for network in exclude:
            if not self.holds(network):
                self.contradiction = self.contradiction or (str(network),)
        if not self.contradiction and self.start > self.end:  # type: ignore[operator]
            self.contradiction = (str(self.start), str(self.end))
        if self.contradiction:
            return

        self.bounded = [ip for ip in every if self.start <= ip <= self.end]  # type: ignore[operator]
        taken = {self.gateway, *aux} | {ip for network in exclude for ip in every if ip in network}
        self.given = [ip for ip in self.bounded if ip in usable and ip not in taken]
        self.chosen = [ip for ip in self.given if ip in part]

    def holds(self, network: IPv4Network | IPv6Network) -> bool:
        return network.version == self.subnet.version and network.subnet_of(self.subnet)  # type: ignore[arg-type]


def members(subnet: str) -> st.SearchStrategy[AnyAddress]:
    return st.sampled_from(list[AnyAddress](ip_network(subnet)))


@st.composite
def range_documents(draw: st.DrawFn, root: str, *, sound: bool = False) -> dict[str, Any]:
    """A range somewhere in the root; where it must be sound, nothing in it lies outside its subnet."""
    whole = ip_network(root)
    length = draw(st.integers(whole.prefixlen + 1, whole.max_prefixlen))
    base = draw(members(root))
    subnet = str(ip_network(f"{base}/{length}", strict=False))
    every = list(ip_network(subnet))
    inside = members(subnet) | st.sampled_from([every[0], every[len(every) > 1], every[-1]])
    addresses = (inside if sound else inside | members(root)).map(str)

    def parts() -> st.SearchStrategy[str]:
        lengths = st.integers(length, whole.max_prefixlen)
        networks = st.builds(lambda ip, bits: str(ip_network(f"{ip}/{bits}", strict=False)), addresses, lengths)
        return networks if sound else networks | st.builds("{}/{}".format, addresses, lengths)

    return draw(
        st.fixed_dictionaries(
            {"subnet": st.just(subnet) if sound else st.sampled_from([subnet] * 9 + [f"{base}/{length}"])},
            optional={
                "rangeStart": addresses,
                "rangeEnd": addresses,
                "gateway": addresses | st.sampled_from(["none", ""]),
                "ipRange": parts(),
                "auxAddresses": st.dictionaries(st.sampled_from("abc"), addresses, max_size=3),
                "exclude": st.lists(parts() | addresses, max_size=3),
            },
        )
    )


def ours(ip: AnyAddress) -> Address:
    return Address.from_packed(ip.packed)


def texts(addresses: Any) -> list[str]:
    return [str(address) for address in addresses]


any_range = st.sampled_from(ROOTS).flatmap(range_documents)
sound_range = st.sampled_from(ROOTS).flatmap(lambda root: range_documents(root, sound=True))


@given(any_range)
@example({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.255"})
@example({"subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.0"})
@example({"subnet": "10.1.0.0/24", "exclude": ["10.1.0.0/24"]})
@example({"subnet": "10.1.0.0/32"})
@example({"subnet": "10.1.0.0/31", "gateway": "10.1.0.1"})
@example({"subnet": "fd00::/127"})
def test_a_range_gives_and_chooses_what_enumerating_its_subnet_says(document: dict[str, Any]) -> None:
    model = Model(document)
    if model.contradiction:
        event("contradiction")
        with pytest.raises(CniError) as refused:
            Range(document)
        assert refused.value.code == INVALID_CONFIG
        return
    event(f"IPv{model.subnet.version}")
    part = Range(document)
    assert (part.gateway and str(part.gateway)) == (model.gateway and str(model.gateway))
    bounds = [part.start.value, part.end.value]
    for ip in model.subnet:
        address = ours(ip)
        assert (address in part) == (ip in model.bounded) == (bounds[0] <= address.value <= bounds[1])
        if address in part:
            assert (part.refusal(address) == "") == (ip in model.given)
    only = RangeSet([document])
    assert texts(only.candidates(None)) == texts(model.chosen)
    assert only.size == len(model.chosen)


@given(sound_range)
def test_what_lies_outside_the_subnet_or_the_other_bound_is_the_only_contradiction(document: dict[str, Any]) -> None:
    model = Model(document)
    if not model.contradiction:
        Range(document)
        return
    with pytest.raises(CniError, match=r"^ipam: rangeStart .* is after rangeEnd ") as refused:
        Range(document)
    assert all(side in refused.value.msg for side in model.contradiction)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"subnet": "10.1.0.9/24"}, "subnet 10.1.0.9/24 has host bits set; the network is 10.1.0.0/24"),
        ({"subnet": "fd00::1/64"}, "subnet fd00::1/64 has host bits set; the network is fd00::/64"),
        ({"gateway": "fe80::1"}, "gateway fe80::1 is not of the family of subnet 10.1.0.0/24"),
        ({"rangeStart": "10.2.0.1"}, "rangeStart 10.2.0.1 is not in subnet 10.1.0.0/24"),
        ({"rangeStart": "fd00::1"}, "rangeStart fd00::1 is not in subnet 10.1.0.0/24"),
        ({"rangeEnd": "10.0.255.255"}, "rangeEnd 10.0.255.255 is not in subnet 10.1.0.0/24"),
        ({"rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8"}, "rangeStart 10.1.0.9 is after rangeEnd 10.1.0.8"),
        ({"rangeStart": "10.1.0.255"}, "rangeStart 10.1.0.255 is after rangeEnd 10.1.0.254"),
        ({"auxAddresses": {"r": "10.2.0.1"}}, "the auxiliary address 'r', 10.2.0.1 is not in subnet 10.1.0.0/24"),
        ({"exclude": ["10.2.0.9"]}, "exclude 10.2.0.9/32 is not inside subnet 10.1.0.0/24"),
        ({"exclude": ["10.0.0.0/8"]}, "exclude 10.0.0.0/8 is not inside subnet 10.1.0.0/24"),
        ({"ipRange": "10.2.0.0/30"}, "ipRange 10.2.0.0/30 is not inside subnet 10.1.0.0/24"),
        ({"ipRange": "10.1.0.9/30"}, "ipRange 10.1.0.9/30 has host bits set; the network is 10.1.0.8/30"),
    ],
)
def test_a_contradiction_names_both_its_sides(document: dict[str, Any], message: str) -> None:
    with pytest.raises(CniError) as refused:
        Range({"subnet": "10.1.0.0/24"} | document)
    assert (refused.value.code, refused.value.msg) == (INVALID_CONFIG, f"ipam: {message}")


def test_an_address_that_is_never_given_is_refused_with_the_reason() -> None:
    part = Range(
        {
            "subnet": "10.1.0.0/24",
            "rangeStart": "10.1.0.0",
            "rangeEnd": "10.1.0.255",
            "auxAddresses": {"printer": "10.1.0.9"},
            "exclude": ["10.1.0.16/28"],
            "ipRange": "10.1.0.128/25",
        }
    )
    reasons = {
        "10.1.0.0": "it is the network address of 10.1.0.0/24",
        "10.1.0.1": "it is the gateway of 10.1.0.0/24",
        "10.1.0.9": "it is the auxiliary address 'printer'",
        "10.1.0.17": "10.1.0.16/28 is excluded",
        "10.1.0.255": "it is the broadcast address of 10.1.0.0/24",
        "10.1.0.50": "",  # outside ipRange, which bounds only those that we choose
    }
    for text, reason in reasons.items():
        assert part.refusal(Address.parse(text)) == reason


def test_a_gateway_may_be_link_local_as_routers_of_ipv6_are() -> None:
    part = Range({"subnet": "fd00::/64", "gateway": "fe80::1"})
    assert str(part.gateway) == "fe80::1"
    assert part.chosen == [(Address.parse("fd00::1").value, part.end.value)]


# Order


def gos_iterator(documents: list[dict[str, Any]], last: Address | None) -> Iterator[AnyAddress]:
    """RangeIter of Go's host-local (backend/allocator/allocator.go, GetIter and Next), step by step."""
    models = [Model(document) for document in documents]
    index = next((i for i, model in enumerate(models) if last and ip_address(str(last)) in model.bounded), None)
    current = ip_address(str(last)) if index is not None else None
    first: AnyAddress | None = None
    index = index or 0
    while True:
        model = models[index]
        if current is None:
            current = first = model.start
        else:
            if current == model.end:
                index = (index + 1) % len(models)
                model = models[index]
                current = model.start
            else:
                current += 1
            if first is None:
                first = current
            elif current == first:
                return
        if current != model.gateway:
            yield current


def sound_ranges(most: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Ranges of one family without a contradiction in any, which may overlap."""
    families = [
        st.lists(range_documents(root, sound=True).filter(lambda part: not Model(part).contradiction), max_size=most)
        for root in ROOTS
    ]
    return st.one_of(families).filter(bool)


@st.composite
def range_sets_of_one_family(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Ranges beside one another in one subnet or in several, in any order."""
    documents: list[dict[str, Any]] = []
    bounds: list[tuple[int, int]] = []
    for document in draw(sound_ranges(4)):
        model = Model(document)
        first, last = int(model.start), int(model.end)
        if all(last < other_first or other_last < first for other_first, other_last in bounds):
            documents.append(document)
            bounds.append((first, last))
    return documents


@given(range_sets_of_one_family(), st.data())
def test_addresses_come_in_the_order_of_gos_iterator(documents: list[dict[str, Any]], data: st.DataObject) -> None:
    models = [Model(document) for document in documents]
    root = ROOTS[0] if models[0].subnet.version == 4 else ROOTS[1]
    bounded = [ip for model in models for ip in model.bounded]
    last_ip = data.draw(st.none() | st.sampled_from(bounded) | members(root))
    last = None if last_ip is None else ours(last_ip)
    event(f"{len(documents)} ranges")
    found = texts(RangeSet(documents).candidates(last))
    # What Go's does not know: exclude, auxAddresses, ipRange; and it gives the network address if rangeStart says so.
    chosen = {ip for model in models for ip in model.chosen}
    assert found == [str(ip) for ip in gos_iterator(documents, last) if ip in chosen]
    assert sorted(found) == sorted(texts(chosen))
    assert RangeSet(documents).size == len(chosen)


@given(range_sets_of_one_family())
def test_no_address_comes_twice_before_all_others_came_once(documents: list[dict[str, Any]]) -> None:
    part = RangeSet(documents)
    assume(part.size)
    last: Address | None = None
    given_: list[str] = []
    for _ in range(part.size * 2):
        last = next(part.candidates(last))
        given_.append(str(last))
    assert given_[: part.size] == given_[part.size :] == texts(part.candidates(None))


@pytest.mark.parametrize(
    ("document", "first"),
    [
        ({"subnet": "10.0.0.0/8"}, "10.0.0.2"),
        ({"subnet": "0.0.0.0/0"}, "0.0.0.2"),
        ({"subnet": "fd00::/64"}, "fd00::2"),
        ({"subnet": "::/0", "gateway": "none"}, "::1"),
        ({"subnet": "fd00::/64", "exclude": ["fd00::/65"]}, "fd00::8000:0:0:0"),
        ({"subnet": "fd00::/64", "ipRange": "fd00:0:0:0:ffff::/80"}, "fd00::ffff:0:0:0"),
    ],
)
def test_a_large_subnet_is_not_enumerated(document: dict[str, Any], first: str) -> None:
    part = RangeSet([document])
    assert str(next(part.candidates(None))) == first
    assert part.size > 2**20
    last = Address(part.family, part.ranges[0].chosen[-1][1])
    assert texts(islice(part.candidates(last), 2))[0] == first


def test_thousands_of_ranges_are_no_hindrance() -> None:
    networks = [{"subnet": str(network)} for network in ip_network("10.0.0.0/8").subnets(new_prefix=21)]
    assert len(list(islice(RangeSet(networks).candidates(None), 10))) == 10
    ipam = {"type": "host-local", "ranges": [[network] for network in networks]}
    assert len(range_sets(request(config=config(ipam=ipam)))) == len(networks) == 8192


# Sets


@given(st.lists(sound_ranges(3), min_size=1, max_size=3), st.data())
def test_ranges_may_not_overlap_within_a_set_nor_between_sets(
    drawn: list[list[dict[str, Any]]], data: st.DataObject
) -> None:
    models = [[Model(document) for document in documents] for documents in drawn]
    every = [(i, model) for i, part in enumerate(models) for model in part]
    overlapping = any(
        model.subnet.version == other.subnet.version and model.start <= other.end and other.start <= model.end  # type: ignore[operator]
        for n, (_, model) in enumerate(every)
        for _, other in every[n + 1 :]
    )
    asked = request(config=config(ipam={"type": "host-local", "ranges": drawn}))
    if overlapping:
        event("overlap")
        with pytest.raises(CniError, match=r"^ipam: range .* of set \d and range .* of set \d overlap$") as refused:
            range_sets(asked)
        assert refused.value.code == INVALID_CONFIG
        return
    event("no overlap")
    sets = range_sets(asked)
    assert texts(sets) == [",".join(f"{model.start}-{model.end}" for model in part) for part in models]
    picked = data.draw(st.lists(st.sampled_from([ip for _, model in every for ip in model.bounded]), max_size=3))
    expected: list[Address | None] = [None] * len(sets)
    for ip in picked:
        (where,) = [i for i, model in every if ip in model.bounded]
        if expected[where]:
            event("two of one set")
            with pytest.raises(
                CniError, match=r"^failed to .* IPs: .* and .* are both of range set .*, which gives one$"
            ):
                assign(sets, Places(sets), [ours(ip) for ip in picked])
            return
        expected[where] = ours(ip)
    assert assign(sets, Places(sets), [ours(ip) for ip in picked]) == expected


def test_an_address_asked_for_that_is_in_no_set_is_refused_naming_the_ranges() -> None:
    sets = [RangeSet([{"subnet": "10.1.0.0/24"}]), RangeSet([{"subnet": "fd00::/64"}])]
    with pytest.raises(CniError) as refused:
        assign(sets, Places(sets), [Address.parse("10.2.0.1")])
    assert refused.value.code == ADDRESS_UNAVAILABLE
    assert refused.value.msg == (
        "failed to allocate all requested IPs: 10.2.0.1 is in no range: "
        "10.1.0.1-10.1.0.254; fd00::1-fd00::ffff:ffff:ffff:ffff"
    )


# Go's own cases, by the names they have in plugins/ipam/host-local/backend/allocator/*_test.go

TEST_NET = "192.0.2.0/24"


@pytest.mark.parametrize(
    ("subnet", "start", "end", "gateway"),
    [
        pytest.param(TEST_NET, "192.0.2.1", "192.0.2.254", "192.0.2.1", id="ipv4 with a clean prefix"),
        pytest.param("192.0.2.0/25", "192.0.2.1", "192.0.2.126", "192.0.2.1", id="a smaller ipv4 subnet"),
        pytest.param(
            "2001:DB8:1::/64",
            "2001:db8:1::1",
            "2001:db8:1:0:ffff:ffff:ffff:ffff",
            "2001:db8:1::1",
            id="ipv6 with a clean prefix",
        ),
    ],
)
def test_go_should_generate_sane_defaults(subnet: str, start: str, end: str, gateway: str) -> None:
    part = Range({"subnet": subnet})
    assert texts([part.start, part.end, part.gateway]) == [start, end, gateway]


@pytest.mark.parametrize(
    ("subnet", "network"),
    [
        pytest.param("192.0.2.12/24", "192.0.2.0", id="ipv4 subnet using a masked address"),
        pytest.param("2001:DB8:1::24:19ff:fee1:c44a/64", "2001:db8:1::", id="ipv6 subnet using a masked address"),
        pytest.param("2001:DB8:24:19ff::/63", "2001:db8:24:19fe::", id="ipv6 prefix with host bit set"),
        pytest.param("192.168.127.0/23", "192.168.126.0", id="ipv4 network with host bit set"),
    ],
)
def test_go_should_reject_host_bits(subnet: str, network: str) -> None:
    with pytest.raises(CniError, match=f"has host bits set; the network is {network}/"):
        Range({"subnet": subnet})


def test_unlike_go_a_subnet_of_two_addresses_or_of_one_gives_them_all() -> None:
    assert texts(RangeSet([{"subnet": "192.0.2.0/31"}]).candidates(None)) == ["192.0.2.0", "192.0.2.1"]
    assert texts(RangeSet([{"subnet": "192.0.2.7/32"}]).candidates(None)) == ["192.0.2.7"]
    assert texts(RangeSet([{"subnet": "fd00::/127"}]).candidates(None)) == ["fd00::", "fd00::1"]


@pytest.mark.parametrize(
    "members",
    [{"rangeStart": "192.0.3.0"}, {"rangeEnd": "192.0.4.0"}, {"rangeStart": "192.0.2.50", "rangeEnd": "192.0.2.40"}],
)
def test_go_should_reject_invalid_range_start_and_range_end_specifications(members: dict[str, str]) -> None:
    with pytest.raises(CniError, match=next(iter(members.values()))):
        Range({"subnet": TEST_NET} | members)


def test_go_should_parse_all_fields_correctly() -> None:
    part = Range({"subnet": TEST_NET, "rangeStart": "192.0.2.40", "rangeEnd": "192.0.2.50", "gateway": "192.0.2.254"})
    assert texts([part.subnet, part.start, part.end, part.gateway]) == [
        TEST_NET,
        "192.0.2.40",
        "192.0.2.50",
        "192.0.2.254",
    ]


@pytest.mark.parametrize(
    ("document", "inside", "outside"),
    [
        (
            {"subnet": TEST_NET, "rangeStart": "192.0.2.40", "rangeEnd": "192.0.2.50", "gateway": "192.0.2.254"},
            ["192.0.2.40", "192.0.2.50"],
            ["192.0.3.0", "192.0.2.39", "192.0.2.51"],
        ),
        (
            {"subnet": "2001:DB8:1::/64", "rangeStart": "2001:db8:1::40", "rangeEnd": "2001:db8:1::50"},
            ["2001:db8:1::40", "2001:db8:1::50"],
            ["2001:db8:2::", "2001:db8:1::39", "2001:db8:1::51"],
        ),
    ],
)
def test_go_should_accept_ips_in_range_and_reject_ips_out_of_range(
    document: dict[str, Any], inside: list[str], outside: list[str]
) -> None:
    part = Range(document)
    assert all(Address.parse(text) in part for text in inside)
    assert not any(Address.parse(text) in part for text in outside)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param({"subnet": "10.0.0.0/24"}, {"subnet": "10.0.1.0/24"}, False, id="non-overlapping"),
        pytest.param({"subnet": "0.0.0.0/24"}, {"subnet": "::/24"}, False, id="different families"),
        pytest.param({"subnet": "10.0.0.0/24"}, {"subnet": "10.0.0.0/24"}, True, id="Identical"),
        pytest.param({"subnet": "10.0.0.0/20"}, {"subnet": "10.0.1.0/24"}, True, id="Containing"),
        pytest.param(
            {"subnet": "10.0.0.0/24", "rangeEnd": "10.0.0.127"},
            {"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.128"},
            False,
            id="same subnet, non overlapping start + end",
        ),
        pytest.param(
            {"subnet": "10.0.0.0/24", "rangeEnd": "10.0.0.127"},
            {"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.127"},
            True,
            id="same subnet, overlapping start + end",
        ),
    ],
)
def test_go_detecting_overlap(one: dict[str, str], other: dict[str, str], expected: bool) -> None:
    for ranges in ([[one], [other]], [[other], [one]]):
        asked = request(config=config(ipam={"type": "host-local", "ranges": ranges}))
        if expected:
            with pytest.raises(CniError, match=r"overlap$"):
                range_sets(asked)
        else:
            assert len(range_sets(asked)) == 2


def test_go_should_detect_set_membership_correctly() -> None:
    part = RangeSet([{"subnet": "192.168.0.0/24"}, {"subnet": "172.16.1.0/24"}])
    assert part.range_of(Address.parse("192.168.0.55")) is part.ranges[0]
    assert part.range_of(Address.parse("192.168.99.99")) is None
    assert str(part) == "192.168.0.1-192.168.0.254,172.16.1.1-172.16.1.254"


def test_go_should_discover_overlaps_within_a_set() -> None:
    with pytest.raises(CniError) as refused:
        range_sets(
            request(
                config=config(
                    ipam={
                        "type": "host-local",
                        "ranges": [[{"subnet": "192.168.0.0/20"}, {"subnet": "192.168.2.0/24"}]],
                    }
                )
            )
        )
    assert "192.168.0.1-192.168.15.254" in refused.value.msg
    assert "192.168.2.1-192.168.2.254" in refused.value.msg


def loop(document: dict[str, Any], last: str | None) -> list[str]:
    return texts(RangeSet([document]).candidates(None if last is None else Address.parse(last)))


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param(None, [2, 3, 4, 5, 6], id="from the beginning"),
        pytest.param("192.168.1.6", [2, 3, 4, 5, 6], id="from the end"),
        pytest.param("192.168.1.3", [4, 5, 6, 2, 3], id="from the middle"),
    ],
)
def test_go_should_loop_correctly(last: str | None, expected: list[int]) -> None:
    assert loop({"subnet": "192.168.1.0/29"}, last) == [f"192.168.1.{n}" for n in expected]


THREE = ["10.0.0.0/30", "10.0.1.0/30", "10.0.2.0/30"]


@pytest.mark.parametrize(
    ("subnets", "taken", "last", "expected"),
    [
        pytest.param(["10.0.0.0/29"], [], "", "10.0.0.2", id="fresh start"),
        pytest.param(["2001:db8:1::0/64"], [], "", "2001:db8:1::2", id="fresh start, IPv6"),
        pytest.param(["10.0.0.0/30"], [], "", "10.0.0.2", id="fresh start, one address"),
        pytest.param(["10.0.0.0/29"], [2], "", "10.0.0.3", id="fresh start, one taken"),
        pytest.param(["10.0.0.0/29"], [], "10.0.0.5", "10.0.0.6", id="next ip of last reserved ip"),
        pytest.param(["10.0.0.0/29"], [4, 5], "10.0.0.3", "10.0.0.6", id="next free ip of last reserved ip"),
        pytest.param(["10.0.0.0/29"], [6], "10.0.0.5", "10.0.0.2", id="round robin to the beginning"),
        pytest.param(["10.0.0.0/29"], [2], "10.0.0.128", "10.0.0.3", id="lastIP is out of range"),
        pytest.param(["10.0.0.0/29"], [2, 4, 5, 6], "10.0.0.3", "10.0.0.3", id="completely full except for lastip"),
        pytest.param(THREE[:2], [], "", "10.0.0.2", id="alocate from multiple subnets"),
        pytest.param(THREE[:2], [], "10.0.0.2", "10.0.1.2", id="advance to next subnet"),
        pytest.param(THREE, [], "10.0.2.2", "10.0.0.2", id="Roll to start subnet"),
    ],
)
def test_go_should_allocate_ips_in_round_robin(subnets: list[str], taken: list[int], last: str, expected: str) -> None:
    part = RangeSet([{"subnet": subnet} for subnet in subnets])
    leased = {f"10.0.0.{n}" for n in taken}
    candidates = part.candidates(Address.parse(last) if last else None)
    assert next(text for text in texts(islice(candidates, 10)) if text not in leased) == expected


TWO_OF_FOUR = [
    {"subnet": f"192.168.{n}.0/30", "rangeStart": f"192.168.{n}.0", "rangeEnd": f"192.168.{n}.3"} for n in (1, 2)
]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param("192.168.1.3", ["192.168.2.2", "192.168.1.2"], id="lastReservedIP at the end of one of them"),
        pytest.param(None, ["192.168.1.2", "192.168.2.2"], id="no lastReservedIP"),
    ],
)
def test_unlike_go_bounds_at_the_network_and_broadcast_address_do_not_give_these(
    last: str | None, expected: list[str]
) -> None:
    part = RangeSet(TWO_OF_FOUR)
    assert texts(part.candidates(None if last is None else Address.parse(last))) == expected


# Go's config_test.go

OLD_STYLE: dict[str, Any] = {
    "subnet": "10.1.2.0/24",
    "rangeStart": "10.1.2.9",
    "rangeEnd": "10.1.2.20",
    "gateway": "10.1.2.30",
}
NEW_STYLE = {"subnet": "11.1.2.0/24", "rangeStart": "11.1.2.9", "rangeEnd": "11.1.2.20", "gateway": "11.1.2.30"}


def sets_of(*, ip_ranges: list[Any] | None = None, version: str = "0.3.1", **ipam: Any) -> list[RangeSet]:
    runtime_config = {"irrelevant": "a", "ipRanges": ip_ranges} if ip_ranges else None
    ipam["type"] = "host-local"
    return range_sets(request(config=config(cniVersion=version, runtimeConfig=runtime_config, ipam=ipam)))


def test_go_should_parse_an_old_style_config() -> None:
    assert texts(sets_of(**OLD_STYLE)) == ["10.1.2.9-10.1.2.20"]


def test_go_should_parse_a_new_style_config() -> None:
    ranges = [[OLD_STYLE, {"subnet": "10.1.4.0/24"}], [NEW_STYLE]]
    assert texts(sets_of(ranges=ranges)) == ["10.1.2.9-10.1.2.20,10.1.4.1-10.1.4.254", "11.1.2.9-11.1.2.20"]


def test_go_should_parse_a_mixed_config_with_runtime_args_the_runtimes_first() -> None:
    found = sets_of(ip_ranges=[[{"subnet": "12.1.3.0/24"}]], ranges=[[NEW_STYLE]], **OLD_STYLE)
    assert texts(found) == ["12.1.3.1-12.1.3.254", "10.1.2.9-10.1.2.20", "11.1.2.9-11.1.2.20"]


def test_go_should_detect_overlap_between_rangesets() -> None:
    one = [{"subnet": "10.1.2.0/24"}, {"subnet": "10.2.2.0/24"}]
    other = [{"subnet": f"10.1.{n}.0/24"} for n in (4, 6, 8, 2)]
    message = "range 10.1.2.1-10.1.2.254 of set 0 and range 10.1.2.1-10.1.2.254 of set 1 overlap"
    with pytest.raises(CniError, match=message):
        sets_of(ranges=[one, other])


def test_go_should_detect_overlap_within_rangeset() -> None:
    with pytest.raises(CniError, match=r"10\.1\.0\.1-10\.1\.3\.254 .*and .*10\.1\.2\.1-10\.1\.2\.254 .*overlap$"):
        sets_of(ranges=[[{"subnet": "10.1.0.0/22"}, {"subnet": "10.1.2.0/24"}]])


def test_go_should_error_on_rangesets_with_different_families() -> None:
    with pytest.raises(CniError, match=r"mixes IPv4 and IPv6$"):
        sets_of(ranges=[[{"subnet": "10.1.0.0/22"}, {"subnet": "2001:db8:5::/64"}]])


@pytest.mark.parametrize("version", SUPPORTED)
def test_go_should_error_on_too_many_ranges_before_version_0_3_0(version: str) -> None:
    ranges = [[{"subnet": "10.1.2.0/24"}], [{"subnet": "11.1.2.0/24"}]]
    if version in ("0.1.0", "0.2.0"):
        with pytest.raises(CniError, match=f"^CNI version {version} does not support more than 1 ad") as refused:
            sets_of(ranges=ranges, version=version)
        assert refused.value.code == INCOMPATIBLE_VERSION
    else:
        assert len(sets_of(ranges=ranges, version=version)) == 2
    assert len(sets_of(ranges=[[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/48"}]], version=version)) == 2


def test_no_range_at_all_is_refused() -> None:
    with pytest.raises(CniError, match=r"^ipam: host-local needs a subnet or ranges$"):
        sets_of(ranges=[])


def test_ranges_of_one_subnet_split_around_an_address_are_one_set() -> None:
    # nerdctl's way to exclude 10.1.0.9.
    subnet = "10.1.0.0/28"
    part = RangeSet([{"subnet": subnet, "rangeEnd": "10.1.0.8"}, {"subnet": subnet, "rangeStart": "10.1.0.10"}])
    assert texts(part.candidates(None)) == [f"10.1.0.{n}" for n in (2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14)]
    assert Cidr.parse(subnet) == part.ranges[1].subnet


@given(st.lists(ips, min_size=1, max_size=12), ips, st.integers(0, 3))
def test_a_place_is_the_one_that_looking_at_every_range_finds(
    starts: list[AnyAddress], asked: AnyAddress, size: int
) -> None:
    sets = []
    for start in starts:
        address = ours(start)
        net = Cidr(address, address.bits - size).subnet
        try:
            sets.append(RangeSet([{"subnet": str(net), "gateway": "none"}]))
        except CniError:
            continue
    sets = list({str(one): one for one in sets}.values())
    for address in [ours(asked), *(part.start for one in sets for part in one.ranges)]:
        expected = next(((i, part) for i, one in enumerate(sets) if (part := one.range_of(address))), None)
        assert Places(sets).of(address) == expected
