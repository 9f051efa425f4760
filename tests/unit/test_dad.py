"""cni_core.dad: when it gives up. What it does on a wire, tests/kernel tells."""

from __future__ import annotations

from typing import cast

import pytest

from cni_core import dad, errors
from cni_core.errors import CniError
from cni_core.rtnl.messages import InterfaceAddress
from cni_core.rtnl.socket import Rtnl

IFA_F_TENTATIVE = 0x40  # linux/if_addr.h


class Undecided:
    """Netlink on a link whose address stays tentative."""

    def addresses(self, index: int) -> list[InterfaceAddress]:
        packed = b"\xfd" + bytes(14) + b"\1"
        body = bytes([10, 64, IFA_F_TENTATIVE, 0]) + index.to_bytes(4, "little") + b"\x14\0\1\0" + packed
        return [InterfaceAddress(body)]


def test_a_detection_that_does_not_end_is_to_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dad, "_LIMIT_SECONDS", 0.05)
    with pytest.raises(CniError) as error:
        dad.settle(cast(Rtnl, Undecided()), 5)
    assert (error.value.code, "fd00::1" in error.value.msg) == (errors.TRY_AGAIN_LATER, True)
