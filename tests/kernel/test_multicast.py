"""mDNS and broadcasts: between containers and the LAN they pass; between a node and its own containers they do not."""

from __future__ import annotations

from socket import (
    AF_INET,
    IP_ADD_MEMBERSHIP,
    IP_MULTICAST_IF,
    IP_MULTICAST_LOOP,
    IPPROTO_IP,
    SO_BROADCAST,
    SOCK_DGRAM,
    SOL_SOCKET,
    inet_aton,
    socket,
)

import pytest

from conformance.lab.topology import Host
from tests.kernel.conftest import Lan

MDNS, BROADCAST = "224.0.0.251", "10.1.0.255"
PORT = 5353


def joined(host: Host, address: str) -> socket:
    """A socket in the group of mDNS on the link of an address, which does not hear itself."""
    with host.inside():
        member = socket(AF_INET, SOCK_DGRAM)
    own = inet_aton(address)
    member.setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, inet_aton(MDNS) + own)
    member.setsockopt(IPPROTO_IP, IP_MULTICAST_IF, own)
    member.setsockopt(IPPROTO_IP, IP_MULTICAST_LOOP, 0)
    member.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)
    member.bind(("", PORT))
    member.settimeout(10)
    return member


def heard(member: socket, last: bytes) -> list[bytes]:
    """What it has heard up to a word, which must come."""
    words = list[bytes]()
    while last not in words:
        words.append(member.recv(100))
    return words


@pytest.mark.parametrize("to", [MDNS, BROADCAST])
@pytest.mark.parametrize(("kind", "mode"), [("macvlan", "bridge"), ("ipvlan", "l2")])
def test_what_is_for_all_passes_to_the_lan_and_not_to_the_node(lan: Lan, kind: str, mode: str, to: str) -> None:
    lan.node.address("eth0", "10.1.0.7/24")
    pods, members = [lan.host("pod"), lan.host("sibling")], list[socket]()
    plugin = lan.ipvlan if kind == "ipvlan" else lan.macvlan
    config = lan.config(type=kind, mode=mode, hostAccess=True)
    try:
        for pod in pods:
            address = plugin.add(pod, config).result["ips"][0]["address"].partition("/")[0]
            members.append(joined(pod, address))
        members += [joined(lan.beyond, "10.1.0.1"), joined(lan.node, "10.1.0.7")]
        one, sibling, beyond, node = members
        one.sendto(b"of the pod", (to, PORT))
        assert heard(beyond, b"of the pod") == [b"of the pod"]
        assert heard(sibling, b"of the pod") == [b"of the pod"]
        node.sendto(b"of the node", (to, PORT))
        assert heard(beyond, b"of the node") == [b"of the node"]
        beyond.sendto(b"of the LAN", (to, PORT))  # after which nothing of before can come
        assert b"of the pod" not in heard(node, b"of the LAN")  # its own broadcast it hears
        assert b"of the node" not in heard(one, b"of the LAN")
    finally:
        for member in members:
            member.close()
