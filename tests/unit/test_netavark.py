"""cni_core.netavark: the calls that podman 5 makes, over a kernel of lists.

Its oracles are others' work: calls as podman 5.4.2 and netavark 1.14 made them (netavark_calls.json), the types of
netavark's API (netavark_types.json), and for the configuration what our `network create` writes for the same options.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from cni_core import entry, stable
from cni_core.address import Cidr
from cni_core.errors import CniError
from cni_core.names import Attachment
from cni_core.netavark import calls
from cni_core.netavark.options import OF_KIND, read
from cni_core.netavark.translate import Call, configuration, status_block
from cni_core.result import Result
from ipam import store
from tests.unit.conftest import Node
from tests.unit.test_docker import plugin as network_create

HERE = Path(__file__).parent
RECORDED: dict[str, Any] = json.loads((HERE / "netavark_calls.json").read_text())["networks"]
TYPES = json.loads((HERE / "netavark_types.json").read_text())
FORMATS = FormatChecker()
FORMATS.checks("ip", ValueError)(lambda text: bool(ip_address(str(text))))
FORMATS.checks("cidr", ValueError)(lambda text: bool(ip_interface(str(text))))

# The same in the words of our own command, where it has them: options, and what podman's ways add.
CREATED: dict[str, Any] = {
    "lan": {
        "subnet": ["10.1.0.0/24", "fd00:1::/64"],
        "ip_range": ["10.1.0.128/25"],
        "opt": ["parent=eth0", "mtu=1400", "conflict=probe"],
    },
    "closed": {"subnet": ["10.3.0.0/24"], "internal": True},
    "bare": {"ipam_driver": "null", "opt": ["parent=eth0"]},
    "own": {"subnet": ["10.4.0.0/24"], "gateway": ["10.4.0.254"], "opt": ["parent=eth0"]},
    "far": {"subnet": ["10.8.0.0/24"], "opt": ["parent=eth0", "mode=l3"]},
}


def is_a(name: str, document: object) -> object:
    schema = {"$ref": f"#/$defs/{name}"} | TYPES
    Draft202012Validator(schema, format_checker=FORMATS).validate(document)
    return document


def recorded(network: str, command: str) -> dict[str, Any]:
    found = copy.deepcopy(RECORDED[network][command])
    return dict(found if command == "create" else found["stdin"])


def kind_of(network: str) -> str:
    driver: str = RECORDED[network]["create"]["driver"]
    return driver.split("-")[1]


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own, with leases of its own."""
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    monkeypatch.setattr(stable, "MACHINE_ID", str(tmp_path / "machine-id"))
    monkeypatch.setattr("ipam.host_local.DEFAULT_DATA_DIR", str(tmp_path / "networks"))
    assert store.DEFAULT_DATA_DIR == "/var/lib/cni/networks"
    return tmp_path


def call(node: Node, kind: str, *arguments: str, stdin: object = None) -> Any:
    return calls.answer(list(arguments), json.dumps(stdin).encode(), node.plugins[kind])


def setup(node: Node, document: dict[str, Any], kind: str = "macvlan", container: str = "c1") -> Any:
    node.container(container)
    return is_a("StatusBlock", call(node, kind, "setup", f"/run/netns/{container}", stdin=document))


def teardown(node: Node, document: dict[str, Any], kind: str = "macvlan", container: str = "c1") -> None:
    assert call(node, kind, "teardown", f"/run/netns/{container}", stdin=document) is None


def on_eth0(**changes: Any) -> dict[str, Any]:
    """A recorded setup, with other options or other members."""
    document = recorded("lan", "setup")
    document["network"] |= {"name": "net1", "subnets": [{"subnet": "10.1.0.0/24", "gateway": "10.1.0.1"}]}
    document["network"]["routes"] = None
    document["network"]["options"] = {"parent": "eth0"} | changes.pop("options", {})
    document["network_options"] |= {"static_ips": ["10.1.0.9"]} | changes.pop("asked", {})
    document["network"] |= changes
    return document


# The recorded calls


@pytest.mark.parametrize("network", RECORDED)
def test_the_types_are_those_of_the_recorded_calls(network: str) -> None:
    is_a("Network", recorded(network, "create"))
    is_a("NetworkPluginExec", recorded(network, "setup"))
    is_a("NetworkPluginExec", recorded(network, "teardown"))


@pytest.mark.parametrize("network", RECORDED)
def test_create_completes_a_network_and_changes_nothing_that_is_told(node: Node, network: str) -> None:
    asked = recorded(network, "create")
    answered = call(node, kind_of(network), "create", stdin=asked)
    is_a("Network", answered)
    changed = {key for key in answered if answered[key] != asked.get(key)}
    assert changed <= {"options", "ipam_options", "dns_enabled"}
    assert answered["options"].items() >= asked.get("options", {}).items()
    # What podman then made of it, setup was called with; the options that it knows are those.
    assert answered["options"] == recorded(network, "setup")["network"]["options"]
    assert answered["dns_enabled"] is False
    # So that podman leaves the choice to our IPAM.
    assert answered["ipam_options"] == ({"driver": "none"} if network == "own" else asked.get("ipam_options", {}))


@pytest.mark.parametrize("network", RECORDED)
def test_a_network_is_what_our_own_command_makes_of_the_same_options(network: str) -> None:
    kind = kind_of(network)
    config = Call(recorded(network, "setup")).config(kind)
    expected = network_create(kind, **CREATED[network]) | {"cniVersion": "1.1.0", "name": network}
    del expected["capabilities"]
    if "ipam" in expected:
        ours, theirs = config["ipam"], expected["ipam"]
        if network != "own":  # podman chooses, and keeps its own order and bounds
            theirs["type"] = "podman"
            del theirs["order"]
        else:
            theirs["ranges"][0][0] |= {"rangeStart": "10.4.0.10", "rangeEnd": "10.4.0.20"}
        for part in theirs["ranges"]:
            part[0].pop("ipRange", None)
        # podman has filled in the gateways that the command leaves to the plugin.
        gateways = {"lan": ["10.1.0.1", "fd00:1::1"], "own": ["10.4.0.254"]}.get(network, ["none"])
        for part, gateway in zip(theirs["ranges"], gateways, strict=True):
            part[0]["gateway"] = gateway
        if network == "lan":  # as --route had it
            theirs["routes"].append({"dst": "10.9.0.0/16", "gw": "10.1.0.7", "priority": 50})
        assert ours == theirs
    runtime = config.pop("runtimeConfig", {})
    assert config == expected
    asked = recorded(network, "setup")["network_options"]
    assert (runtime.get("ips"), runtime.get("mac")) == (asked["static_ips"], asked["static_mac"])


@pytest.mark.parametrize("network", ["lan", "closed", "own", "far"])
def test_a_recorded_container_comes_and_goes(node: Node, network: str) -> None:
    document, before = recorded(network, "setup"), node.state()
    ifname = document["network_options"]["interface_name"]
    told = setup(node, document, kind_of(network))
    interface = told["interfaces"][ifname]
    [link] = [link for link in node.container().links.values() if link.name == ifname]
    assert interface["mac_address"] == link.mac.hex(":")
    addresses = [part["ipnet"].partition("/")[0] for part in interface["subnets"]]
    assert addresses == document["network_options"]["static_ips"]
    teardown(node, recorded(network, "teardown"), kind_of(network))
    assert node.state() == before
    teardown(node, recorded(network, "teardown"), kind_of(network))  # podman may call it twice


# What setup answers


def test_the_status_has_addresses_gateways_and_name_servers(node: Node) -> None:
    document = {
        "interfaces": [
            {"name": "h1", "mac": "02:00:00:00:00:01"},
            {"name": "eth3", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/c1"},
        ],
        "ips": [
            {"address": "10.1.0.9/24", "gateway": "10.1.0.1", "interface": 1},
            {"address": "10.2.0.9/24", "interface": 1},
            {"address": "10.3.0.1/32", "interface": 0},
        ],
        "dns": {"nameservers": ["10.1.0.53"], "search": ["lan.example"]},
    }
    told = is_a("StatusBlock", status_block(Result.from_json(document), "eth3", "/run/netns/c1"))
    assert told == {
        "dns_search_domains": ["lan.example"],
        "dns_server_ips": ["10.1.0.53"],
        "interfaces": {
            "eth3": {
                "mac_address": "02:00:00:00:00:02",
                "subnets": [{"ipnet": "10.1.0.9/24", "gateway": "10.1.0.1"}, {"ipnet": "10.2.0.9/24"}],
            }
        },
    }


def test_info_names_the_version_of_the_api(node: Node) -> None:
    is_a("Info", call(node, "macvlan", "info"))


# Addresses


def test_podmans_addresses_leave_no_lease_of_ours(node: Node, machine: Path) -> None:
    setup(node, on_eth0())
    assert not (machine / "networks").exists()
    assert node.attached() == [Attachment(recorded("lan", "setup")["container_id"], "eth0")]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("10.1.0.1", "it is the gateway of 10.1.0.0/24"),
        ("10.1.0.255", "10.1.0.255 is in no range"),
        ("10.7.0.9", "10.7.0.9 is in no range"),
    ],
)
def test_an_address_that_cannot_be_is_refused_and_nothing_is_left(node: Node, address: str, why: str) -> None:
    before = node.state()
    with pytest.raises(CniError, match=why):
        setup(node, on_eth0(asked={"static_ips": [address]}))
    assert node.state() == before


def test_the_hosts_own_address_is_refused(node: Node) -> None:
    [eth0] = [index for index, link in node.host.links.items() if link.name == "eth0"]
    node.host.addresses.append((eth0, Cidr.parse("10.1.0.9/24"), 0))
    with pytest.raises(CniError, match=r"10\.1\.0\.9, which podman chose, is"):
        setup(node, on_eth0())


def test_a_network_for_which_podman_chose_nothing_is_refused(node: Node) -> None:
    with pytest.raises(CniError, match="podman has chosen no address"):
        setup(node, on_eth0(asked={"static_ips": None}))


def test_our_own_ipam_gives_a_container_of_a_name_its_address_again(node: Node) -> None:
    options = {"ipam": "host-local", "order": "stable", "mac": "stable"}

    def identity(container_id: str, name: str) -> Any:
        document = on_eth0(options=options, asked={"static_ips": None}) | {"container_id": container_id}
        document["container_name"] = name
        told = setup(node, document, container=container_id)["interfaces"]["eth0"]
        return document, (told["mac_address"], told["subnets"])

    first, known = identity("c1", "web")
    teardown(node, first)
    assert identity("c2", "db")[1] != known
    assert identity("c3", "web")[1] == known


@pytest.mark.parametrize(
    ("start", "end", "part"),
    [
        ("10.1.0.129", "10.1.0.255", {"ipRange": "10.1.0.128/25"}),  # as podman tells --ip-range 10.1.0.128/25
        ("10.1.0.128", "10.1.0.255", {"ipRange": "10.1.0.128/25"}),
        ("10.1.0.10", "10.1.0.20", {"rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.20"}),
        ("10.1.0.10", None, {"rangeStart": "10.1.0.10"}),
        (None, "10.1.0.20", {"rangeEnd": "10.1.0.20"}),
    ],
)
def test_what_podman_calls_a_lease_range(start: str | None, end: str | None, part: dict[str, str]) -> None:
    lease_range = {"start_ip": start, "end_ip": end}
    subnet = {"subnet": "10.1.0.0/24", "gateway": "10.1.0.1", "lease_range": lease_range}
    document = on_eth0(options={"ipam": "host-local"}, subnets=[subnet])
    expected = {"subnet": "10.1.0.0/24", "gateway": "10.1.0.1"} | part
    assert Call(document).config("macvlan")["ipam"]["ranges"] == [[expected]]


# Options


@pytest.mark.parametrize(
    ("kind", "option", "key", "value"),
    [
        ("macvlan", "master=eth0,eth1", "master", ["eth0", "eth1"]),
        ("macvlan", "host_iface=eth0", "master", "eth0"),
        ("macvlan", "vlan=50", "vlan", 50),
        ("macvlan", "com.docker.network.driver.mtu=1400", "mtu", 1400),
        ("macvlan", "macvlan_mode=vepa", "mode", "vepa"),
        ("macvlan", "hostAccess=true", "hostAccess", True),
        ("macvlan", "host_access=10.1.0.5,10.1.0.6", "hostAccess", ["10.1.0.5", "10.1.0.6"]),
        ("macvlan", "mac=random", "mac", ""),
        ("macvlan", "ipv6=false", "ipv6", False),
        ("macvlan", "bcqueuelen=2000", "bcqueuelen", 2000),
        ("macvlan", "sysctls=net.ipv4.conf.IFNAME.arp_ignore=1", "sysctls", {"net.ipv4.conf.IFNAME.arp_ignore": "1"}),
        ("ipvlan", "ipvlan_mode=l3s", "mode", "l3s"),
        ("ipvlan", "ipvlan_flag=private", "flag", "private"),
        ("ipvlan", "hostRoutes=false", "hostRoutes", False),
    ],
)
def test_an_option_is_a_key_of_the_configuration(node: Node, kind: str, option: str, key: str, value: object) -> None:
    name, _, text = option.partition("=")
    network = on_eth0()["network"] | {"options": {name: text}}
    config = configuration(kind, network, read(kind, network["options"]))
    assert config[key] == value
    assert node.plugins[kind].accepts(config)


def test_netavarks_own_options_of_the_default_route() -> None:
    def routes(**options: str) -> Any:
        return Call(on_eth0(options=options)).config("macvlan")["ipam"].get("routes")

    assert routes() == [{"dst": "0.0.0.0/0"}]
    assert routes(metric="200") == [{"dst": "0.0.0.0/0", "priority": 200}]
    assert routes(no_default_route="true") is None


@pytest.mark.parametrize(
    ("changes", "message", "mend"),
    [
        ({"options": {"parrent": "eth0"}}, "-o parrent: macvlan has no such option", "Did you mean parent?"),
        ({"options": {"zzz": "1"}}, "-o zzz: macvlan has no such option", "It has "),
        ({"options": {"flag": "vepa"}}, "-o flag: macvlan has no such option", ""),
        ({"options": {"vlan": "x"}}, "-o vlan=x: 'x' is not a number", ""),
        ({"options": {"ipv6": "yes"}}, "-o ipv6=yes: 'yes' is neither true nor false", ""),
        ({"options": {"vlan": "5000"}}, "-o vlan=5000: 5000 is ", ""),
        ({"options": {"mode": "bridg"}}, '-o mode=bridg: "bridg" is not one of', ""),
        ({"options": {"master": "eth1"}}, "parent, master: these options are the same", ""),
        ({"options": {"ipam": "static"}}, "-o ipam=static: it is host-local or lan-local", ""),
        ({"options": {"order": "stable"}}, "-o order: podman itself chooses", ""),
        ({"options": {"ipam": "lan-local"}}, "ipam.cluster: lan-local needs", ""),
        ({"options": {"ipam": "host-local"}, "subnets": None}, "-o ipam=host-local: there is no subnet", "--subnet"),
        ({"ipam_options": {"driver": "dhcp"}, "subnets": None}, "--ipam-driver dhcp: there is no DHCP", "macvlan"),
        ({"network_interface": "eth1"}, "the parent is eth1 by --interface-name, and eth0 by -o", "Leave one"),
        ({"subnets": [{"subnet": "10.1.0.0/24", "gateway": "fd00::1"}]}, "ipam: gateway fd00::1 is not of", ""),
        ({"routes": [{"destination": "10.9.0.0/16", "route_type": "blackhole"}]}, "--route: blackhole", ""),
        ({"options": {"parent": "eth9"}}, "-o parent=eth9: there is no link named eth9", ""),
    ],
)
def test_create_refuses_what_setup_would_and_names_the_option(
    node: Node, changes: dict[str, Any], message: str, mend: str
) -> None:
    document = on_eth0(**changes)
    for arguments, stdin in ((["create"], document["network"]), (["setup", "/run/netns/c1"], document)):
        node.container()
        with pytest.raises(CniError) as error:
            call(node, "macvlan", *arguments, stdin=stdin)
        assert error.value.msg.startswith(message), error.value.msg
        assert mend in error.value.details
    assert node.container().names == []


def test_a_container_has_no_options_of_its_own(node: Node) -> None:
    with pytest.raises(CniError, match=r"^mode: a container has no options"):
        setup(node, on_eth0(asked={"options": {"mode": "vepa"}}))


def test_an_internal_network_on_a_parent_has_no_default_route_and_one_without_is_isolated() -> None:
    subnets = [{"subnet": "10.1.0.0/24"}]
    on_a_parent = Call(on_eth0(internal=True, subnets=subnets)).config("macvlan")
    assert "internal" not in on_a_parent
    assert "routes" not in on_a_parent["ipam"]
    document = on_eth0(internal=True, subnets=subnets)
    document["network"]["options"] = {}
    assert Call(document).config("macvlan")["internal"] is True


def test_create_says_what_it_assumed(node: Node, machine: Path, capfd: pytest.CaptureFixture[str]) -> None:
    network = recorded("own", "create")
    call(node, "macvlan", "create", stdin=network)
    assert "no IPv6 (-o ipv6=false)" in capfd.readouterr().err
    assert call(node, "macvlan", "create", stdin=network | {"options": {"parent": "eth0", "ipv6": "true"}})
    assert capfd.readouterr().err == ""
    passthru = network | {"options": {"parent": "eth0", "mode": "passthru"}}
    assert "mac" not in call(node, "macvlan", "create", stdin=passthru)["options"]
    capfd.readouterr()
    (machine / "machine-id").unlink()
    assert "mac" not in call(node, "macvlan", "create", stdin=network)["options"]
    assert "/etc/machine-id" in capfd.readouterr().err
    named = network | {"subnets": [{"subnet": "fd00:1::/64", "gateway": "fd00:1::1"}]}
    assert call(node, "macvlan", "create", stdin=named)["options"]["ra"] == "off"


def test_published_ports_are_told_of(node: Node, capfd: pytest.CaptureFixture[str]) -> None:
    setup(node, on_eth0())
    assert "No port is published" in capfd.readouterr().err
    setup(node, on_eth0() | {"port_mappings": None, "container_id": "c2"}, container="c2")
    assert capfd.readouterr().err == ""


# What is wrong with a call


@pytest.mark.parametrize(
    "changes",
    [
        {"options": {"ipam": "host-local", "mtu": "x", "unheard": "of", "host_access": "nonsense"}},
        {"options": {"ipam": "host-local"}, "network_interface": "eth9"},
        {
            "options": {"ipam": "host-local"},
            "ipam_options": {"driver": "dhcp"},
            "routes": [{"route_type": "blackhole"}],
        },
    ],
)
def test_teardown_takes_back_whatever_became_of_the_network(node: Node, machine: Path, changes: dict[str, Any]) -> None:
    before = node.state()
    setup(node, on_eth0(options={"ipam": "host-local"}))
    assert (machine / "networks/net1/10.1.0.9").exists()
    teardown(node, on_eth0(**changes))
    assert node.state() == before
    assert not (machine / "networks/net1/10.1.0.9").exists()


@pytest.mark.parametrize("arguments", [["setup"], ["setup", "a", "b"], ["teardown"], ["create", "x"]])
def test_the_arguments_are_those_of_the_api(node: Node, arguments: list[str]) -> None:
    with pytest.raises(CniError, match="takes"):
        call(node, "macvlan", *arguments, stdin={})


def members_of(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for key, value in document.items():
        yield document, key
        if isinstance(value, dict):
            yield from members_of(value)


@given(st.data())
def test_any_member_of_another_type_is_an_error_and_no_defect(data: st.DataObject) -> None:
    document = recorded("lan", "setup")
    where, key = data.draw(st.sampled_from(list(members_of(document))))
    where[key] = data.draw(st.sampled_from([1, "x", [], {}, None, True, [1], {"a": 1}]))
    try:
        call_ = Call(document)
        config = call_.config("macvlan")
        call_.config_to_leave("macvlan")
    except CniError:
        return
    assert isinstance(config["name"], str)


# The program


def program(*arguments: str, stdin: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cni_macvlan_py", *arguments]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE.parents[1])}
    return subprocess.run(command, input=stdin, env=environ | options, capture_output=True, check=False)


def test_the_program_knows_netavarks_calls_by_their_first_argument() -> None:
    done = program("info")
    assert done.returncode == 0, done.stderr
    is_a("Info", json.loads(done.stdout))
    refused = program("setup", "/run/netns/none", stdin=b"{")
    assert (refused.returncode, refused.stderr) == (1, b"")
    is_a("Error", json.loads(refused.stdout))
    assert "not JSON" in json.loads(refused.stdout)["error"]


def test_a_cni_call_is_one_whatever_its_arguments() -> None:
    done = program("info", CNI_COMMAND="VERSION")
    assert "supportedVersions" in json.loads(done.stdout)


def test_what_nobody_reads_is_taken_back(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    before = node.state()
    node.container()
    monkeypatch.setattr(entry, "_read_all", lambda _: json.dumps(on_eth0()).encode())
    monkeypatch.setattr(sys, "argv", ["cni-macvlan-py", "setup", "/run/netns/c1"])
    written: list[bytes] = []

    def closed(_: int, data: bytes) -> bool:
        written.append(data)
        return False

    monkeypatch.setattr(entry, "_write", closed)
    assert entry._called_by_netavark(sys.argv[1:], lambda: node.plugins["macvlan"]) == 1
    assert b"mac_address" in written[0]
    assert node.state() == before


def test_the_options_are_told_in_the_documents() -> None:
    text = (HERE.parents[1] / "docs" / "podman.md").read_text()
    for kind, options in OF_KIND.items():
        for name in options:
            assert f"`{name}`" in text, f"{kind}: {name}"
