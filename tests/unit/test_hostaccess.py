"""Host access (cni_core.hostaccess) over a kernel of lists: what is made, for which addresses, and what is refused."""

from __future__ import annotations

from errno import ENOSPC
from typing import Any

import pytest

from cni_core import errors, sysctl
from cni_core.address import Cidr
from cni_core.errors import CniError
from cni_core.hostaccess import MAC, container_end, host_end, routes_to_container, routes_to_host
from cni_core.names import HOST_ACCESS_PROTOCOL, LONGEST_NAME, Attachment
from cni_core.rtnl import messages as m
from cni_core.rtnl.messages import Link, Route
from tests.unit.conftest import Node
from tests.unit.kernel import Namespace, route

DUAL_STACK = ("10.1.0.0/24", "fd00:1::/64")
OUTER = host_end(Attachment("c1", "eth0"))


def cidrs(*texts: str) -> list[Cidr]:
    return [Cidr.parse(text) for text in texts]


def told(routes: list[Route]) -> list[tuple[str, str, int]]:
    """(destination, source, metric) of each."""
    return [(str(one.dst), str(one.source or ""), one.priority) for one in routes]


def of_access(space: Namespace) -> list[tuple[str, str, int]]:
    return told([one for one in space.routes if one.protocol == HOST_ACCESS_PROTOCOL])


@pytest.fixture
def host(node: Node) -> Node:
    """The node has an address of each family on eth0."""
    address(node, "10.1.0.7/24", "fd00:1::7/64", "fe80::7/64")
    return node


def address(node: Node, *texts: str, link: str = "eth0", flags: int = 0) -> None:
    found = node.host.link(link)
    assert found
    node.host.addresses += [(found.index, Cidr.parse(text), flags) for text in texts]


def network(node: Node, *sets: str, **members: Any) -> dict[str, Any]:
    return node.config(*(sets or DUAL_STACK), **{"hostAccess": True} | members)


# What is made


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_host_and_container_are_joined_by_a_pair_without_addresses(host: Node, kind: str) -> None:
    result = host.add(network(host, type=kind, mtu=1400))
    outer, inner = host.host.link(OUTER), host.container().link("host-eth0")
    assert outer and inner
    for link in (outer, inner):
        assert (link.kind, link.mac, link.mtu) == ("veth", MAC, 1400)
        assert link.up and link.flags & m.IFF_NOARP
    assert (outer.parent, inner.parent) == (inner.index, outer.index)
    assert (outer.alias, inner.alias) == ("c1/eth0", Attachment("c1", "eth0").link_name)
    assert [where for where, *_ in host.host.addresses if where == outer.index] == []
    assert [where for where, *_ in host.container().addresses if where == inner.index] == []
    assert [(one.name, one.mtu, one.sandbox) for one in result.interfaces] == [
        ("eth0", 1400, "/run/netns/c1"),
        (OUTER, 1400, ""),
        ("host-eth0", 1400, "/run/netns/c1"),
    ]
    assert {ip.interface for ip in result.ips} == {0}


def test_each_has_routes_to_the_others_addresses(host: Node) -> None:
    host.add(network(host))
    assert of_access(host.host) == [
        ("10.1.0.2/32", "10.1.0.7", 0),
        ("10.1.0.2/32", "", 1),
        ("fd00:1::2/128", "fd00:1::7", 1),
    ]
    assert of_access(host.container()) == [("10.1.0.7/32", "10.1.0.2", 0), ("fd00:1::7/128", "fd00:1::2", 0)]


def test_the_pair_takes_no_part_in_anything_and_forwards_nothing(host: Node) -> None:
    host.add(network(host))
    ipv6 = {("net", "ipv6", "conf", OUTER, "addr_gen_mode"): "1", ("net", "ipv6", "conf", OUTER, "accept_ra"): "0"}
    ipv4 = {("net", "ipv4", "conf", OUTER, "forwarding"): "0", ("net", "ipv4", "conf", OUTER, "rp_filter"): "0"}
    assert {path: value for path, value in host.host.sysctls.items() if OUTER in path} == ipv6 | ipv4
    inside = {path: value for path, value in host.container().sysctls.items() if "host-eth0" in path}
    assert inside == {
        ("net", "ipv6", "conf", "host-eth0", "addr_gen_mode"): "1",
        ("net", "ipv6", "conf", "host-eth0", "accept_ra"): "0",
    }


def test_the_sysctls_are_set_before_the_pair_is_up(host: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    early = []

    def write(value: str, *path: str) -> None:
        for space, name in ((host.host, OUTER), (host.container(), "host-eth0")):
            link = space.link(name)
            if name in path:
                early.append(bool(link and not link.up))

    monkeypatch.setattr(sysctl, "write", write)
    host.add(network(host))
    assert early == [True] * 6


def of_the_end(host: Node) -> list[str]:
    """The addresses that the pair has on the host."""
    end = host.host.link(OUTER)
    assert end
    return [str(cidr) for index, cidr, _ in host.host.addresses if index == end.index]


def test_what_the_container_sends_to_the_host_beside_is_routed_there_and_forwarded(host: Node) -> None:
    services = {"addresses": True, "routes": ["10.96.0.1/12", "fd00:96::/112", "10.97.0.0/16"]}
    host.add(network(host, "10.1.0.0/24", hostAccess=services))
    assert of_access(host.container()) == [
        ("10.1.0.7/32", "10.1.0.2", 0),
        ("10.96.0.0/12", "10.1.0.2", 0),
        ("10.97.0.0/16", "10.1.0.2", 0),
        ("192.0.0.8/32", "10.1.0.2", 0),
    ]
    assert host.host.sysctls["net", "ipv4", "conf", OUTER, "forwarding"] == "1"
    assert of_the_end(host) == ["192.0.0.8/32"]


def test_what_it_sends_in_ipv6_alone_needs_no_address_to_masquerade_as(host: Node) -> None:
    host.add(network(host, hostAccess={"addresses": True, "routes": ["fd00:96::/112"]}))
    assert "192.0.0.8/32" not in [dst for dst, *_ in of_access(host.container())]
    assert host.host.sysctls["net", "ipv4", "conf", OUTER, "forwarding"] == "0"
    assert of_the_end(host) == []


def test_without_the_key_nothing_of_it_is_there(host: Node) -> None:
    for value in (None, False, {"addresses": False, "routes": ["10.96.0.0/12"]}):
        result = host.add(network(host, hostAccess=value))
        assert (host.container().names, host.host.names, len(result.interfaces)) == (["eth0"], ["eth0"], 1)
        [link] = [link for link in host.container().links.values() if link.name == "eth0"]
        assert link.group == 0
        host.delete(network(host))


# Which of the host's addresses


def test_passing_addresses_of_the_parents_do_not_count(node: Node) -> None:
    address(node, "fd00:1::9/64", flags=m.IFA_F_TEMPORARY)
    address(node, "fd00:1::a/64", flags=m.IFA_F_DEPRECATED)
    address(node, "fd00:1::b/64", flags=m.IFA_F_TENTATIVE)
    address(node, "10.1.0.7/24", "fd00:1::7/64", "fe80::7/64")
    address(node, "10.1.0.8/24", flags=m.IFA_F_TEMPORARY)  # of IPv4, a further address of the subnet's
    node.add(network(node))
    assert [dst for dst, *_ in of_access(node.container())] == ["10.1.0.7/32", "fd00:1::7/128", "10.1.0.8/32"]


def test_of_a_parent_without_addresses_those_of_the_default_routes_link(node: Node) -> None:
    uplink = node.kernel.add_link(node.host, "uplink")
    address(node, "192.168.9.7/24", "192.168.8.7/24", "fd00:9::7/64", "fe80::7/64", link="uplink")
    node.host.routes += [route("0.0.0.0/0", uplink, "192.168.8.1"), route("::/0", uplink, "fe80::1")]
    node.add(network(node))
    assert [dst for dst, *_ in of_access(node.container())] == ["192.168.8.7/32", "fd00:9::7/128"]


def test_the_default_routes_own_word_counts_before_its_links(node: Node) -> None:
    uplink = node.kernel.add_link(node.host, "uplink")
    address(node, "192.168.9.7/24", link="uplink")
    worse = route("0.0.0.0/0", uplink, "192.168.9.1", priority=200)
    named = route("0.0.0.0/0", uplink, "192.168.9.1", priority=100, source=Cidr.parse("10.255.0.1/32").address)
    node.host.routes += [worse, named]
    node.add(network(node))
    assert [dst for dst, *_ in of_access(node.container())] == ["10.255.0.1/32"]


def test_of_a_family_without_an_address_of_the_hosts_there_is_nothing(node: Node) -> None:
    address(node, "10.1.0.7/24")
    node.add(network(node))
    assert [dst for dst, *_ in of_access(node.host)] == ["10.1.0.2/32"] * 2
    assert [dst for dst, *_ in of_access(node.container())] == ["10.1.0.7/32"]


def test_where_they_have_no_family_in_common_no_pair_is_made(node: Node) -> None:
    address(node, "fd00:1::7/64")
    config = network(node, "10.1.0.0/24")
    result = node.add(config)
    assert (node.host.names, len(result.interfaces)) == (["eth0"], 1)
    node.check(config, result)
    node.delete(config)


def test_a_list_names_the_hosts_addresses_wherever_they_are(host: Node) -> None:
    host.kernel.add_link(host.host, "dns")
    address(host, "169.254.20.10/32", link="dns")
    config = network(host, "10.1.0.0/24", hostAccess=["169.254.20.10", "fd00:1::7"])
    host.check(config, host.add(config))
    assert of_access(host.host) == [("10.1.0.2/32", "169.254.20.10", 0), ("10.1.0.2/32", "", 1)]
    assert of_access(host.container()) == [("169.254.20.10/32", "10.1.0.2", 0)]


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("10.1.0.9", "10.1.0.9 is not an address of this host"),
        ("127.0.0.1", "127.0.0.1 is an address that others cannot reach"),
        ("fe80::7", "fe80::7 is an address that others cannot reach"),
    ],
)
def test_a_list_that_names_another_is_refused(host: Node, named: str, why: str) -> None:
    lo = host.host.link("lo")
    assert lo
    address(host, "127.0.0.1/8", link="lo")
    error = host.refused(network(host, hostAccess=["10.1.0.7", named]))
    assert (error.code, error.msg) == (errors.INVALID_CONFIG, f"hostAccess: {why}")


def test_the_host_speaks_from_the_address_of_the_containers_subnet() -> None:
    own = cidrs("10.2.0.5/24", "10.3.0.5/24")
    made = routes_to_container(own, cidrs("10.1.0.7/24", "10.2.0.7/24"), 9)
    assert told(made) == [
        ("10.2.0.5/32", "10.2.0.7", 0),
        ("10.2.0.5/32", "", 1),
        ("10.3.0.5/32", "10.1.0.7", 0),
        ("10.3.0.5/32", "", 1),
    ]


def test_while_an_ipv6_address_is_tentative_nobody_is_told_to_speak_from_it() -> None:
    own, hosts = cidrs("10.1.0.5/24", "fd00:1::5/64"), cidrs("10.1.0.7/24", "fd00:1::7/64")
    assert told(routes_to_host(own, hosts, [], 9, carrier=False)) == [
        ("10.1.0.7/32", "10.1.0.5", 0),
        ("fd00:1::7/128", "", 0),
    ]


@pytest.mark.parametrize("ifname", ["eth0", "a123456789", "a12345678901234"])
def test_the_names_fit_a_link_and_are_each_attachments_own(ifname: str) -> None:
    assert len(container_end(ifname)) <= LONGEST_NAME and container_end(ifname).startswith("host-")
    names = {host_end(Attachment(container, ifname)) for container in ("c1", "c2")}
    assert len(names) == 2
    assert all(len(name) == LONGEST_NAME and name.startswith("cnih") for name in names)
    assert Attachment("c1", ifname).group > 0


# What is refused


@pytest.mark.parametrize("key", ["internal", "linkInContainer"])
def test_a_network_that_has_no_way_to_the_host_is_refused(host: Node, key: str) -> None:
    host.kernel.add_link(host.container(), "eth1")
    config = network(host, **{key: True, "master": None if key == "internal" else "eth1"})
    error = host.refused(config)
    assert (error.code, error.path) == (errors.INVALID_CONFIG, ("hostAccess",))


def test_a_name_that_is_taken_in_the_container_is_refused(host: Node) -> None:
    host.kernel.add_link(host.container(), "host-eth0", kind="dummy")
    error = host.refused(network(host))
    assert error.code == errors.INTERFACE_EXISTS and "host-eth0 (dummy)" in error.msg


def test_another_route_to_the_containers_address_is_named_and_left_alone(host: Node) -> None:
    shim = host.kernel.add_link(host.host, "shim")
    theirs = route("10.1.0.2/32", shim)
    host.host.routes.append(theirs)
    error = host.refused(network(host))
    assert (error.code, error.msg) == (
        errors.ROUTE_CONFLICT,
        "hostAccess: the host already has the route 10.1.0.2/32 dev shim",
    )
    assert theirs in host.host.routes


@pytest.mark.parametrize("what", [f"create {OUTER}", f"name the link {OUTER}", "name the link host-", "add route"])
def test_whatever_the_kernel_refuses_leaves_nothing(host: Node, what: str) -> None:
    host.kernel.refuse[what] = ENOSPC
    assert host.refused(network(host)).code == errors.KERNEL_REFUSED


def test_a_host_route_of_l3_is_not_in_the_way_of_the_next_container(host: Node) -> None:
    config = network(host, "10.8.0.0/24", type="ipvlan", mode="l3", hostRoutes=True)
    for name in ("c1", "c2"):
        host.check(config, host.add(config, name), name)


# What is taken back


def test_a_del_removes_both_links_at_once(host: Node) -> None:
    before = host.state()
    host.add(network(host))
    host.kernel.log.clear()
    host.delete(network(host))
    assert host.state() == before
    group = Attachment("c1", "eth0").group
    assert host.kernel.log == [f"delete the links of group {group}"]


def test_a_del_whose_configuration_has_lost_the_key_removes_both(host: Node) -> None:
    before = host.state()
    host.add(network(host))
    host.delete(network(host, hostAccess=None))
    assert host.state() == before


def regroup(node: Node) -> None:
    for link in node.container().links.values():
        link.group = 7


def put_lo_into_it(node: Node) -> None:
    lo = node.container().link("lo")
    assert lo
    lo.group = Attachment("c1", "eth0").group


def remove_eth0(node: Node) -> None:
    link = node.container().link("eth0")
    assert link
    del node.container().links[link.index]


def remove_its_end(node: Node) -> None:
    link = node.container().link("host-eth0")
    assert link
    node.kernel.host_place().container("/run/netns/c1").rtnl.execute(m.del_link(link.index))


@pytest.mark.parametrize("change", [regroup, put_lo_into_it, remove_eth0, remove_its_end])
def test_a_del_removes_both_whatever_the_containers_root_did(host: Node, change: Any) -> None:
    host.add(network(host))
    change(host)
    host.delete(network(host))
    assert (host.host.names, host.container().names, host.host.routes) == (["eth0"], [], [])


def test_what_is_left_of_the_same_attachment_elsewhere_makes_room(host: Node) -> None:
    host.add(network(host))
    host.container().links.clear()
    left = host.host.link(OUTER)
    host.add(network(host))
    assert left and left.index not in host.host.links


# CHECK


def drop(node: Node, space: Namespace, dst: str) -> None:
    space.routes = [one for one in space.routes if str(one.dst) != dst]


def down(link: Link | None) -> None:
    assert link
    link.flags &= ~m.IFF_UP


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda node: remove_its_end(node), f"the host has no interface {OUTER}"),
        (lambda node: down(node.host.link(OUTER)), f"{OUTER} is down"),
        (lambda node: down(node.container().link("host-eth0")), "host-eth0 is down"),
        (lambda node: setattr(node.container().link("host-eth0"), "alias", "x"), "host-eth0 does not lead to"),
        (lambda node: drop(node, node.host, "fd00:1::2/128"), "the host lacks the route fd00:1::2 dev"),
        (lambda node: drop(node, node.host, "10.1.0.2/32"), "the host lacks the route 10.1.0.2 dev"),
        (lambda node: drop(node, node.container(), "10.1.0.7/32"), "the container lacks the route 10.1.0.7 dev"),
    ],
)
def test_check_tells_the_first_difference(host: Node, change: Any, why: str) -> None:
    config = network(host)
    result = host.add(config)
    host.check(config, result)
    change(host)
    with pytest.raises(CniError) as error:
        host.check(config, result)
    assert error.value.code == errors.CHECK_DIFFERS and why in error.value.msg


def test_check_misses_no_way_to_an_address_that_is_no_longer_the_hosts(host: Node) -> None:
    """Its IPv4 route that said to speak from it is gone with it, and so may be the container's."""
    config = network(host, "10.1.0.0/24", hostAccess=["10.1.0.7"])
    result = host.add(config)
    host.host.addresses.clear()
    host.host.routes = [one for one in host.host.routes if not one.source]
    drop(host, host.container(), "10.1.0.7/32")
    host.check(config, result)
