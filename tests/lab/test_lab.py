"""The lab from outside: what a command gets and gives, its end, and that nothing stays on the host."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conformance.lab import Lab, LabError, kernel, uml

ROOT = Path(__file__).resolve().parents[2]
CLI = [sys.executable, "-m", "conformance.lab"]
EVERY_BYTE = bytes(range(256))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def cli(*arguments: str, input: bytes = b"", cwd: Path = ROOT) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([*CLI, *arguments], input=input, capture_output=True, cwd=cwd, env=environment, timeout=100)


# What a command gives back


@pytest.mark.parametrize("status", [0, 1, 77, 124, 255])
def test_the_exit_status_is_the_commands(lab: Lab, status: int) -> None:
    assert lab.run(["sh", "-c", f"exit {status}"]).returncode == status


def test_a_death_by_signal_is_told_as_subprocess_tells_it(lab: Lab) -> None:
    assert lab.run(["sh", "-c", "kill -TERM $$"]).returncode == -signal.SIGTERM


def test_output_and_errors_stay_apart_and_whole(lab: Lab) -> None:
    program = "import os; os.write(1, bytes(range(256))); os.write(2, bytes(range(255, -1, -1)))"
    done = lab.run(["/usr/bin/python3", "-S", "-c", program])
    assert (done.stdout, done.stderr) == (EVERY_BYTE, EVERY_BYTE[::-1])


def test_megabytes_of_both_come_through(lab: Lab) -> None:
    done = lab.run(["sh", "-c", "head -c 5000000 /dev/zero & head -c 3000000 /dev/zero >&2; wait"])
    assert (len(done.stdout), len(done.stderr)) == (5_000_000, 3_000_000)


@pytest.mark.parametrize("size", [0, 1, 4096, 300_000])
def test_input_reaches_the_command_whole(lab: Lab, size: int) -> None:
    data = (EVERY_BYTE * (size // 256 + 1))[:size]
    assert lab.run(["cat"], input=data, timeout=30).stdout == data


def test_input_that_nobody_reads_harms_neither_this_command_nor_the_next(lab: Lab) -> None:
    for _ in range(3):
        assert lab.run(["true"], input=b"x" * 500_000, timeout=30).returncode == 0
    assert lab.run(["cat"], input=b"whole", timeout=30).stdout == b"whole"


def test_what_a_command_left_behind_does_not_hold_it_up(lab: Lab) -> None:
    assert lab.run(["sh", "-c", "sleep 1000 & echo done"], timeout=20).stdout == b"done\n"


@pytest.mark.parametrize(("command", "status"), [("no-such-command", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_be_run_is_named(lab: Lab, command: str, status: int) -> None:
    done = lab.run([command])
    assert done.returncode == status
    assert command.encode() in done.stderr


# What it gets


def test_environment_and_directory_are_the_callers(lab: Lab) -> None:
    done = lab.run(
        ["sh", "-c", 'echo "$FRUIT"; pwd'], env={"PATH": os.environ["PATH"], "FRUIT": "fig\n\u00e9"}, cwd="/usr"
    )
    assert done.stdout.decode() == "fig\n\u00e9\n/usr\n"


def test_a_large_environment_fits(lab: Lab) -> None:
    value = "x" * 50_000
    assert len(lab.run(["sh", "-c", 'echo "$LARGE"'], env={**os.environ, "LARGE": value}).stdout) == len(value) + 1


def test_the_kernel_makes_every_kind_of_link(lab: Lab) -> None:
    lines = "\n".join([*kernel.LINK_KINDS.values(), ""]).encode()
    done = lab.run(["unshare", "-n", "ip", "-batch", "-"], input=lines)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_loopback_is_up_and_the_only_link(lab: Lab) -> None:
    links = lab.run(["ip", "-o", "link"]).stdout.decode().splitlines()
    assert len(links) == 1
    assert "LOOPBACK,UP" in links[0]


def test_no_descriptor_of_the_labs_own_is_inherited(lab: Lab) -> None:
    script = "for fd in $(seq 0 99); do [ -e /proc/$$/fd/$fd ] && echo $fd; done; true"
    assert lab.run(["sh", "-c", script]).stdout.split() == [b"0", b"1", b"2"]


def test_signals_that_python_ignores_are_not_ignored_in_the_command(lab: Lab) -> None:
    ignored = lab.run(["sh", "-c", "grep SigIgn /proc/self/status"]).stdout.split()[1]
    assert int(ignored, 16) == 0


PLACES = ["/tmp", "/run", "/dev/shm", "/var/tmp", "/var/lib/cni", "/etc/cni", "/etc", "/var/lib"]


@pytest.mark.parametrize("place", PLACES)
def test_what_is_written_there_is_not_the_hosts(lab: Lab, place: str) -> None:
    written = Path(place, "written-in-the-lab")
    written.unlink(missing_ok=True)  # of a run that failed
    assert lab.run(["sh", "-c", f"echo yes > {written} && cat {written}"]).stdout == b"yes\n"
    assert not written.exists()


def test_the_current_directory_is_the_hosts_own_even_below_tmp(tmp_path: Path) -> None:
    (tmp_path / "given").write_text("here")
    done = cli("run", "--", "sh", "-c", "cat given > taken", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "taken").read_text() == "here"


def test_a_directory_that_is_kept_stays_visible(tmp_path: Path) -> None:
    (tmp_path / "given").write_text("here")
    assert cli("run", "--keep", str(tmp_path), "--", "cat", str(tmp_path / "given")).stdout == b"here"


# One boot, many commands; the end


def test_many_commands_share_one_boot(lab: Lab) -> None:
    boots = {lab.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout for _ in range(20)}
    assert len(boots) == 1
    lab.run(["sh", "-c", "echo kept > /run/between-commands"])
    assert lab.run(["cat", "/run/between-commands"]).stdout == b"kept\n"


def test_orphans_are_reaped(lab: Lab) -> None:
    lab.run(["sh", "-c", "(sleep 0.2; exit 3) & exit 0"])
    time.sleep(0.5)
    assert b" Z" not in lab.run(["ps", "-eo", "pid,stat"]).stdout


def test_at_its_time_limit_a_command_is_killed_and_the_lab_lives_on(lab: Lab) -> None:
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        lab.run(["sh", "-c", "echo said; sleep 977 & sleep 978"], timeout=1)
    assert caught.value.output == b"said\n"
    assert b"sleep 97" not in lab.run(["ps", "-eo", "args"]).stdout


def test_a_closed_lab_says_so() -> None:
    with Lab() as lab:
        pass
    with pytest.raises(LabError, match="closed"):
        lab.run(["true"])


def test_the_cli_passes_statuses_signals_and_streams_on() -> None:
    done = cli("run", "--", "sh", "-c", "cat; echo oops >&2; exit 9", input=EVERY_BYTE)
    assert (done.returncode, done.stdout, done.stderr) == (9, EVERY_BYTE, b"oops\n")
    assert cli("run", "--", "sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_the_cli_streams_while_the_command_runs() -> None:
    with started("sh", "-c", "echo first; read line; echo second") as process:
        assert process.stdout and process.stdin
        assert process.stdout.readline() == b"first\n"
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"second\n"


def test_the_clis_time_limit_is_124_and_a_sentence() -> None:
    done = cli("run", "--timeout", "1", "--", "sleep", "100")
    assert (done.returncode, done.stdout) == (124, b"")
    assert done.stderr == b"lab: the time limit of 1 s was hit: sleep 100\n"


def test_a_reader_who_stops_reading_does_not_stop_the_time_limit() -> None:
    process = subprocess.Popen(
        [*CLI, "run", "--timeout", "2", "--", "cat", "/dev/zero"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.wait(timeout=40) == 124
    finally:
        process.kill()
        process.communicate()


# The host's own kernel. In the lab every kind of link is there, so the lab within the lab is of that kind.


def test_in_the_lab_the_hosts_kernel_is_chosen_and_behaves_the_same(lab: Lab) -> None:
    inner = [sys.executable, "-m", "conformance.lab"]
    assert lab.run([*inner, "kernel"], cwd=ROOT).stdout.startswith(b"host: ")
    places = " ".join(PLACES)
    script = f"cat; echo oops >&2; for place in {places}; do : > $place/inner || exit 1; done; ip -o link; exit 9"
    done = lab.run([*inner, "run", "--", "sh", "-c", script], cwd=ROOT, input=EVERY_BYTE)
    assert (done.returncode, done.stderr) == (9, b"oops\n")
    assert done.stdout.startswith(EVERY_BYTE)
    assert done.stdout.count(b"LOOPBACK,UP") == 1
    assert lab.run(["sh", "-c", "ls /tmp/inner /run/inner /var/lib/cni/inner /etc/cni/inner /etc/inner"]).stdout == b""
    assert b"conformance.lab.cell" not in lab.run(["ps", "-eo", "args"]).stdout


def test_in_the_lab_the_hosts_kernel_keeps_time_limits(lab: Lab) -> None:
    done = lab.run([sys.executable, "-m", "conformance.lab", "run", "--timeout", "1", "--", "sleep", "979"], cwd=ROOT)
    assert done.returncode == 124
    assert b"sleep 979" not in lab.run(["ps", "-eo", "args"]).stdout


# Nothing stays


class started:
    """`conformance.lab run -- COMMAND` in the background."""

    def __init__(self, *command: str, python: Sequence[str] = (sys.executable,)) -> None:
        self.process = subprocess.Popen(
            [*python, "-m", "conformance.lab", "run", "--", *command],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def descendants(pid: int) -> list[int]:
    parents = {}
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = [pid]
    for ancestor in found:
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found[1:]


def alive(pids: list[int]) -> list[str]:
    """The command lines of those that run; a zombie has none, and one that ends while it is asked is no more."""
    found = []
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append(Path(f"/proc/{pid}/cmdline").read_text())
    return [line for line in found if line]


class Place:
    """A mount namespace with places of its own for temporary files, so that only the lab can leave something there."""

    OWN = ("/tmp", "/var/tmp", "/dev/shm", "/run")
    SHARED = ("/", "/etc", "/var", "/var/lib")

    def __init__(self) -> None:
        mounts = [f"mount -t tmpfs tmpfs {directory}" for directory in self.OWN]
        # The repository stays to be seen, even where it lies below one of them.
        again = [f"mkdir -p '{ROOT}'", f"mount -c --bind /proc/self/fd/9 '{ROOT}'", "exec 9<&-"]
        steps = [f"exec 9<'{ROOT}'", *mounts, *again, "echo ready", "exec sleep infinity"]
        self._holder = subprocess.Popen(["unshare", "-m", "sh", "-c", " && ".join(steps)], stdout=subprocess.PIPE)
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"ready\n"

    def start(self, *arguments: str) -> started:
        enter = ["nsenter", "-m", "-t", str(self._holder.pid), f"--wd={ROOT}", "env", "HOME=/run"]
        return started(*arguments, python=[*enter, os.path.realpath(sys.executable)])

    def content(self) -> dict[str, list[str]]:
        root = Path(f"/proc/{self._holder.pid}/root")
        found = {place: sorted(os.listdir(root / place[1:])) for place in self.OWN + self.SHARED}
        found["mounts"] = Path(f"/proc/{self._holder.pid}/mountinfo").read_text().splitlines()
        return found

    def end(self) -> None:
        self._holder.kill()
        self._holder.communicate()


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.end()


def wait_for(truth: Callable[[], bool], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while not truth():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_lab_leaves_nothing(place: Place, number: signal.Signals) -> None:
    before = place.content()
    script = "touch /tmp/x /run/x /var/lib/cni/x; ip link add x type dummy; echo up; sleep 1000"
    with place.start("sh", "-c", script) as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        family = descendants(process.pid)
        assert len(family) >= 3
        process.send_signal(number)
        assert wait_for(lambda: not alive(family)), alive(family)
        assert process.wait(timeout=5) == -number
    assert place.content() == before


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.2, 0.4, 0.8, 1.2])
def test_a_lab_killed_while_it_boots_leaves_nothing(place: Place, delay: float) -> None:
    before = place.content()
    with place.start("sleep", "1000") as process:
        time.sleep(delay)
        family = descendants(process.pid)
        process.kill()
        assert wait_for(lambda: not alive(family)), alive(family)
    assert place.content() == before


def test_when_the_process_between_is_killed_nothing_is_left_either(place: Place) -> None:
    before = place.content()
    with place.start("sh", "-c", "echo up; sleep 1000") as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        family = descendants(process.pid)
        os.kill(family[0], signal.SIGKILL)
        assert process.wait(timeout=10) == 125
        assert process.stderr
        assert b"ended by itself" in process.stderr.read()
        assert wait_for(lambda: not alive(family)), alive(family)
    assert place.content() == before


def test_a_lab_that_ends_in_order_leaves_nothing(place: Place) -> None:
    before = place.content()
    with place.start("sh", "-c", "sleep 1000 & echo up; read line") as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        family = descendants(process.pid)
        process.communicate(b"\n", timeout=10)
        assert not alive(family)
        assert process.returncode == 0
    assert place.content() == before


def test_labs_run_side_by_side() -> None:
    def use(name: str) -> bytes:
        with Lab() as lab:
            lab.run(["sh", "-c", f"echo {name} > /run/name"])
            time.sleep(0.5)
            return lab.run(["cat", "/run/name"]).stdout

    names = ["one", "two", "three"]
    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(use, names)) == [f"{name}\n".encode() for name in names]


# Which kernel


def test_a_host_that_has_everything_needs_no_uml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "missing_on_host", list)
    monkeypatch.setattr(uml, "SYSTEM_PATH", "/nonexistent")
    monkeypatch.setattr(kernel, "has_overlays", lambda: True)
    assert kernel.choose().kind == "host"


def test_where_neither_kernel_can_be_had_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "missing_on_host", lambda: ["ipvlan"])
    monkeypatch.setattr(kernel, "has_overlays", lambda: True)
    monkeypatch.setattr(uml, "MODULES", "/nonexistent")
    with pytest.raises(LabError, match=r"cannot make ipvlan; .*apt-get install user-mode-linux kmod"):
        kernel.choose()


def test_the_probe_for_link_kinds_leaves_the_hosts_links_alone() -> None:
    def links() -> bytes:
        return subprocess.run(["ip", "-o", "link"], capture_output=True, check=True).stdout

    before = links()
    kernel.missing_on_host()
    assert links() == before
