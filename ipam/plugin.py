"""host-local and lan-local as IPAM plugins of their own, for Go's bridge, ptp and any other interface plugin."""

from __future__ import annotations

from cni_core.errors import LIMITED_CONNECTIVITY, NOT_AVAILABLE, CniError
from cni_core.undo import whole_or_nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from cni_core.address import Address
    from cni_core.request import Request
    from cni_core.result import Result
    from cni_core.undo import Steps

    class Leases(Protocol):
        """An IPAM (contracts.Ipam) that can refuse an attachment that has addresses."""

        def add(self, request: Request, steps: Steps, refused: Mapping[Address, str], *, again: bool) -> Result: ...

        def delete(self, request: Request) -> None: ...

        def check(self, request: Request) -> None: ...

        def gc(self, request: Request) -> None: ...

        def status(self, request: Request) -> None: ...


class Addresses:
    """The plugin of one IPAM (entry.Plugin)."""

    __slots__ = ("_ipam", "accepts", "check", "delete", "gc", "name", "schema")

    def __init__(self, ipam: Leases, name: str, accepts: Callable[[dict[str, Any]], bool]) -> None:
        self.name = name
        self.schema = f"{name}-plugin"
        self.accepts = accepts
        self._ipam = ipam
        self.delete, self.check, self.gc = ipam.delete, ipam.check, ipam.gc

    def add(self, request: Request) -> Result:
        return whole_or_nothing(lambda steps: self._ipam.add(request, steps, {}, again=False))

    def status(self, request: Request) -> None:
        try:
            self._ipam.status(request)
        except CniError as error:
            if error.code == LIMITED_CONNECTIVITY:
                raise
            raise CniError(NOT_AVAILABLE, error.problem, error.details, path=error.path) from None
