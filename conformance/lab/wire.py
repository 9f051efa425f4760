"""The words between the lab's two ends, host and guest: frames on a byte stream, without I/O.

A frame is a letter, the payload's length, and the payload. The host sends one when the guest wants it, which it says
first when it has booted, and then once for each frame that it has used up (WANT, with the longest payload it will take,
in decimal; at the latest when the command has ended):

    PART, PART, … RUN (pieces of a JSON object: argv, env, cwd) →
                                          ← OUT, ERR as the command writes them
    INPUT (an empty one ends it) →
    KILL, at any time →                   ← EXIT (a wait status in decimal): the last of the exchange

The window is what keeps User-Mode Linux's serial line alive: if it ever has to throttle its input (n_tty's 4096 bytes
are full), it takes the descriptor off its interrupts and never puts it back (line_throttle() in arch/um/drivers/line.c,
6.1). Its output has no such trouble.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

PART, RUN, INPUT, KILL = b"P", b"R", b"I", b"K"
WANT, OUT, ERR, EXIT = b"W", b"O", b"E", b"X"

CHUNK = 32768  # bytes of output carried at once
SERIAL_WINDOW = 3072  # with its header, and a KILL behind it, well below the 3968 bytes where n_tty throttles

_HEADER = struct.Struct(">cI")


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return _HEADER.pack(kind, len(payload)) + payload


class Frames:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._pending += data
        while len(self._pending) >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._pending)
            end = _HEADER.size + length
            if len(self._pending) < end:
                return
            payload = bytes(self._pending[_HEADER.size : end])
            del self._pending[:end]
            yield kind, payload
