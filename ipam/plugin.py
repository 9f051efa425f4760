"""host-local as an IPAM plugin of its own (entry.Plugin), for Go's bridge, ptp and any other interface plugin."""

from __future__ import annotations

from cni_core.errors import NOT_AVAILABLE, CniError
from cni_core.schema.validators import host_local_plugin as accepts
from cni_core.undo import whole_or_nothing
from ipam import host_local
from ipam.host_local import check, delete, gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.request import Request
    from cni_core.result import Result

__all__ = ["accepts", "add", "check", "delete", "gc", "name", "schema", "status"]

name = "host-local"
schema = "host-local-plugin"


def add(request: Request) -> Result:
    return whole_or_nothing(lambda steps: host_local.add(request, steps, {}, again=False))


def status(request: Request) -> None:
    try:
        host_local.status(request)
    except CniError as error:
        raise CniError(NOT_AVAILABLE, error.problem, error.details, path=error.path) from None
