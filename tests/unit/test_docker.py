"""cni_cli.docker: the options of docker network create, and the conflists that they become."""

from __future__ import annotations

from argparse import Namespace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import assume, given, strategies as st

from cni_cli.docker import IDLE, SWARM, conflist
from cni_cli.errors import CommandError
from cni_core.schema.explain import violations
from tests.unit.strategies import ips


def options(**given: Any) -> Namespace:
    lists: dict[str, Any] = {key: [] for key in ("subnet", "gateway", "ip_range", "aux_address", "opt", "route")}
    others = dict.fromkeys(("driver", "scope", *IDLE, *SWARM))
    plain = {
        "name": "lan",
        "ipv4": True,
        "ipv6": False,
        "internal": False,
        "ipam_driver": "default",
        "host_access": False,
        "cluster": "",
        "interface_name": "",
    }
    return Namespace(**others | plain | lists | given)


def plugin(kind: str, **given: Any) -> dict[str, Any]:
    document, _ = conflist(kind, options(**given))
    [found] = document["plugins"]
    assert violations(kind, {"name": document["name"]} | found) == []
    return dict(found)


def test_a_cluster_makes_it_lan_local() -> None:
    given = {"subnet": ["192.168.50.0/24"], "opt": ["parent=eth0"]}
    ipam = plugin("macvlan", **given)["ipam"] | {"type": "lan-local", "cluster": "office"}
    assert plugin("macvlan", cluster="office", **given)["ipam"] == ipam
    with pytest.raises(CommandError, match="--cluster is lan-local's"):
        plugin("macvlan", cluster="office", ipam_driver="dhcp", opt=["parent=eth0"])


def test_macvlan_bridge() -> None:
    assert plugin("macvlan", subnet=["192.168.50.0/24"], gateway=["192.168.50.1"], opt=["parent=eth0"]) == {
        "type": "macvlan",
        "master": "eth0",
        "mac": "stable",
        "ipv6": False,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "192.168.50.0/24", "gateway": "192.168.50.1"}]],
            "order": "stable",
            "routes": [{"dst": "0.0.0.0/0"}],
        },
        "capabilities": {"ips": True, "mac": True},
    }


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({}, None),
        ({"host_access": True}, True),
        ({"opt": ["host_access=true"]}, True),
        ({"opt": ["host_access=false"], "host_access": True}, None),
        ({"opt": ["host_access=192.168.50.7,fd00:50::7"]}, ["192.168.50.7", "fd00:50::7"]),
    ],
)
def test_host_access(given: dict[str, Any], written: Any) -> None:
    given = {"subnet": ["192.168.50.0/24"]} | given | {"opt": ["parent=eth0", *given.get("opt", [])]}
    assert plugin("macvlan", **given).get("hostAccess") == written


def test_dual_stack_with_a_range_and_exclusions() -> None:
    found = plugin(
        "macvlan",
        subnet=["192.168.50.0/24", "fd00:50::/64"],
        gateway=["fd00:50::1"],
        ip_range=["192.168.50.128/25"],
        aux_address=["printer=192.168.50.130", "nas=fd00:50::2"],
        ipv6=True,
        opt=["parent=eth0.50", "macvlan_mode=private", "com.docker.network.driver.mtu=1400"],
    )
    assert (found["master"], found["mode"], found["mtu"]) == ("eth0.50", "private", 1400)
    assert found["ipam"]["ranges"] == [
        [{"subnet": "192.168.50.0/24", "ipRange": "192.168.50.128/25", "auxAddresses": {"printer": "192.168.50.130"}}],
        [{"subnet": "fd00:50::/64", "gateway": "fd00:50::1", "auxAddresses": {"nas": "fd00:50::2"}}],
    ]
    assert found["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


def test_a_router_of_ipv6_may_have_but_a_link_local_address() -> None:
    [[four], [six]] = plugin("macvlan", subnet=["10.1.0.0/24", "fd00:50::/64"], gateway=["fe80::1"])["ipam"]["ranges"]
    assert (four, six) == ({"subnet": "10.1.0.0/24"}, {"subnet": "fd00:50::/64", "gateway": "fe80::1"})


def test_l3_has_no_gateway_and_says_so() -> None:
    given = options(
        subnet=["10.8.1.0/24", "10.8.2.0/24"], gateway=["10.8.1.1"], opt=["host_iface=eth0", "ipvlan_mode=l3"]
    )
    document, remarks = conflist("ipvlan", given)
    [found] = document["plugins"]
    assert found["mode"] == "l3"
    # One address of either, as docker gives.
    assert found["ipam"]["ranges"] == [[{"subnet": "10.8.1.0/24"}, {"subnet": "10.8.2.0/24"}]]
    assert found["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}]
    assert any("--gateway is ignored" in remark for remark in remarks)


def test_without_a_parent_the_network_is_isolated() -> None:
    document, remarks = conflist("ipvlan", options(subnet=["10.3.0.0/24"]))
    [found] = document["plugins"]
    assert found["internal"] is True
    assert "routes" not in found["ipam"]
    assert any("isolated" in remark for remark in remarks)


def test_internal_on_a_parent_has_no_way_out() -> None:
    found = plugin("macvlan", subnet=["10.3.0.0/24"], internal=True, opt=["parent=eth0"])
    assert "internal" not in found
    assert "routes" not in found["ipam"]


def test_the_routers_address_is_never_given_though_the_network_is_internal() -> None:
    [[one]] = plugin("macvlan", subnet=["10.3.0.0/24"], internal=True, opt=["parent=eth0"])["ipam"]["ranges"]
    assert one == {"subnet": "10.3.0.0/24"}
    [[one]] = plugin("macvlan", subnet=["10.3.0.0/24"])["ipam"]["ranges"]
    assert one == {"subnet": "10.3.0.0/24"}  # podman reads no gateway "none"
    [[one]] = plugin("macvlan", subnet=["10.3.0.0/24"], gateway=["10.3.0.9"])["ipam"]["ranges"]
    assert one["gateway"] == "10.3.0.9"


def test_several_in_one_option() -> None:
    given = {"subnet": ["10.1.0.0/24,fd00::/64"], "gateway": ["10.1.0.9,fd00::9"], "ip_range": ["10.1.0.0/25"]}
    assert plugin("macvlan", opt=["parent=eth0"], **given)["ipam"]["ranges"] == [
        [{"subnet": "10.1.0.0/24", "gateway": "10.1.0.9", "ipRange": "10.1.0.0/25"}],
        [{"subnet": "fd00::/64", "gateway": "fd00::9"}],
    ]


def test_what_docker_has_and_one_node_does_not_need_is_ignored_with_a_word() -> None:
    given = options(subnet=["10.1.0.0/24"], opt=["parent=eth0"], driver="macvlan", scope="local", label=["a=b"])
    document, remarks = conflist("macvlan", given)
    plain, usual = conflist("macvlan", options(subnet=["10.1.0.0/24"], opt=["parent=eth0"]))
    assert remarks == ["Ignored, for it changes nothing on one node: --label.", *usual]
    assert document == plain


FOUR, SIX = ["10.1.0.0/24"], ["10.1.0.0/24", "fd00:50::/64"]


@pytest.mark.parametrize(
    ("given", "keys", "remark"),
    [
        ({"subnet": FOUR}, {"ipv6": False}, "there is no IPv6 subnet"),
        ({"subnet": SIX, "gateway": ["10.1.0.1", "fd00:50::9"]}, {"ra": "off"}, "the router is fd00:50::9"),
        ({"subnet": SIX, "gateway": ["fe80::1"]}, {"ra": "off"}, "the router is fe80::1"),
        ({"subnet": SIX, "gateway": ["10.1.0.1"]}, {}, ""),
        ({"subnet": SIX, "internal": True}, {"ra": "off"}, "the network leads nowhere"),
        ({"subnet": SIX, "opt": []}, {"ra": "off"}, "the network leads nowhere"),
        ({"ipam_driver": "null"}, {}, ""),
        ({"ipam_driver": "dhcp"}, {}, ""),
    ],
)
@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_what_routers_advertise_is_what_docker_users_expect_and_is_told(
    kind: str, given: dict[str, Any], keys: dict[str, Any], remark: str
) -> None:
    given = {"opt": ["parent=eth0"]} | given
    found = plugin(kind, **given)
    assert {key: found[key] for key in ("ra", "ipv6") if key in found} == keys
    remarks = [
        text
        for text in conflist(kind, options(**given))[1]
        if ("Its containers" in text and "IPv6" in text) or "advertisements" in text
    ]
    assert len(remarks) == bool(remark)
    assert not remark or remark in remarks[0]


def test_l3_has_no_routers_that_advertise() -> None:
    found = plugin("ipvlan", subnet=FOUR, opt=["parent=eth0", "ipvlan_mode=l3"])
    assert not {"ra", "ipv6", "mac"} & set(found)
    assert found["ipam"]["order"] == "stable"


def test_passthru_has_its_parents_hardware_address() -> None:
    assert "mac" not in plugin("macvlan", subnet=FOUR, opt=["parent=eth0", "macvlan_mode=passthru"])
    assert "mac" not in plugin("ipvlan", subnet=FOUR, opt=["parent=eth0"])


def test_ipvlan_by_dhcp_is_warned_of() -> None:
    _, remarks = conflist("ipvlan", options(ipam_driver="dhcp", opt=["parent=eth0"]))
    assert any("they get no lease" in remark for remark in remarks)


def test_other_ipam_drivers() -> None:
    given = {"subnet": ["10.1.0.0/24"], "opt": ["parent=eth0"]}
    assert plugin("macvlan", ipam_driver="host-local", **given) == plugin("macvlan", **given)
    assert "ipam" not in plugin("macvlan", ipam_driver="null", opt=["parent=eth0"])
    assert plugin("macvlan", ipam_driver="dhcp", opt=["parent=eth0"])["ipam"] == {"type": "dhcp"}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no subnet": ({}, "There is no --subnet"),
    "no length": ({"subnet": ["10.1.0.0"]}, "is not ADDRESS/LENGTH"),
    "host bits": ({"subnet": ["10.1.0.7/24"]}, "Write 10.1.0.0/24"),
    "nonsense": ({"subnet": ["ten"]}, "--subnet ten"),
    "overlap": ({"subnet": ["10.1.0.0/24", "10.1.0.128/25"]}, "overlaps 10.1.0.0/24"),
    "gateway elsewhere": ({"subnet": ["10.1.0.0/24"], "gateway": ["10.2.0.1"]}, "none of the subnets 10.1.0.0/24"),
    "two gateways": ({"subnet": ["10.1.0.0/24"], "gateway": ["10.1.0.1", "10.1.0.2"]}, "10.1.0.1 already"),
    "range elsewhere": ({"subnet": ["10.1.0.0/24"], "ip_range": ["10.2.0.0/25"]}, "none of the subnets"),
    "aux without name": ({"subnet": ["10.1.0.0/24"], "aux_address": ["10.1.0.2"]}, "no name"),
    "aux no address": ({"subnet": ["10.1.0.0/24"], "aux_address": ["a=b"]}, "not an IP address"),
    "IPv6 without a subnet": ({"subnet": ["10.1.0.0/24"], "ipv6": True}, "needs an IPv6 subnet"),
    "unknown option": ({"subnet": ["10.1.0.0/24"], "opt": ["paernt=eth0"]}, "Did you mean parent?"),
    "other kind's option": ({"subnet": ["10.1.0.0/24"], "opt": ["ipvlan_mode=l2"]}, "no such option"),
    "option without value": ({"subnet": ["10.1.0.0/24"], "opt": ["parent"]}, "no value"),
    "option twice": ({"subnet": ["10.1.0.0/24"], "opt": ["parent=eth0", "host_iface=eth1"]}, "twice"),
    "no kind of ours": ({"driver": "bridge"}, "There are macvlan and ipvlan."),
    "swarm": ({"scope": "swarm"}, "for a swarm"),
    "template": ({"config_only": True}, "--config-only is for a swarm"),
    "IPv4 turned off": ({"subnet": ["10.1.0.0/24"], "ipv4": False}, "an IPv4 subnet"),
    "subnets of another's": ({"subnet": ["10.1.0.0/24"], "ipam_driver": "dhcp"}, "--subnet is host-local's"),
    "the network as gateway": ({"subnet": ["10.1.0.0/24"], "gateway": ["10.1.0.0"]}, "not a host's address"),
    "the broadcast as gateway": ({"subnet": ["10.1.0.0/24"], "gateway": ["10.1.0.255"]}, "not a host's address"),
    "gateway excluded": ({"subnet": ["10.1.0.0/24"], "aux_address": ["a=10.1.0.1"]}, "it is the gateway"),
    "multicast": ({"subnet": ["224.0.0.0/24"]}, "no addresses for containers"),
    "loopback": ({"subnet": ["127.0.0.0/24"]}, "no addresses for containers"),
    "IPv4-mapped": ({"subnet": ["::ffff:10.1.0.0/120"]}, "no addresses for containers"),
    "a zone": ({"subnet": ["fe80::/64"], "gateway": ["fe80::1%eth0"]}, "not an IP address"),
    "a far option": ({"subnet": ["10.1.0.0/24"], "opt": ["bridge.name=x"]}, "It has parent,"),
    "other digits": ({"subnet": ["10.1.0.0/24"], "opt": ["mtu=\u0663"]}, "number of bytes"),
    "VLAN of nothing": ({"subnet": ["10.1.0.0/24"], "opt": ["vlan=50"]}, "of which link?"),
    "no number": ({"subnet": ["10.1.0.0/24"], "opt": ["parent=eth0", "vlan=x"]}, "it is a number"),
    "no truth": ({"subnet": ["10.1.0.0/24"], "opt": ["no_default_route=maybe"]}, "true or false"),
    "half a route": ({"subnet": ["10.1.0.0/24"], "route": ["10.9.0.0/16"]}, "DESTINATION,GATEWAY"),
    "route to nobody": ({"subnet": ["10.1.0.0/24"], "route": ["10.9.0.0/16,x"]}, "not an IP address"),
    "MTU": ({"subnet": ["10.1.0.0/24"], "opt": ["mtu=big"]}, "number of bytes"),
    "name": ({"name": "../lan", "subnet": ["10.1.0.0/24"]}, "network's name"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    given, told = REFUSED[what]
    with pytest.raises(CommandError) as error:
        conflist("macvlan", options(**{"opt": ["parent=eth0"]} | given))
    assert told in f"{error.value.msg} {error.value.details}"
    assert error.value.details


@given(ips, st.integers(0, 128), st.integers(0, 2**32))
def test_every_gateway_is_put_into_its_own_subnet(address: Any, length: int, offset: int) -> None:
    subnet = ip_network((address, min(length, address.max_prefixlen - 1)), strict=False)
    gateway = subnet[offset % min(subnet.num_addresses, 2**32)]
    assume(not any(getattr(address, "ipv4_mapped", None) for address in (subnet.network_address, gateway)))
    try:
        found = plugin("ipvlan", subnet=[str(subnet)], gateway=[str(gateway)], opt=["parent=eth0"])
    except CommandError as error:
        assert "not a host's address" in error.msg or "no addresses for containers" in error.msg
        return
    [[one]] = found["ipam"]["ranges"]
    assert ip_address(one["gateway"]) in ip_network(one["subnet"])


# What podman and compose have


LAN = {"subnet": ["10.1.0.0/24"], "opt": ["parent=eth0"]}


def test_a_gateway_may_be_none() -> None:
    both = {"subnet": ["10.1.0.0/24", "fd00:1::/64"], "gateway": ["fd00:1::9", "none"]}
    ipam = plugin("macvlan", **LAN | both)["ipam"]
    [[ipv4], [ipv6]] = ipam["ranges"]
    assert (ipv4["gateway"], ipv6["gateway"]) == ("none", "fd00:1::9")
    assert ipam["routes"] == [{"dst": "::/0"}]


def test_a_part_of_the_subnet_may_be_from_here_to_there() -> None:
    [[one]] = plugin("macvlan", **LAN, ip_range=["10.1.0.10-10.1.0.20"])["ipam"]["ranges"]
    assert (one["rangeStart"], one["rangeEnd"]) == ("10.1.0.10", "10.1.0.20")


def test_routes_as_podman_has_them() -> None:
    opt = ["parent=eth0", "metric=50"]
    ipam = plugin("macvlan", subnet=["10.1.0.0/24"], opt=opt, route=["10.9.0.0/16,10.1.0.2,7"])["ipam"]
    assert ipam["routes"] == [
        {"dst": "0.0.0.0/0", "priority": 50},
        {"dst": "10.9.0.0/16", "gw": "10.1.0.2", "priority": 7},
    ]
    none = plugin("macvlan", subnet=["10.1.0.0/24"], opt=["parent=eth0", "no_default_route=1"])["ipam"]
    assert "routes" not in none


def test_the_parent_and_its_vlan_have_words_of_their_own() -> None:
    found = plugin("macvlan", subnet=["10.1.0.0/24"], interface_name="eth0", opt=["vlan=50"])
    assert (found["master"], found["vlan"]) == ("eth0", 50)


def test_what_has_no_meaning_here_is_a_remark() -> None:
    bridge = "com.docker.network.bridge.name=br0"
    given = options(subnet=["10.1.0.0/24"], opt=["parent=eth0", bridge], disable_dns=True)
    _, remarks = conflist("macvlan", given)
    assert f"Ignored, for it changes nothing on one node: --disable-dns, -o {bridge}." in remarks


@pytest.mark.parametrize(
    ("given", "told"),
    [({}, True), ({"gateway": ["10.1.0.9"]}, False), ({"gateway": ["none"]}, False), ({"internal": True}, False)],
)
def test_a_router_that_is_guessed_is_told(given: dict[str, Any], told: bool) -> None:
    _, remarks = conflist("macvlan", options(**LAN | given))
    assert any(remark.startswith("The router of 10.1.0.0/24 is taken to be 10.1.0.1,") for remark in remarks) == told
