"""The lab: a kernel with every link type a test needs, and networks built from namespaces on it.

    with Lab() as lab:
        done = lab.run(["ip", "-d", "link"])

boots once and runs many commands; `python3 -m conformance.lab run -- COMMAND` does so for one. What runs *inside* the
lab builds its hosts, switches and trunks with `conformance.lab.topology`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .errors import LabError
    from .session import Lab

__all__ = ["Lab", "LabError"]


def __getattr__(name: str) -> object:
    # Loaded on use: the lab's first process imports this package too, where every module costs ten times its time.
    if name == "Lab":
        from .session import Lab

        return Lab
    if name == "LabError":
        from .errors import LabError

        return LabError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
