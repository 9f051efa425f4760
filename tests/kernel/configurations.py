"""Network configurations as nobody should write them: values that are likely, nearly right, or anything at all."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import strategies as st

from tests.unit.strategies import json_values, mutated

TEXTS = ["", "eth0", "eth0.50", "eth0:4095", "../x", "a/b", ".", "..", "lo", "x" * 300, "\0", "é", "l3", "passthru"]
TEXTS += ["10.1.0.0/24", "10.1.0.9", "fd00::/64", "0.0.0.0/0", "::/0", "10.1.0.0/33", "02:00:00:00:00:01"]
TEXTS += ["host-local", "../host-local"]
NUMBERS = [0, -1, 1, 50, 4094, 4095, 1500, 1 << 31, 1 << 64, 0.5, 1e300]
OTHERS: list[Any] = [None, True, False, [], {}, [[]], [{}], [[{}]]]
VALUES = st.sampled_from(TEXTS) | st.sampled_from(NUMBERS) | st.sampled_from(OTHERS) | json_values
# What gets past the schema is worth more than what does not.
MACS = ["02:00:00:00:00:07", "01:00:00:00:00:07", "00:00:00:00:00:00", ""]
ADDRESSES = ["10.1.0.1", "10.1.0.9", "10.1.0.255", "10.2.0.1", "fd00:1::1", "fd00:1::ffff:0", "0.0.0.0", "::"]
ADDRESSES += ["none", ""]
CIDRS = ["10.1.0.0/24", "10.1.0.8/29", "10.1.0.9/32", "fd00:1::/64", "fd00:1::/126", "0.0.0.0/0", "::/0", "10.9.0.0/31"]
ROUTES = st.lists(
    st.fixed_dictionaries(
        {"dst": st.sampled_from(CIDRS)},
        optional={"gw": st.sampled_from(ADDRESSES), "mtu": st.just(1400), "table": st.just(100), "scope": st.just(253)},
    ),
    max_size=3,
)
RANGES = st.lists(st.lists(st.fixed_dictionaries({"subnet": st.sampled_from(CIDRS)}), max_size=2), max_size=3)
IPS = st.fixed_dictionaries({"ips": st.lists(st.sampled_from(ADDRESSES[:6] + CIDRS), max_size=2)})
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "master": st.sampled_from(["eth0", "eth0", "eth0.50", "eth9", "", ["eth9", "eth0"]]),
    "mode": st.sampled_from(["bridge", "private", "vepa", "passthru", "l2", "l3", "l3s", ""]),
    "flag": st.sampled_from(["bridge", "private", "vepa", ""]),
    "mtu": st.sampled_from([0, 68, 1280, 1400, 1500, 9000, 65535]),
    "vlan": st.sampled_from([1, 50, 4094]),
    "internal": st.booleans(),
    "hostRoutes": st.booleans(),
    "linkInContainer": st.booleans(),
    "dad": st.sampled_from(["off", "off", "off", "fast"]),
    "mac": st.sampled_from(MACS),
    "bcqueuelen": st.sampled_from([0, 100, 1 << 32]),
    "args": st.fixed_dictionaries({"cni": IPS | st.fixed_dictionaries({"mac": st.sampled_from(MACS)})}),
    "runtimeConfig": IPS | st.fixed_dictionaries({"ipRanges": RANGES}),
    "dns": st.just({"nameservers": ["10.1.0.1"], "search": ["example.com"]}),
    "ipam": st.sampled_from([{}, {"type": "fake"}, {"type": "host-local", "subnet": "10.1.0.0/24"}]),
    "cni.dev/valid-attachments": st.lists(st.just({"containerID": "pod", "ifname": "eth0"}), max_size=2),
    "cniVersion": st.sampled_from(["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", ""]),
    "name": st.sampled_from(["lan", "lan2", "x" * 200]),
    "ranges": RANGES,
    "routes": ROUTES,
    "subnet": st.sampled_from(CIDRS),
    "ipRange": st.sampled_from(CIDRS),
    "gateway": st.sampled_from(ADDRESSES),
    "rangeStart": st.sampled_from(ADDRESSES),
    "rangeEnd": st.sampled_from(ADDRESSES),
    "exclude": st.lists(st.sampled_from(CIDRS), max_size=2),
    "auxAddresses": st.dictionaries(st.just("printer"), st.sampled_from(ADDRESSES)),
    "address": st.sampled_from(["10.1.0.9/24", "10.1.0.2/24", "fd00:1::2/64"]),
    "interface": st.sampled_from([0, 1, 7]),
    "sandbox": st.sampled_from(["", "/proc/self/ns/net", "/nowhere"]),
    "prevResult": st.just({"cniVersion": "1.0.0", "interfaces": [], "ips": [{"address": "10.1.0.2/24"}]}),
}
IPAM_KEYS = ["subnet", "ranges", "routes", "gateway", "rangeStart", "rangeEnd", "ipRange", "auxAddresses", "exclude"]
KEYS = [*sorted(LIKELY.keys() - set(IPAM_KEYS)), "capabilities", "isGateway", "ips", "interfaces"]
# Where nobody can write, root or not: what is written must stay in the directory of the test.
PATHS = ["", "/dev/null", "/dev/null/x", "/etc/passwd", "/proc/self/x", "/proc/self/fd", "/sys/x", "/dev/zero", "\0"]
PATHS += ["/etc/resolv.conf", "../../../../dev/full", "/dev/null/" * 500]


@st.composite
def value(draw: st.DrawFn, name: str) -> Any:
    """Of a member of that name, be it likely or not."""
    return draw(LIKELY[name] if name in LIKELY and draw(st.integers(0, 3)) else VALUES)


@st.composite
def changed(draw: st.DrawFn, document: Any, name: str = "") -> Any:
    """The document, a member of that name, with a value changed, a member added or one taken away, wherever."""
    if isinstance(document, dict) and "dataDir" in document and draw(st.integers(0, 9)) == 0:
        return document | {draw(st.sampled_from(["dataDir", "resolvConf"])): draw(st.sampled_from(PATHS))}
    members = sorted(document.keys() - {"dataDir"}) if isinstance(document, dict) else []
    if members and draw(st.integers(0, 3)) > 0:
        member = draw(st.sampled_from(members))
        return document | {member: draw(changed(document[member], member))}
    if isinstance(document, list) and document and draw(st.integers(0, 3)) > 0:
        at = draw(st.integers(0, len(document) - 1))
        return [*document[:at], draw(changed(document[at])), *document[at + 1 :]]
    if isinstance(document, dict):
        kept = {member: value for member, value in document.items() if member == "dataDir" or draw(st.integers(0, 19))}
        names = IPAM_KEYS if "dataDir" in document or "subnet" in document else KEYS
        return kept | {member: draw(value(member)) for member in draw(st.lists(st.sampled_from(names), max_size=2))}
    return draw(value(name))


@st.composite
def written(draw: st.DrawFn, document: Any) -> bytes:
    """The document's JSON, or nearly; where leases are to lie is not touched."""
    text = json.dumps(document, ensure_ascii=draw(st.booleans()))
    where = re.search('"dataDir": "[^"]*"', text)
    parts = [text[: where.start()], where.group(), text[where.end() :]] if where else [text]
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.sampled_from([0, -1]))
        parts[at] = draw(mutated(st.just(parts[at]), '"\\{}[]:,.0123456789-+eEud/ \n\0'))
    return "".join(parts).encode() + draw(st.sampled_from([*[b""] * 9, b"\n", b"{}", b"\xff"]))
