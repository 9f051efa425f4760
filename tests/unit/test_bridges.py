"""The VLANs of a bridge, as RTM_NEWVLAN tells of them."""

from __future__ import annotations

from struct import pack

from hypothesis import given, strategies as st

from cni_core.bridges import vlans_of
from cni_core.errors import CniError
from cni_core.rtnl.messages import attribute

HEADER = pack("=BxxxI", 7, 5)
runs = st.lists(
    st.tuples(st.integers(1, 4094), st.integers(0, 300)).map(lambda run: range(run[0], run[0] + run[1] + 1))
)


def told(run: range) -> bytes:
    """BRIDGE_VLANDB_ENTRY: one VLAN has no end, a run of them has (br_vlan_fill_vids, net/bridge/br_vlan.c)."""
    info = attribute(1, pack("=HH", 0x20, run[0]))
    return attribute(1 | 0x8000, info + (attribute(2, pack("=H", run[-1])) if len(run) > 1 else b""))


@given(runs)
def test_each_run_is_read(vlans: list[range]) -> None:
    assert vlans_of(HEADER + b"".join(map(told, vlans))) == vlans


@given(runs, st.integers(0, 60), st.binary(max_size=8))
def test_what_is_cut_short_is_a_malformed_reply_at_most(vlans: list[range], cut: int, more: bytes) -> None:
    body = HEADER + b"".join(map(told, vlans))
    try:
        vlans_of(body[: max(0, len(body) - cut)] + more)
    except CniError as error:
        assert "malformed" in error.msg
