"""cni_cli.validate: what is wrong in a file, and in which line."""

from __future__ import annotations

import json
from time import monotonic
from typing import Any

import pytest
from hypothesis import given, strategies as st

from cni_cli.validate import _lines, findings
from cni_core.schema.explain import violations

CONFLIST = """{
  "cniVersion": "1.0.0",
  "name": "lan",
  "plugins": [
    {
      "type": "macvlan",
      "master": "eth0",
      "mode": "bridged",
      "MTU": 1400,
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.1.0.0/24", "rangestart": "10.1.0.9"}]],
        "routes": [
          {"dst": "10.9.0.0"}
        ]
      }
    },
    {"type": "tuning", "sysctl": {}}
  ]
}
"""


def told(text: str) -> list[tuple[int, str, bool]]:
    return [(finding.line, str(finding), finding.serious) for finding in findings(text.encode())]


def test_each_problem_has_its_line_path_and_suggestion() -> None:
    assert told(CONFLIST) == [
        (
            8,
            'plugins[0].mode: "bridged" is not one of bridge, private, vepa, passthru; did you mean bridge?',
            True,
        ),
        (9, "plugins[0].MTU: is read as mtu, which is the usual spelling", False),
        (12, "plugins[0].ipam.ranges[0][0].rangestart: is read as rangeStart, which is the usual spelling", False),
        (
            14,
            'plugins[0].ipam.routes[0].dst: "10.9.0.0" is not an address with a prefix length, such as 10.1.0.0/16',
            True,
        ),
    ]


def plain(**keys: Any) -> str:
    return json.dumps({"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", **keys})


LOCAL = {"type": "host-local", "subnet": "10.1.0.0/24"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (plain(), []),
        (plain(type="bridge", anything=1), ["there is no macvlan or ipvlan in it"]),
        (plain(com_example=1, capabilities={"ips": True}), []),
        ("{", ["this is not JSON"]),
        ("[]", ["this is not a JSON object"]),
        ("[" * 20000, ["the document is nested too deeply"]),
        (plain().replace("}", f', "x": {"[" * 700}{"]" * 700}}}'), ["the document is nested too deeply"]),
        (plain().replace("}", ', "mtu": NaN}'), ["this is not JSON: it has no NaN"]),
        (plain().replace("}", f', "mtu": {"1" * 5000}}}'), ["mtu: 1111"]),
        (plain().replace("}", ', "mtu": 1, "mtu": 2}'), ["mtu: is given more than once; the last one counts"]),
        (plain(cniVersion="1.0.1"), ['cniVersion: "1.0.1" is not one of']),
        (plain(cniVersion=None), ["cniVersion is missing, and taken for 0.1.0"]),
        (plain(capabilities=["ips"]), ["capabilities: is not an object of booleans"]),
        (
            plain(parent="eth0", Mode="vepa"),
            ["Mode: is read as mode", "parent: nobody knows this key; did you mean mas"],
        ),
        (plain(ipam={"type": "host_local"}), ['ipam.type: "host_local" is another plugin; did you mean host-local?']),
        (plain(mac="01:00:00:00:00:01"), ["mac: 01:00:00:00:00:01 is not the address of a single host"]),
        ('{"cniVersion": "1.0.0", "name": "lan", "Plugins": []}', ["Plugins: nobody knows", "type is missing"]),
        ('{"cniVersion": "1.0.0", "name": "lan", "plugins": [5]}', ["plugins[0]: is not an object", "there is no"]),
        ('{"plugins": []}', ["name is missing", "plugins: is not a list of plugins"]),
        (
            '{"name": "lan", "cniVersion": "1.0.1", "plugins": [{"type": "ipvlan"}]}',
            ['cniVersion: "1.0.1" is not one of'],
        ),
        (plain(type="macvlam"), ['type: "macvlam" is not a plugin of ours; did you mean macvlan?']),
        (plain(type="cni-macvlan-py", internal=True, master="eth0"), ["master: has no place beside internal"]),
        (
            plain(
                vlan=5, ipam={"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24", "ipRange": "10.1.0.8/29"}]]}
            ),
            ["ipam.ranges[0][0].ipRange: is obeyed; Go's plugins", "vlan: is obeyed; Go's plugins"],
        ),
        (
            plain(ipam={"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/16"}]]}),
            ["ipam: "],
        ),
        (
            plain(
                ipam={
                    "type": "host-local",
                    "ranges": [[{"subnet": "10.1.0.5/24"}], [{"subnet": "10.2.0.0/24", "gateway": "fd00::1"}]],
                    "routes": [{"dst": "10.9.0.5/24"}, {"dst": "10.9.0.0/24", "gw": "fd00::1"}],
                }
            ),
            [
                "ipam.ranges[0][0]: subnet 10.1.0.5/24 has host bits set",
                "ipam.ranges[1][0]: gateway fd00::1 is not of the family",
                "ipam.routes[0].dst: 10.9.0.5/24 has host bits set",
                "ipam.routes[1]: gw fd00::1 is not of the family",
            ],
        ),
        (
            plain(ipam=LOCAL | {"routes": [{"dst": "10.2.0.5/16"}]}),
            ["ipam.routes[0].dst: 10.2.0.5/16 has host bits set"],
        ),
        (
            plain(type="cni-macvlan-py", internal=True, ipam=LOCAL | {"routes": [{"dst": "0.0.0.0/0"}]}),
            ["ipam.routes[0]: is a default route, and internal has none"],
        ),
        (
            plain(mtu=1279, ipam={"type": "host-local", "subnet": "fd00::/64"}),
            ["mtu: 1279 is less than IPv6's 1280"],
        ),
        (
            plain(type="cni-macvlan-py", ipam=LOCAL | {"ipRange": "10.1.0.0/31"}),
            ["ipam: no address of 10.1.0.1-10.1.0.254 can be chosen"],
        ),
        (
            plain(cniVersion="0.2.0", ipam=LOCAL | {"ranges": [[{"subnet": "10.2.0.0/24"}]]}),
            ["ipam: CNI version 0.2.0 does not support more than 1 address per family"],
        ),
    ],
)
def test_findings(text: str, found: list[str]) -> None:
    messages = [message for _, message, _ in told(text)]
    assert len(messages) == len(found), messages
    for message, expected in zip(messages, found, strict=True):
        assert message.startswith(expected)


SCALARS = st.none() | st.booleans() | st.integers() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(JSON, st.sampled_from([None, 1, "\t"]))
def test_every_value_has_a_line_where_it_stands(document: Any, indent: Any) -> None:
    text = json.dumps(document, indent=indent)
    found = dict(_lines(text))

    def walk(value: Any, path: tuple[str | int, ...]) -> None:
        line = text.split("\n")[found[path] - 1]
        shown = json.dumps(value)
        assert (shown if not isinstance(value, (list, dict)) else shown[0]) in line
        members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, member in members:
            walk(member, (*path, key))

    walk(document, ())


@given(st.dictionaries(st.sampled_from(["mode", "master", "mtu", "vlan", "mac"]), JSON))
def test_what_the_plugin_refuses_is_found(keys: dict[str, Any]) -> None:
    own = {key: value for key, value in keys.items() if value is not None}
    config = {"name": "lan", "type": "macvlan", **own}
    serious = [finding for finding in findings(json.dumps(config).encode()) if finding.serious]
    assert bool(violations("macvlan", config)) <= bool(serious)


def test_a_long_document_is_read_in_linear_time() -> None:
    text = plain(com_example=list(range(100_000))).replace(", ", ",\n")
    began = monotonic()
    assert told(text) == []
    assert monotonic() - began < 10


def test_what_is_stable_and_what_routers_may_say() -> None:
    ipam = {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]], "order": "stable"}
    ours = {"type": "cni-macvlan-py", "mac": "stable", "ra": "off", "ipam": ipam}
    assert told(plain(**ours)) == []
    by_path = {
        text.partition(":")[0]: text for _, text, serious in told(plain(**ours | {"type": "macvlan"})) if not serious
    }
    assert set(by_path) == {"mac", "ra", "ipam.order"}
    assert "refuses it" in by_path["mac"]
    sysctls = {"net.ipv4.conf.all.forwarding": "1", "net.ipv4.conf.IFNAME.arp_ignore": "1"}
    for keys, problem in (
        ({"ipv6": False}, "ipv6: is false, and fd00::1-fd00::ffff:ffff:ffff:ffff is of IPv6"),
        ({"ipv6Token": "::77"}, "ipv6Token: it is the end of addresses that routers' advertisements give, and"),
        ({"ra": "kernel", "ipv6Token": "1::77"}, 'ipv6Token: "1::77" is not the end of an IPv6 address'),
        ({"ra": "maybe"}, 'ra: "maybe" is not one of kernel, routes, off'),
        ({"sysctls": sysctls}, 'sysctls: "net.ipv4.conf.all.forwarding" is not a sysctl of a link'),
        ({"sysctls": {"net.ipv4.conf.IFNAME.arp_ignore": 1}}, "sysctls.net.ipv4.conf.IFNAME.arp_ignore: 1 is not of"),
        ({"mac": "stabel"}, 'mac: "stabel" is not'),
        ({"ipam": ipam | {"order": "stabel"}}, 'ipam.order: "stabel" is not one of round-robin, stable; did you mean'),
    ):
        assert [text for _, text, serious in told(plain(**ours | keys)) if serious and text.startswith(problem)], keys
