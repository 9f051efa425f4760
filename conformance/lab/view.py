"""What a command in the lab sees: the host's files, with memory over every place that tests write to.

Run once by the lab's first process, in a mount namespace (or User-Mode Linux) of its own, so that nothing outlives it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from . import syscalls
from .syscalls import mount

EMPTY = ("/run", "/tmp", "/dev/shm")
COPY_ON_WRITE = ("/etc", "/var")
EMPTY_BELOW = ("/var/tmp", "/var/lib/cni", "/etc/cni")  # made first where the host has none

LAB_DIRECTORY = "/run/lab"  # the lab's own things; only in the lab is there such a directory

# Where ip-netns(8) and runtimes keep namespaces. Each makes it shared with other mount namespaces where it is not: done
# midway, what is mounted there already would be mounted twice.
NETNS_DIRECTORY = "/run/netns"

# UML's modules lie where no modprobe looks, and the host may have no /lib/modules to mount them on; so the kernel's own
# requests (request_module(), which starts /proc/sys/kernel/modprobe) get a modprobe that knows.
MODPROBE = f"{LAB_DIRECTORY}/modprobe"
# Nor do the modules' options come from the host, whose files in modprobe.d are others on each machine: systemd's says
# this one, and without it the module makes a dummy0.
MODPROBE_OPTIONS = "options dummy numdummies=0\n"
MODULES = ("ipv6", "8021q", "dummy", "macvlan", "ipvlan", "veth", "bridge", "overlay")


def inside() -> bool:
    """Whether this process runs in the lab."""
    return os.path.isdir(LAB_DIRECTORY)


def system_directories() -> None:
    """/proc, /sys and /dev of a User-Mode Linux; its kernel has mounted an empty devtmpfs on /dev."""
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
    for directory in ("/dev/pts", "/dev/shm"):
        os.makedirs(directory, exist_ok=True)
    for link, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"/dev/{link}")


def own_system_directories() -> None:
    """/proc and /sys of the namespaces this process is in. The host's cgroups can be read, not changed: what a killed
    lab had made there would stay."""
    mount("proc", "/proc", "proc")
    cgroups = os.open("/sys/fs/cgroup", os.O_PATH)
    mount("sysfs", "/sys", "sysfs")
    mount(f"/proc/self/fd/{cgroups}", "/sys/fs/cgroup", flags=syscalls.MS_BIND | syscalls.MS_REC)
    mount("", "/sys/fs/cgroup", flags=syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY)
    os.close(cgroups)


def load_modules(directory: str) -> None:
    """Everything the lab promises, and whatever the kernel asks for later, from `directory`/RELEASE."""
    release = os.uname().release
    os.makedirs(f"{LAB_DIRECTORY}/lib/modules")
    os.symlink(f"{directory}/{release}", f"{LAB_DIRECTORY}/lib/modules/{release}")
    with open(f"{MODPROBE}.conf", "w", encoding="ascii") as config:
        config.write(MODPROBE_OPTIONS)
    with open(MODPROBE, "w", encoding="ascii") as script:
        script.write(f'#!/bin/sh\nexec /sbin/modprobe -d {LAB_DIRECTORY} -C {MODPROBE}.conf "$@"\n')
    os.chmod(MODPROBE, 0o755)
    with open("/proc/sys/kernel/modprobe", "w", encoding="ascii") as setting:
        setting.write(MODPROBE)
    status = os.spawnv(os.P_WAIT, MODPROBE, [MODPROBE, "-a", *MODULES])
    if status != 0:
        raise RuntimeError(f"modprobe of {' '.join(MODULES)} failed with status {status}")


def memory_over_the_host(keep: Iterable[str], modules: str | None) -> None:
    """Tmpfs and overlays over the places above, with the directories in `keep` still the host's own; then `modules`
    (a directory), which the overlays may need, are loaded."""
    hidden = EMPTY + COPY_ON_WRITE
    kept = [
        (path, os.open(path, os.O_PATH))
        for path in sorted(keep)
        if any(path == place or path.startswith(place + "/") for place in hidden)
    ]
    for place in EMPTY:
        mount("tmpfs", place, "tmpfs", options="mode=1777" if place != "/run" else "mode=755")
    os.makedirs(NETNS_DIRECTORY)
    mount(NETNS_DIRECTORY, NETNS_DIRECTORY, flags=syscalls.MS_BIND)
    mount("", NETNS_DIRECTORY, flags=syscalls.MS_SHARED)
    mount("devpts", "/dev/pts", "devpts", options="newinstance,ptmxmode=0666,mode=0620,gid=5")
    if modules:
        load_modules(modules)
    for place in COPY_ON_WRITE:
        overlay(place)
    for place in EMPTY_BELOW:
        if os.path.isdir(place):
            mount("tmpfs", place, "tmpfs", options="mode=1777" if place == "/var/tmp" else "mode=755")
    for path, fd in kept:
        os.makedirs(path, exist_ok=True)
        mount(f"/proc/self/fd/{fd}", path, flags=syscalls.MS_BIND | syscalls.MS_REC)
        os.close(fd)


def overlay(place: str) -> None:
    """`place` with its changes kept in memory, and with those of EMPTY_BELOW that it lacks."""
    memory = LAB_DIRECTORY + place
    os.makedirs(f"{memory}/upper")
    os.makedirs(f"{memory}/work")
    os.chmod(f"{memory}/upper", os.stat(place).st_mode & 0o7777)
    options = f"lowerdir={place},upperdir={memory}/upper,workdir={memory}/work"
    mount("overlay", place, "overlay", options=options)
    for below in EMPTY_BELOW:
        if below.startswith(place + "/"):
            os.makedirs(below, exist_ok=True)
