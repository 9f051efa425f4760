"""No `ipam` in the configuration: the link gets no addresses (attach.Ipam)."""

from __future__ import annotations

from cni_core.result import Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_core.address import Cidr
    from cni_core.request import Request


def add(request: Request, undo: list[Callable[[], None]]) -> Result:
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
