"""The one exception that leaves the plugins, and the table of codes it may carry.

Codes 1 to 99 are the CNI specification's (SPEC.md, "Error"); those from 100 are ours.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_core.rtnl.messages import Message

    Path = tuple[str | int, ...]

INCOMPATIBLE_VERSION = 1
UNKNOWN_CONTAINER = 3
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
DECODING_FAILURE = 6
INVALID_CONFIG = 7
TRY_AGAIN_LATER = 11
NOT_AVAILABLE = 50
LIMITED_CONNECTIVITY = 51

INTERNAL = 100
KERNEL_REFUSED = 101
PARENT_UNUSABLE = 102
INTERFACE_EXISTS = 103
POOL_EXHAUSTED = 104
ADDRESS_UNAVAILABLE = 105
DUPLICATE_ADDRESS = 106
CHECK_DIFFERS = 107
DATA_DIRECTORY = 108
DELEGATE_FAILED = 109
ROUTE_CONFLICT = 110
COMMAND_REFUSED = 111
IN_USE = 112

MEANING = {
    INCOMPATIBLE_VERSION: "the configuration's cniVersion is not supported, or does not have this command",
    UNKNOWN_CONTAINER: "the container's network namespace does not exist",
    INVALID_ENVIRONMENT: "a CNI_* environment variable is missing or invalid",
    IO_FAILURE: "standard input or output failed, or a call to the system",
    DECODING_FAILURE: "the configuration is not JSON, or not an object",
    INVALID_CONFIG: "the configuration is invalid",
    TRY_AGAIN_LATER: "something is busy for the moment: try again later",
    NOT_AVAILABLE: "an ADD would fail now",
    LIMITED_CONNECTIVITY: "an ADD would fail now, and running containers may be cut off",
    INTERNAL: "a defect of this plugin",
    KERNEL_REFUSED: "the kernel refused a request",
    PARENT_UNUSABLE: "the parent link is there but cannot carry the container's link",
    INTERFACE_EXISTS: "the container already has an interface of that name",
    POOL_EXHAUSTED: "no address is free",
    ADDRESS_UNAVAILABLE: "the address asked for cannot be given",
    DUPLICATE_ADDRESS: "another host on the link uses the address",
    CHECK_DIFFERS: "the attachment is not as ADD left it",
    DATA_DIRECTORY: "the lease directory cannot be used",
    DELEGATE_FAILED: "the IPAM plugin that the configuration names failed",
    ROUTE_CONFLICT: "the host has an address or a route that a subnet of the network would collide with",
    COMMAND_REFUSED: "a command for people cannot do what it was asked for",
    IN_USE: "a container uses what was to be removed",
}


class CniError(Exception):
    """A call's failure, as the runtime is told of it.

    code is one of this module's; problem says what is wrong, in plain words; details what to do about it; path where in
    the configuration it is, as keys and places in lists: ("ipam", "ranges", 0, 1), empty where it is nowhere there.
    refused: the message that the kernel refused, if it did, and errno, why (0: it did not).
    """

    def __init__(
        self, code: int, problem: str, details: str = "", *, path: Path = (), refused: tuple[Message, int] | None = None
    ) -> None:
        super().__init__(located(path, problem))
        self.code = code
        self.problem = problem
        self.details = details
        self.path = path
        self.refused: Message | None = refused[0] if refused else None
        self.errno = refused[1] if refused else 0

    @property
    def msg(self) -> str:
        """The problem, led by its path: the specification's msg."""
        return located(self.path, self.problem)

    def to_json(self, cni_version: str) -> dict[str, object]:
        """The error object of the CNI specification ("Error")."""
        document: dict[str, object] = {"cniVersion": cni_version, "code": self.code, "msg": _cut(self.msg)}
        if self.details:
            document["details"] = _cut(self.details)
        return document


def _cut(text: str, longest: int = 10_000) -> str:
    """A msg or details in so many characters: more nobody reads, and what a list in them names may be endless."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def located(path: Path, problem: str) -> str:
    """A problem led by where it is, as in "ipam.ranges[0][1].subnet: …"."""
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return f"{place}: {problem}" if place else problem


class Interrupted(BaseException):
    """A signal asks the process to end (cni_core.interrupts); the text is its name."""


def strerror(error: OSError) -> str:
    """The kernel's words for an OSError, without Python's "[Errno 2]"."""
    return error.strerror or str(error)
