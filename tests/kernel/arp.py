"""Who answers for IPv4 addresses on a link: ARP requests (RFC 826) without a sender's address, as RFC 5227's probes."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Sequence

from cni_core.address import Address

_ETH_P_ARP = 0x0806
_REQUEST, _REPLY = 1, 2
_HEADER = struct.Struct("!6s6sH")  # Ethernet: to, from, type
_PACKET = struct.Struct("!HHBBH6s4s6s4s")  # hardware, protocol, their lengths, operation; sender and target
_ETHERNET_IPV4 = (1, 0x0800, 6, 4)
_ROUNDS = 3
_PAUSE = 0.002  # seconds between requests: what asks for a thousand addresses is no storm


def who_has(link: str, addresses: Iterable[Address], *, seconds: float = 1.0) -> set[tuple[Address, bytes]]:
    """The addresses of IPv4 that answered, each with the hardware address of who did: two of one have a conflict.

    Each is asked for three times, and answers are waited for so many seconds after each round. OSError.
    """
    asked = [address for address in addresses if address.family == socket.AF_INET]
    if not asked:
        return set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP)) as wire:
        wire.bind((link, _ETH_P_ARP))
        own: bytes = wire.getsockname()[4]
        found: set[tuple[Address, bytes]] = set()
        for _ in range(_ROUNDS):
            for address in asked:
                wire.send(_probe(own, address))
                time.sleep(_PAUSE)
            found |= _answers(wire, asked, seconds / _ROUNDS)
        return found


def _probe(own: bytes, address: Address) -> bytes:
    packet = _PACKET.pack(*_ETHERNET_IPV4, _REQUEST, own, bytes(4), bytes(6), address.packed)
    return _HEADER.pack(b"\xff" * 6, own, _ETH_P_ARP) + packet


def _answers(wire: socket.socket, asked: Sequence[Address], seconds: float) -> set[tuple[Address, bytes]]:
    by_bytes = {address.packed: address for address in asked}
    found = set()
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        wire.settimeout(left)
        try:
            frame = wire.recv(2048)
        except TimeoutError:
            break
        if len(frame) < _HEADER.size + _PACKET.size:
            continue
        *kind, operation, mac, sender, _, _ = _PACKET.unpack_from(frame, _HEADER.size)
        if tuple(kind) == _ETHERNET_IPV4 and operation == _REPLY and sender in by_bytes:
            found.add((by_bytes[sender], mac))
    return found
