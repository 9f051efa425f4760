"""cni_core.entry: one call from environment and stdin to exit status and stdout, and the program around it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from cni_core import entry, errors
from cni_core.config import LATEST, SUPPORTED
from cni_core.errors import CniError
from cni_core.request import Request
from cni_core.result import Interface, Result
from cni_core.schema import validators
from cni_core.strictjson import MAX_BYTES, MAX_BYTES_WITH_RESULT
from tests.unit.calls import ATTACHMENT, config
from tests.unit.strategies import json_values

REPOSITORY = Path(__file__).parents[2]


class FakePlugin:
    """A plugin with macvlan's schema that notes which command was asked of it, and fails if it is told how."""

    name = schema = "macvlan"

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.asked: list[tuple[str, Request]] = []

    def accepts(self, config: dict[str, Any]) -> bool:
        return validators.macvlan(config)

    def add(self, request: Request) -> Result:
        self._note("ADD", request)
        return Result([Interface(request.ifname)])

    def delete(self, request: Request) -> None:
        self._note("DEL", request)

    def check(self, request: Request) -> None:
        self._note("CHECK", request)

    def gc(self, request: Request) -> None:
        self._note("GC", request)

    def status(self, request: Request) -> None:
        self._note("STATUS", request)

    def _note(self, command: str, request: Request) -> None:
        self.asked.append((command, request))
        if self.failure:
            raise self.failure


def environment(command: str | None, **variables: str) -> dict[bytes, bytes]:
    told = {"CNI_COMMAND": command} if command is not None else {}
    return {name.encode(): value.encode() for name, value in (told | ATTACHMENT | variables).items()}


def call(
    command: str | None, stdin: bytes | dict[str, Any], plugin: FakePlugin | None = None, **variables: str
) -> tuple[int, Any]:
    """The exit status, and the document on stdout, None where there is none."""
    text = stdin if isinstance(stdin, bytes) else json.dumps(stdin).encode()
    status, stdout = entry.call(environment(command, **variables), text, lambda: plugin or FakePlugin())
    if not stdout:
        return status, None
    assert stdout.endswith(b"\n")
    assert b"\n" not in stdout[:-1]
    return status, json.loads(stdout)


# Answers


@pytest.mark.parametrize("stdin", [b"", b" \n", b"{}", b'{"cniVersion": null}', b'{"cniVersion": ""}'])
def test_version_tells_the_latest_and_all_that_are_supported(stdin: bytes) -> None:
    assert call("VERSION", stdin) == (0, {"cniVersion": LATEST, "supportedVersions": list(SUPPORTED)})


@pytest.mark.parametrize("version", [*SUPPORTED, "9.9.9"])
def test_version_repeats_the_version_that_it_was_asked_with(version: str) -> None:
    expected = {"cniVersion": version, "supportedVersions": list(SUPPORTED)}
    assert call("VERSION", {"cniVersion": version}) == (0, expected)


def test_version_repeats_no_version_that_is_no_text() -> None:
    assert call("VERSION", {"cniVersion": ["x"]})[1]["cniVersion"] == LATEST


def test_version_needs_neither_attachment_nor_a_valid_configuration() -> None:
    status, stdout = entry.call({b"CNI_COMMAND": b"VERSION"}, b'{"mode": "none"}', FakePlugin)
    assert status == 0
    assert json.loads(stdout)["supportedVersions"] == list(SUPPORTED)


@pytest.mark.parametrize("version", SUPPORTED)
def test_add_answers_with_a_result_in_the_configurations_version(version: str) -> None:
    status, document = call("ADD", config(cniVersion=version))
    assert status == 0
    assert document == Result([Interface("eth0")]).to_json(version)


@pytest.mark.parametrize("command", ["DEL", "CHECK", "GC", "STATUS"])
def test_every_other_command_answers_nothing(command: str) -> None:
    plugin = FakePlugin()
    assert call(command, config(), plugin) == (0, None)
    ((asked, request),) = plugin.asked
    assert asked == request.command == command
    assert request.config == config()


# Errors


def failure(outcome: tuple[int, Any], code: int, msg: str, version: str = "1.1.0") -> dict[str, Any]:
    """The error object, which is as the specification says, of this code and message."""
    status, document = outcome
    assert status == 1
    assert document.keys() <= {"cniVersion", "code", "msg", "details"}
    assert (document["cniVersion"], document["code"], document["msg"]) == (version, code, msg)
    assert document.get("details", "x")
    return dict[str, Any](document)


@pytest.mark.parametrize("command", ["ADDD", "add", " ADD", "VERSION "])
def test_an_unknown_command_is_named_beside_those_that_are_known(command: str) -> None:
    error = failure(call(command, config()), errors.INVALID_ENVIRONMENT, f"CNI_COMMAND: {command!r} is not a command")
    assert error["details"] == "The commands are VERSION, ADD, DEL, CHECK, GC, STATUS."


@pytest.mark.parametrize("command", [None, ""])
def test_no_command_is_an_error_of_the_environment(command: str | None) -> None:
    failure(call(command, config()), errors.INVALID_ENVIRONMENT, "CNI_COMMAND: is not set")


def test_missing_variables_are_named() -> None:
    status, stdout = entry.call({b"CNI_COMMAND": b"ADD", b"CNI_NETNS": b"/x"}, b'{"name": "n"}', FakePlugin)
    message = "required environment variables are missing: CNI_CONTAINERID, CNI_IFNAME"
    failure((status, json.loads(stdout)), errors.INVALID_ENVIRONMENT, message, "0.1.0")


@pytest.mark.parametrize("command", ["VERSION", "ADD", "DEL", "CHECK", "GC", "STATUS"])
@pytest.mark.parametrize(
    ("stdin", "why"),
    [
        (b"{", " is not JSON: line 1, column 2: a member name in double quotes is expected"),
        (b"\xff", " is not JSON: byte 1 is not UTF-8"),
        (b'"x"', " is not a JSON object"),
        (b"[" * 1000, " is not JSON: line 1, column 101: nested deeper than 100 levels"),
    ],
)
def test_a_configuration_that_is_no_json_object_is_a_decoding_failure(command: str, stdin: bytes, why: str) -> None:
    plugin = FakePlugin()
    failure(call(command, stdin, plugin), errors.DECODING_FAILURE, "the configuration on stdin" + why, LATEST)
    assert not plugin.asked


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
def test_a_configuration_that_is_too_long_is_refused_and_with_a_result_it_may_be_longer(command: str) -> None:
    limit = MAX_BYTES if command == "ADD" else MAX_BYTES_WITH_RESULT
    plugin = FakePlugin()
    why = f"the configuration on stdin is not JSON: longer than {limit} bytes"
    failure(call(command, b" " * (limit + 1) + b"x", plugin), errors.DECODING_FAILURE, why, LATEST)
    assert not plugin.asked


@pytest.mark.parametrize("version", ["0.1.0", "0.4.0", "1.1.0", "7.7.7"])
@pytest.mark.parametrize(
    ("members", "variables"),
    [({"mtu": -1}, {}), ({"name": None}, {}), ({}, {"CNI_IFNAME": "a/b"}), ({}, {"CNI_ARGS": ";"})],
)
def test_an_error_repeats_the_configurations_version(
    version: str, members: dict[str, Any], variables: dict[str, Any]
) -> None:
    status, document = call("ADD", config(cniVersion=version, **members), **variables)
    assert (status, document["cniVersion"]) == (1, version)


def test_an_error_without_a_version_to_repeat_has_the_one_that_its_absence_means() -> None:
    assert call("ADDD", {"name": "net1"})[1]["cniVersion"] == "0.1.0"
    assert call("ADDD", {"cniVersion": 5})[1]["cniVersion"] == LATEST


def test_an_invalid_configuration_is_explained_in_full() -> None:
    plugin = FakePlugin()
    outcome = call("ADD", config(mode="brigde", mtu=-1), plugin)
    mode = 'mode: "brigde" is not one of bridge, private, vepa, passthru; did you mean bridge?'
    message = f"invalid configuration: {mode} (and 1 more)"
    error = failure(outcome, errors.INVALID_CONFIG, message)
    assert error["details"] == (f"{mode}; mtu: -1 is less than the minimum of 0")
    assert not plugin.asked


def test_of_a_great_many_violations_a_hundred_are_told() -> None:
    outcome = call("ADD", config(ipam={"type": "host-local", "ranges": [[{}] * 1000]}), FakePlugin())
    error = failure(
        outcome,
        errors.INVALID_CONFIG,
        "invalid configuration: ipam.ranges[0][0]: subnet is missing (and at least 99 more)",
    )
    assert error["details"].count("subnet is missing") == 100


def test_an_unsupported_version_is_told_before_what_else_is_wrong() -> None:
    outcome = call("ADD", config(cniVersion="9.9.9", mode="x"))
    failure(outcome, errors.INCOMPATIBLE_VERSION, "cniVersion '9.9.9' is not supported", "9.9.9")


@pytest.mark.parametrize("variable", [b"CNI_COMMAND", b"CNI_IFNAME", b"CNI_ARGS", b"CNI_X"])
def test_a_variable_that_is_not_utf_8_is_named(variable: bytes) -> None:
    environ = environment("ADD") | {variable: b"eth\xff"}
    status, stdout = entry.call(environ, json.dumps(config()).encode(), FakePlugin)
    message = f"{variable.decode()}: the value is not UTF-8"
    failure((status, json.loads(stdout)), errors.INVALID_ENVIRONMENT, message)


def test_a_name_of_a_variable_that_is_not_utf_8_is_an_error_and_one_that_is_not_ours_is_ignored() -> None:
    stdin = json.dumps(config()).encode()
    status, stdout = entry.call(environment("DEL") | {b"CNI_\xff": b"x"}, stdin, FakePlugin)
    assert (status, json.loads(stdout)["code"]) == (1, errors.INVALID_ENVIRONMENT)
    assert entry.call(environment("DEL") | {b"OTHER": b"\xff", b"\xff": b""}, stdin, FakePlugin) == (0, b"")


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
def test_a_plugins_error_is_told_as_it_is(command: str) -> None:
    plugin = FakePlugin(CniError(errors.TRY_AGAIN_LATER, "busy", "Wait."))
    error = failure(call(command, config(), plugin), errors.TRY_AGAIN_LATER, "busy")
    assert error["details"] == "Wait."


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
@pytest.mark.parametrize(
    ("defect", "told"),
    [
        (RuntimeError("boom"), "RuntimeError: boom"),
        (KeyError("x"), "KeyError: 'x'"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (ValueError("odd \udcff name"), "ValueError: odd ? name"),
    ],
)
def test_a_defect_is_an_internal_error_without_a_traceback(
    command: str, defect: Exception, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = call(command, config(), FakePlugin(defect))
    failure(outcome, errors.INTERNAL, f"internal error: {told}")
    assert capfd.readouterr() == ("", "")


def test_what_the_system_refuses_is_no_defect() -> None:
    told = call("ADD", config(), FakePlugin(OSError(24, "Too many open files", "/run/x")))
    failure(told, errors.IO_FAILURE, "the system refused /run/x: Too many open files")
    told = call("ADD", config(), FakePlugin(OSError(5, "Input/output error")))
    failure(told, errors.IO_FAILURE, "the system refused a call: Input/output error")


@given(st.sampled_from(["VERSION", "ADD", "DEL", "CHECK", "GC", "STATUS", "", "X"]), st.data())
def test_whatever_is_asked_one_document_or_none_is_the_answer(command: str, data: st.DataObject) -> None:
    names = st.sampled_from([b"CNI_CONTAINERID", b"CNI_IFNAME", b"CNI_ARGS", b"CNI_NETNS", b"CNI_PATH"])
    variables = data.draw(st.dictionaries(names, st.binary(max_size=8), max_size=2))
    stdin = data.draw(
        json_values.map(lambda value: json.dumps(value).encode())
        | json_values.map(lambda value: json.dumps(config(mtu=value)).encode())
        | st.binary(max_size=20)
    )
    status, stdout = entry.call(environment(command) | variables, stdin, FakePlugin)
    if status:
        document = json.loads(stdout)
        assert isinstance(document["cniVersion"], str)
        assert document["code"] != errors.INTERNAL
        assert document["code"] in errors.MEANING
    else:
        assert command in ("VERSION", "ADD") or not stdout


def test_every_error_code_has_a_meaning_and_is_there_once() -> None:
    codes = {name: value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    codes.pop("TYPE_CHECKING", None)
    assert sorted(codes.values()) == sorted(errors.MEANING)
    assert all(code < 100 or code >= errors.INTERNAL for code in errors.MEANING)


# The program


def run(
    environ: dict[str, str], stdin: int | None = subprocess.DEVNULL, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cni_macvlan_py"]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environ, stdin=stdin, capture_output=True, timeout=30, check=False, **options
    )


@pytest.fixture
def a_pipe_that_never_ends() -> Any:
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


def test_called_by_hand_it_tells_its_usage_and_does_not_wait_for_stdin(a_pipe_that_never_ends: int) -> None:
    done = run({}, stdin=a_pipe_that_never_ends)
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert (document["code"], document["msg"]) == (errors.INVALID_ENVIRONMENT, "CNI_COMMAND: is not set")
    assert document["cniVersion"] == LATEST
    usage = done.stderr.decode()
    assert usage.startswith("This is the macvlan CNI plugin, version ")
    assert "Commands: VERSION, ADD, DEL, CHECK, GC, STATUS." in usage
    assert "Traceback" not in usage


def pipe_with(data: bytes) -> Callable[[], None]:
    """What a child does first to have the data, and then the end, on its stdin."""

    def prepare() -> None:
        reading, writing = os.pipe()
        os.write(writing, data)
        os.close(writing)
        os.dup2(reading, 0)

    return prepare


def test_a_call_is_answered_on_stdout_with_nothing_on_stderr() -> None:
    environ = {"CNI_COMMAND": "VERSION"}
    done = run(environ, preexec_fn=pipe_with(b'{"cniVersion": "1.0.0"}'))
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {"cniVersion": "1.0.0", "supportedVersions": list(SUPPORTED)}


def test_a_failed_call_ends_with_status_1_and_its_error_on_stdout_alone() -> None:
    done = run({"CNI_COMMAND": "ADD"}, preexec_fn=pipe_with(json.dumps(config()).encode()))
    assert (done.returncode, done.stderr) == (1, b"")
    assert json.loads(done.stdout)["code"] == errors.INVALID_ENVIRONMENT


def test_a_command_that_is_empty_is_still_a_call_of_a_runtimes() -> None:
    done = run({"CNI_COMMAND": ""}, preexec_fn=pipe_with(b"{}"))
    assert (done.returncode, done.stderr) == (1, b"")
    assert json.loads(done.stdout)["msg"] == "CNI_COMMAND: is not set"


def test_stdin_that_cannot_be_read_is_an_io_failure() -> None:
    done = run({"CNI_COMMAND": "VERSION"}, preexec_fn=lambda: os.close(0))
    assert (done.returncode, done.stderr) == (1, b"")
    assert json.loads(done.stdout)["code"] == errors.IO_FAILURE


def test_stdin_without_end_is_read_no_further_than_the_longest_configuration() -> None:
    with Path("/dev/zero").open("rb") as endless:
        done = run({"CNI_COMMAND": "VERSION"}, stdin=endless.fileno())
    assert json.loads(done.stdout)["msg"].endswith(f"longer than {MAX_BYTES} bytes")


def test_an_answer_that_nobody_reads_is_a_failure() -> None:
    done = run({"CNI_COMMAND": "VERSION"}, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (1, b"")
