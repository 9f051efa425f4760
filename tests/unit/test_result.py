"""cni_core.result: the result of an ADD in the form of each version of the specification."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import pytest
from hypothesis import given, strategies as st

from cni_core.address import Address, Cidr
from cni_core.config import SUPPORTED
from cni_core.result import IP, Interface, Result, RouteSpec
from cni_core.schema.explain import violations
from tests.unit.strategies import cidrs, ips, macs

DNS = {"nameservers": ["10.1.0.1"], "domain": "example.org"}

DUAL = Result(
    [Interface("eth0", "02:00:00:00:00:01", 1500, "/run/netns/c1", "/run/socket", "0000:00:1f.6"), Interface("veth0")],
    [
        IP(Cidr.parse("10.1.0.5/16"), Address.parse("10.1.0.1"), 0),
        IP(Cidr.parse("10.2.0.5/16")),
        IP(Cidr.parse("fd00::5/64"), Address.parse("fd00::1"), 0),
    ],
    [
        RouteSpec(Cidr.parse("0.0.0.0/0"), Address.parse("10.1.0.1"), 1400, advmss=1360, priority=9, table=0, scope=0),
        RouteSpec(Cidr.parse("fd01::/64")),
    ],
    DNS,
)

IP4 = {
    "ip": "10.1.0.5/16",
    "gateway": "10.1.0.1",
    "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}],
}
IP6 = {"ip": "fd00::5/64", "gateway": "fd00::1", "routes": [{"dst": "fd01::/64"}]}
INTERFACES = [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/c1"}, {"name": "veth0"}]
IPS: list[dict[str, Any]] = [
    {"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 0},
    {"address": "10.2.0.5/16"},
    {"address": "fd00::5/64", "gateway": "fd00::1", "interface": 0},
]
WITH_VERSION = [{"version": version} | ip for version, ip in zip("446", IPS, strict=True)]
ROUTES = [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}, {"dst": "fd01::/64"}]

FORMS: dict[str, dict[str, Any]] = {
    "0.1.0": {"ip4": IP4, "ip6": IP6, "dns": DNS},
    "0.2.0": {"ip4": IP4, "ip6": IP6, "dns": DNS},
    "0.3.0": {"interfaces": INTERFACES, "ips": WITH_VERSION, "routes": ROUTES, "dns": DNS},
    "0.3.1": {"interfaces": INTERFACES, "ips": WITH_VERSION, "routes": ROUTES, "dns": DNS},
    "0.4.0": {"interfaces": INTERFACES, "ips": WITH_VERSION, "routes": ROUTES, "dns": DNS},
    "1.0.0": {"interfaces": INTERFACES, "ips": IPS, "routes": ROUTES, "dns": DNS},
    "1.1.0": {
        "interfaces": [
            INTERFACES[0] | {"mtu": 1500, "socketPath": "/run/socket", "pciID": "0000:00:1f.6"},
            {"name": "veth0"},
        ],
        "ips": IPS,
        "routes": [ROUTES[0] | {"mtu": 1400, "advmss": 1360, "priority": 9, "table": 0, "scope": 0}, ROUTES[1]],
        "dns": DNS,
    },
}


@pytest.mark.parametrize("version", SUPPORTED)
def test_each_version_has_its_form(version: str) -> None:
    assert DUAL.to_json(version) == {"cniVersion": version} | FORMS[version]


@pytest.mark.parametrize("version", SUPPORTED)
def test_an_empty_result_is_its_version_alone(version: str) -> None:
    assert Result().to_json(version) == {"cniVersion": version}


def test_writing_a_form_leaves_the_result_as_it_is() -> None:
    for version in SUPPORTED:
        DUAL.to_json(version)
    assert DUAL.to_json("1.1.0") == {"cniVersion": "1.1.0"} | FORMS["1.1.0"]


def test_what_is_zero_is_told_and_what_is_absent_is_not() -> None:
    routes = [
        RouteSpec(Cidr.parse("10.0.0.0/8"), mtu=0, advmss=0, priority=0, table=0, scope=0),
        RouteSpec(Cidr.parse("10.0.0.0/8")),
    ]
    document = Result([Interface("")], [IP(Cidr.parse("10.1.0.5/16"), interface=0)], routes).to_json("1.1.0")
    assert document["routes"] == [
        {"dst": "10.0.0.0/8", "mtu": 0, "advmss": 0, "priority": 0, "table": 0, "scope": 0},
        {"dst": "10.0.0.0/8"},
    ]
    assert document["ips"] == [{"address": "10.1.0.5/16", "interface": 0}]
    assert document["interfaces"] == [{"name": ""}]
    read = Result.from_json(document).routes
    assert [(route.table, route.scope, route.priority) for route in read] == [(0, 0, 0), (None, None, None)]


@pytest.mark.parametrize(
    ("document", "gateway"), [({"gateway": ""}, None), ({}, None), ({"gateway": "10.1.0.1"}, Address.parse("10.1.0.1"))]
)
def test_an_empty_gateway_is_none_as_gos_json_writes_it(document: dict[str, str], gateway: Address | None) -> None:
    assert Result.from_json({"ips": [{"address": "10.1.0.5/16"} | document]}).ips[0].gateway == gateway
    assert Result.from_json({"ip4": {"ip": "10.1.0.5/16"} | document}).ips[0].gateway == gateway


def test_a_route_in_words_is_its_destination_and_next_hop() -> None:
    assert [str(route) for route in DUAL.routes] == ["0.0.0.0/0 via 10.1.0.1", "fd01::/64"]


# Round trips

numbers = st.none() | st.just(0) | st.integers(0, 2**32 - 1)
gateways = st.none() | ips.map(lambda ip: Address.from_packed(ip.packed))
texts = st.text(max_size=5)
interfaces = st.builds(
    Interface,
    name=texts,
    mac=st.just("") | macs.map(lambda mac: mac.hex(":")),
    mtu=st.integers(0, 65535),
    sandbox=texts,
    socket_path=texts,
    pci_id=texts,
)
ip_configs = st.builds(IP, cidrs(), gateways, st.none() | st.integers(0, 3))
route_specs = st.builds(
    RouteSpec,
    cidrs().map(lambda cidr: cidr.subnet),
    gateways,
    mtu=numbers,
    advmss=numbers,
    priority=numbers,
    table=numbers,
    scope=st.none() | st.integers(0, 255),
)
dns = st.fixed_dictionaries(
    {},
    optional={"nameservers": st.lists(texts), "domain": texts, "search": st.lists(texts), "options": st.lists(texts)},
)
results = st.builds(
    Result,
    st.lists(interfaces, max_size=3),
    st.lists(ip_configs, max_size=3),
    st.lists(route_specs, max_size=3),
    st.none() | dns,
)


@given(results, st.sampled_from(SUPPORTED))
def test_what_is_read_back_is_written_the_same_within_a_version(result: Result, version: str) -> None:
    document = result.to_json(version)
    assert violations("result", document) == []
    assert Result.from_json(document).to_json(version) == document


@given(results)
def test_the_latest_version_loses_nothing(result: Result) -> None:
    read = Result.from_json(result.to_json("1.1.0"))
    assert [fields(interface) for interface in read.interfaces] == [fields(each) for each in result.interfaces]
    assert [fields(ip) for ip in read.ips] == [fields(each) for each in result.ips]
    assert [fields(route) for route in read.routes] == [fields(each) for each in result.routes]
    assert read.dns == result.dns


def fields(of: Interface | IP | RouteSpec) -> dict[str, Any]:
    return {name: getattr(of, name) for name in of.__slots__}


@given(results, st.sampled_from(["0.1.0", "0.2.0"]))
def test_the_oldest_versions_tell_the_first_address_of_each_family_and_the_familys_routes(
    result: Result, version: str
) -> None:
    document = result.to_json(version)
    for key, family in (("ip4", 4), ("ip6", 6)):
        of_family = [str(ip.cidr) for ip in result.ips if (":" in str(ip.cidr)) == (family == 6)]
        routes = [str(route.dst) for route in result.routes if (":" in str(route.dst)) == (family == 6)]
        if of_family:
            assert document[key]["ip"] == of_family[0]
            assert [route["dst"] for route in document[key].get("routes", [])] == routes
        else:
            assert key not in document


def test_an_ipv6_address_is_written_in_its_short_form() -> None:
    cidr = Cidr(Address.from_packed(IPv6Address("2001:0db8::0001").packed), 64)
    assert Result(ips=[IP(cidr)]).to_json("1.0.0")["ips"] == [{"address": "2001:db8::1/64"}]
