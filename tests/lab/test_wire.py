"""Frames come out whole, however the bytes come in."""

from __future__ import annotations

import pytest

from conformance.lab import wire


@pytest.mark.parametrize("piece", [1, 2, 5, 7, 1000])
def test_frames_survive_any_cutting_of_the_stream(piece: int) -> None:
    sent = [(wire.OUT, b"abc"), (wire.WANT, b""), (wire.ERR, bytes(range(256)))]
    stream = b"".join(wire.frame(kind, payload) for kind, payload in sent)
    frames = wire.Frames()
    got = [frame for start in range(0, len(stream), piece) for frame in frames.feed(stream[start : start + piece])]
    assert got == sent
