"""Lab: one booted kernel, and the caller's end of the channel to its first process."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from . import uml, wire
from .cell import Plan
from .errors import LabError
from .kernel import choose

PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
BOOT_SECONDS = 60.0
ANSWER_SECONDS = 10.0  # for the guest to take a request, or to tell a killed command's end
PIPE_BUF = 4096  # limits.h: a pipe that polls writable takes this much without blocking


class Lab:
    """A kernel with macvlan, ipvlan, 802.1q, dummy, veth and bridge, from `with` to the end of its block.

    kernel: "auto" (the host's if it has them all), "host" (as it is) or "uml". memory: User-Mode Linux's, as in "1G".
    keep: directories that stay visible, and the host's own, although they lie below /tmp, /var, /etc or /run; the
    current directory, this package's and Python's are among them without saying. LabError when there is no kernel.
    """

    def __init__(
        self, kernel: str = "auto", *, memory: str = "1G", keep: Iterable[str | os.PathLike[str]] = ()
    ) -> None:
        self.choice = choose(kernel)
        self._memory = memory
        own = {os.getcwd(), PACKAGE_ROOT, sys.prefix, sys.base_prefix, os.path.dirname(sys.executable)}
        self._keep = sorted(own | {os.path.realpath(path) for path in keep})
        self._lock = threading.Lock()
        self._frames = wire.Frames()
        self._window = 0  # how many bytes the guest will take now
        self._channel: socket.socket | None = None

    def __enter__(self) -> Lab:
        self._channel, theirs = socket.socketpair()
        self._console = os.memfd_create("lab-console")
        myself = os.pidfd_open(os.getpid())
        plan = Plan(self.choice.kind, self._memory, PACKAGE_ROOT, theirs.fileno(), myself, self._keep)
        passed_on = ("PYTHONDONTWRITEBYTECODE", "LAB_XSAVE_MEND")
        try:
            self._cell = subprocess.Popen(
                [sys.executable, "-S", "-s", "-c", "from conformance.lab.cell import main; main()", plan.to_json()],
                env={
                    "PATH": uml.SYSTEM_PATH,
                    "PYTHONPATH": PACKAGE_ROOT,
                    **{name: os.environ[name] for name in passed_on if name in os.environ},
                },
                stdin=subprocess.DEVNULL,
                stdout=self._console,
                stderr=self._console,
                pass_fds=(theirs.fileno(), myself),
                cwd="/",
                start_new_session=True,  # a terminal's Ctrl-C is for the caller, who ends the lab in order
            )
        finally:
            theirs.close()
            os.close(myself)
        try:
            deadline = time.monotonic() + BOOT_SECONDS
            while not self._window:
                self._receive(deadline)
        except BaseException as error:
            self.close()
            if isinstance(error, _Expired):
                raise LabError(f"the lab did not boot in {BOOT_SECONDS:.0f} s: {self._last_words()}") from None
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the kernel and all that runs on it; when this returns, nothing of it is left."""
        if self._channel is not None:
            self._cell.terminate()
            self._cell.wait()
            self._channel.close()
            self._channel = None

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Like subprocess.run with captured output: a negative return code is a signal's number. A command that is
        not found gives 127, one that cannot be run 126. TimeoutExpired after `timeout` seconds: the command and its
        process group are killed, and the lab can be used on. Processes left in the background live until close()."""
        out, err = bytearray(), bytearray()
        try:
            status = self._exchange(argv, env, cwd, timeout, input, out.extend, err.extend)
        except _Expired:
            raise subprocess.TimeoutExpired(argv, timeout or 0, bytes(out), bytes(err)) from None
        return subprocess.CompletedProcess(argv, status, bytes(out), bytes(err))

    def stream(self, argv: Sequence[str], *, timeout: float | None = None) -> int:
        """Run with this process's own descriptors 0, 1 and 2 and its environment; the return code as run()'s."""
        deadline = _deadline(timeout)
        try:
            return self._exchange(
                argv,
                None,
                None,
                timeout,
                0,
                lambda data: _write(1, data, deadline),
                lambda data: _write(2, data, deadline),
            )
        except _Expired:
            raise subprocess.TimeoutExpired(argv, timeout or 0) from None

    def _exchange(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
        timeout: float | None,
        stdin: bytes | int,
        out: Callable[[bytes], None],
        err: Callable[[bytes], None],
    ) -> int:
        """One command from RUN to EXIT. `stdin` is the input itself, or a descriptor to read it from."""
        request = {
            "argv": list(argv),
            "env": dict(os.environ if env is None else env),
            "cwd": os.path.abspath(os.fspath(cwd)) if cwd is not None else os.getcwd(),
        }
        with self._lock:
            settled = False
            try:
                self._request(json.dumps(request).encode())
                try:
                    return self._converse(stdin, out, err, _deadline(timeout))
                except _Expired:
                    self._send(wire.KILL)
                    self._converse(b"", out, err, _deadline(ANSWER_SECONDS))
                    settled = True
                    raise
            except BaseException:
                if not settled:  # the channel is in the midst of something
                    self.close()
                raise

    def _request(self, body: bytes) -> None:
        deadline = _deadline(ANSWER_SECONDS)
        while body:
            try:
                while not self._window:
                    self._receive(deadline)
            except _Expired:
                raise LabError(f"the lab no longer answers: {self._last_words()}") from None
            piece, body = body[: self._window], body[self._window :]
            self._send(wire.PART if body else wire.RUN, piece)

    def _converse(
        self, stdin: bytes | int, out: Callable[[bytes], None], err: Callable[[bytes], None], deadline: float | None
    ) -> int:
        while True:
            source = stdin if self._window and isinstance(stdin, int) else None
            for kind, payload in self._receive(deadline, source):
                if kind == wire.OUT:
                    out(payload)
                elif kind == wire.ERR:
                    err(payload)
                elif kind == wire.EXIT:
                    return os.waitstatus_to_exitcode(int(payload))
            if self._window and isinstance(stdin, bytes):
                piece, stdin = stdin[: self._window], stdin[self._window :]
                self._send(wire.INPUT, piece)
            elif source is not None and _ready(source):
                self._send(wire.INPUT, os.read(source, self._window))

    def _send(self, kind: bytes, payload: bytes = b"") -> None:
        if self._channel is None:
            raise LabError("the lab is closed")
        if kind != wire.KILL:
            self._window = 0
        try:
            self._channel.sendall(wire.frame(kind, payload))
        except OSError:
            raise LabError(f"the lab ended by itself: {self._last_words()}") from None

    def _receive(self, deadline: float | None, or_readable: int | None = None) -> list[tuple[bytes, bytes]]:
        """The next frames from the lab; none if `or_readable` became readable first."""
        if self._channel is None:
            raise LabError("the lab is closed")
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        if or_readable is not None:
            poll.register(or_readable, select.POLLIN)
        ready = dict(poll.poll(_milliseconds(deadline)))
        if not ready:
            raise _Expired
        if self._channel.fileno() not in ready:
            return []
        try:
            data = self._channel.recv(2 * wire.CHUNK)
        except ConnectionResetError:
            data = b""
        if not data:
            raise LabError(f"the lab ended by itself: {self._last_words()}")
        frames = list(self._frames.feed(data))
        for kind, payload in frames:
            if kind == wire.WANT:
                self._window = int(payload)
        return frames

    def _last_words(self) -> str:
        """The end of what the kernel and the lab's own processes wrote to their console."""
        size = os.fstat(self._console).st_size
        return os.pread(self._console, 2000, max(0, size - 2000)).decode(errors="replace").strip() or "without a word"


class _Expired(Exception):
    """The deadline of an exchange has passed."""


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _milliseconds(deadline: float | None) -> int | None:
    return None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000) + 1)


def _ready(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def _write(fd: int, data: bytes, deadline: float | None) -> None:
    """All of `data`, however slow the reader, but not past the deadline."""
    rest = memoryview(data)
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    while rest:
        if not poll.poll(_milliseconds(deadline)):
            raise _Expired
        rest = rest[os.write(fd, rest[:PIPE_BUF]) :]


def exit_status(returncode: int) -> int:
    """As a shell gives it: 128 and the signal's number for a death by signal."""
    return returncode if returncode >= 0 else 128 - returncode


def die_of(number: signal.Signals) -> None:
    """End this process as the signal would have, so that a calling shell sees it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
