"""One call: environment and stdin in, exit status and stdout out. Every failure becomes one CNI error here."""

from __future__ import annotations

import sys
from posix import O_RDONLY, O_WRONLY, _exit, environ as process_environ, fstat, open as open_fd, read, umask, write

from cni_core import __version__, second_tier
from cni_core.config import LATEST, SINCE, SUPPORTED, TAKE_BACK, parse_config, parse_object, usable, version_of
from cni_core.errors import (
    INTERNAL,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    IO_FAILURE,
    TRY_AGAIN_LATER,
    CniError,
    Interrupted,
    strerror,
)
from cni_core.native import readable, writable
from cni_core.strictjson import MAX_BYTES, MAX_BYTES_WITH_RESULT, dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn, Protocol

    from cni_core.request import Request
    from cni_core.result import Result

    class Plugin(Protocol):
        """What answers the commands. Every method may raise CniError."""

        @property
        def name(self) -> str: ...

        @property
        def schema(self) -> str:
            """The name of the configuration's JSON Schema, for explanations."""

        def accepts(self, config: dict[str, Any]) -> bool:
            """Whether the configuration is valid by the schema."""

        def add(self, request: Request) -> Result: ...

        def delete(self, request: Request) -> None: ...

        def check(self, request: Request) -> None: ...

        def gc(self, request: Request) -> None: ...

        def status(self, request: Request) -> None: ...

    # What a person calls: of the program's name and its arguments; the exit status.
    Commands = Callable[[str, list[str]], int]


_OF_NETAVARK = ("info", "create", "setup", "teardown")  # its plugin API's subcommands
_VERSION_MILLISECONDS = 100
_STDOUT_SECONDS = 30  # for a runtime to read
_STDIN_SECONDS = 30  # for a runtime to go on writing, or to close it
USAGE = """\
This is the {name} CNI plugin, version {release}: container runtimes call it, with CNI_COMMAND and other variables in
the environment and a network configuration on standard input (https://www.cni.dev/docs/spec/).
Commands: VERSION, {commands}. Specification versions: {versions}.
"""


def main(plugins: Mapping[str, Callable[[], Plugin]], commands: Callable[[], Commands]) -> NoReturn:
    """The program: answers the call that the process was started for, and ends the process.

    It is the plugin by whose name it was called, as by a link, else the first. Each is imported when it is needed,
    which it is not for VERSION; and so are the commands for a person, who gives arguments.
    """
    umask(0o022)  # whatever the runtime's is
    _occupy_standard_descriptors()
    if second_tier.IS_THIS:
        _die_of_interrupts()
    called = sys.argv[0].rpartition("/")[2]
    name = called if called in plugins else next(iter(plugins))
    if b"CNI_COMMAND" in process_environ:
        _exit(_called_by_runtime(plugins[name]))
    if _is_netavarks(sys.argv[1:]) and name == next(iter(plugins)):
        _exit(_called_by_netavark(sys.argv[1:], plugins[name]))
    _exit(_called_by_hand(name, plugins[name], commands))


def call(environ: Mapping[bytes, bytes], stdin: bytes, plugin: Callable[[], Plugin]) -> tuple[int, bytes]:
    """Answers one call; returns the exit status and what goes to stdout (empty, or one JSON document and a newline).

    Raises ModuleNotFoundError where the call is the second tier's.
    """
    versions: list[str] = []
    try:
        document = _or_one_error(lambda: _answer(_environment(environ), stdin, plugin, versions))
    except CniError as error:
        return _failure(error, versions[0] if versions else _error_version(stdin))
    return 0, b"" if document is None else dumps(document) + b"\n"


def _or_one_error(answer: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    """What it gives. Whatever it raises is a CniError, but for the ModuleNotFoundError that is for the second tier."""
    try:
        return answer()
    except (CniError, ModuleNotFoundError):
        raise
    except Interrupted as signal:
        raise CniError(TRY_AGAIN_LATER, f"{signal} ended the call; what it had done is undone") from None
    except OSError as error:
        problem = f"the system refused {error.filename or 'a call'}: {strerror(error)}"
        raise CniError(IO_FAILURE, problem) from None
    except Exception as error:  # a defect of ours is still one CNI error, and no traceback
        message = f"internal error: {type(error).__name__}: {error}"
        raise CniError(INTERNAL, message, f"It is of {_innermost(error)}; please report it.") from None


def _innermost(error: BaseException) -> str:
    """Where it was raised, as in "cni_core/link.py, line 50"."""
    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_code.co_filename}, line {traceback.tb_lineno}" if traceback else "nobody knows where"


def usage(name: str) -> str:
    """For a person who called the plugin by hand."""
    return USAGE.format(name=name, release=__version__, commands=", ".join(SINCE), versions=", ".join(SUPPORTED))


def _answer(
    environ: dict[str, str], stdin: bytes, load: Callable[[], Plugin], versions: list[str]
) -> dict[str, Any] | None:
    """versions: is given the configuration's, once it is read, for an error to repeat."""
    command = environ.get("CNI_COMMAND", "")
    if command == "VERSION":
        asked = parse_object(stdin).get("cniVersion") if stdin.strip() else None
        version = asked if asked and isinstance(asked, str) else LATEST
        return {"cniVersion": version, "supportedVersions": list(SUPPORTED)}
    if command not in SINCE:
        known = ", ".join(["VERSION", *SINCE])
        problem = f"{command!r} is not a command" if command else "is not set"
        raise CniError(INVALID_ENVIRONMENT, f"CNI_COMMAND: {problem}", f"The commands are {known}.")
    from cni_core.request import Request

    plugin = load()
    config = parse_config(stdin, MAX_BYTES if command == "ADD" else MAX_BYTES_WITH_RESULT)
    versions.append(version_of(config))
    if not plugin.accepts(config):
        if command not in TAKE_BACK:
            Request(command, environ, config)  # what is wrong with the call itself is told first
            raise _explained(plugin.schema, config)
        config = usable(config, plugin.accepts)
    request = Request(command, environ, config, stdin)
    if command == "ADD":
        return plugin.add(request).to_json(request.cni_version)
    if command == "DEL":
        plugin.delete(request)
    elif command == "CHECK":
        plugin.check(request)
    elif command == "GC":
        plugin.gc(request)
    else:
        plugin.status(request)
    return None


def _explained(schema: str, config: dict[str, Any]) -> CniError:
    from cni_core.schema.explain import MOST, violations  # jsonschema: only where a configuration was rejected

    found = violations(schema, config)
    others = f" (and {'at least ' * (len(found) == MOST)}{len(found) - 1} more)" if len(found) > 1 else ""
    return CniError(INVALID_CONFIG, f"invalid configuration: {found[0]}{others}", "; ".join(found))


def _environment(environ: Mapping[bytes, bytes]) -> dict[str, str]:
    """The CNI_* variables as text."""
    found = {}
    for name, value in environ.items():
        if name.startswith(b"CNI_"):
            try:
                found[name.decode()] = value.decode()
            except UnicodeDecodeError:
                raise CniError(
                    INVALID_ENVIRONMENT, f"{name.decode(errors='replace')}: the value is not UTF-8"
                ) from None
    return found


def _failure(error: CniError, version: str) -> tuple[int, bytes]:
    return 1, dumps(error.to_json(version)) + b"\n"


def _error_version(stdin: bytes) -> str:
    """An error repeats the configuration's cniVersion, if that much of it can be read."""
    try:
        return version_of(parse_config(stdin, MAX_BYTES_WITH_RESULT))
    except Exception:
        return LATEST


def _called_by_runtime(plugin: Callable[[], Plugin]) -> int:
    """The exit status."""
    try:
        stdin = _read_all(0)
    except CniError as error:
        return _told(_failure(error, LATEST))
    try:
        say = _debugging(stdin)
        answer = call(process_environ, stdin, plugin)
        say(f"exit status {answer[0]}, answer {answer[1].decode()}")
        status = _told(answer)
        if status != answer[0] and process_environ[b"CNI_COMMAND"] == b"ADD":
            # Nobody learns of the attachment.
            process_environ[b"CNI_COMMAND"] = b"DEL"
            call(process_environ, stdin, plugin)
        return status
    except ModuleNotFoundError as missing:
        return _told(_failure(second_tier.begin_anew(str(missing), stdin), _error_version(stdin)))


def _is_netavarks(arguments: list[str]) -> bool:
    """Its create has no arguments: with some it is a person's, who means `network create`, and is told so."""
    return bool(arguments) and arguments[0] in _OF_NETAVARK and not (arguments[0] == "create" and arguments[1:])


def _called_by_netavark(arguments: list[str], plugin: Callable[[], Plugin]) -> int:
    """The exit status. Its errors are told in its own form, {"error": MESSAGE}."""
    stdin: bytes | None = None
    try:
        from cni_core.netavark import calls

        stdin = b"" if arguments[0] == calls.INFO else _read_all(0)
        say = _debugging(stdin)
        document = _or_one_error(lambda: calls.answer(arguments, stdin or b"", plugin()))
        told = b"" if document is None else dumps(document) + b"\n"
        say(f"answer {told.decode()}")
        if _write(1, told):
            return 0
        if arguments[0] == calls.SETUP:  # nobody learns of the attachment
            sys.argv[1] = arguments[0] = calls.TEARDOWN
            _or_one_error(lambda: calls.answer(arguments, stdin or b"", plugin()))
        return 1
    except ModuleNotFoundError as missing:
        failure = second_tier.begin_anew(str(missing), stdin)
    except CniError as error:
        failure = error
    message = f"{failure.msg}. {failure.details}" if failure.details else failure.msg
    return _told((1, dumps({"error": message}) + b"\n"))


def _debugging(stdin: bytes) -> Callable[[str], None]:
    """What says a line to the file of CNI_DEBUG; to nobody where the variable is not set."""
    path = process_environ.get(b"CNI_DEBUG")
    if not path:
        return lambda _: None
    from cni_core import debug

    try:
        return debug.begin(path.decode(), process_environ, stdin)
    except (OSError, UnicodeDecodeError) as error:
        _write(2, f"CNI_DEBUG: nothing is written: {error}\n".encode())
        return lambda _: None


def _called_by_hand(name: str, plugin: Callable[[], Plugin], commands: Callable[[], Commands]) -> int:
    if not second_tier.IS_THIS:
        return _told(_failure(second_tier.begin_anew("CNI_COMMAND is not set", None), LATEST))
    from posix import isatty

    if sys.argv[1:] or isatty(1):  # a person, who is shown the commands
        return commands()(sys.argv[0].rpartition("/")[2], sys.argv[1:])
    _write(2, usage(name).encode())
    return _told(call(process_environ, b"", plugin))


def _told(answer: tuple[int, bytes]) -> int:
    """Writes the answer to stdout. The exit status: 1, too, where it cannot be written."""
    status, stdout = answer
    return status if _write(1, stdout) else 1


def _read_all(fd: int) -> bytes:
    """Everything to be read, or a little more than the longest configuration that is accepted. CniError."""
    command = process_environ.get(b"CNI_COMMAND")
    limit = MAX_BYTES if command == b"ADD" else MAX_BYTES_WITH_RESULT
    # A version is told without a configuration, too: of an input that stays open only what comes at once counts.
    patience = _VERSION_MILLISECONDS if command == b"VERSION" else _STDIN_SECONDS * 1000
    parts: list[bytes] = []
    size = 0
    try:
        while size <= limit:
            if not readable(fd, patience):
                if command == b"VERSION":
                    break
                message = f"standard input was neither written to nor closed for {_STDIN_SECONDS} seconds"
                raise CniError(TRY_AGAIN_LATER, message)
            part = read(fd, 1 << 16)
            if not part:
                break
            parts.append(part)
            size += len(part)
    except OSError as error:
        raise CniError(IO_FAILURE, f"could not read standard input: {strerror(error)}") from None
    return b"".join(parts)


def _occupy_standard_descriptors() -> None:
    """Where one is closed, the next file to be opened would become it, and have a result written to it.

    What takes its place here fails as the closed one would, if it is read or written.
    """
    for fd, flags in ((0, O_WRONLY), (1, O_RDONLY), (2, O_WRONLY)):
        try:
            fstat(fd)
        except OSError:
            open_fd("/dev/null", flags)


def _die_of_interrupts() -> None:
    """As the launcher, of Ctrl-C: Python's own handler would print a traceback."""
    from _signal import SIG_DFL, SIGINT, signal

    signal(SIGINT, SIG_DFL)


def _write(fd: int, data: bytes) -> bool:
    """Writes everything; False where nobody reads any more."""
    try:
        while data:
            try:
                data = data[write(fd, data) :]
            except BlockingIOError:  # the caller's pipe is full, and set not to wait for it
                if not writable(fd, _STDOUT_SECONDS * 1000):
                    return False
    except OSError:
        return False
    return True
