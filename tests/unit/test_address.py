"""cni_core.address against the standard library's ipaddress."""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from socket import AF_INET, AF_INET6

import pytest
from hypothesis import event, example, given, strategies as st

from cni_core.address import Address, Cidr, format_mac, parse_mac
from tests.unit.strategies import AnyAddress, cidrs, ips, ipv4, ipv6, macs, mutated


def dotted_tail(ip: IPv6Address) -> str:
    """The form of RFC 4291, 2.2.3: six groups and an IPv4 address."""
    return ip.exploded[: -len("0000:0000")] + str(IPv4Address(int(ip) & 0xFFFFFFFF))


address_texts: st.SearchStrategy[str] = (
    ipv4.map(str)
    | ipv6.flatmap(lambda ip: st.sampled_from([ip.compressed, ip.exploded, ip.compressed.upper(), dotted_tail(ip)]))
    | st.sampled_from(["::", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", "::1.2.3.4", "1::8", "0.0.0.0", "010.0.0.1"])
)
ADDRESS_CHARACTERS = "0123456789abcdefABCDEF.:/%+- \0\n٣"


def theirs(cidr: Cidr) -> IPv4Interface | IPv6Interface:
    return ipaddress.ip_interface((cidr.address.packed, cidr.length))


def stdlib_address(text: str) -> AnyAddress:
    """What ipaddress reads, but for zones, and with an IPv4-mapped address as the IPv4 one, as Go has it."""
    ip = ipaddress.ip_address(text)
    if isinstance(ip, IPv6Address):
        if ip.scope_id is not None:
            raise ValueError("a zone")
        return ip.ipv4_mapped or ip
    return ip


def stdlib_cidr(text: str) -> IPv4Interface | IPv6Interface:
    """What ipaddress reads, but for netmasks, lengths with leading zeros or none, and what stdlib_address tells."""
    before, _, length = text.partition("/")
    if not re.fullmatch("0|[1-9][0-9]*", length):
        raise ValueError("not a plain length")
    if stdlib_address(before).version != ipaddress.ip_address(before).version:
        raise ValueError("the length is of a mapped address")
    return ipaddress.ip_interface(text)


# Addresses


@given(mutated(address_texts, ADDRESS_CHARACTERS) | st.text())
@example("fe80::1%eth0")
@example("::ffff:10.0.0.1")
@example("10.0.0.01")
@example("1:2:3:4:5:6:7::")
@example("::2:3:4:5:6:7:8")
@example("1:2:3:4:5:6:7:8::")
@example("00001::")
@example("1::2::3")
@example("::1.2.3.4")
@example("")
@example("\ud800")
@example("10.0.0.1\0")
def test_reads_the_addresses_that_ipaddress_reads_and_no_others(text: str) -> None:
    try:
        expected = stdlib_address(text)
    except ValueError:
        event("refused")
        with pytest.raises(ValueError, match=r"is not an IP address$"):
            Address.parse(text)
    else:
        event(f"IPv{expected.version}")
        address = Address.parse(text)
        assert address.packed == expected.packed
        assert address.family == (AF_INET if expected.version == 4 else AF_INET6)
        assert address.bits == expected.max_prefixlen


@given(ips)
@example(IPv6Address("::1:0"))
@example(IPv6Address("::1.2.3.4"))
@example(IPv6Address("::1"))
@example(IPv6Address("::"))
@example(IPv6Address("1:0:2:3:4:5:6:7"))
@example(IPv6Address("1:0:0:2:0:0:0:3"))
@example(IPv6Address("::ffff:0:0:1"))
def test_writes_an_address_as_ipaddress_does_in_the_form_of_rfc_5952(ip: AnyAddress) -> None:
    address = Address.from_packed(ip.packed)
    assert str(address) == str(ip)
    assert Address.parse(str(address)) == address
    assert repr(address) == f"Address('{ip}')"


def test_a_mapped_address_is_the_ipv4_address_as_in_go() -> None:
    assert str(Address.parse("::ffff:10.0.0.1")) == "10.0.0.1"
    assert str(Address.parse("::FFFF:a00:1")) == "10.0.0.1"
    assert Address.parse("::ffff:10.0.0.1") == Address.parse("10.0.0.1")


@given(ips, ips)
def test_addresses_are_equal_where_family_and_value_are(one: AnyAddress, other: AnyAddress) -> None:
    a, b = Address.from_packed(one.packed), Address.from_packed(other.packed)
    assert (a == b) == (one == other)
    assert a == Address.from_packed(one.packed)
    assert hash(a) == hash(Address.from_packed(one.packed))


def test_the_same_number_in_two_families_is_two_addresses() -> None:
    assert Address.parse("0.0.0.1") != Address.parse("::1")
    assert Address.parse("0.0.0.1") not in Cidr.parse("::/0")
    assert not Cidr.parse("0.0.0.0/0").overlaps(Cidr.parse("::/0"))
    assert Address.parse("10.0.0.1") != "10.0.0.1"
    assert Cidr.parse("10.0.0.1/8") != "10.0.0.1/8"


# Prefixes


cidr_texts = st.builds(
    "{}{}{}".format,
    address_texts,
    st.sampled_from(["/", "/", "/", "", "//"]),
    st.integers(0, 140).map(str) | st.sampled_from(["", "00", "08", "+8", "-1", " 8", "8 ", "٣", "255.0.0.0", "1_6"]),
)


@given(mutated(cidr_texts, ADDRESS_CHARACTERS) | st.text())
@example("10.1.0.0/016")
@example("10.1.0.0/33")
@example("2001:db8::/129")
@example("10.1.0.0/" + "1" * 5000)
@example("::ffff:10.0.0.0/104")
@example("10.1.0.0")
@example("/8")
def test_reads_the_prefixes_that_ipaddress_reads_and_no_others(text: str) -> None:
    try:
        expected = stdlib_cidr(text)
    except ValueError:
        event("refused")
        with pytest.raises(ValueError, match=r"is not an IP address$|is not an address with|has an impossible"):
            Cidr.parse(text)
    else:
        event(f"IPv{expected.version}")
        cidr = Cidr.parse(text)
        assert (cidr.address.packed, cidr.length) == (expected.ip.packed, expected.network.prefixlen)
        assert str(cidr) == expected.with_prefixlen
        assert repr(cidr) == f"Cidr('{expected.with_prefixlen}')"


@given(cidrs())
def test_first_last_and_subnet_are_those_of_ipaddress(cidr: Cidr) -> None:
    network = theirs(cidr).network
    assert cidr.first.packed == network.network_address.packed
    assert cidr.last.packed == network.broadcast_address.packed
    assert (cidr.subnet.address, cidr.subnet.length) == (cidr.first, cidr.length)
    assert cidr.family == cidr.first.family == cidr.last.family
    assert (cidr == cidr.subnet) == (cidr.address == cidr.first)
    assert all(cidr != Cidr(cidr.address, length) for length in range(cidr.address.bits) if length != cidr.length)
    assert hash(cidr.subnet) == hash(Cidr(cidr.first, cidr.length))


@given(cidrs(), st.data())
def test_an_address_is_inside_where_ipaddress_says_so(cidr: Cidr, data: st.DataObject) -> None:
    network = theirs(cidr).network
    edges = [cidr.first.value - 1, cidr.first.value, cidr.last.value, cidr.last.value + 1]
    near = st.sampled_from([value for value in edges if 0 <= value < 1 << cidr.address.bits])
    value = data.draw(near | st.integers(0, (1 << cidr.address.bits) - 1))
    address = Address(cidr.family, value)
    assert (address in cidr) == (ipaddress.ip_address(address.packed) in network)


@given(st.sampled_from([4, 6]).flatmap(lambda family: st.tuples(cidrs(family), cidrs(family))), st.integers(0, 128))
def test_two_prefixes_overlap_where_ipaddress_says_so(both: tuple[Cidr, Cidr], length: int) -> None:
    one, other = both
    shorter = Cidr(one.address, min(length, one.address.bits))
    for a, b in ((one, other), (one, shorter), (shorter, other)):
        expected = theirs(a).network.overlaps(theirs(b).network)
        assert a.overlaps(b) == b.overlaps(a) == expected


# Hardware addresses


@given(macs)
def test_reads_a_hardware_address_in_each_of_gos_three_forms(mac: bytes) -> None:
    for text in (mac.hex(":"), mac.hex("-"), mac.hex(".", 2)):
        assert parse_mac(text) == parse_mac(text.upper()) == mac
    assert format_mac(mac) == mac.hex(":")


MAC_FORM = re.compile(
    r"(?a)[\da-f]{2}((:[\da-f]{2}){5}|(-[\da-f]{2}){5})|[\da-f]{4}(\.[\da-f]{4}){2}", flags=re.IGNORECASE
)


mac_texts = macs.flatmap(lambda mac: st.sampled_from([mac.hex(":"), mac.hex("-"), mac.hex(".", 2)]))


@given(mutated(mac_texts, ":-.0aF gſ٣") | st.text())
@example("")
@example("02:00:00:00:00:0")
@example("02:00:00:00:00:001")
@example("02:00:00:00:00-01")
@example("02:00:00:00:00:00:00:01")
@example("020000000001")
@example("0200.0000.0001.0001")
@example("0x:00:00:00:00:00")
def test_reads_no_other_text_as_a_hardware_address(text: str) -> None:
    if MAC_FORM.fullmatch(text):
        event("accepted")
        assert parse_mac(text) == bytes.fromhex(re.sub("[:.-]", "", text))
    else:
        event("refused")
        with pytest.raises(ValueError, match=r"is not a hardware address of six bytes$"):
            parse_mac(text)
