"""podman as it can be run in the lab, with storage of its own."""

from __future__ import annotations

from pathlib import Path

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
