"""The process between the lab's caller and the lab: makes the namespaces, and sees that nothing outlives the caller.

Everything of the lab lives below the first process of a PID namespace, which the kernel ends as a whole. This process,
outside of it, ends that first one when the caller dies (however: it holds the caller's pidfd) or says so by SIGTERM;
and should this process be killed itself, the first one dies by its parent-death signal. Mounts and files are in a mount
namespace that goes with them.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
from dataclasses import asdict, dataclass, field

from . import guest, syscalls, uml


@dataclass(frozen=True)
class Plan:
    """What the caller tells this process: descriptors are inherited, `keep` are directories that stay the host's."""

    kernel: str
    memory: str
    package_root: str
    channel: int
    caller: int
    keep: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def main() -> None:
    """argv[1] is a Plan."""
    plan = Plan(**json.loads(sys.argv[1]))
    for fd in (plan.channel, plan.caller):
        os.set_inheritable(fd, False)
    signal.signal(signal.SIGTERM, lambda number, stack: sys.exit())
    syscalls.unshare(
        syscalls.CLONE_NEWPID
        | syscalls.CLONE_NEWNS
        | syscalls.CLONE_NEWNET
        | syscalls.CLONE_NEWIPC
        | syscalls.CLONE_NEWUTS
    )
    syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    first = os.fork()
    if first == 0:
        try:
            first_process(plan)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.close(plan.channel)  # so that the caller sees its end when the lab has ended
        poll = select.poll()
        poll.register(plan.caller, select.POLLIN)
        poll.register(os.pidfd_open(first), select.POLLIN)
        poll.poll()
    finally:
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)  # returns when the whole namespace is gone


def first_process(plan: Plan) -> None:
    syscalls.die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if plan.kernel == "host":
        guest.main_on_host(plan.channel, plan.keep)
        return
    syscalls.mount("proc", "/proc", "proc")
    syscalls.mount("tmpfs", uml.SCRATCH, "tmpfs", options="mode=700,size=100%")
    with open(guest.KEEP_FILE, "w", encoding="ascii") as file:
        json.dump(plan.keep, file)
    argv, environment = uml.command(plan.channel, plan.memory, plan.package_root)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a panic of UML's aborts: no core file in the current directory
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # each file the guest opens is one of UML's
    os.set_inheritable(plan.channel, True)
    kernel = os.posix_spawnp(argv[0], argv, environment)
    os.close(plan.channel)
    while os.wait()[0] != kernel:
        pass
