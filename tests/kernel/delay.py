"""A slow cable: what a host sends reaches the switch late, by a relay of our own.

netem, which delays frames, is in none of the kernels that the lab runs on.
"""

from __future__ import annotations

import heapq
import select
import socket
import struct
import threading
import time

from tests.kernel.conftest import Lan

ETH_P_ALL = 3
SO_TIMESTAMPNS = 35  # asm-generic/socket.h
PACKET_OUTGOING = 4


class Delay:
    """In a with block, frames of a host of the switch are late. longest: the most seconds that one took, once on its
    way; the machine may be busy.
    """

    def __init__(self, lan: Lan, host: str, seconds: float) -> None:
        """Puts the relay into the host's cable: a port of its own on the host's side, and one on the switch's."""
        self._seconds = seconds
        self.longest = 0.0
        port = lan.switch.ports[host, "eth0"]
        lan.switch.ip_batch(
            [
                f"link set {port} nomaster",
                f"link set {port} promisc on",
                "link add late up type veth peer name relay",
                "link set late master br0",
                "link set relay up promisc on",
            ]
        )
        with lan.switch.inside():
            self._host, self._switch = (socket.socket(socket.AF_PACKET, socket.SOCK_RAW) for _ in range(2))
            for one, name in ((self._host, port), (self._switch, "relay")):
                one.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                one.bind((name, ETH_P_ALL))

    def __enter__(self) -> None:
        self.longest = 0.0
        self._ends = False
        self._thread = threading.Thread(target=self._relay)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ends = True
        self._thread.join()

    def _relay(self) -> None:
        waiting: list[tuple[float, bytes]] = []  # of the host's, with the time when they came
        while not self._ends:
            pause = max(waiting[0][0] + self._seconds - time.time(), 0.0) if waiting else 0.05
            for one in select.select([self._host, self._switch], [], [], min(pause, 0.05))[0]:
                frame, ancillary, _, sender = one.recvmsg(65536, 100)
                if sender[2] == PACKET_OUTGOING:
                    continue
                [came] = [struct.unpack("=qq", data) for _, kind, data in ancillary if kind == SO_TIMESTAMPNS]
                if one is self._switch:
                    self._host.send(frame)
                    self._note(came[0] + came[1] / 1e9 + self._seconds)  # as late as that is the question itself
                else:
                    heapq.heappush(waiting, (came[0] + came[1] / 1e9, frame))
            while waiting and waiting[0][0] + self._seconds <= time.time():
                came_at, frame = heapq.heappop(waiting)
                self._switch.send(frame)
                self._note(came_at)

    def _note(self, since: float) -> None:
        self.longest = max(self.longest, time.time() - since)
