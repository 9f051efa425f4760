"""Which kernel the lab runs on: the host's own when it has every link type, else User-Mode Linux."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass

from . import syscalls, uml
from .errors import LabError

# One `ip -batch` line per kind. The bridge must filter VLANs, or a switch could not keep them apart.
LINK_KINDS = {
    "veth": "link add lab0 type veth peer name lab1",
    "macvlan": "link add link lab0 name lab2 type macvlan",
    "ipvlan": "link add link lab1 name lab3 type ipvlan",
    "802.1q": "link add link lab0 name lab4 type vlan id 2",
    "dummy": "link add lab5 type dummy",
    "a bridge that filters VLANs": "link add lab6 type bridge vlan_filtering 1",
}


@dataclass(frozen=True)
class Choice:
    """`kind` is "host" or "uml"; `why` is a sentence for people."""

    kind: str
    why: str


def missing_on_host() -> list[str]:
    """The links the host's kernel cannot make, by trying each in a network namespace that ends with the trial."""
    done = subprocess.run(
        ["ip", "-force", "-batch", "-"],
        input="\n".join(LINK_KINDS.values()).encode() + b"\n",
        env={**os.environ, "PATH": uml.SYSTEM_PATH, "LC_ALL": "C"},
        capture_output=True,
        preexec_fn=lambda: syscalls.unshare(syscalls.CLONE_NEWNET),
    )
    failed = {int(line) for line in re.findall(rb"Command failed -:(\d+)", done.stderr)}
    return [kind for line, kind in enumerate(LINK_KINDS, start=1) if line in failed]


def has_overlays() -> bool:
    """Whether the host's kernel can lay memory over /etc and /var, by trying it in a mount namespace of its own."""

    def lay_one() -> None:  # not mount(8), which leaves a /run/mount
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        syscalls.mount("overlay", "/mnt", "overlay", options="lowerdir=/etc:/var")

    try:
        subprocess.run(["true"], preexec_fn=lay_one)
    except subprocess.SubprocessError:
        return False
    return True


def choose(wanted: str = "auto") -> Choice:
    """The kernel for `wanted`; LabError says what to install when there is none.

    "auto" is the host's if it has everything, else User-Mode Linux. "host" takes it as it is, for what needs less.
    """
    if os.geteuid() != 0:
        raise LabError("the lab makes namespaces and mounts of its own: run it as root")
    if wanted == "uml":
        uml.require()
        return Choice("uml", "User-Mode Linux, as asked for")
    try:
        missing = missing_on_host()
    except FileNotFoundError:
        raise LabError("the lab needs the `ip` command: apt-get install iproute2") from None
    if not has_overlays():
        if wanted == "host":
            raise LabError("the host's kernel has no overlay file systems: modprobe overlay, or use --kernel uml")
        missing.append("overlay file systems")
    if not missing:
        return Choice("host", "the host's own kernel, which makes " + ", ".join(LINK_KINDS))
    lacks = "the host's kernel cannot make " + ", ".join(missing)
    if wanted == "host":
        return Choice("host", f"the host's own kernel, as asked for, although {lacks}")
    try:
        uml.require()
    except LabError as error:
        raise LabError(f"{lacks}; {error}") from None
    return Choice("uml", f"User-Mode Linux, because {lacks}")
