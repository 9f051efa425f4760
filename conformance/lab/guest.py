"""The lab's first process: arranges the view, then runs commands for the other end of its channel, one at a time.

It is PID 1, of a User-Mode Linux or of a PID namespace: orphans are its to reap, and everything ends with it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket

from . import syscalls, uml, view, wire

HOSTNAME = "lab"
KEEP_FILE = os.path.join(uml.SCRATCH, "keep.json")
SERIAL_LINE = "/dev/ttyS0"


def main() -> None:
    """As init of User-Mode Linux."""
    import tty

    with open(KEEP_FILE, encoding="ascii") as file:
        keep = json.load(file)
    view.system_directories()
    view.memory_over_the_host(keep, modules=uml.MODULES)
    channel = os.open(SERIAL_LINE, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(channel)
    serve(channel, wire.SERIAL_WINDOW)


def main_on_host(channel: int, keep: list[str]) -> None:
    """As the first process in namespaces of the host's kernel."""
    view.own_system_directories()
    view.memory_over_the_host(keep, modules=None)
    serve(channel, wire.CHUNK)


def serve(channel: int, window: int) -> None:
    """Answer the frames of `wire`, taking `window` bytes at once, until the channel is closed."""
    want = b"%d" % window
    socket.sethostname(HOSTNAME)
    syscalls.link_up("lo")
    child_ended, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, stack: None)

    frames = wire.Frames()
    command: Command | None = None
    request = b""
    send(channel, wire.WANT, want)
    while True:
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        poll.register(child_ended, select.POLLIN)
        if command:
            command.register(poll)
        for fd, _ in poll.poll():
            if fd == channel:
                data = os.read(channel, wire.CHUNK)
                if not data:
                    return
                for kind, payload in frames.feed(data):
                    if kind == wire.PART:
                        request += payload
                        send(channel, wire.WANT, want)
                    elif kind == wire.RUN:
                        command = Command(channel, want, json.loads(request + payload))
                        request = b""
                    elif kind == wire.INPUT:
                        if command:
                            command.take_input(payload)
                        else:  # it was on its way when the command ended
                            send(channel, wire.WANT, want)
                    elif kind == wire.KILL and command:
                        command.kill()
            elif fd == child_ended:
                os.read(child_ended, 4096)
                status = reap(command.pid if command else 0)
                if command and status is not None:
                    command.finish(status)
                    command = None
            elif command:
                command.move(fd)


def send(channel: int, kind: bytes, payload: bytes = b"") -> None:
    rest = memoryview(wire.frame(kind, payload))
    while rest:
        rest = rest[os.write(channel, rest) :]


def reap(wanted: int) -> int | None:
    """Every child that has ended; the wait status of `wanted` if it was among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == wanted:
            found = status


class Command:
    """A running command, in a session of its own, and its three pipes."""

    def __init__(self, channel: int, want: bytes, request: dict[str, object]) -> None:
        self._channel = channel
        self._want = want
        stdin, stdin_writer = os.pipe()
        stdout_reader, stdout = os.pipe()
        stderr_reader, stderr = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            become(request, (stdin, stdout, stderr))
        for fd in (stdin, stdout, stderr):
            os.close(fd)
        self._stdin: int | None = stdin_writer
        self._outputs = {stdout_reader: wire.OUT, stderr_reader: wire.ERR}
        self._input = b""
        self._owes_want = False
        for fd in (stdin_writer, stdout_reader, stderr_reader):
            os.set_blocking(fd, False)
        send(channel, wire.WANT, want)

    def register(self, poll: select.poll) -> None:
        for fd in self._outputs:
            poll.register(fd, select.POLLIN)
        if self._stdin is not None and self._input:
            poll.register(self._stdin, select.POLLOUT)

    def move(self, fd: int) -> None:
        """Carry what is ready on one of the pipes."""
        if fd == self._stdin:
            self._feed()
        elif fd in self._outputs:
            self._carry(fd)

    def take_input(self, data: bytes) -> None:
        self._owes_want = True
        if data and self._stdin is not None:
            self._input = data
        else:
            self._close_stdin()

    def kill(self) -> None:
        for target in (self.pid, -self.pid):  # the group may not be there yet
            try:
                os.kill(target, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def finish(self, status: int) -> None:
        """The rest of what the command wrote, and its status. Processes it left behind may hold its pipes open, so
        their end is not waited for; nothing that the command itself wrote can be missing from them."""
        for fd in list(self._outputs):
            while self._carry(fd):
                pass
        for fd in self._outputs:
            os.close(fd)
        self._close_stdin()
        os.sync()
        send(self._channel, wire.EXIT, b"%d" % status)
        if self._owes_want:
            self._send_want()

    def _carry(self, fd: int) -> bool:
        """One piece of output; False if there is none for now, or none any more."""
        try:
            data = os.read(fd, wire.CHUNK)
        except BlockingIOError:
            return False
        if data:
            send(self._channel, self._outputs[fd], data)
            return True
        os.close(fd)
        del self._outputs[fd]
        return False

    def _feed(self) -> None:
        assert self._stdin is not None
        try:
            self._input = self._input[os.write(self._stdin, self._input) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._close_stdin()
            return
        if not self._input:
            self._send_want()

    def _send_want(self) -> None:
        self._owes_want = False
        send(self._channel, wire.WANT, self._want)

    def _close_stdin(self) -> None:
        if self._stdin is not None:
            os.close(self._stdin)
        self._stdin, self._input = None, b""


def become(request: dict[str, object], stdio: tuple[int, int, int]) -> None:
    """In the child: turn into the command, or end with the shell's 127 (not found) or 126 (cannot be run)."""
    argv, env, cwd = request["argv"], request["env"], request["cwd"]
    assert isinstance(argv, list) and isinstance(env, dict) and isinstance(cwd, str)
    status, what = 126, ""
    try:
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these, and exec would hand that on
            signal.signal(number, signal.SIG_DFL)
        for target, fd in enumerate(stdio):
            os.dup2(fd, target)
        what = cwd
        os.chdir(cwd)
        what = argv[0]
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            status = 127
        os.write(2, os.fsencode(f"lab: {what}: {error.strerror}\n"))
    finally:
        os._exit(status)
