"""ipam.delegate with plugins that are scripts: what they are called with, and what is told of those that fail."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cni_core import errors
from cni_core.address import Address
from cni_core.errors import CniError, Interrupted
from cni_core.request import Request
from cni_core.undo import Steps
from ipam import delegate
from tests.unit.calls import config, request

ADDRESS = '{"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.9/24"}]}'
MEGABYTES = "head -c 3000000 /dev/zero | tr '\\0' x"


class Script:
    """An IPAM plugin of type `fake`, which notes its commands."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, text: str) -> None:
        path = self.directory / "fake"
        path.write_text(f"#!/bin/sh\necho $CNI_COMMAND >>{self.directory}/calls\n{text}\n")
        path.chmod(0o755)

    def request(self, command: str, **members: Any) -> Request:
        return request(command, config(ipam={"type": "fake"}, **members), CNI_PATH=str(self.directory))

    def refused(self, command: str = "ADD") -> CniError:
        """The error, after all is undone as attach does it."""
        steps = Steps()
        call: dict[str, Callable[[], object]] = {
            "ADD": lambda: delegate.add(self.request("ADD"), steps, {}),
            "CHECK": lambda: delegate.check(self.request("CHECK")),
            "DEL": lambda: delegate.delete(self.request("DEL")),
            "GC": lambda: delegate.gc(self.request("GC")),
            "STATUS": lambda: delegate.status(self.request("STATUS")),
        }
        with pytest.raises(CniError) as error:
            call[command]()
        steps.back()
        return error.value

    @property
    def calls(self) -> list[str]:
        return (self.directory / "calls").read_text().split()


@pytest.fixture
def fake(tmp_path: Path) -> Script:
    return Script(tmp_path)


def test_one_that_hangs_is_killed_with_all_that_it_started(fake: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has started holds the writing end of a pipe, whose end is then its own."""
    monkeypatch.setattr(delegate, "_SECONDS", 0.5)
    os.mkfifo(fake.directory / "pipe")
    pipe = os.open(fake.directory / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    words = "echo no server yet >&2; [ $CNI_COMMAND = DEL ] && exit 0"
    fake.write(f"{words}\n(echo begun; sleep 600) >{fake.directory}/pipe &\nsleep 600")
    error = fake.refused()
    assert (error.code, error.details) == (errors.TRY_AGAIN_LATER, "no server yet")
    assert error.msg == "ipam: fake did not answer within 0.5 seconds and was killed"
    assert fake.calls == ["ADD", "DEL"]
    os.set_blocking(pipe, True)
    assert os.read(pipe, 100) == b"begun\n"
    assert os.read(pipe, 100) == b""
    os.close(pipe)


def test_one_that_has_left_its_group_is_killed_too(fake: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegate, "_SECONDS", 2)
    program = "import os, time; os.setpgid(0, os.getpgid(os.getppid())); time.sleep(600)"
    fake.write(f"[ $CNI_COMMAND = DEL ] && exit 0\necho $$ >{fake.directory}/pid\nexec {sys.executable} -c '{program}'")
    assert fake.refused().code == errors.TRY_AGAIN_LATER
    with pytest.raises(ProcessLookupError):
        os.kill(int((fake.directory / "pid").read_text()), 0)


def test_one_that_writes_without_an_end_is_killed(fake: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegate, "_MOST_WRITTEN", 1 << 20)
    for number in (1, 2):
        fake.write(f"[ $CNI_COMMAND = DEL ] && exit 0\nexec yes >&{number}")
        error = fake.refused()
        assert (error.code, "wrote without an end" in error.msg) == (errors.DELEGATE_FAILED, True)


def test_one_is_killed_by_a_signal_to_us_that_comes_as_it_starts(fake: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def start(*arguments: Any, **keys: Any) -> int:
        started.append(os.posix_spawn(*arguments, **keys))
        os.kill(os.getpid(), signal.SIGTERM)
        return started[0]

    def interrupt(*_: object) -> None:
        raise Interrupted("SIGTERM")

    fake.write("exec sleep 600")
    monkeypatch.setattr(delegate, "posix_spawn", start)
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(Interrupted):
            delegate.delete(fake.request("DEL"))
    finally:
        signal.signal(signal.SIGTERM, before)
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_one_has_the_signals_that_a_program_begins_with(fake: Script) -> None:
    fake.write("[ $CNI_COMMAND = DEL ] && exit 0\nkill -PIPE $$")
    assert "was ended by signal 13" in fake.refused().msg


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan", "cni-macvlan-py", "cni-ipvlan-py"])
def test_a_plugin_that_makes_links_is_not_executed_for_addresses(fake: Script, kind: str) -> None:
    """It would do so itself, and so on."""
    fake.write("")
    (fake.directory / "fake").rename(fake.directory / kind)
    call = request("DEL", config(ipam={"type": kind}), CNI_PATH=str(fake.directory))
    steps = Steps()
    for refused in (lambda: delegate.delete(call), lambda: delegate.add(call, steps, {})):
        with pytest.raises(CniError) as error:
            refused()
        assert (error.value.code, error.value.msg[:10]) == (errors.INVALID_CONFIG, "ipam.type:")
    assert str(steps) == ""
    assert not (fake.directory / "calls").exists()


def test_a_directory_of_its_name_is_passed_over(fake: Script) -> None:
    fake.write(f"echo '{ADDRESS}'")
    (fake.directory / "first" / "fake").mkdir(parents=True)
    path = f"{fake.directory}/first:{fake.directory}"
    delegate.delete(request("DEL", config(ipam={"type": "fake"}), CNI_PATH=path))
    assert fake.calls == ["DEL"]


@pytest.mark.parametrize("code", ["true", "0", "-1", "4294967296", "7.0", '"7"'])
def test_an_error_with_a_code_that_is_none_is_not_passed_on(fake: Script, code: str) -> None:
    fake.write(f'[ $CNI_COMMAND = DEL ] && exit 0\necho \'{{"code": {code}, "msg": "no more"}}\'; exit 1')
    assert fake.refused().code == errors.DELEGATE_FAILED


@pytest.mark.parametrize(
    ("text", "code", "msg", "details"),
    [
        ("echo lost >&2; kill -SEGV $$", errors.DELEGATE_FAILED, "was ended by signal 11", "lost"),
        ("echo lost >&2; exit 3", errors.DELEGATE_FAILED, "failed with exit status 3", "lost"),
        ("echo lost; exit 3", errors.DELEGATE_FAILED, "failed with exit status 3", "lost"),
        ("echo lost >&2; echo garbage", errors.DECODING_FAILURE, "answered with no JSON", "lost"),
        ("echo garbage", errors.DECODING_FAILURE, "answered with no JSON", "garbage"),
        ("echo lost >&2; echo '[]'", errors.DECODING_FAILURE, "something else than a result", "lost"),
        ("echo '[]'", errors.DECODING_FAILURE, "something else than a result", "[]"),
        (f"echo lost >&2; {MEGABYTES}", errors.DECODING_FAILURE, "longer than 1048576 bytes", "lost"),
        (f"echo lost >&2; {MEGABYTES}; exit 3", errors.DELEGATE_FAILED, "failed with exit status 3", "lost"),
        (f"({MEGABYTES}; echo lost) >&2; exit 3", errors.DELEGATE_FAILED, "exit status 3", "x" * 495 + "lost"),
    ],
)
def test_the_error_of_one_that_fails_has_its_last_words(
    fake: Script, text: str, code: int, msg: str, details: str
) -> None:
    fake.write(f"[ $CNI_COMMAND = DEL ] && exit 0\n{text}")
    error = fake.refused()
    assert (error.code, msg in error.msg, error.details) == (code, True, details), error.msg
    assert fake.calls == ["ADD", "DEL"]


@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL", "GC", "STATUS"])
def test_the_error_that_one_gives_is_passed_on(fake: Script, command: str) -> None:
    document = json.dumps({"code": 123, "msg": "no more", "details": "at all"})
    fake.write(f"[ $CNI_COMMAND = {command} ] || exit 0\necho '{document}'; exit 1")
    error = fake.refused(command)
    assert (error.code, error.msg, error.details) == (123, "ipam: fake: no more", "at all")


def test_check_and_delete_are_the_plugins_too(fake: Script) -> None:
    fake.write(f"cat >{fake.directory}/$CNI_COMMAND.stdin\necho '{ADDRESS}'")
    result = delegate.add(fake.request("ADD"), Steps(), {}).to_json("1.1.0")
    assert result["ips"] == [{"address": "10.1.0.9/24"}]
    delegate.check(fake.request("CHECK", prevResult=result))
    delegate.delete(fake.request("DEL", prevResult=result))
    assert fake.calls == ["ADD", "CHECK", "DEL"]
    for command in ("CHECK", "DEL"):
        assert json.loads((fake.directory / f"{command}.stdin").read_text())["prevResult"] == result


def test_of_a_delete_only_the_exit_status_counts(fake: Script) -> None:
    fake.write("echo garbage")
    delegate.delete(fake.request("DEL"))
    fake.write("echo lost >&2; exit 1")
    assert fake.refused("DEL").details == "lost"


def test_a_frozen_plugin_gives_the_callers_library_path_back(fake: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.write(f'echo "${{LD_LIBRARY_PATH-none}}" >>{fake.directory}/paths; env >{fake.directory}/env')
    for frozen, original in ((True, b"/opt/lib"), (True, None), (False, None)):
        found = {b"PATH": b"/usr/bin:/bin", b"LD_LIBRARY_PATH": b"/opt/cni/_internal", b"_PYI_SOMETHING": b"1"}
        monkeypatch.setattr(delegate, "environ", found | ({b"LD_LIBRARY_PATH_ORIG": original} if original else {}))
        if frozen:
            monkeypatch.setattr(sys, "_MEIPASS", "/opt/cni/_internal", raising=False)
        else:
            monkeypatch.delattr(sys, "_MEIPASS")
        delegate.delete(fake.request("DEL"))
        assert "_PYI" not in (fake.directory / "env").read_text()
    assert (fake.directory / "paths").read_text().split() == ["/opt/lib", "none", "/opt/cni/_internal"]


def test_a_caller_that_ignores_its_childrens_end_changes_nothing(fake: Script) -> None:
    """SIGCHLD is inherited ignored, and the kernel then forgets exit statuses (wait(2))."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        fake.write(f"echo '{ADDRESS}'")
        assert [str(ip.cidr) for ip in delegate.add(fake.request("ADD"), Steps(), {}).ips] == ["10.1.0.9/24"]
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        fake.write("exit 3")
        assert "failed with exit status 3" in fake.refused().msg
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_an_address_that_is_refused_is_not_taken_from_another_plugin(fake: Script) -> None:
    fake.write(f"echo '{ADDRESS}'")
    steps = Steps()
    with pytest.raises(CniError) as error:
        delegate.add(fake.request("ADD"), steps, {Address.parse("10.1.0.9"): "it is the host's own, on eth0"})
    assert (error.value.code, error.value.problem) == (
        errors.ADDRESS_UNAVAILABLE,
        "fake gave 10.1.0.9, which cannot be given: it is the host's own, on eth0",
    )
    assert steps.back() == []
    assert fake.calls == ["ADD", "DEL"]
