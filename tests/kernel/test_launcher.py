"""The launcher: what it has, how it ends, and that a call is answered alike by it and by the second tier."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, get_args

import pytest

from launcher import build, freeze, objects
from launcher.programs import loader
from tests.kernel.conftest import Lan
from tests.kernel.plugin import LAUNCHERS, RECORDS, REPOSITORY, SECOND_TIER, Outcome, Plugin, leases, links

PROGRAM = LAUNCHERS / "cni-macvlan-py"
PYTHON = "/usr/bin/python3"  # the Makefile's
VERSION = {"CNI_COMMAND": "VERSION"}
FORMS = get_args(freeze.Form)


def run(
    executable: Path,
    stdin: bytes = b"",
    env: dict[str, str] | dict[bytes, bytes] | None = None,
    *,
    arguments: Sequence[str] = (),
    before: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [executable, *arguments], input=stdin, env=env or {}, capture_output=True, timeout=60, preexec_fn=before
    )


# What is in it


def test_the_launcher_has_these_builtin_modules_and_no_others() -> None:
    assert freeze.BUILTIN == ("_signal", "_socket", "_struct", "errno", "fcntl", "posix", "select", "time")
    assert freeze.CORE == ("_imp", "builtins", "sys")


def test_every_module_of_ours_is_frozen_but_those_that_need_the_second_tiers_libraries() -> None:
    known = freeze.modules()
    of_the_cluster = {
        f"ipam.{name}" for name in ("asking", "claims", "cluster", "contact", "domain", "etcd", "nodes", "verbs")
    }
    of_schemas = {"cni_core.schema.explain", "cni_core.schema.generate", "cni_core.netavark.explain"}
    assert known.keys() - freeze.frozen(known).keys() == of_schemas | of_the_cluster


def test_a_program_that_needs_more_than_the_launcher_has_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeze, "BUILTIN", ())
    with pytest.raises(SystemExit, match=r"(?s)cni_macvlan_py.__main__ cannot be frozen.*entry.py:\d+ imports posix"):
        freeze.frozen(freeze.modules())


def test_it_is_one_static_file() -> None:
    headers = subprocess.run(["readelf", "-lW", PROGRAM], capture_output=True, check=True).stdout
    assert b"INTERP" not in headers
    assert b"DYNAMIC" not in headers


@pytest.mark.parametrize("form", FORMS)
def test_the_same_source_gives_the_same_bytes_wherever_and_whenever(tmp_path: Path, form: str) -> None:
    copy_of_the_sources(tmp_path / "elsewhere")
    digests = set()
    sources = {"1": REPOSITORY, "2": tmp_path / "elsewhere"}
    for seed, source in sources.items():
        target = tmp_path / seed
        (target / "_internal").mkdir(parents=True)
        subprocess.run(
            [PYTHON, "-m", "launcher.build", str(target), form],
            cwd=source,
            env={"PATH": os.environ["PATH"], "PYTHONHASHSEED": seed},
            check=True,
        )
        digests.add(hashlib.sha256((target / "cni-macvlan-py").read_bytes()).digest())
    assert len(digests) == 1


def copy_of_the_sources(directory: Path) -> None:
    for package in ("launcher", *freeze.PACKAGES):
        shutil.copytree(REPOSITORY / package, directory / package)


# Every kind of constant, and of variable.
SAMPLE = """
import sys
from posix import write

CONSTANTS = (
    None, True, False, ..., 0, -5, 256, -6, 257, 1 << 30, -(1 << 64) - 7, 3.5, -0.0, 1e300, (1, 1.0, True, (), ("x",)),
    b"", b"\\0\\xff", "", "ascii", "\\xe9", "\\u2014", "\\U0001f600", "\\ud800", "a" * 300,
)

def arguments(a, /, b, *c, d=(1, "two"), **e):
    inner = a
    def closure(f):
        nonlocal inner
        try:
            inner += f
        except (TypeError, ValueError) as error:
            return error, b, d
        finally:
            inner = None
        yield from (x + inner for x in c if x)
    return closure, [lambda: e]

class Class:
    __slots__ = ("x",)
    def method(self):
        return super().__init__, __class__

def described(value):
    if type(value) is tuple:
        return tuple(map(described, value))
    if not hasattr(value, "co_code"):
        return type(value), value
    names = [name for name in dir(value) if name.startswith("co_") and name not in ("co_lines", "co_positions")]
    parts = {name: getattr(value, name) for name in names}
    return {**parts, "co_consts": described(value.co_consts), "positions": list(value.co_positions())}

text = ascii((described(CONSTANTS), described(sys._getframe().f_code))).encode()
while text:
    text = text[write(1, text):]
sys.modules["posix"]._exit(0)
"""


@pytest.mark.parametrize("form", FORMS)
def test_frozen_code_is_what_the_compiler_made(tmp_path: Path, form: str) -> None:
    copy_of_the_sources(tmp_path)
    # To read a lone surrogate, marshal asks a codec, which the core of the interpreter lacks: a build with one fails.
    sample = SAMPLE if form == "objects" else SAMPLE.replace(', "\\ud800"', "")
    (tmp_path / "cni_macvlan_py/__main__.py").write_text(sample)
    target = tmp_path / "cni-macvlan-py"
    script = f"import pathlib, launcher.build as b; b.compile_to(pathlib.Path('cni-macvlan-py'), 'gcc', '{form}')"
    subprocess.run([PYTHON, "-c", script], cwd=tmp_path, check=True)
    frozen = subprocess.run([target], capture_output=True, check=True).stdout
    script = "from launcher import freeze; exec(freeze.modules()['cni_macvlan_py.__main__'].code())"
    compiled = subprocess.run([PYTHON, "-c", script], cwd=tmp_path, capture_output=True, check=True).stdout
    assert len(compiled) > 5000
    assert frozen == compiled


def test_a_constant_that_cannot_be_frozen_is_an_error_of_the_build() -> None:
    with pytest.raises(SystemExit, match="constants of type frozenset cannot be frozen"):
        objects.Objects().of(compile("x in {1, 2}", "sample", "eval"))


def test_without_a_compiler_the_plugins_are_pyinstallers_and_the_build_says_so(tmp_path: Path) -> None:
    (tmp_path / "_internal").symlink_to(LAUNCHERS / "_internal")
    argv = [PYTHON, "-m", "launcher.build", str(tmp_path)]
    done = subprocess.run(argv, cwd=REPOSITORY, env={"CC": "no-such-compiler"}, capture_output=True, check=True)
    assert b"NO LAUNCHER: there is no compiler no-such-compiler" in done.stderr
    for name in ("macvlan", "cni-macvlan-py", "host-local"):
        assert (tmp_path / name).resolve() == LAUNCHERS / "_internal" / "cni-macvlan-py"
        assert Outcome(run(tmp_path / name, env=VERSION)).result["cniVersion"] == "1.1.0"


def test_the_form_whose_layouts_are_known_is_taken_for_that_version_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PYTHON", sys.version_info[:2])
    assert freeze.best_form() == "objects"
    monkeypatch.setattr(objects, "PYTHON", (3, 99))
    assert freeze.best_form() == "marshalled"


def test_a_python_that_is_too_old_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "PYTHON", (3, 99))
    assert build.missing("gcc") == "this Python is older than 3.99"


def test_a_python_whose_library_lacks_what_a_call_needs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build.missing("gcc") == ""
    lacking = tuple({*sys.builtin_module_names} - {"fcntl"})
    monkeypatch.setattr(sys, "builtin_module_names", lacking)
    assert build.missing("gcc") == "this Python has fcntl as files, not in its library"


# A build that would not do


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of them, with a directory `built` that has an older build's launcher."""
    copy_of_the_sources(tmp_path)
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "cni-macvlan-py").write_text("the one before")
    return tmp_path


def built(sources: Path, **environment: str) -> tuple[bool, str]:
    """Whether the build went well and is in place, and what it said. A build that did not leaves the one before."""
    done = subprocess.run(
        [PYTHON, "-m", "launcher.build", "built"],
        cwd=sources,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )
    in_place = (sources / "built" / "cni-macvlan-py").read_bytes() != b"the one before"
    assert in_place == (done.returncode == 0)
    names = {"cni-macvlan-py", "cni-ipvlan-py", "macvlan", "ipvlan", "host-local", "lan-local"}
    assert set(os.listdir(sources / "built")) == (names if in_place else {"cni-macvlan-py"})
    return in_place, done.stderr


def test_a_build_that_goes_well_says_nothing(sources: Path) -> None:
    assert built(sources) == (True, "")


def test_a_libpython_that_lacks_something_is_an_error_that_names_it(sources: Path, tmp_path: Path) -> None:
    """The linker would, told to be silent, give a program that crashes where the function is called."""
    archive = tmp_path / "libpython.a"
    shutil.copy(build.LIBRARY, archive)
    script = sources / "launcher" / "build.py"
    script.write_text(re.sub(r"(?m)^LIBRARY = .*", f"LIBRARY = Path({str(archive)!r})", script.read_text()))
    assert built(sources) == (True, "")
    (sources / "built" / "cni-macvlan-py").write_text("the one before")
    for name in ("cni-ipvlan-py", "macvlan", "ipvlan", "host-local", "lan-local"):
        (sources / "built" / name).unlink()
    subprocess.run(["ar", "d", archive, "fcntlmodule.o"], check=True)
    went_well, said = built(sources)
    assert not went_well
    assert "undefined reference to `PyInit_fcntl'" in said
    assert said.splitlines()[-1].startswith("launcher: it could not be compiled. (CC=none builds")


def test_a_module_that_cannot_be_imported_is_found_before_the_launcher_is_put_in_place(sources: Path) -> None:
    with (sources / "cni_core" / "dad.py").open("a") as file:
        file.write("\nnot_there()\n")
    went_well, said = built(sources)
    assert not went_well
    assert "cni_core.dad cannot be imported: NameError: name 'not_there' is not defined" in said


def test_a_launcher_that_does_not_answer_is_found_before_it_is_put_in_place(sources: Path) -> None:
    with (sources / "cni_core" / "config.py").open("a") as file:
        file.write("\nSUPPORTED = None\n")
    went_well, said = built(sources)
    assert not went_well
    assert "what was built does not answer VERSION as cni-macvlan-py: " in said


def test_a_module_that_is_left_out_is_found_before_the_launcher_is_put_in_place(sources: Path) -> None:
    script = sources / "launcher" / "freeze.py"
    left_out = "found = [import_system, self_check, *list(frozen(modules()).values())[:-1]]"
    script.write_text(re.sub(r"found = \[import_system.*", left_out, script.read_text()))
    went_well, said = built(sources)
    assert not went_well
    assert "what was built cannot import its modules: " in said


# The process


@pytest.mark.parametrize("name", ["VERSION", "ADD", "STATUS"])
def test_the_environment_is_the_runtimes_alone(name: str) -> None:
    """PYTHON* variables change nothing, and neither does the lack of every other variable.

    The STATUS, of a configuration without a name, is the second tier's to answer.
    """
    hostile = {
        "PYTHONHOME": "/nonexistent",
        "PYTHONPATH": "/nonexistent",
        "PYTHONSTARTUP": "/nonexistent",
        "PYTHONVERBOSE": "3",
        "PYTHONINSPECT": "1",
        "PYTHONMALLOC": "debug",
        "PYTHONUTF8": "0",
        "PYTHONDEVMODE": "1",
        "LC_ALL": "de_DE.ISO-8859-1",
        "LD_LIBRARY_PATH": "/nonexistent",
        "LD_PRELOAD": "",
        "_PYI_ARCHIVE_FILE": str(LAUNCHERS / "_internal" / "cni-macvlan-py"),
        "_PYI_APPLICATION_HOME_DIR": "/nonexistent",
        "_PYI_PARENT_PROCESS_LEVEL": "x",
        "_MEIPASS2": "/nonexistent",
    }
    config = b'{"cniVersion": "1.1.0"}'
    plain = run(PROGRAM, config, {"CNI_COMMAND": name})
    done = run(PROGRAM, config, hostile | {"CNI_COMMAND": name})
    assert name != "STATUS" or b"name is missing" in plain.stdout
    assert (done.stdout, done.stderr) == (plain.stdout, plain.stderr)
    assert plain.stderr == b""


def test_without_any_environment_a_person_is_told_how_it_is_used() -> None:
    done = run(PROGRAM, b"")
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, 4)
    assert done.stderr.startswith(b"This is the macvlan CNI plugin")


@pytest.mark.parametrize("directory", [LAUNCHERS, SECOND_TIER], ids=["launcher", "second tier"])
def test_the_versions_of_all_that_is_bundled_are_told(directory: Path) -> None:
    done = run(directory / "cni-ipvlan-py", arguments=["--version"])
    assert (done.returncode, done.stderr) == (0, b"")
    first, python, *bundled = done.stdout.decode().splitlines()
    assert (first, python) == ("cni-ipvlan-py 0.2.0, CNI 0.1.0 to 1.1.0", "CPython " + platform.python_version())
    pinned = dict(re.findall(r"^([a-z0-9_-]+)==(\S+)", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE))
    told = {name.lower().replace("_", "-"): version for name, version in (line.split(" ") for line in bundled)}
    assert {"jsonschema", "attrs", "rpds-py", "pyinstaller"} <= told.keys()
    assert told.items() <= pinned.items()


@pytest.mark.parametrize("directory", [LAUNCHERS, SECOND_TIER], ids=["launcher", "second tier"])
class TestClosedDescriptors:
    """What is closed must not become a file of ours: a result would be written into a lease or a socket."""

    def test_stdin(self, directory: Path) -> None:
        done = run(directory / "macvlan", env=VERSION, before=lambda: os.close(0))
        assert (done.returncode, json.loads(done.stdout)["code"]) == (1, 5)

    def test_stdout(self, directory: Path, lan: Lan) -> None:
        plugin, pod = Plugin(lan.node, "macvlan", directory), lan.host("pod")
        environment = plugin.environment("ADD", pod, {})
        with lan.node.inside():
            done = run(
                directory / "macvlan", json.dumps(lan.config()).encode(), environment, before=lambda: os.close(1)
            )
        assert (done.returncode, done.stderr) == (1, b"")
        assert (links(pod), leases(lan.data_dir)) == ([], {})  # nobody learned of the attachment

    def test_stderr(self, directory: Path) -> None:
        assert Outcome(run(directory / "macvlan", env=VERSION, before=lambda: os.close(2))).status == 0
        done = run(directory / "macvlan", before=lambda: os.close(2))
        assert (done.returncode, json.loads(done.stdout)["code"]) == (1, 4)

    def test_all(self, directory: Path) -> None:
        assert run(directory / "macvlan", env=VERSION, before=lambda: os.closerange(0, 3)).returncode == 1

    def test_a_stdout_that_nobody_reads(self, directory: Path) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "wb") as stdout:
            done = subprocess.run(
                [directory / "macvlan"], env=VERSION, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE
            )
        assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("directory", [LAUNCHERS, SECOND_TIER], ids=["launcher", "second tier"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_call_that_waits(directory: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [directory / "macvlan"], env=VERSION, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        process.stdin.write(b"{")
        process.stdin.flush()
        wait_until_it_has_read(process.stdin)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (-number, b"", b"")


@pytest.mark.parametrize("directory", [LAUNCHERS, SECOND_TIER], ids=["launcher", "second tier"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_in_the_midst_of_an_add_undoes_it(directory: Path, number: signal.Signals, lan: Lan) -> None:
    """It has a VLAN and a record, and waits for the lock of the leases."""
    pod = lan.host("pod")
    lock = lan.data_dir / "lan" / "lock"
    lock.parent.mkdir(parents=True)
    environment = Plugin(lan.node, "macvlan", directory).environment("ADD", pod, {})
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = lan.node.popen(
            [str(directory / "macvlan")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert process.stdin
        process.stdin.write(json.dumps(lan.config(vlan=50)).encode())
        process.stdin.close()
        while not (RECORDS / "attachments" / "pod:eth0").exists():
            time.sleep(0.01)
        time.sleep(0.1)
        process.send_signal(number)
        time.sleep(0.1)
    assert process.wait(30) == 1  # what it takes back needs the lock, too
    assert process.stdout
    error = json.loads(process.stdout.read())
    assert (error["code"], error["msg"]) == (11, f"{number.name} ended the call; what it had done is undone")
    assert (links(pod), links(lan.node), leases(lan.data_dir)) == ([], ["eth0"], {})
    assert list((RECORDS / "attachments").iterdir()) == []


@pytest.mark.parametrize("directory", [LAUNCHERS, SECOND_TIER], ids=["launcher", "second tier"])
def test_a_signal_while_an_add_is_undone_does_not_hinder_that(directory: Path, lan: Lan, tmp_path: Path) -> None:
    """Its IPAM plugin fails, and takes its time for the DEL that undoes it."""
    fake = tmp_path / "fake"
    lines = ["#!/bin/sh", "[ $CNI_COMMAND = DEL ] || exit 3", ": >begun", "sleep 0.5", ": >ended", ""]
    fake.write_text("\n".join(lines).replace(">", f">{tmp_path}/"))
    fake.chmod(0o755)
    pod = lan.host("pod")
    environment = Plugin(lan.node, "macvlan", directory).environment("ADD", pod, {"CNI_PATH": str(tmp_path)})
    process = lan.node.popen(
        [str(directory / "macvlan")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert process.stdin
    process.stdin.write(json.dumps(lan.config(vlan=50, ipam={"type": "fake"})).encode())
    process.stdin.close()
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 1
    assert process.stdout
    assert json.loads(process.stdout.read())["msg"] == "ipam: fake failed with exit status 3 without a CNI error"
    assert (tmp_path / "ended").exists()
    assert (links(pod), links(lan.node), list((RECORDS / "attachments").iterdir())) == ([], ["eth0"], [])


@pytest.mark.parametrize("directory", [LAUNCHERS, SECOND_TIER], ids=["launcher", "second tier"])
def test_a_kill_with_the_ipam_plugin_that_it_executes_is_made_good(directory: Path, lan: Lan, tmp_path: Path) -> None:
    """Both die when the lease is given, and nobody has told of it."""
    fake = tmp_path / "fake"
    fake.write_text(
        f"#!/bin/sh\nsed s/fake/host-local/ | {LAUNCHERS.resolve()}/host-local\n"
        f"[ $CNI_COMMAND = DEL ] || [ -e {tmp_path}/pid ] || {{ echo $$ >{tmp_path}/pid; sleep 60; }}\n"
    )
    fake.chmod(0o755)
    pod, plugin, path = lan.host("pod"), Plugin(lan.node, "macvlan", directory), {"CNI_PATH": str(tmp_path)}
    config = lan.config(vlan=50, ipam=lan.ipam() | {"type": "fake"})
    process = lan.node.popen([str(plugin.executable)], stdin=subprocess.PIPE, env=plugin.environment("ADD", pod, path))
    assert process.stdin
    process.stdin.write(json.dumps(config).encode())
    process.stdin.close()
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text()):
        time.sleep(0.01)
    process.kill()
    os.killpg(int(pid.read_text()), signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    assert list(leases(lan.data_dir)) == ["10.1.0.2"]
    plugin.delete(pod, config, **path).succeeded()
    assert (links(pod), links(lan.node), leases(lan.data_dir)) == ([], ["eth0"], {})
    assert list((RECORDS / "attachments").iterdir()) == []
    assert plugin.add(pod, config, **path).result["ips"][0]["address"] == "10.1.0.3/24"


STATUS = {"CNI_COMMAND": "STATUS"}  # a VERSION does not wait


def test_a_stdin_that_is_never_closed_ends_the_call() -> None:
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen([directory / "macvlan"], env=STATUS, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            for directory in (LAUNCHERS, SECOND_TIER)
        ]
        for process in processes:
            assert process.stdin
            process.stdin.write(b"{")
            process.stdin.flush()
        time.sleep(25)  # a slow runtime
        assert [process.poll() for process in processes] == [None, None]
        for process in processes:
            assert process.stdout
            error = json.loads(process.stdout.read())
            message = "standard input was neither written to nor closed for 30 seconds"
            assert (process.wait(10), error["code"], error["msg"]) == (1, 11, message)


def wait_until_it_has_read(pipe: IO[bytes]) -> None:
    unread = bytearray(4)
    while fcntl.ioctl(pipe, termios.FIONREAD, unread) or any(unread):
        time.sleep(0.01)


def test_more_on_stdin_than_is_accepted_is_not_read_to_its_end() -> None:
    process = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"CNI_COMMAND": "ADD"})
    assert process.stdin and process.stdout
    written = 0
    with pytest.raises(BrokenPipeError):
        while written < 64 << 20:
            written += os.write(process.stdin.fileno(), b"[" * (1 << 16))
    error = json.loads(process.communicate(timeout=30)[0])
    assert (process.returncode, error["code"]) == (1, 6)
    assert "longer than 1048576 bytes" in error["msg"]
    assert 1 << 20 < written < 2 << 20


def test_a_plugin_is_called_by_links_and_relative_paths(tmp_path: Path) -> None:
    (tmp_path / "bin").symlink_to(LAUNCHERS)
    (tmp_path / "macvlan").symlink_to("bin/macvlan")
    (tmp_path / "any-name").symlink_to("bin/macvlan")
    for path in ("bin/macvlan", "macvlan", "any-name"):
        usage = subprocess.run([f"./{path}"], cwd=tmp_path, env={}, capture_output=True)
        assert usage.stderr.startswith(b"This is the macvlan CNI plugin"), path
    (tmp_path / "host-local").symlink_to("bin/cni-macvlan-py")
    usage = subprocess.run(["./host-local"], cwd=tmp_path, env={}, capture_output=True)
    assert usage.stderr.startswith(b"This is the host-local CNI plugin")


# The hand-over


def rejected(lan: Lan) -> dict[str, Any]:
    return lan.config(mode="x", mtu=1.5, ipam={"type": "host-local", "ranges": [[{"subnet": "10.1.0.0"}], [{}]]})


def test_a_rejected_configuration_is_explained_by_the_second_tier(lan: Lan) -> None:
    error = Plugin(lan.node, "macvlan", LAUNCHERS).add(lan.host("pod"), rejected(lan)).error
    assert error["code"] == 7
    assert error["details"].count("; ") == 3, error


def test_a_long_configuration_is_handed_over_whole(lan: Lan) -> None:
    config = json.dumps(lan.config(mode="x", padding="é" * (1 << 18)), ensure_ascii=False).encode()
    config += b" " * ((1 << 20) - len(config))
    error = Plugin(lan.node, "macvlan", LAUNCHERS).call("ADD", lan.host("pod"), config).error
    assert (error["code"], error["details"].startswith("mode: ")) == (7, True)


ARGUMENTS = ["--option\udcff", ""]


def test_the_second_tier_gets_arguments_and_environment_as_they_came(tmp_path: Path) -> None:
    directory = a_copy(tmp_path, f"#!{sys.executable} -IS\nimport os\n" + ECHO)
    environment = {b"LD_LIBRARY_PATH": b"/x", b"odd\xff": b"\xfe", b"PYTHONHOME": b"/x", b"LC_ALL": b"C.UTF-8"}
    argv: list[str | bytes] = ["any name", *map(os.fsencode, ARGUMENTS)]
    done = subprocess.run(argv, executable=directory / "cni-macvlan-py", env=environment, capture_output=True)
    told = json.loads(done.stdout)
    internal = str(directory / "_internal")
    assert told["argv"] == [
        f"{internal}/{loader().name}",
        "--library-path",
        internal,
        f"{internal}/cni-macvlan-py",
        *ARGUMENTS,
    ]
    assert told["environ"] == {"LD_LIBRARY_PATH": "/x", "odd\udcff": "\udcfe", "PYTHONHOME": "/x", "LC_ALL": "C.UTF-8"}


ECHO = """
import json, sys
print(json.dumps({"argv": sys.argv, "environ": dict(os.environ), "stdin": sys.stdin.read()}))
"""


def a_copy(tmp_path: Path, second_tier: str | None = None) -> Path:
    """The launcher with another second tier, in place of the loader that starts that, or without one."""
    directory = tmp_path / "copy"
    directory.mkdir()
    shutil.copy(PROGRAM, directory / "cni-macvlan-py")
    if second_tier is not None:
        (directory / "_internal").mkdir()
        (directory / "_internal" / "cni-macvlan-py").touch()
        script = directory / "_internal" / loader().name
        script.write_text(second_tier)
        script.chmod(0o755)
    return directory


@pytest.mark.parametrize("name", ["cni-macvlan-py", "macvlan", "host-local"])
def test_the_second_tier_goes_by_the_name_by_which_it_was_called(name: str, tmp_path: Path) -> None:
    directory = a_copy(tmp_path, f"#!{sys.executable} -IS\nimport os\n" + ECHO)
    for known in ("macvlan", "host-local", "ipvlan"):
        (directory / "_internal" / known).symlink_to("cni-macvlan-py")
    told = json.loads(
        subprocess.run([name], executable=directory / "cni-macvlan-py", env={}, capture_output=True).stdout
    )
    assert told["argv"][3] == str(directory / "_internal" / name)


def test_the_second_tier_is_of_the_launchers_own_kind(tmp_path: Path) -> None:
    directory = a_copy(tmp_path, f"#!{sys.executable} -IS\nimport os\n" + ECHO)
    done = subprocess.run(["ipvlan"], executable=directory / "cni-macvlan-py", env={}, capture_output=True)
    assert json.loads(done.stdout)["argv"][3] == str(directory / "_internal" / "cni-macvlan-py")


def test_the_two_launchers_are_one_file() -> None:
    assert PROGRAM.samefile(LAUNCHERS / "cni-ipvlan-py")


def test_the_second_tier_reads_the_same_stdin(lan: Lan, tmp_path: Path) -> None:
    directory = a_copy(tmp_path, f"#!{sys.executable} -IS\nimport os\n" + ECHO)
    plugin = Plugin(lan.node, "cni-macvlan-py", directory)
    told = plugin.add(lan.host("pod"), rejected(lan)).result
    assert json.loads(told["stdin"]) == rejected(lan)


@pytest.mark.parametrize("second_tier", [None, "no program"])
def test_where_the_second_tier_is_absent_one_error_says_so(lan: Lan, tmp_path: Path, second_tier: str | None) -> None:
    directory = a_copy(tmp_path, second_tier)
    plugin = Plugin(lan.node, "cni-macvlan-py", directory)
    pod = lan.host("pod")
    error = plugin.add(pod, rejected(lan)).error
    assert (error["code"], error["cniVersion"]) == (100, "1.0.0")
    what = "cni-macvlan-py" if second_tier is None else loader().name
    assert f"{directory}/_internal/{what}, which this call needs" in error["msg"]
    by_hand = json.loads(run(directory / "cni-macvlan-py").stdout)
    assert (by_hand["code"], "CNI_COMMAND is not set" in by_hand["msg"]) == (100, True)
    # What a pod needs works all the same.
    result = plugin.add(pod, lan.config()).result
    plugin.check(pod, lan.config(), result).succeeded()
    plugin.delete(pod, lan.config()).succeeded()


def test_a_launcher_under_another_name_says_so(tmp_path: Path) -> None:
    shutil.copy(PROGRAM, tmp_path / "renamed")
    error = json.loads(run(tmp_path / "renamed", env=VERSION).stdout)
    assert (error["code"], error["msg"]) == (100, "internal error: the launcher was renamed, or /proc is not mounted")


# Exceptions


PLACES = [
    "cni_core.request._parse_args",
    "cni_core.netns.Place.host",
    "cni_core.netns.setns",
    "cni_core.netns.Rtnl",
    "cni_core.parent.plan",
    "cni_core.link.left_over",
    "ipam.host_local.range_sets",
    "ipam.store.Store.held_by",
    "ipam.store.Store._set_last",
    "ipam.host_local._ip",
    "cni_core.link.create",
    "cni_core.link.mark_and_raise",
    "cni_core.sysctl.write",
    "cni_core.dad.settle",
    "cni_core.attach.format_mac",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", ["RuntimeError('é')", "MemoryError()", "ModuleNotFoundError('x')"])
def test_what_fails_in_an_add_is_undone(lan: Lan, faulty: Path, place: str, fault: str) -> None:
    """A defect is one CNI error; a module that the launcher lacks leads to the second tier, which begins anew."""
    pod = lan.host("pod")
    plugin = Plugin(lan.node, "cni-macvlan-py", faulty)
    outcome = plugin.add(pod, lan.config(ipam=lan.dual_stack), FAULT_PLACE=place, FAULT=fault)
    if fault.startswith("ModuleNotFoundError"):
        assert json.loads(outcome.result["stdin"]) == lan.config(ipam=lan.dual_stack)
    else:
        assert (outcome.error["code"], outcome.error["cniVersion"]) == (100, "1.0.0")
        assert outcome.error["msg"].startswith(f"internal error: {fault.partition('(')[0]}")
    assert (links(pod), leases(lan.data_dir)) == ([], {})


@pytest.mark.parametrize("place", ["cni_core.link.remove", "ipam.host_local.delete", "cni_core.entry.parse_config"])
def test_what_fails_in_a_del_is_done_by_the_next(lan: Lan, faulty: Path, place: str) -> None:
    pod = lan.host("pod")
    plugin = Plugin(lan.node, "cni-macvlan-py", faulty)
    assert lan.macvlan.add(pod, lan.config()).status == 0
    error = plugin.delete(pod, lan.config(), FAULT_PLACE=place, FAULT="RuntimeError(1)").error
    assert error["msg"] == "internal error: RuntimeError: 1"
    lan.macvlan.delete(pod, lan.config()).succeeded()
    assert (links(pod), leases(lan.data_dir)) == ([], {})


ARM = """
def _arm() -> None:
    import sys
    from posix import environ

    place = environ.get(b"FAULT_PLACE", b"").decode()
    if place:
        path = place.split(".")
        depth = min(n for n in range(1, len(path)) if n == len(path) - 1 or path[n][0].isupper())
        module = ".".join(path[:depth])
        __import__(module)
        target = sys.modules[module]
        for name in path[depth:-1]:
            target = getattr(target, name)
        setattr(target, path[-1], _fail)


def _fail(*_: object, **__: object) -> None:
    from posix import environ

    raise eval(environ[b"FAULT"])


_arm()
"""


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A launcher whose function FAULT_PLACE raises FAULT (environment); its second tier tells how it is called."""
    base = tmp_path_factory.mktemp("faulty")
    copy_of_the_sources(base / "source")
    main = base / "source" / "cni_macvlan_py" / "__main__.py"
    main.write_text(main.read_text().replace("\nmain(", f"{ARM}\nmain("))
    directory = a_copy(base, f"#!{sys.executable} -IS\nimport os\n" + ECHO)
    subprocess.run([PYTHON, "-m", "launcher.build", str(directory)], cwd=base / "source", check=True)
    return directory


# Both tiers


CALLS: dict[str, tuple[str, dict[str, Any] | bytes, dict[str, str]]] = {
    "VERSION": ("VERSION", {"cniVersion": "0.4.0"}, {}),
    "VERSION without stdin": ("VERSION", b"", {}),
    "VERSION of no JSON": ("VERSION", b"{", {}),
    "no command": ("ATTACH", {}, {}),
    "an empty command": ("", {}, {}),
    "no variables": ("ADD", {}, {"CNI_CONTAINERID": "", "CNI_IFNAME": ""}),
    "a value that is not UTF-8": ("ADD", {}, {"CNI_ARGS": "IP=\udcff"}),
    "no namespace": ("ADD", {}, {"CNI_NETNS": "/run/netns/none"}),
    "no JSON": ("ADD", b'{"name": nul}', {}),
    "bytes that are not UTF-8": ("ADD", b'{"name": "\xff"}', {}),
    "nothing": ("ADD", b"", {}),
    "an unknown version": ("ADD", {"cniVersion": "2.0.0"}, {}),
    "a schema's violation": ("ADD", {"mode": "é\u2028\U0001f600"}, {}),
    "no parent": ("ADD", {"master": "eth9"}, {}),
    "a contradiction": ("ADD", {"ipam": {"type": "host-local", "subnet": "10.1.0.5/24"}}, {}),
    "no plugin": ("ADD", {"ipam": {"type": "dhcp"}}, {}),
    "no list": ("GC", {"cniVersion": "1.1.0"}, {}),
    "a status": ("STATUS", {"cniVersion": "1.1.0", "master": "eth9"}, {}),
    "no result": ("CHECK", {}, {}),
    "a DEL of nothing": ("DEL", {}, {}),
    "an ADD": ("ADD", {"mac": "02:00:00:00:00:01"}, {}),
    "an ADD of the latest version": ("ADD", {"mac": "02:00:00:00:00:01", "cniVersion": "1.1.0"}, {}),
}


@pytest.fixture(scope="session")
def marshalled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The launcher as every Python but one has it."""
    directory = tmp_path_factory.mktemp("marshalled")
    (directory / "_internal").symlink_to(LAUNCHERS / "_internal")
    subprocess.run([PYTHON, "-m", "launcher.build", str(directory), "marshalled"], cwd=REPOSITORY, check=True)
    assert (directory / "cni-macvlan-py").read_bytes() != PROGRAM.read_bytes()
    return directory


@pytest.mark.parametrize("what", CALLS)
def test_both_tiers_and_both_forms_answer_in_the_same_bytes(lan: Lan, marshalled: Path, what: str) -> None:
    command, keys, variables = CALLS[what]
    pod = lan.host("pod")
    stdin = keys if isinstance(keys, bytes) else json.dumps(lan.config(**keys), ensure_ascii=False).encode()
    answers = []
    for directory in (LAUNCHERS, SECOND_TIER, marshalled):
        plugin = Plugin(lan.node, "macvlan", directory)
        environment = plugin.environment(command, pod, variables | {"CNI_PATH": "/nonexistent"})
        with lan.node.inside():
            done = run(plugin.executable, stdin, {os.fsencode(k): os.fsencode(v) for k, v in environment.items()})
        answers.append((done.returncode, done.stdout, done.stderr))
        plugin.delete(pod, lan.config()).succeeded()
        shutil.rmtree(lan.data_dir, ignore_errors=True)
    assert answers[0] == answers[1] == answers[2]
    assert not re.search(rb"internal error|Traceback", answers[0][1] + answers[0][2])


@pytest.mark.parametrize("name", ["cni-macvlan-py", "host-local"])
def test_an_upgrade_by_mv_fails_no_call_that_is_beginning(tmp_path: Path, name: str) -> None:
    """The kernel then says that the executable is "… (deleted)"."""
    executable = tmp_path / "cni-macvlan-py"
    shutil.copy(PROGRAM, executable)
    opened = os.open(executable, os.O_PATH)
    executable.unlink()
    # The name that it is called by is not of a file any more.
    done = subprocess.run(
        [tmp_path / name],
        executable=f"/proc/self/fd/{opened}",
        pass_fds=[opened],
        env=VERSION,
        capture_output=True,
        check=False,
    )
    os.close(opened)
    assert (done.returncode, done.stderr, "supportedVersions" in json.loads(done.stdout)) == (0, b"", True)


def test_few_open_files_are_refused_before_anything_is_done_where_they_cannot_be_more(lan: Lan) -> None:
    """Root may have more (CAP_SYS_RESOURCE), and takes them."""
    pod, plugin = lan.host("pod"), lan.macvlan
    without = ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"]
    for words, works in (([], True), (without, False)):
        argv = ["prlimit", "--nofile=10", *words, str(plugin.executable)]
        environment = plugin.environment("ADD", pod, {"PATH": os.environ["PATH"]})
        config = json.dumps(lan.config(vlan=50)).encode()
        outcome = Outcome(lan.node.run(argv, input=config, env=environment, check=False))
        if works:
            assert outcome.status == 0, outcome.document
            plugin.delete(pod, lan.config(vlan=50)).succeeded()
        else:
            assert "RLIMIT_NOFILE is too low" in outcome.error["msg"]
        assert (links(pod), links(lan.node), leases(lan.data_dir)) == ([], ["eth0"], {})
