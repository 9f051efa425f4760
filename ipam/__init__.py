"""Where addresses come from: nowhere (no `ipam`), or host-local, answered in process."""

from __future__ import annotations

from cni_core.errors import INVALID_CONFIG, CniError
from cni_core.result import Result
from ipam import host_local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_core.request import Request

__all__ = ["add", "check", "delete", "gc", "status"]


def add(request: Request, undo: list[Callable[[], None]]) -> Result:
    return host_local.add(request, undo) if _wanted(request) else Result()


def delete(request: Request) -> None:
    if _wanted(request):
        host_local.delete(request)


def check(request: Request) -> None:
    if _wanted(request):
        host_local.check(request)


def gc(request: Request) -> None:
    if _wanted(request):
        host_local.gc(request)


def status(request: Request) -> None:
    if _wanted(request):
        host_local.status(request)


def _wanted(request: Request) -> bool:
    kind = request.ipam.get("type")
    if kind not in (None, "", "host-local"):
        raise CniError(INVALID_CONFIG, f"ipam.type: {kind!r} is not supported; host-local is")
    return bool(kind)
