"""What a container takes of routers' advertisements, in force before its link is up: ra, ipv6, ipv6Token, sysctls."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from conformance.lab.topology import Host
from tests.kernel.conftest import Lan
from tests.kernel.dhcp import wait_for
from tests.kernel.plugin import OURS, Plugin, addresses, leases, links
from tests.kernel.routers import BEHIND, MTU, PREFIXES, advertised, radvd

INTERVAL = 0.005  # seconds between two advertisements
OWN = ("10.1.0.0/24", "fd00:1::/64")
KINDS = ("macvlan", "ipvlan")
ALL_PREFIXES = "net.ipv6.conf.IFNAME.accept_ra_rt_info_max_plen"


def own_addresses(result: dict[str, Any]) -> list[str]:
    return sorted(ip["address"] for ip in result["ips"])


def learned(host: Host) -> list[str]:
    """The addresses that eth0 has from advertisements."""
    networks = [ip_network(prefix) for prefix in PREFIXES]
    return [text for text in addresses(host) if any(ip_interface(text).ip in network for network in networks)]


def default_routes_of_routers(host: Host) -> list[dict[str, Any]]:
    return [route for route in host.ip_json("-6 route show default") if route.get("protocol") == "ra"]


def mtu_of_ipv6(host: Host) -> int:
    return int(host.run(["cat", "/proc/sys/net/ipv6/conf/eth0/mtu"]).stdout)


@pytest.mark.parametrize("ra", ["off", "routes"])
@pytest.mark.parametrize("kind", KINDS)
def test_of_twenty_at_once_none_takes_an_address_of_a_router(lan: Lan, tmp_path: Path, kind: str, ra: str) -> None:
    radvd(lan.beyond, tmp_path)
    plugin = Plugin(lan.node, kind)
    pods = [lan.host(f"pod{n}") for n in range(20)]
    control = lan.host("control")
    config = lan.config(type=kind, ipam=lan.ipam(*OWN))
    with advertised(lan.beyond, INTERVAL), ThreadPoolExecutor(20) as threads:
        results = list(threads.map(lambda pod: plugin.add(pod, config | {"ra": ra}).result, pods))
        # The control takes what there is; by then the others have had time for it, too.
        plugin.add(control, config | {"ra": "kernel"}).result["ips"]
        wait_for(lambda: len(learned(control)) >= 2 and bool(default_routes_of_routers(control)), "the control's")
        for pod in pods if ra == "routes" else ():
            wait_for(lambda pod=pod: bool(default_routes_of_routers(pod)), "the router's route")  # type: ignore[misc]
    for pod, result in zip(pods, results, strict=True):
        assert sorted(addresses(pod)) == own_addresses(result)
        assert bool(default_routes_of_routers(pod)) == (ra == "routes")


@pytest.mark.parametrize("kind", KINDS)
def test_an_ipam_that_brings_the_link_up_does_so_when_all_is_set(lan: Lan, tmp_path: Path, kind: str) -> None:
    script = tmp_path / "upper"
    up = "nsenter --net=$CNI_NETNS sh -c 'ip link set $CNI_IFNAME up && sleep 0.3'"
    address = '{"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.%d/24"}]}'
    script.write_text(f"#!/bin/sh\n[ $CNI_COMMAND = DEL ] || {{ {up}; printf '{address}' ${{#CNI_CONTAINERID}}; }}\n")
    script.chmod(0o755)
    pods = {ra: lan.host(ra) for ra in ("off", "kernel")}
    with advertised(lan.beyond, INTERVAL):
        for ra, pod in pods.items():
            config = lan.config(type=kind, ipam={"type": "upper"}, ra=ra)
            assert Plugin(lan.node, kind).add(pod, config, CNI_PATH=str(tmp_path)).status == 0
        wait_for(lambda: bool(learned(pods["kernel"])), "the control's")
    assert addresses(pods["off"]) == ["10.1.0.3/24"]


def test_what_a_router_says_beside_addresses(lan: Lan, tmp_path: Path) -> None:
    """The MTU, a network behind it (Thread's), and addresses that end as they are told to."""
    radvd(lan.beyond, tmp_path)
    networks: dict[str, dict[str, Any]] = {
        "kernel": {},
        "routes": {"ra": "routes", "sysctls": {ALL_PREFIXES: "64"}},
        "off": {"ra": "off", "sysctls": {ALL_PREFIXES: "64"}},
        "token": {"ipv6Token": "::77", "ipam": None},
    }
    pods = {name: lan.host(name) for name in networks}
    for name, keys in networks.items():
        config = lan.config(**{"name": name, "ipam": lan.ipam(f"10.{len(name)}.0.0/24", routes=[])} | keys)
        assert lan.macvlan.add(pods[name], config).status == 0
    wait_for(lambda: bool(default_routes_of_routers(pods["kernel"])), "the router's route")
    wait_for(lambda: bool(pods["routes"].ip_json(f"-6 route show {BEHIND}")), "the network behind it")
    wait_for(lambda: len(learned(pods["token"])) == 2, "the addresses with the token")
    assert {address.partition("/")[0] for address in learned(pods["token"])} == {"fd00:50::77", "2001:db8:50::77"}
    assert pods["kernel"].ip_json(f"-6 route show {BEHIND}") == []
    assert pods["off"].ip_json(f"-6 route show {BEHIND}") == []
    assert {name: mtu_of_ipv6(pod) for name, pod in pods.items()} == {
        "kernel": MTU,
        "routes": MTU,
        "off": 1500,
        "token": MTU,
    }
    assert (len(learned(pods["kernel"])), learned(pods["routes"]), learned(pods["off"])) == (2, [], [])


def test_without_ipv6_there_is_not_even_a_link_local_address(lan: Lan) -> None:
    pod, control = lan.container("pod"), lan.host("control")
    config = lan.config(ipv6=False)
    with advertised(lan.beyond, INTERVAL):
        result = lan.macvlan.add(pod, config).result
        assert lan.macvlan.add(control, lan.config()).status == 0
        wait_for(lambda: bool(learned(control)), "the control's")
    assert pod.ip_json("-6 addr show dev eth0") == []
    assert pod.ping("10.1.0.1")
    lan.macvlan.check(pod, config, result).succeeded()
    lan.macvlan.delete(pod, config).succeeded()
    error = lan.macvlan.add(lan.host("other"), lan.config(ipv6=False, ipam=lan.dual_stack)).error
    assert (error["code"], error["msg"][:12]) == (7, "ipv6: false,")


def test_sysctls_are_the_links_own_and_an_unknown_one_is_named(lan: Lan) -> None:
    pod = lan.host("pod")
    wanted = {
        "net.ipv4.conf.IFNAME.arp_ignore": "2",
        "net.ipv4.conf.IFNAME.arp_notify": "0",
        "net.ipv6.conf.IFNAME.accept_ra": "2",
        "net.ipv4.neigh.IFNAME.gc_stale_time": "77",
        "net.ipv6.neigh.IFNAME.retrans_time_ms": "2000",
    }
    config = lan.config(sysctls=wanted, ipam=lan.dual_stack, dad="fast")
    assert lan.macvlan.add(pod, config).status == 0
    for name, value in wanted.items():
        path = f"/proc/sys/{name.replace('.', '/')}".replace("IFNAME", "eth0")
        assert pod.run(["cat", path]).stdout.decode().strip() == value, name
    other = lan.host("other")
    for name in ("net.ipv4.conf.IFNAME.nonsense", "net.ipv6.conf.IFNAME.mtu"):
        error = lan.macvlan.add(other, lan.config(sysctls={name: "17"})).error
        assert (error["code"], error["msg"].startswith(f"sysctls.{name}: ")) == (7, True), error
    error = lan.macvlan.add(other, lan.config(sysctls={"net.ipv4.conf.all.forwarding": "1"})).error
    assert (error["code"], "net.ipv4.conf.all.forwarding" in error["msg"]) == (7, True)
    assert (links(other), list(leases(lan.data_dir).values())) == ([], ["pod\r\neth0"] * 2)


def test_a_network_of_the_commands_is_what_dockers_users_expect(lan: Lan, tmp_path: Path) -> None:
    """IPv4 alone has no IPv6; beside a router that was named no other counts. Both are told."""
    pods = {}
    with advertised(lan.beyond, INTERVAL):
        for name, subnets, key, told in (
            ("four", ["--subnet", "10.1.0.0/25"], {"ipv6": False}, b"have no IPv6 (ipv6: false)"),
            ("both", ["--subnet", "10.1.0.128/25", "--subnet", OWN[1], "--gateway", "fd00:1::1"], {"ra": "off"},
             b"take nothing of routers' advertisements (ra: off): the router is fd00:1::1"),
            ("any", ["--subnet", "10.2.0.0/24", "--subnet", "fd00:2::/64"], {}, b""),
        ):  # fmt: skip
            argv = [str(OURS / "cni-macvlan-py"), "network", "create", name, "-o", "parent=eth0", *subnets]
            done = lan.node.run([*argv, "--dir", str(tmp_path / "net.d")])
            assert told in done.stderr, done.stderr
            document = json.loads((tmp_path / "net.d" / f"{name}.conflist").read_text())
            config = document["plugins"][0] | {"name": name, "cniVersion": document["cniVersion"]}
            config["ipam"]["dataDir"] = str(lan.data_dir)
            assert {key: config[key] for key in ("ra", "ipv6") if key in config} == key
            pods[name] = lan.host(name)
            assert lan.macvlan.add(pods[name], config).status == 0
        wait_for(lambda: bool(learned(pods["any"])), "addresses where nothing was said")
    assert [learned(pods[name]) for name in ("four", "both")] == [[], []]
    assert pods["four"].ip_json("-6 addr show dev eth0") == []
