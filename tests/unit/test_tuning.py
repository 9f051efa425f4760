"""cni_core.tuning: what is set of a link before it comes up, and what contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from cni_core import errors, sysctl
from cni_core.address import Address
from cni_core.errors import KERNEL_REFUSED, CniError
from cni_core.names import Attachment
from cni_core.network import Network
from cni_core.rtnl import messages
from cni_core.rtnl.messages import set_token
from cni_core.schema.formats import is_link_sysctl, is_optional_token
from cni_core.tuning import settings
from tests.unit.conftest import Node

NAME = Attachment("c1", "eth0").link_name  # of the link while it is down


def decided(**keys: Any) -> list[tuple[str, str]]:
    return [(setting.name, setting.value) for setting in settings(Network({"name": "lan"} | keys))]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, []),
        ({"ra": "kernel", "ipv6": True}, []),
        ({"ra": "routes"}, [("net.ipv6.conf.IFNAME.autoconf", "0")]),
        ({"ra": "off"}, [("net.ipv6.conf.IFNAME.accept_ra", "0")]),
        ({"ipv6": False}, [("net.ipv6.conf.IFNAME.disable_ipv6", "1")]),
        (
            {"sysctls": {"net.ipv6.conf.IFNAME.accept_ra": "2"}, "ra": "off"},
            [("net.ipv6.conf.IFNAME.accept_ra", "0"), ("net.ipv6.conf.IFNAME.accept_ra", "2")],
        ),
    ],
)
def test_what_is_set(keys: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert decided(**keys) == expected


def test_the_name_of_the_interface_may_have_a_dot() -> None:
    [setting] = settings(Network({"name": "lan", "ra": "off"}))
    assert setting.path("eth0.5") == ["net", "ipv6", "conf", "eth0.5", "accept_ra"]


@pytest.mark.parametrize(
    "name",
    [
        "net.ipv4.conf.IFNAME.arp_ignore",
        "net.ipv6.conf.IFNAME.accept_ra_rt_info_max_plen",
        "net.ipv4.neigh.IFNAME.base_reachable_time_ms",
        "net.ipv6.neigh.IFNAME.gc_stale_time",
    ],
)
def test_a_sysctl_of_the_link(name: str) -> None:
    assert is_link_sysctl(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "net.ipv4.ip_forward",
        "net.core.somaxconn",
        "kernel.core_pattern.IFNAME.x",
        "net.ipv4.conf.all.forwarding",
        "net.ipv4.conf.eth0.forwarding",
        "net.ipv4.conf.IFNAME",
        "net.ipv4.conf.IFNAME.",
        "net.ipv4.conf.IFNAME...",
        "net.ipv4.conf.IFNAME.a.b",
        "net.ipv4.conf.IFNAME.../all/forwarding",
        "net.ipv4.conf.IFNAME./etc/passwd",
        "net/ipv4/conf/IFNAME/arp_ignore",
        "net.ipv4.conf.IFNAME.arp_ignore\0",
        "net.ipv4.route.IFNAME.x",
        "..ipv4.conf.IFNAME.x",
        "net.ipv4.conf.ifname.arp_ignore",
    ],
)
def test_no_sysctl_of_the_link(name: str) -> None:
    assert not is_link_sysctl(name)


@given(st.text(st.sampled_from("netipv46conghIFNAME./_a\0"), max_size=50) | st.text())
def test_none_leaves_the_links_own_directory(name: str) -> None:
    if is_link_sysctl(name):
        head, _, last = name.rpartition(".")
        assert head in {f"net.{v}.{what}.IFNAME" for v in ("ipv4", "ipv6") for what in ("conf", "neigh")}
        assert last and not set(last) & set("./\0")


@pytest.mark.parametrize("token", ["", "::77", "::1:2:3:4", "::ffff:ffff:ffff:ffff"])
def test_a_token(token: str) -> None:
    assert is_optional_token(token)


@pytest.mark.parametrize("token", ["::", "1::", "0:0:0:1::", "77", "10.1.0.1", "::77/64", "::77%eth0", "x"])
def test_no_token(token: str) -> None:
    assert not is_optional_token(token)


def test_the_link_is_set_up_while_it_is_down_and_the_addresses_are_not_yet_asked_for(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[tuple[str, ...], bool]] = []
    write = sysctl.write

    def noted(value: str, *path: str) -> None:
        seen.append((path, any(link.up for link in node.container().links.values() if link.name != "lo")))
        write(value, *path)

    monkeypatch.setattr(sysctl, "write", noted)
    node.add(node.config(ra="off", sysctls={"net.ipv4.conf.IFNAME.arp_ignore": "1"}))
    conf = ("net", "ipv6", "conf", NAME, "accept_ra")
    assert seen[:2] == [(conf, False), (("net", "ipv4", "conf", NAME, "arp_ignore"), False)]
    assert not any(up for _, up in seen)


@pytest.mark.parametrize("name", ["net.ipv4.conf.IFNAME.arp_notify", "net.ipv6.conf.IFNAME.ndisc_notify"])
def test_what_a_person_says_goes_before_what_is_usual_here(node: Node, name: str) -> None:
    node.add(node.config("10.1.0.0/24", "fd00:1::/64", sysctls={name: "0"}))
    assert node.container().sysctls[tuple(name.replace("IFNAME", NAME).split("."))] == "0"
    node.add(node.config("10.1.0.0/24", "fd00:1::/64"), "c2")
    other = Attachment("c2", "eth0").link_name
    assert node.container("c2").sysctls[tuple(name.replace("IFNAME", other).split("."))] == "1"


def test_a_sysctl_that_the_kernel_refuses_is_named(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(value: str, *path: str) -> None:
        raise CniError(KERNEL_REFUSED, f"could not set sysctl {'.'.join(path)}={value}: No such file or directory")

    monkeypatch.setattr(sysctl, "write", refuse)
    name = "net.ipv4.conf.IFNAME.nonsense"
    error = node.refused(node.config(sysctls={name: "1"}))
    assert (error.code, error.path) == (errors.INVALID_CONFIG, ("sysctls", name))
    assert "No such file" in error.msg


@pytest.mark.parametrize(("has_ipv6", "fails"), [(True, True), (False, False)])
def test_where_the_kernel_has_no_ipv6_there_is_nothing_to_turn_off(
    node: Node, monkeypatch: pytest.MonkeyPatch, has_ipv6: bool, fails: bool
) -> None:
    def refuse(value: str, *path: str) -> None:
        if path[1] == "ipv6":
            raise CniError(KERNEL_REFUSED, "could not")

    monkeypatch.setattr(sysctl, "write", refuse)
    monkeypatch.setattr(sysctl, "exists", lambda *path: has_ipv6)
    network = node.config(ipv6=False)
    if fails:
        assert node.refused(network).code == KERNEL_REFUSED
    else:
        node.add(network)


@pytest.mark.parametrize("keys", [{"ra": "off"}, {"ra": "routes"}, {"ipv6": False}])
def test_a_token_that_no_advertisement_could_use_is_refused(node: Node, keys: dict[str, Any]) -> None:
    error = node.refused(node.config(ipv6Token="::77", **keys))
    assert (error.code, error.path) == (errors.INVALID_CONFIG, ("ipv6Token",))


def test_the_token_is_set_before_the_link_is_up(node: Node) -> None:
    node.add(node.config(ipv6Token="::77", ra="kernel"))
    log = node.kernel.log
    assert log.index("set the token ::77") < next(i for i, text in enumerate(log) if "bring it up" in text)


def test_a_token_as_the_kernel_reads_it() -> None:
    found = messages.attributes(set_token(7, Address.parse("::77")).body, 16)
    of_ipv6 = messages.attributes(found[messages.IFLA_AF_SPEC])[10]
    assert messages.attributes(of_ipv6)[7] == bytes(15) + b"\x77"


@pytest.mark.parametrize(
    ("sets", "routes", "told"),
    [
        (["10.1.0.0/24", "fd00:1::/64"], [], "fd00:1::2/64"),
        (["10.1.0.0/24"], [{"dst": "::/0", "gw": "fe80::1"}], "::/0"),
    ],
)
def test_ipv6_in_a_network_without_it_is_refused(
    node: Node, sets: list[str], routes: list[dict[str, str]], told: str
) -> None:
    network = node.config(*sets, ipv6=False)
    network["ipam"]["routes"] = routes
    error = node.refused(network)
    assert (error.code, error.path, told in error.msg) == (errors.INVALID_CONFIG, ("ipv6",), True)
