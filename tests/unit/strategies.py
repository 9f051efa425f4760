"""What hypothesis draws in more than one file: JSON values, texts that are nearly right, addresses."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from cni_core.address import Address, Cidr

# No NaN and no infinity: JSON has neither.
json_numbers: SearchStrategy[Any] = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_scalars: SearchStrategy[Any] = st.none() | st.booleans() | json_numbers | st.text(max_size=20)
json_values: SearchStrategy[Any] = st.recursive(
    json_scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)

# What a delegated plugin may write: results, nearly results, and anything.
_addresses = st.fixed_dictionaries(
    {"address": st.sampled_from(["10.1.0.2/24", "10.1.0.3/32", "fd00:1::2/64", "0.0.0.0/0", "10.1.0.1/24"])},
    optional={
        "gateway": st.sampled_from(["10.1.0.1", "10.2.0.1", "fd00:1::1", "0.0.0.0"]),
        "interface": st.integers(0, 2),
    },
)
_routes = st.fixed_dictionaries(
    {"dst": st.sampled_from(["0.0.0.0/0", "::/0", "10.1.0.0/24", "10.2.3.4/8"])},
    optional={"gw": st.sampled_from(["10.1.0.1", "fd00:1::1", "::"]), "mtu": st.integers(0, 1 << 32)},
)
_good = st.fixed_dictionaries(
    {"ips": st.lists(_addresses, min_size=1, max_size=3)}, optional={"routes": st.lists(_routes, max_size=3)}
)
_bad = st.fixed_dictionaries(
    {},
    optional={
        "cniVersion": st.sampled_from(["0.2.0", "1.0.0", "1.1.0", "9.9.9", ""]) | json_values,
        "ips": st.lists(_addresses | st.fixed_dictionaries({"address": json_values}), max_size=3) | json_values,
        "ip4": st.fixed_dictionaries({"ip": st.just("10.1.0.2/24")}, optional={"routes": json_values}) | json_values,
        "routes": st.lists(_routes | st.fixed_dictionaries({"dst": json_values}), max_size=3) | json_values,
        "interfaces": json_values,
        "dns": json_values,
    },
)
outputs: SearchStrategy[bytes] = (_good | _bad).map(lambda document: json.dumps(document).encode()) | st.binary(
    max_size=60
)

ipv4: SearchStrategy[IPv4Address] = st.integers(0, 2**32 - 1).map(IPv4Address)
# Long runs of zeros are where the short form of IPv6 is made; most random numbers have none.
_hextets = st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF, 0xA0]) | st.integers(0, 0xFFFF), min_size=8, max_size=8)
ipv6: SearchStrategy[IPv6Address] = _hextets.map(
    lambda parts: IPv6Address(b"".join(part.to_bytes(2, "big") for part in parts))
)
AnyAddress = IPv4Address | IPv6Address
# An IPv4-mapped address is no IPv6 address to us.
unmapped: SearchStrategy[IPv6Address] = ipv6.filter(lambda ip: ip.ipv4_mapped is None)
ips: SearchStrategy[AnyAddress] = ipv4 | unmapped
macs = st.binary(min_size=6, max_size=6)


@st.composite
def cidrs(draw: st.DrawFn, version: int = 0) -> Cidr:
    """Of IPv4, of IPv6, or of either; host bits and all."""
    ip: AnyAddress = draw({0: ips, 4: ipv4, 6: unmapped}[version])
    return Cidr(Address.from_packed(ip.packed), draw(st.integers(0, ip.max_prefixlen)))


@st.composite
def mutated(draw: st.DrawFn, texts: SearchStrategy[str], alphabet: str) -> str:
    """A text after a few characters were taken out, put in or replaced."""
    characters = list(draw(texts))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(characters)))
        new = draw(st.text(alphabet, max_size=2) | st.text(max_size=1))
        characters[at : at + draw(st.integers(0, 2))] = new
    return "".join(characters)
