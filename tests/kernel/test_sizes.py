"""What others can make long has no size at which it is half read: it works, and DEL takes it back, or ADD refuses it.

What it costs, conformance/bench/sizes.py measures; here nothing depends on time.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance.lab.topology import Host
from tests.kernel.conftest import Lan
from tests.kernel.plugin import RECORDS, Plugin, leases, links

WRONG_CONFIG = 7  # cni_core/errors.py
UNAVAILABLE = 105


def subnet(number: int, length: int = 24) -> str:
    address = 0x0A000000 + (number << (32 - length))
    return ".".join(str(byte) for byte in address.to_bytes(4, "big")) + f"/{length}"


def sets(count: int) -> list[list[dict[str, str]]]:
    return [[{"subnet": subnet(i, 29)}] for i in range(count)]


def routes_of(host: Host) -> list[str]:
    return [route["dst"] for route in host.ip_json("route show proto 193")]


def test_an_l3_network_of_4000_ranges_is_attached_and_leaves_nothing(lan: Lan) -> None:
    """Its record has more than 64 KiB."""
    pod, other, plugin = lan.host("pod"), lan.host("other"), Plugin(lan.node, "ipvlan")
    ranges = [[{"subnet": subnet(0x4000 + i)} for i in range(4000)]]
    config = lan.config(type="ipvlan", mode="l3", ipam=lan.ipam() | {"ranges": ranges})
    result = plugin.add(pod, config).result
    assert len(routes_of(lan.node)) == 4000
    [record] = (RECORDS / "attachments").iterdir()
    assert record.stat().st_size > 1 << 16
    plugin.check(pod, config, result).succeeded()
    assert plugin.add(other, config).status == 0
    plugin.delete(pod, config).succeeded()
    assert len(routes_of(lan.node)) == 4000, "the other still needs them"
    plugin.delete(other, config).succeeded()
    assert (routes_of(lan.node), links(pod), leases(lan.data_dir)) == ([], [], {})
    assert [path.name for path in RECORDS.rglob("*") if path.is_file()] == ["lock"]


def test_more_host_routes_than_anybody_needs_are_refused(lan: Lan) -> None:
    pod, plugin = lan.host("pod"), Plugin(lan.node, "ipvlan")
    ranges = [[{"subnet": subnet(0x4000 + i)} for i in range(5001)]]
    config = lan.config(type="ipvlan", mode="l3", ipam=lan.ipam() | {"ranges": ranges})
    error = plugin.add(pod, config).error
    assert (error["code"], error["msg"]) == (
        WRONG_CONFIG,
        "ipam: 5,001 subnets are too many for routes of the host: 5,000 are the most",
    )
    assert (routes_of(lan.node), links(pod), leases(lan.data_dir)) == ([], [], {})
    assert plugin.add(pod, config | {"hostRoutes": False}).status == 0, "the positive control"
    plugin.delete(pod, config).succeeded()


def test_1900_ipv6_range_sets_are_released(lan: Lan) -> None:
    """The index's entry of the attachment has more than 64 KiB."""
    pod = lan.host("pod")
    ranges = [[{"subnet": f"fd00:{i:x}:5555:6666:7777:8888:9999:0/112"}] for i in range(1900)]
    config = lan.config(dad="off", ipam=lan.ipam() | {"ranges": ranges, "routes": []})
    result = lan.macvlan.add(pod, config).result
    assert len(leases(lan.data_dir)) == len(result["ips"]) == 1900
    assert (lan.data_dir / ".attachments/lan/pod:eth0").stat().st_size > 1 << 16
    lan.macvlan.check(pod, config, result).succeeded()
    lan.macvlan.delete(pod, config).succeeded()
    assert (links(pod), leases(lan.data_dir)) == ([], {})


def test_5000_range_sets_are_attached_and_more_refused(lan: Lan) -> None:
    pod = lan.host("pod")
    config = lan.config(ipam=lan.ipam() | {"ranges": sets(5000)})
    result = lan.macvlan.add(pod, config).result
    assert len(leases(lan.data_dir)) == 5000
    lan.macvlan.check(pod, config, result).succeeded()
    lan.macvlan.delete(pod, config).succeeded()
    assert leases(lan.data_dir) == {}
    # What another version, or another plugin, accepted is taken back all the same.
    assert lan.macvlan.add(pod, lan.config()).status == 0
    more = lan.config(ipam=lan.ipam() | {"ranges": sets(12_000)}, runtimeConfig={"ips": ["10.0.0.2"] * 12_001})
    error = lan.macvlan.add(lan.host("other"), more).error
    assert (error["code"], "ipam.ranges: has 12,000 entries; 5,000 are the most" in error["msg"]) == (
        WRONG_CONFIG,
        True,
    )
    lan.macvlan.delete(pod, more).succeeded()
    assert leases(lan.data_dir) == {}


def test_an_address_too_many_among_thousands_is_named_and_not_all_ranges(lan: Lan) -> None:
    pod = lan.host("pod")
    asked = [subnet(i, 29).replace("/29", "") for i in range(5001)]  # the network's own, but the last is in no range
    wanted = [f"{address.rpartition('.')[0]}.{int(address.rpartition('.')[2]) + 2}" for address in asked]
    config = lan.config(ipam=lan.ipam() | {"ranges": sets(5000)}, runtimeConfig={"ips": wanted})
    error = lan.macvlan.add(pod, config).error
    assert (error["code"], wanted[-1] in error["msg"]) == (UNAVAILABLE, True)
    assert len(error["msg"]) <= 10_000
    assert leases(lan.data_dir) == {}


def test_200000_wrong_names_are_explained_by_their_number(lan: Lan) -> None:
    error = lan.macvlan.add(lan.host("pod"), lan.config(master=["/"] * 200_000)).error
    assert (error["code"], "master: has 200,000 entries; 100 are the most" in error["msg"]) == (WRONG_CONFIG, True)
    lan.macvlan.delete(lan.host("gone"), lan.config(master=["/"] * 200_000)).succeeded()


def own_routes(pod: Host, count: int) -> None:
    pod.ip("link add own type veth peer name own1")
    for name in ("own", "own1"):
        pod.ip(f"link set {name} up")
    for family, form in (("-4", "11.{}.{}.0/24"), ("-6", "fd77:{:x}:{:x}::/64")):
        commands = "".join(f"route add {form.format(i >> 8, i & 255)} dev own\n" for i in range(count))
        pod.run(["ip", family, "-batch", "-"], input=commands.encode())


@pytest.mark.parametrize("moved", [False, True], ids=["", "of another table"])
def test_a_route_is_found_among_thousands_of_the_containers_own(lan: Lan, moved: bool) -> None:
    pod = lan.host("pod")
    config = lan.config(ipam=lan.dual_stack)
    result = lan.macvlan.add(pod, config).result
    own_routes(pod, 3000)
    if moved:  # as a later plugin of a chain does
        pod.ip("route del default")
        pod.ip("route add default via 10.1.0.1 dev eth0 table 100")
    lan.macvlan.check(pod, config, result).succeeded()
    pod.ip(f"route del default {'table 100' if moved else ''}")
    pod.ip("route add default dev own")
    error = lan.macvlan.check(pod, config, result).error
    assert error["msg"] == "the container lacks the route 0.0.0.0/0"
    lan.macvlan.delete(pod, config).succeeded()


def test_more_names_than_a_datagram_of_64_kib_holds_hinder_no_call(lan: Lan) -> None:
    """The kernel tells all alternative names of a link with each answer about it."""
    pod = lan.host("pod")
    result = lan.macvlan.add(pod, lan.config()).result
    commands = "".join(f"link property add dev eth0 altname n{i:0126}\n" for i in range(490))
    pod.run(["ip", "-batch", "-"], input=commands.encode())
    lan.macvlan.check(pod, lan.config(), result).succeeded()
    lan.macvlan.delete(pod, lan.config()).succeeded()
    assert (links(pod), leases(lan.data_dir)) == ([], {})


LONG: dict[str, dict[str, Any]] = {
    "exclude": {"ranges": [[{"subnet": "10.0.0.0/8", "exclude": [subnet(2 * i, 32)[:-3] for i in range(60_000)]}]]},
    "auxAddresses": {
        "ranges": [[{"subnet": "10.0.0.0/8", "auxAddresses": {f"k{i}": subnet(i, 32)[:-3] for i in range(40_000)}}]]
    },
    "routes": {"routes": [{"dst": subnet(0x01000000 + i, 32)} for i in range(8_000)]},
    "one set": {"ranges": [[{"subnet": subnet(i)} for i in range(30_000)]]},
}


@pytest.mark.parametrize("key", LONG)
def test_what_add_accepts_del_accepts(lan: Lan, key: str) -> None:
    pod = lan.host("pod")
    config = lan.config(ipam=lan.ipam() | LONG[key])
    assert len(json.dumps(config, separators=(",", ":"))) < 1 << 20
    result = lan.macvlan.add(pod, config).result
    lan.macvlan.check(pod, config, result).succeeded()
    lan.macvlan.delete(pod, config | {"prevResult": result}).succeeded()
    assert (links(pod), leases(lan.data_dir)) == ([], {})
