"""Other IPAM types: a plugin of CNI_PATH is executed as the specification says (SPEC.md, section 4)."""

from __future__ import annotations

import sys
from _signal import (
    SIG_BLOCK,
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SIGCHLD,
    SIGHUP,
    SIGINT,
    SIGKILL,
    SIGPIPE,
    SIGTERM,
    SIGXFSZ,
    getsignal,
    pthread_sigmask,
    signal,
)
from posix import (
    F_OK,
    MFD_CLOEXEC,
    POSIX_SPAWN_DUP2,
    X_OK,
    access,
    close,
    environ,
    fstat,
    kill,
    killpg,
    lseek,
    memfd_create,
    pidfd_open,
    posix_spawn,
    read,
    stat,
    waitpid,
    write,
)

from cni_core.config import LATEST, SUPPORTED
from cni_core.errors import (
    ADDRESS_UNAVAILABLE,
    DECODING_FAILURE,
    DELEGATE_FAILED,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    TRY_AGAIN_LATER,
    CniError,
    strerror,
)
from cni_core.gojson import as_go_reads
from cni_core.native import readable
from cni_core.result import Result
from cni_core.schema.formats import is_path
from cni_core.schema.validators import result as is_result
from cni_core.strictjson import MAX_BYTES, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from cni_core.address import Address, Cidr
    from cni_core.request import Request
    from cni_core.undo import Steps

_SECONDS = 60.0  # more than a DHCP server needs
_LOOK_MILLISECONDS = 50  # between looks at how much it has written
_MOST_WRITTEN = 64 * MAX_BYTES  # it is kept in memory
_HIGHEST_CODE = 0xFFFFFFFF  # that every runtime can read
_REGULAR, _KIND = 0o100000, 0o170000  # S_IFREG, S_IFMT: linux/stat.h
_SEEK_END = 2
DHCP = "dhcp"  # Go's plugin, which asks a daemon of its own program by a socket (plugins/ipam/dhcp there)
_DHCP_SOCKET = "/run/cni/dhcp.sock"
_LINK_PLUGINS = ("macvlan", "ipvlan", "cni-macvlan-py", "cni-ipvlan-py")
_LAST_WORDS = 500  # of its stderr, in an error


NEEDS_LINK = True  # dhcp does; of others nobody knows


def add(request: Request, steps: Steps, refused: Mapping[Address, str]) -> Result:
    """The plugin's ips, routes and dns. A failed add is followed by its DEL: it may have done half.

    CniError ADDRESS_UNAVAILABLE where it gives what is refused: it cannot be told of that.
    """
    kind = request.ipam["type"]
    _find(kind, request.path)
    output = steps.take(f"execute {kind}", lambda: _execute(request, "ADD"), lambda: delete(request))
    result = _result(kind, *output)
    if not result.ips:
        raise CniError(DELEGATE_FAILED, f"{kind} gave no address", path=("ipam",))
    for ip in result.ips:
        if ip.cidr.address in refused:
            problem = f"{kind} gave {ip.cidr.address}, which cannot be given: {refused[ip.cidr.address]}"
            raise CniError(ADDRESS_UNAVAILABLE, problem, path=("ipam",))
    return Result(ips=result.ips, routes=result.routes, dns=result.dns)


def delete(request: Request) -> None:
    _execute(request, "DEL")


def check(request: Request) -> None:
    _execute(request, "CHECK")


def gc(request: Request) -> None:
    _execute(request, "GC")


def status(request: Request) -> None:
    _execute(request, "STATUS")


def subnets(request: Request) -> list[Cidr]:
    """The plugin's own configuration is for the plugin alone to read."""
    return []


def _execute(request: Request, command: str) -> tuple[bytes, str]:
    """Runs the plugin with the caller's own configuration and environment; its stdout and the end of its stderr.

    CniError: the plugin's own if it gave one, else one with its exit status and stderr.
    """
    kind: str = request.ipam["type"]
    executable = _find(kind, request.path)
    with Scratch(request.stdin) as stdin, Scratch() as stdout, Scratch() as stderr:
        code = _run(executable, _environment(command), (stdin, stdout, stderr))
        output, words = stdout.content(), _words(stderr.end())
        _pass_on(stderr.content())
    if code == 0:
        return output, words
    if code is None:
        message = f"{kind} did not answer within {_SECONDS:g} seconds and was killed"
        raise CniError(TRY_AGAIN_LATER, message, words, path=("ipam",))
    error = _its_error(kind, code, output, words)
    if kind == DHCP:
        error.details = missing_daemon(request.ipam, executable) or error.details
    raise error


def missing_daemon(ipam: dict[str, Any], executable: str) -> str:
    """That dhcp's daemon does not run, and how to start it; empty where it does."""
    socket = ipam.get("daemonSocketPath")
    if not isinstance(socket, str) or not socket or not is_path(socket):
        socket = _DHCP_SOCKET
    if access(socket, F_OK):
        return ""
    return (
        f"The plugin is there, its daemon is not: there is no socket {socket}. Start it: "
        f"systemctl enable --now cni-dhcp.socket, or {executable} daemon"
    )


def _pass_on(stderr: bytes) -> None:
    """What a delegated plugin has to say beside its answer is said (SPEC.md, section 4)."""
    try:
        while stderr:
            stderr = stderr[write(2, stderr) :]
    except OSError:  # nobody listens
        pass


class Scratch:
    """A file in memory, closed at the end of a with block."""

    __slots__ = ("fd",)

    def __init__(self, content: bytes = b"") -> None:
        self.fd = memfd_create("cni", MFD_CLOEXEC)
        while content:
            content = content[write(self.fd, content) :]
        lseek(self.fd, 0, 0)

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        close(self.fd)

    @property
    def size(self) -> int:
        return fstat(self.fd).st_size

    def content(self) -> bytes:
        """What was written, to one byte more than we accept."""
        lseek(self.fd, 0, 0)
        return read(self.fd, MAX_BYTES + 1)

    def end(self) -> bytes:
        """The last of what was written."""
        size = lseek(self.fd, 0, _SEEK_END)
        lseek(self.fd, max(0, size - _LAST_WORDS), 0)
        return read(self.fd, _LAST_WORDS)


def _find(kind: str, path: list[str]) -> str:
    if kind in _LINK_PLUGINS:  # they would execute themselves, again and again
        raise CniError(
            INVALID_CONFIG,
            f"{kind} makes links, it gives no addresses",
            "Name an IPAM plugin, such as host-local or dhcp.",
            path=("ipam", "type"),
        )
    for directory in path:
        executable = f"{directory}/{kind}"
        if access(executable, X_OK) and stat(executable).st_mode & _KIND == _REGULAR:
            return executable
    raise CniError(
        INVALID_CONFIG if path else INVALID_ENVIRONMENT,
        f"there is no plugin {kind!r} in CNI_PATH ({':'.join(path) or 'not set'})",
        "It is one of the CNI reference plugins (Debian's containernetworking-plugins)." if kind == DHCP else "",
        path=("ipam", "type"),
    )


def _environment(command: str) -> dict[bytes, bytes]:
    """The caller's own environment, without what PyInstaller's start adds; it keeps the caller's LD_LIBRARY_PATH."""
    found = {name: value for name, value in environ.items() if not name.startswith(b"_PYI_")}
    found[b"CNI_COMMAND"] = command.encode()
    if hasattr(sys, "_MEIPASS"):
        original = found.pop(b"LD_LIBRARY_PATH_ORIG", None)
        found.pop(b"LD_LIBRARY_PATH", None)
        if original is not None:
            found[b"LD_LIBRARY_PATH"] = original
    return found


def _run(executable: str, environment: dict[bytes, bytes], standard: Sequence[Scratch]) -> int | None:
    """Executes it with those standard descriptors; the exit status, or minus the signal that ended it.

    None for one that took too long, which is killed, as is one that writes without an end (CniError).
    """
    actions = [(POSIX_SPAWN_DUP2, scratch.fd, number) for number, scratch in enumerate(standard)]
    pid = 0
    if getsignal(SIGCHLD) == SIG_IGN:  # of our caller: the kernel would forget the exit status (wait(2), "Notes")
        signal(SIGCHLD, SIG_DFL)
    # A signal to us, which raises an exception, waits until there is a pid to be killed.
    mask = pthread_sigmask(SIG_BLOCK, (SIGHUP, SIGINT, SIGTERM))
    try:
        try:
            pid = posix_spawn(
                executable,
                [executable],
                environment,
                file_actions=actions,
                setpgroup=0,  # so that what it starts can be ended with it
                setsigmask=mask,
                setsigdef=[SIGPIPE, SIGXFSZ],  # which we ignore
            )
        except OSError as error:
            problem = f"{executable} cannot be executed: {strerror(error)}"
            raise CniError(DELEGATE_FAILED, problem, path=("ipam",)) from None
        pthread_sigmask(SIG_SETMASK, mask)
        if not _ended(pid, executable, standard):
            _kill(pid)
            return None
        status = waitpid(pid, 0)[1]
        return status >> 8 if status & 0x7F == 0 else -(status & 0x7F)
    except BaseException:
        if pid:
            _kill(pid)
        raise
    finally:
        pthread_sigmask(SIG_SETMASK, mask)


def _ended(pid: int, executable: str, standard: Sequence[Scratch]) -> bool:
    """Waits for its end; False where it takes too long. CniError where it writes without an end."""
    pidfd = pidfd_open(pid)
    try:
        for _ in range(round(_SECONDS * 1000 / _LOOK_MILLISECONDS)):
            if readable(pidfd, _LOOK_MILLISECONDS):
                return True
            if any(scratch.size > _MOST_WRITTEN for scratch in standard):
                problem = f"{executable} wrote without an end and was killed"
                raise CniError(DELEGATE_FAILED, problem, path=("ipam",))
    finally:
        close(pidfd)
    return False


def _kill(pid: int) -> None:
    try:
        killpg(pid, SIGKILL)
    except ProcessLookupError:  # it has left its group
        pass
    try:
        kill(pid, SIGKILL)
        waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):  # it has ended, and was waited for
        pass


def _its_error(kind: str, code: int, output: bytes, words: str) -> CniError:
    """The plugin's own error, passed on (SPEC.md, section 4), or what can be said without one."""
    try:
        document = loads(output)
    except ValueError:
        document = None
    if isinstance(document, dict) and _is_code(document.get("code")) and isinstance(document.get("msg"), str):
        details = document.get("details")
        details = details if isinstance(details, str) else words
        return CniError(document["code"], f"{kind}: {document['msg']}", details, path=("ipam",))
    how = f"was ended by signal {-code}" if code < 0 else f"failed with exit status {code}"
    return CniError(DELEGATE_FAILED, f"{kind} {how} without a CNI error", words or _words(output), path=("ipam",))


def _is_code(value: object) -> bool:
    return type(value) is int and 0 < value <= _HIGHEST_CODE


def _result(kind: str, output: bytes, words: str) -> Result:
    try:
        document = loads(output)
    except ValueError as error:
        message = f"{kind} answered with no JSON: {error}"
        raise CniError(DECODING_FAILURE, message, words or _words(output), path=("ipam",)) from None
    document = as_go_reads(document) if isinstance(document, dict) else None
    if document is None or not is_result(document) or document.get("cniVersion", LATEST) not in SUPPORTED:
        message = f"{kind} answered with something else than a result"
        raise CniError(DECODING_FAILURE, message, words or _words(output), path=("ipam",))
    return Result.from_json(document)


def _words(output: bytes) -> str:
    return output[-_LAST_WORDS:].decode("utf-8", "replace").strip()
