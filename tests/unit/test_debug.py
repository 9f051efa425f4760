"""What CNI_DEBUG writes of netlink messages (cni_core.debug); what it writes of a call, tests/kernel tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_core import debug
from cni_core.address import Address, Cidr
from cni_core.rtnl import messages as m, neighbours as n
from cni_core.rtnl.messages import Message, Reply, Route

TEN = Cidr.parse("10.1.0.2/24")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            m.new_link("tmp", "macvlan", m.u32(1, 4), parent=2, netns=7, mtu=1400, mac=bytes([2, 0, 0, 0, 0, 1])),
            "ip link add tmp link if2 netns (fd 7) mtu 1400 address 02:00:00:00:00:01 type macvlan 1:04000000",
        ),
        (
            m.new_parent("cnp1", "vlan", m.u16(m.IFLA_VLAN_ID, 50), below=2),
            "ip link add cnp1 link if2 type vlan 1:3200",
        ),
        (m.mark(5, "eth0", "mark"), "ip link set if5 name eth0 alias mark"),
        (m.mark_and_raise(5, "eth0", "mark"), "ip link set if5 name eth0 alias mark up"),
        (m.del_link(5), "ip link del if5"),
        (m.get_link("eth0"), "ip link show eth0"),
        (m.get_link(index=5), "ip link show if5"),
        (m.get_links(), "ip link show"),
        (m.new_address(5, TEN), "ip address add 10.1.0.2/24 dev if5"),
        (m.new_address(5, Cidr.parse("fd00::2/64"), dad=False), "ip address add fd00::2/64 dev if5 nodad"),
        (m.get_addresses(), "ip address show"),
        (
            m.new_route(Route(Cidr.parse("0.0.0.0/0"), Address.parse("10.1.0.1"), [5], priority=7)),
            "ip route prepend 0.0.0.0/0 via 10.1.0.1 dev if5 metric 7 table 254 proto 3",
        ),
        (
            m.new_route(Route(Cidr.parse("10.8.0.0/16"), None, [2], protocol=193), beside=False),
            "ip route add 10.8.0.0/16 dev if2 table 254 proto 193",
        ),
        (m.del_route(Route(TEN.subnet, None, [2])), "ip route del 10.1.0.0/24 dev if2 table 254 proto 3"),
        (m.get_routes(2), "ip route show"),
        (n.ask_neighbour(5, TEN.address), "ip neighbour add use 10.1.0.2 dev if5"),
        (n.get_neighbour(5, TEN.address), "ip neighbour get 10.1.0.2 dev if5"),
        (n.del_neighbour(5, TEN.address), "ip neighbour del 10.1.0.2 dev if5"),
    ],
)
def test_a_request_is_told_in_the_words_of_ip(message: Message, words: str) -> None:
    assert debug.request_words(message) == words


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((m.NLMSG_ERROR, 0, 1, bytes(4)), "ok"),
        ((m.NLMSG_ERROR, 0, 1, (-16).to_bytes(4, "little", signed=True)), "EBUSY"),
        ((m.NLMSG_DONE, 0, 1, bytes(4)), "end of the list"),
        ((m.RTM_NEWADDR, 0, 1, m.new_address(5, TEN).body), "10.1.0.2/24 dev if5 flags 0x0"),
        (
            (m.RTM_NEWLINK, 0, 1, m.mark_and_raise(5, "eth0", "mark").body),
            "5: eth0 physical up mtu 0  mark",
        ),
        ((m.RTM_NEWROUTE, 0, 1, bytes([7]) + bytes(11)), "of another family"),
        ((99, 0, 1, b""), "a message of type 99"),
    ],
)
def test_a_reply_is_told_as_ip_shows_it(reply: Reply, words: str) -> None:
    assert debug.reply_words(reply) == words


def test_a_line_stays_one_line_and_does_nothing_to_a_terminal(tmp_path: Path) -> None:
    trace = debug.Trace(str(tmp_path / "log"))
    trace.line("a\nb\x1b[31m é")
    [line] = (tmp_path / "log").read_text().splitlines()
    assert line.endswith("a\\x0ab\\x1b[31m é")
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_what_is_called_and_what_it_gives_or_raises_is_told(tmp_path: Path) -> None:
    class Door:
        def double(self, number: int) -> int:
            if number < 0:
                raise ValueError("less than nothing")
            return number * 2

    trace = debug.Trace(str(tmp_path / "log"))
    trace.wrap(Door, "double", lambda _, number: f"double {number}")
    assert Door().double(4) == 8
    with pytest.raises(ValueError):
        Door().double(-1)
    lines = [line.split(maxsplit=2)[2] for line in (tmp_path / "log").read_text().splitlines()]
    assert lines == ["double 4 → 8", "double -1 ✗ ValueError: less than nothing"]
