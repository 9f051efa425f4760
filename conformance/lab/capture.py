"""Frames recorded from an interface, and tcpdump's view of them.

The recording is a packet socket rather than a tcpdump process: it listens from the moment it is made, and at its end
holds everything that had passed. tcpdump only selects and prints, afterwards.
"""

from __future__ import annotations

import socket
import struct
import subprocess
from types import TracebackType

# linux/if_ether.h, linux/if_packet.h, asm-generic/socket.h
ETH_P_ALL = 0x0003
ETH_P_8021Q = 0x8100
SOL_PACKET = 263
PACKET_AUXDATA = 8
TP_STATUS_VLAN_VALID = 0x10
TP_STATUS_VLAN_TPID_VALID = 0x40
SO_RCVBUFFORCE = 33

_AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid
_BUFFER = 32 << 20
_LONGEST = 1 << 17


class Capture:
    """Made in the interface's network namespace. `frames` and `lines` hold what has passed so far."""

    def __init__(self, ifname: str, filter: str = "") -> None:
        self._filter = filter
        self._recorded: list[bytes] = []
        # Protocol 0 hears nothing: until bind() names the interface, a socket for all protocols would hear every one.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _BUFFER)
            self._socket.bind((ifname, ETH_P_ALL))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._record()
        self._socket.close()

    @property
    def frames(self) -> list[bytes]:
        """Ethernet frames, VLAN tags in their place."""
        return _frames(self._tcpdump("-w", "-")) if self._filter else list(self._all())

    @property
    def lines(self) -> list[str]:
        """The frames as `tcpdump -e -n` prints them, without the time."""
        return self._tcpdump("-e", "-n", "-t").decode().splitlines()

    def _tcpdump(self, *options: str) -> bytes:
        done = subprocess.run(
            ["tcpdump", "-r", "-", *options, *([self._filter] if self._filter else [])],
            input=_pcap(self._all()),
            capture_output=True,
        )
        if done.returncode != 0:
            raise ValueError(f"tcpdump {self._filter!r}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def _all(self) -> list[bytes]:
        self._record()
        return self._recorded

    def _record(self) -> None:
        """Take what the socket holds."""
        while self._socket.fileno() != -1:
            try:
                frame, ancillary, _, _ = self._socket.recvmsg(_LONGEST, 256)
            except BlockingIOError:
                return
            self._recorded.append(_with_tag(frame, ancillary))


def _with_tag(frame: bytes, ancillary: list[tuple[int, int, bytes]]) -> bytes:
    """The kernel hands a frame's outer VLAN tag over beside it (packet(7), PACKET_AUXDATA); put it back."""
    for level, kind, data in ancillary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, tpid = _AUXDATA.unpack_from(data)
            if status & TP_STATUS_VLAN_VALID:
                tag = struct.pack(">HH", tpid if status & TP_STATUS_VLAN_TPID_VALID else ETH_P_8021Q, tci)
                return frame[:12] + tag + frame[12:]
    return frame


# pcap-savefile(5), in this machine's byte order
_FILE_HEADER = struct.Struct("=IHHiIII")  # magic, version 2.4, zone, accuracy, snapshot length, link type
_RECORD_HEADER = struct.Struct("=IIII")  # seconds, microseconds, captured length, length
_MAGIC, _LINKTYPE_ETHERNET = 0xA1B2C3D4, 1


def _pcap(frames: list[bytes]) -> bytes:
    pieces = [_FILE_HEADER.pack(_MAGIC, 2, 4, 0, 0, _LONGEST, _LINKTYPE_ETHERNET)]
    for frame in frames:
        pieces += [_RECORD_HEADER.pack(0, 0, len(frame), len(frame)), frame]
    return b"".join(pieces)


def _frames(pcap: bytes) -> list[bytes]:
    frames, offset = [], _FILE_HEADER.size
    while offset < len(pcap):
        length = _RECORD_HEADER.unpack_from(pcap, offset)[2]
        offset += _RECORD_HEADER.size
        frames.append(pcap[offset : offset + length])
        offset += length
    return frames
