"""podman as it can be run in the lab, with storage of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.kernel.busybox import busybox_root
from tests.kernel.conftest import Lan

# User-Mode Linux has neither seccomp nor, for the lab, control groups.
CONTAINERS_CONF = """
[containers]
cgroups = "disabled"
cgroupns = "host"
{network}
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "crun"
"""
STORAGE_CONF = '[storage]\ndriver = "vfs"\ngraphroot = "{directory}/graph"\nrunroot = "{directory}/run"\n'
CONFINED = ("--security-opt", "seccomp=unconfined", "--cap-add", "NET_RAW")  # what `podman run` needs then


def environment(directory: Path, network: str) -> dict[str, str]:
    """The variables that make podman use the configuration that is written there; network is its section [network]."""
    (directory / "containers.conf").write_text(CONTAINERS_CONF.format(network=network))
    (directory / "storage.conf").write_text(STORAGE_CONF.format(directory=directory))
    return {
        "HOME": str(directory),
        "CONTAINERS_CONF": str(directory / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
    }


class Podman:
    """podman on the node. directory: for the roots of its containers; prefix: of every command."""

    def __init__(self, lan: Lan, directory: Path, network: str, prefix: tuple[str, ...] = ()) -> None:
        """network: the section of containers.conf."""
        self.lan = lan
        self.directory = directory
        self.prefix = prefix
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment(directory, network)}

    def answer(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [*self.prefix, "podman", *arguments]
        return self.lan.node.run(command, env=self.environment, check=False, timeout=120)

    def __call__(self, *arguments: str) -> str:
        """What `podman ARGUMENTS` prints."""
        done = self.answer(*arguments)
        assert done.returncode == 0, (arguments, done.stdout.decode(), done.stderr.decode())
        return done.stdout.decode()

    def refused(self, *arguments: str) -> str:
        """What it says on standard error where it fails."""
        done = self.answer(*arguments)
        assert done.returncode != 0, (arguments, done.stdout.decode())
        return done.stderr.decode()

    def arguments(self, name: str, *options: str) -> list[str]:
        """Of `run`, for a container of busybox that sleeps."""
        root = busybox_root(self.directory / f"root-{name}")
        return ["run", "-d", "--name", name, *CONFINED, *options, "--rootfs", str(root), "/bin/sleep", "1000"]

    def run(self, name: str, *options: str) -> None:
        self(*self.arguments(name, *options))

    def ping(self, name: str, address: str) -> None:
        self("exec", name, "ping", "-c", "1", "-W", "5", address)

    def addresses(self, name: str) -> list[str]:
        """Of its eth0, as busybox shows them."""
        words = self("exec", name, "ip", "-o", "addr", "show", "dev", "eth0", "scope", "global").split()
        return [word for before, word in zip(words, words[1:], strict=False) if before in ("inet", "inet6")]
