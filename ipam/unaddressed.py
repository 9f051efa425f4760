"""No `ipam` in the configuration: the link gets no addresses (contracts.Ipam)."""

from __future__ import annotations

from cni_core.result import Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_core.address import Address, Cidr
    from cni_core.request import Request
    from cni_core.undo import Steps

NEEDS_LINK = False


def add(request: Request, steps: Steps, refused: Mapping[Address, str]) -> Result:
    return Result()


def delete(request: Request) -> None:
    pass


def check(request: Request) -> None:
    pass


def gc(request: Request) -> None:
    pass


def status(request: Request) -> None:
    pass


def subnets(request: Request) -> list[Cidr]:
    return []
