"""What follows from whom an attachment is for, so that a container that comes back has it again, with no state kept.

Whom: the network and the interface, and the pod's namespace and name where CNI_ARGS tell them, as kubelet does (podman:
the container's name alone), else the container id, which a container keeps over stop and start, but no pod does.
"""

from __future__ import annotations

from posix import O_CLOEXEC, O_RDONLY, close, open as open_fd, read

from cni_core.errors import INVALID_CONFIG, CniError
from cni_core.names import fnv1a
from cni_core.taken import HardwareAddressInUse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cni_core.request import Request
    from cni_core.result import Result
    from cni_core.undo import Steps

TRIES = 8

MACHINE_ID = "/etc/machine-id"

_HEX = frozenset("0123456789abcdef")


def owner(request: Request) -> str:
    """In one text, a NUL between its parts, which no part can have: equal for none but the same."""
    pod = request.args.get("K8S_POD_NAME")
    who = [request.args.get("K8S_POD_NAMESPACE", ""), pod] if pod else [request.container_id]
    return "\0".join([request.name, request.ifname, *who])


def number(text: str, nth: int = 0) -> int:
    """The nth of the text's numbers of 64 bits, none near another: FNV-1a's, whose highest bits the last bytes hardly
    touch, and those behind it, through the finalizer of MurmurHash3.
    """
    value = fnv1a(text) + nth & 0xFFFFFFFFFFFFFFFF
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        value = (value ^ value >> 33) * factor & 0xFFFFFFFFFFFFFFFF
    return value ^ value >> 33


def macs(request: Request) -> Iterator[bytes]:
    """The hardware addresses that the attachment is to try in turn: of a single host, locally administered (bits 0 and
    1 of the first byte, IEEE 802). CniError.

    They follow from the machine too: a container of the same name on another host of the LAN has others.
    """
    whom = f"{machine_id()}\0{owner(request)}"
    for attempt in range(TRIES):
        value = number(whom, attempt) >> 16
        yield (value & ~(1 << 40) | 1 << 41).to_bytes(6, "big")


def with_free_mac(
    attempt: Callable[[bytes], Result], request: Request, steps: Steps, say: Callable[[str], None]
) -> Result:
    """What attempt gives with the first of the attachment's hardware addresses that nobody on the parent has.

    Its steps are taken back before another is tried. CniError.
    """
    mark, addresses = steps.mark(), macs(request)
    mac = next(addresses)
    while True:
        try:
            return attempt(mac)
        except HardwareAddressInUse as error:
            mac = next(addresses, b"")
            if not mac or steps.back(mark):
                raise
            say(f"{error.problem}: {request.ifname} gets another one")


def machine_id() -> str:
    """Of /etc/machine-id, machine-id(5). CniError where there is none: what is the same on every host will not do."""
    found = ""
    try:
        fd = open_fd(MACHINE_ID, O_RDONLY | O_CLOEXEC)
        try:
            found = read(fd, 64).decode("ascii", "replace").strip()
        finally:
            close(fd)
    except OSError:
        pass
    if len(found) != 32 or not _HEX.issuperset(found):
        raise CniError(
            INVALID_CONFIG,
            f"a stable hardware address follows from the machine, too, and {MACHINE_ID} does not tell which it is",
            "Make one: systemd-machine-id-setup; or leave `mac` out.",
            path=("mac",),
        )
    return found
