"""host-local as an IPAM plugin of its own (entry.Plugin), for Go's bridge, ptp and any other interface plugin."""

from __future__ import annotations

from cni_core.attach import whole_or_nothing
from cni_core.errors import NOT_AVAILABLE, CniError
from cni_core.schema.validators import host_local_plugin as accepts
from ipam import host_local
from ipam.host_local import check, delete, gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_core.request import Request
    from cni_core.result import Result

__all__ = ["accepts", "add", "check", "delete", "gc", "name", "schema", "status"]

name = "host-local"
schema = "host-local-plugin"


def add(request: Request) -> Result:
    undo: list[Callable[[], None]] = []
    return whole_or_nothing(undo, lambda: host_local.add(request, undo))


def status(request: Request) -> None:
    try:
        host_local.status(request)
    except CniError as error:
        raise CniError(NOT_AVAILABLE, error.msg, error.details) from None
