"""The walk of ADD, DEL, CHECK, GC and STATUS (cni_core.attach), over a kernel of lists."""

from __future__ import annotations

import json
import os
from errno import EBUSY, EEXIST, EINVAL, ENOSPC
from pathlib import Path
from typing import Any

import pytest

from cni_core import entry, errors, link as links
from cni_core.address import Address, Cidr
from cni_core.errors import CniError
from cni_core.names import Attachment
from cni_core.records import Records
from cni_core.result import IP, Interface, Result
from cni_core.rtnl import messages
from cni_core.rtnl.messages import Link
from cni_core.task import Task
from ipam import host_local
from tests.unit.calls import attachment, host_local as ipam_of
from tests.unit.conftest import Node
from tests.unit.kernel import HOST, route

DUAL_STACK = ("10.1.0.0/24", "fd00:1::/64")
DEFAULT_ROUTES = {"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}


def executed(node: Node, answer: str, **files: str) -> dict[str, str]:
    """The environment in which an IPAM plugin called fake is found, a shell script; files are beside it."""
    directory = node.data_dir.parent / "bin"
    directory.mkdir(exist_ok=True)
    (directory / "fake").write_text(
        f"#!/bin/sh\necho $CNI_COMMAND >>{directory}/calls\ncat >{directory}/stdin\n{answer}\n"
    )
    (directory / "fake").chmod(0o755)
    return {"CNI_PATH": str(directory)}


# ADD


def test_add_claims_makes_asks_and_configures_in_this_order(node: Node) -> None:
    result = node.add(node.config())
    [link] = [link for link in node.container().links.values() if link.name == "eth0"]
    assert node.kernel.log == [
        "create the macvlan link",
        "add address 10.1.0.2/24",
        "name the link eth0 and bring it up",
    ]
    assert (link.kind, link.up, link.alias) == ("macvlan", True, Attachment("c1", "eth0").link_name)
    assert node.leases() == {"10.1.0.2": "c1/eth0"}
    assert node.attached() == [Attachment("c1", "eth0")]
    assert [(one.name, one.sandbox) for one in result.interfaces] == [("eth0", "/run/netns/c1")]
    assert [(str(ip.cidr), ip.interface) for ip in result.ips] == [("10.1.0.2/24", 0)]


def test_the_link_is_there_and_has_its_name_when_another_ipam_is_asked(node: Node) -> None:
    environ = executed(node, """echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.7.0.5/24"}]}'""")
    node.add(node.config(ipam={"type": "fake"}), **environ)
    assert node.kernel.log == [
        "create the macvlan link",
        "name the link eth0",
        "add address 10.7.0.5/24",
        "bring the link up",
    ]
    [link] = [link for link in node.container().links.values() if link.name == "eth0"]
    assert (link.up, link.alias) == (True, Attachment("c1", "eth0").link_name)


@pytest.mark.parametrize(("kind", "last"), [("macvlan", "announce the addresses"), ("ipvlan", "bring the link up")])
def test_addresses_on_a_link_that_the_ipam_brought_up_are_announced(
    node: Node, monkeypatch: pytest.MonkeyPatch, kind: str, last: str
) -> None:
    environ = executed(node, """echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.7.0.5/24"}]}'""")
    name = links.name

    def named_and_raised(task: Task, link: Link) -> None:
        """As Go's dhcp daemon does when it is asked."""
        name(task, link)
        node.container().link("eth0").flags |= messages.IFF_UP  # type: ignore[union-attr]

    monkeypatch.setattr(links, "name", named_and_raised)
    node.add(node.config(type=kind, ipam={"type": "fake"}), **environ)
    assert node.kernel.log[-1] == last


def test_another_ipam_reads_the_callers_own_bytes(node: Node) -> None:
    environ = executed(node, """echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.7.0.5/24"}]}'""")
    config = node.config(ipam={"type": "fake"})
    written = b'{"Odd":  null, "name": "net1"}\n'
    request = node.request("ADD", config, **environ)
    request._stdin = written
    node.plugins["macvlan"].add(request)
    assert (Path(environ["CNI_PATH"]) / "stdin").read_bytes() == written


def test_an_ipam_that_fails_leaves_no_link(node: Node) -> None:
    environ = executed(node, """echo '{"code": 11, "msg": "nobody answers"}'; exit 1""")
    error = node.refused(node.config(ipam={"type": "fake"}), **environ)
    assert (error.code, error.msg) == (11, "ipam: fake: nobody answers")
    assert "create the macvlan link" in node.kernel.log
    assert (Path(environ["CNI_PATH"]) / "calls").read_text().split() == ["ADD", "DEL"]


@pytest.mark.parametrize("what", ["create the macvlan", "add address", "name the link eth0 and", "add route"])
def test_whatever_the_kernel_refuses_leaves_nothing(node: Node, what: str) -> None:
    node.kernel.refuse[what] = ENOSPC
    error = node.refused(node.config(ipam=ipam_of(node.data_dir, "10.1.0.0/24", routes=[{"dst": "0.0.0.0/0"}])))
    assert (error.code, "ENOSPC" in error.msg) == (errors.KERNEL_REFUSED, True)


def test_what_a_killed_add_left_is_made_anew(node: Node) -> None:
    left = node.kernel.add_link(node.container(), Attachment("c1", "eth0").link_name, kind="macvlan")
    node.add(node.config())
    assert node.container().names == ["eth0"]
    assert left.index not in node.container().links


def test_what_an_add_that_was_killed_while_it_asked_left_is_made_anew(node: Node) -> None:
    """It has its name already, for the IPAM to find it."""
    alias = Attachment("c1", "eth0").link_name
    left = node.kernel.add_link(node.container(), "eth0", kind="macvlan", alias=alias, flags=0)
    node.add(node.config())
    assert node.container().names == ["eth0"]
    assert left.index not in node.container().links


@pytest.mark.parametrize("keys", [{"flags": messages.IFF_UP}, {"alias": ""}, {"kind": "veth"}])
def test_what_is_no_killed_adds_is_refused(node: Node, keys: dict[str, Any]) -> None:
    attributes = {"kind": "macvlan", "alias": Attachment("c1", "eth0").link_name, "flags": 0} | keys
    node.kernel.add_link(node.container(), "eth0", **attributes)
    assert node.refused(node.config()).code == errors.INTERFACE_EXISTS


def test_a_second_add_is_refused_and_takes_nothing_of_the_first(node: Node) -> None:
    node.add(node.config())
    assert node.refused(node.config()).code == errors.INTERFACE_EXISTS
    # Into another namespace, where the interface is not there, and under the name of another network.
    node.kernel.refuse["create the macvlan"] = ENOSPC
    node.container("other")
    for network in (node.config(), node.config(name="net2")):
        assert node.refused(network, CNI_NETNS="/run/netns/other").code == errors.KERNEL_REFUSED
        assert (node.attached(), node.leases()) == ([Attachment("c1", "eth0")], {"10.1.0.2": "c1/eth0"})


def test_an_add_of_an_attachment_whose_add_runs_leaves_that_alone(node: Node) -> None:
    index = node.host.link("eth0").index  # type: ignore[union-attr]
    with Records(create=True) as records:
        running = records.join(Attachment("c1", "eth0"), "net1", 5, f"{node.host.number}.{index}", "macvlan")
    error = node.refused(node.config())
    os.close(running)
    assert (error.code, node.attached()) == (errors.TRY_AGAIN_LATER, [Attachment("c1", "eth0")])


def test_each_default_route_goes_by_the_gateway_of_its_family(node: Node) -> None:
    node.add(node.config(ipam=ipam_of(node.data_dir, *DUAL_STACK, **DEFAULT_ROUTES)))
    assert sorted(map(str, node.container().routes)) == ["0.0.0.0/0 via 10.1.0.1", "::/0 via fd00:1::1"]


def test_a_route_of_a_family_without_a_gateway_goes_to_the_link(node: Node) -> None:
    ipam = ipam_of(node.data_dir, "10.1.0.0/24", {"subnet": "fd00:1::/64", "gateway": "none"}, **DEFAULT_ROUTES)
    node.add(node.config(ipam=ipam))
    assert sorted(map(str, node.container().routes)) == ["0.0.0.0/0 via 10.1.0.1", "::/0"]


@pytest.mark.parametrize(
    ("own", "of_ipam", "expected"),
    [
        ({"nameservers": ["1.1.1.1"]}, "nameserver 2.2.2.2", ["1.1.1.1"]),
        ({}, "nameserver 2.2.2.2", ["2.2.2.2"]),
        ({}, "", ["3.3.3.3"]),
    ],
)
def test_the_configurations_dns_comes_before_the_ipams_and_that_before_the_chains(
    node: Node, tmp_path: Path, own: dict[str, Any], of_ipam: str, expected: list[str]
) -> None:
    (tmp_path / "resolv.conf").write_text(of_ipam)
    ipam = ipam_of(node.data_dir, "10.1.0.0/24", resolvConf=str(tmp_path / "resolv.conf"))
    chain = Result(dns={"nameservers": ["3.3.3.3"]}).to_json("1.1.0")
    assert node.add(node.config(ipam=ipam, dns=own, prevResult=chain)).dns["nameservers"] == expected


def test_the_hosts_own_addresses_and_next_hops_on_the_parent_are_never_given(node: Node) -> None:
    parent, other = node.host.link("eth0"), node.kernel.add_link(node.host, "eth1")
    assert parent
    for index, text in ((parent.index, "192.0.2.2/29"), (parent.index, "fd00:1::2/64"), (other.index, "192.0.2.4/32")):
        node.host.addresses.append((index, Cidr.parse(text), 0))
    node.host.routes.append(route("0.0.0.0/0", parent, "192.0.2.5"))
    network = node.config("192.0.2.0/29", "fd00:1::/64")
    given = [[str(ip.cidr.address) for ip in node.add(network, name).ips] for name in ("c1", "c2", "c3")]
    assert given == [["192.0.2.3", "fd00:1::3"], ["192.0.2.4", "fd00:1::4"], ["192.0.2.6", "fd00:1::5"]]
    for asked, why in (
        ("192.0.2.2", "is the host's own, on eth0"),
        ("192.0.2.5", "is the next hop of the host's own route to 0.0.0.0/0, on eth0"),
    ):
        error = node.refused(network | {"runtimeConfig": {"ips": [asked]}}, "c4")
        assert (error.code, error.problem) == (errors.ADDRESS_UNAVAILABLE, f"the address asked for, {asked}, {why}")


def test_addresses_on_a_parent_in_the_container_are_no_matter_of_the_hosts(node: Node) -> None:
    inner = node.kernel.add_link(node.container(), "net0")
    node.container().addresses.append((inner.index, Cidr.parse("10.1.0.2/24"), 0))
    result = node.add(node.config(master="net0", linkInContainer=True))
    assert [str(ip.cidr) for ip in result.ips] == ["10.1.0.2/24"]


def test_the_result_comes_behind_that_of_the_chain(node: Node) -> None:
    chain = Result([Interface("eth7", sandbox="/run/netns/c1")], [IP(Cidr.parse("10.9.0.9/24"), None, 0)])
    result = node.add(node.config(prevResult=chain.to_json("1.1.0")))
    assert [one.name for one in result.interfaces] == ["eth7", "eth0"]
    assert [(str(ip.cidr), ip.interface) for ip in result.ips] == [("10.9.0.9/24", 0), ("10.1.0.2/24", 1)]


def test_an_internal_network_has_no_gateway_and_refuses_a_default_route(node: Node) -> None:
    network = node.config(master=None, internal=True)
    assert [ip.gateway for ip in node.add(network).ips] == [None]
    network = node.config(master=None, internal=True, name="net2")
    network["ipam"]["routes"] = [{"dst": "0.0.0.0/0"}]
    error = node.refused(network, "c2")
    assert (error.code, error.path) == (errors.INVALID_CONFIG, ("internal",))


def test_ipv6_waits_for_its_addresses_by_fast_timers_that_are_set_back(node: Node) -> None:
    conf = ("net", "ipv6", "conf", Attachment("c1", "eth0").link_name)
    node.container().sysctls[("net", "ipv6", "conf", "lo", "disable_ipv6")] = "1"
    node.container().sysctls[("net", "ipv6", "neigh", conf[-1], "retrans_time_ms")] = "1000"
    node.add(node.config("fd00:1::/64"))
    sysctls = node.container().sysctls
    assert sysctls[(*conf, "ndisc_notify")] == sysctls[(*conf, "keep_addr_on_down")] == "1"
    assert sysctls[("net", "ipv6", "conf", "lo", "disable_ipv6")] == "0"
    assert sysctls[("net", "ipv6", "neigh", conf[-1], "retrans_time_ms")] == "50"
    assert sysctls[(*conf, "dad_transmits")] == "2"
    assert sysctls[("net", "ipv6", "neigh", "eth0", "retrans_time_ms")] == "1000"


def test_without_a_carrier_no_address_is_waited_for(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    from cni_core import dad

    monkeypatch.setattr(dad, "settle", lambda *_: pytest.fail("it waited"))
    node.host.link("eth0").flags = messages.IFF_UP  # type: ignore[union-attr]
    node.add(node.config("fd00:1::/64"))


@pytest.mark.parametrize(
    ("errno", "code", "words"),
    [
        (EBUSY, errors.PARENT_UNUSABLE, "is taken by somebody else's link of another kind"),
        (EINVAL, errors.PARENT_UNUSABLE, "is taken by somebody else's link of another kind"),
        (EEXIST, errors.KERNEL_REFUSED, "EEXIST"),
    ],
)
def test_why_a_link_cannot_be_made_is_told(node: Node, errno: int, code: int, words: str) -> None:
    node.kernel.refuse["create the macvlan"] = errno
    error = node.refused(node.config())
    assert (error.code, words in error.msg) == (code, True)


def test_an_address_that_a_sibling_has_is_told_as_that(node: Node) -> None:
    """Two networks of overlapping ranges on one ipvlan parent."""
    node.add(node.config(type="ipvlan"))
    error = node.refused(node.config(type="ipvlan", name="net2"), "c2")
    assert (error.code, error.msg) == (
        errors.DUPLICATE_ADDRESS,
        "address 10.1.0.2 is in use by a container of this host, eth0 in its network namespace: /run/netns/c1",
    )


def test_a_hardware_address_in_use_is_told_as_that(node: Node) -> None:
    node.kernel.refuse["name the link eth0 and"] = 98  # EADDRINUSE
    error = node.refused(node.config(mac="02:00:00:00:00:05"))
    assert (error.code, "02:00:00:00:00:05 is in use on eth0" in error.msg) == (errors.PARENT_UNUSABLE, True)


@pytest.mark.parametrize(("mtu", "made"), [(None, 1500), (0, 1500), (1400, 1400)])
def test_the_mtu_is_the_configurations_or_the_parents(node: Node, mtu: int | None, made: int) -> None:
    assert node.add(node.config(mtu=mtu)).interfaces[0].mtu == made


def test_an_mtu_of_more_than_the_parents_is_refused(node: Node) -> None:
    error = node.refused(node.config(mtu=1501))
    assert (error.code, error.path) == (errors.INVALID_CONFIG, ("mtu",))


# Behind other plugins


def test_ipvlan_takes_parent_and_addresses_of_the_chain(node: Node) -> None:
    node.kernel.add_link(node.host, "ens7")
    chain = Result([Interface("ens7")], [IP(Cidr.parse("10.9.0.9/24"), Address.parse("10.9.0.1"), 0)])
    network = node.config(type="ipvlan", master=None, ipam=None, prevResult=chain.to_json("1.1.0"))
    result = node.add(network)
    assert [(str(ip.cidr), ip.interface) for ip in result.ips] == [("10.9.0.9/24", 1)]
    assert node.leases() == {}
    [link] = [link for link in node.container().links.values() if link.name == "eth0"]
    assert link.parent == node.host.link("ens7").index  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("interfaces", "problem"),
    [
        ([Interface("a"), Interface("b")], "'a', 'b'"),
        ([Interface("a b")], "'a b'"),
    ],
)
def test_ipvlan_takes_no_parent_of_a_chain_that_has_no_single_one(
    node: Node, interfaces: list[Interface], problem: str
) -> None:
    network = node.config(type="ipvlan", master=None, prevResult=Result(interfaces).to_json("1.1.0"))
    error = node.refused(network)
    assert (error.code, error.path, problem in error.msg) == (errors.INVALID_CONFIG, ("master",), True)


def test_a_link_in_the_container_has_its_parent_there(node: Node) -> None:
    inner = node.kernel.add_link(node.container(), "net0")
    network = node.config(master="net0", linkInContainer=True)
    result = node.add(network)
    [link] = [link for link in node.container().links.values() if link.name == "eth0"]
    assert (link.parent, link.parent_nsid) == (inner.index, None)
    node.check(network, result)
    node.delete(network)
    assert node.container().names == ["net0"]


# DEL


def test_del_takes_all_away_and_once_more_is_no_error(node: Node) -> None:
    clean = node.state()
    network = node.config(vlan=50)
    node.add(network)
    assert node.host.names == ["eth0", "eth0.50"]
    for _ in range(2):
        node.delete(network)
        assert node.state() | {"records": []} == clean
    assert node.attached() == []


BROKEN_SINCE = [
    {"mode": "Bridge"},
    {"mtu": -1},
    {"vlan": "100"},
    {"master": "a-name-of-twenty-byte"},
    {"dad": "never", "mac": "no address"},
    {"prevResult": {"ips": [{"address": "null/32"}]}},
    {"prevResult": [1]},
    {"runtimeConfig": {"ips": ["x"]}, "args": 7},
    {"cni.dev/attachments": "x"},
]


@pytest.mark.parametrize("command", ["DEL", "GC"])
@pytest.mark.parametrize("broken", BROKEN_SINCE, ids=str)
@pytest.mark.parametrize("keys", [{"vlan": 50}, {"type": "ipvlan", "mode": "l3", "vlan": 50}], ids=["VLAN", "L3"])
def test_what_add_made_is_taken_back_whatever_the_configuration_is_now(
    node: Node, keys: dict[str, Any], broken: dict[str, Any], command: str
) -> None:
    network = node.config("10.8.1.0/24", **keys)
    clean = node.state()
    node.add(network)
    if command == "GC":
        node.container().links.clear()  # with its namespace
    told = network | {"cni.dev/valid-attachments": []} | broken
    broken_ipam = told["ipam"] | {"routes": 5, "ranges": [[{"subnet": "10.8.1.5/x"}]]}
    for config in (told, told | {"ipam": broken_ipam}):
        assert call(node, command, config, CNI_ARGS="neither a key nor a value") == (0, b"")
        assert node.state() == clean


def call(node: Node, command: str, config: dict[str, Any], **environ: str) -> tuple[int, bytes]:
    """As a runtime does: its exit status and stdout."""
    plugin = node.plugins[config["type"]]
    variables = {"CNI_COMMAND": command, **attachment("c1"), **environ}
    encoded = {name.encode(): value.encode() for name, value in variables.items()}
    return entry.call(encoded, json.dumps(config).encode(), lambda: plugin)


def test_without_a_networks_name_nothing_can_be_found(node: Node) -> None:
    node.add(node.config())
    for name in (None, "../net1", 5):
        status, answer = call(node, "DEL", node.config() | {"name": name})
        assert (status, json.loads(answer)["code"]) == (1, errors.INVALID_CONFIG)
    assert node.leases() == {"10.1.0.2": "c1/eth0"}


def test_del_before_any_add_makes_nothing(node: Node, tmp_path: Path) -> None:
    node.delete(node.config())
    assert not (tmp_path / "records").exists()


def test_del_leaves_what_is_not_the_attachments_link(node: Node) -> None:
    for alias, kind in ((Attachment("c9", "eth0").link_name, "macvlan"), ("", "veth")):  # without a record
        link = node.kernel.add_link(node.container(), "eth0", alias=alias, kind=kind)
        node.delete(node.config())
        assert link.index in node.container().links
        del node.container().links[link.index]
    node.kernel.add_link(node.container(), "eth0", kind="macvlan")  # as Go's plugin makes it
    node.delete(node.config())
    assert node.container().names == []


def test_del_believes_the_record_not_what_the_containers_root_can_change(node: Node) -> None:
    node.add(node.config())
    node.container().link("eth0").alias = Attachment("c9", "eth0").link_name  # type: ignore[union-attr]
    node.delete(node.config())
    assert (node.container().names, node.leases()) == ([], {})


def test_del_leaves_the_link_of_who_has_the_path_by_now(node: Node) -> None:
    """A pid's path, after the pid was given to another container's process."""
    node.add(node.config())
    node.add(node.config(), "c2")
    node.delete(node.config(), "c1", CNI_NETNS="/run/netns/c2")
    assert (node.container("c2").names, node.leases()) == (["eth0"], {"10.1.0.3": "c2/eth0"})


@pytest.mark.parametrize("netns", ["", "/run/netns/gone", HOST])
def test_del_without_a_namespace_frees_the_lease_and_the_record(node: Node, netns: str) -> None:
    node.add(node.config())
    node.delete(node.config(), CNI_NETNS=netns)
    assert (node.leases(), node.attached()) == ({}, [])


def test_another_ipam_gives_back_while_the_link_is_there_and_its_failure_keeps_nothing(node: Node) -> None:
    links = f"{node.data_dir.parent}/links"
    environ = executed(node, """echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.7.0.5/24"}]}'""")
    network = node.config(ipam={"type": "fake"})
    node.add(network, **environ)
    seen: list[list[str]] = []
    plugin = node.plugins["macvlan"]
    delegate = plugin._ipam(node.request("DEL", network))
    original = delegate.delete

    class Watched:
        NEEDS_LINK = True

        def delete(self, request: Any) -> None:
            seen.append(node.container().names)
            original(request)

    plugin._ipam = lambda _: Watched()  # type: ignore[assignment,return-value]
    executed(node, """echo '{"code": 11, "msg": "nobody answers"}'; exit 1""")
    with pytest.raises(CniError, match="nobody answers"):
        node.delete(network, **environ)
    assert (seen, node.container().names, node.attached()) == ([["eth0"]], [], [])
    assert not Path(links).exists()


def test_our_own_leases_are_given_back_when_nobody_can_use_the_address(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.add(node.config())
    seen = []
    monkeypatch.setattr(host_local, "delete", lambda _: seen.append(node.container().names))
    node.delete(node.config())
    assert seen == [[]]


# CHECK


def test_check_passes_what_add_left(node: Node) -> None:
    network = node.config(ipam=ipam_of(node.data_dir, *DUAL_STACK, **DEFAULT_ROUTES))
    node.check(network, node.add(network))


def differs(node: Node, network: dict[str, Any], result: Result) -> str:
    with pytest.raises(CniError) as error:
        node.check(network, result)
    assert error.value.code == errors.CHECK_DIFFERS
    return error.value.msg


def test_check_tells_every_difference(node: Node) -> None:
    network = node.config(ipam=ipam_of(node.data_dir, "10.1.0.0/24", routes=[{"dst": "0.0.0.0/0"}]))
    result, container = node.add(network), node.container()
    link = container.link("eth0")
    assert link
    for attribute, value, words in (
        ("kind", "veth", "eth0 is veth, not macvlan"),
        ("data", {1: b"\1\0\0\0"}, "the mode is private, not bridge"),
        ("parent", 99, "eth0 is not on eth0"),
        ("parent_nsid", None, "eth0 is not on eth0"),
        ("mac", bytes(6), "has the hardware address 00:00:00:00:00:00, not 02:"),
        ("flags", 0, "eth0 is down"),
    ):
        before = getattr(link, attribute)
        setattr(link, attribute, value)
        assert words in differs(node, network, result)
        setattr(link, attribute, before)
    routes, container.routes = container.routes, []
    assert "lacks the route 0.0.0.0/0" in differs(node, network, result)
    container.routes = routes
    [entry] = container.addresses
    container.addresses = [(*entry[:2], messages.IFA_F_DADFAILED)]
    assert "another host uses 10.1.0.2" in differs(node, network, result)
    container.addresses = []
    assert "lacks the address 10.1.0.2/24" in differs(node, network, result)
    del container.links[link.index]
    assert "has no interface eth0" in differs(node, network, result)
    container.addresses = [entry]


def test_check_looks_at_addresses_of_no_interface_in_particular(node: Node) -> None:
    """As an IPAM plugin of the chain, or a runtime before 0.3.0, gives them."""
    result = node.add(node.config())
    result.ips.append(IP(Cidr.parse("10.1.0.77/24"), None, None))
    assert "lacks the address 10.1.0.77/24" in differs(node, node.config(), result)


@pytest.mark.parametrize(
    ("interfaces", "interface", "words"),
    [
        ([], None, "prevResult has no interface eth0"),
        ([Interface("eth0", sandbox="/run/netns/c1")], 5, "to interface 5, which it does not have"),
    ],
)
def test_check_refuses_a_result_that_is_not_the_attachments(
    node: Node, interfaces: list[Interface], interface: int | None, words: str
) -> None:
    node.add(node.config())
    result = Result(interfaces, [IP(Cidr.parse("10.1.0.2/24"), None, interface)])
    assert words in differs(node, node.config(), result)


def test_check_tells_of_a_parent_that_is_gone(node: Node) -> None:
    for network, words in ((node.config(vlan=50), "VLAN 50 of eth0 does not exist"), (node.config(), "no link named")):
        result = node.add(network)
        name = "eth0.50" if "vlan" in network else "eth0"
        del node.host.links[node.host.link(name).index]  # type: ignore[union-attr]
        assert words in differs(node, network, result)
        del node.container().links[node.container().link("eth0").index]  # type: ignore[union-attr]


def test_check_needs_the_result_of_add(node: Node) -> None:
    with pytest.raises(CniError) as error:
        node.plugins["macvlan"].check(node.request("CHECK", node.config()))
    assert (error.value.code, error.value.path) == (errors.INVALID_CONFIG, ("prevResult",))


# L3


def test_l3_makes_host_routes_and_the_last_attachment_takes_them_away(node: Node) -> None:
    network = node.config("10.8.1.0/24", "fd00:8:1::/64", type="ipvlan", mode="l3")
    results = [node.add(network, name) for name in ("c1", "c2")]
    assert sorted(str(one.dst) for one in node.host.routes) == ["10.8.1.0/24", "fd00:8:1::/64"]
    assert [ip.gateway for result in results for ip in result.ips] == [None] * 4
    node.check(network, results[0])
    node.delete(network, "c1")
    assert len(node.host.routes) == 2
    node.delete(network, "c2")
    assert node.host.routes == []


def test_l3_routes_that_somebody_else_made_are_used_and_stay(node: Node) -> None:
    network = node.config("10.8.1.0/24", type="ipvlan", mode="l3")
    own = route("10.8.1.0/24", node.host.link("eth0"))
    node.host.routes.append(own)
    node.add(network)
    node.delete(network)
    assert node.host.routes == [own]


def test_a_conflict_of_routes_leaves_nothing(node: Node) -> None:
    other = node.kernel.add_link(node.host, "eth1")
    node.host.routes.append(route("10.8.0.0/16", other))
    network = node.config("10.8.1.0/24", type="ipvlan", mode="l3")
    error = node.refused(network | {"hostRoutes": True})
    assert (error.code, "10.8.0.0/16 dev eth1" in error.msg) == (errors.ROUTE_CONFLICT, True)


def test_where_host_routes_are_not_asked_for_only_those_are_made_that_are_in_nobodys_way(node: Node) -> None:
    """As of AWS's guides: ipvlan l3 in the parent's own subnet."""
    parent = node.host.link("eth0")
    assert parent
    node.host.addresses.append((parent.index, Cidr.parse("10.8.1.200/24"), 0))
    network = node.config("10.8.1.0/24", "fd00:8:1::/64", type="ipvlan", mode="l3")
    result = node.add(network)
    assert [str(one.dst) for one in node.host.routes] == ["fd00:8:1::/64"]
    node.check(network, result)
    node.delete(network)
    assert node.host.routes == []


def test_what_gos_plugin_attached_in_l3_has_no_host_route_to_check(node: Node) -> None:
    network = node.config("10.8.1.0/24", type="ipvlan", mode="l3")
    result = node.add(network)
    with Records(create=True) as records:
        records.leave(Attachment("c1", "eth0"))
    node.host.routes.clear()
    node.check(network, result)


def test_check_tells_of_a_lost_host_route(node: Node) -> None:
    network = node.config("10.8.1.0/24", type="ipvlan", mode="l3")
    result = node.add(network)
    node.host.routes.clear()
    assert "lacks the route 10.8.1.0/24 dev eth0" in differs(node, network, result)


def test_routes_whose_records_are_lost_stay_while_a_container_needs_them(node: Node, tmp_path: Path) -> None:
    network = node.config("10.8.1.0/24", type="ipvlan", mode="l3")
    node.add(network)
    for path in sorted((tmp_path / "records").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    node.gc(network, "c1")
    assert len(node.host.routes) == 1
    node.container().links.clear()
    node.gc(network)
    assert node.host.routes == []


# GC and STATUS


def test_gc_takes_back_what_no_valid_attachment_owns(node: Node) -> None:
    network = node.config(vlan=50)
    for name in ("c1", "c2"):
        node.add(network, name)
        node.container(name).links.clear()  # with its namespace
    node.gc(network, "c2")
    assert (node.attached(), node.leases(), node.host.names) == (
        [Attachment("c2", "eth0")],
        {"10.1.0.3": "c2/eth0"},
        ["eth0", "eth0.50"],
    )
    node.gc(network)
    assert (node.attached(), node.leases(), node.host.names) == ([], {}, ["eth0"])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"master": "eth9"}, "there is no link named eth9"),
        ({"mtu": 9000}, "9000 is more than the 1500 of eth0"),
        ({"ipam": {"type": "host-local"}}, "needs a subnet"),
    ],
)
def test_status_tells_why_an_add_would_fail(node: Node, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(CniError) as error:
        node.status(node.config(**keys))
    assert (error.value.code, words in error.value.msg) == (errors.NOT_AVAILABLE, True)


def test_status_tells_that_running_containers_may_be_cut_off(node: Node) -> None:
    node.add(node.config())
    for keys, code in (({"mtu": 9000}, errors.NOT_AVAILABLE), ({"master": "eth9"}, errors.LIMITED_CONNECTIVITY)):
        with pytest.raises(CniError) as error:
            node.status(node.config(**keys))
        assert error.value.code == code
    with pytest.raises(CniError) as error:
        node.status(node.config(master="eth9") | {"name": "nobodys"})
    assert error.value.code == errors.NOT_AVAILABLE


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"vlan": 50, "mtu": 9000},
        {"linkInContainer": True, "master": "eth9"},
        {"type": "ipvlan", "master": None, "ipam": None},
    ],
)
def test_status_is_ready_where_an_add_would_work_or_nobody_can_tell(node: Node, keys: dict[str, Any]) -> None:
    node.status(node.config(**keys))
    assert node.host.names == ["eth0"]
