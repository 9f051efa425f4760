"""The podman of this node: how it attaches containers, by CNI plugins or netavark's, and where it looks for them.

Sources: containers.conf(5); of containers/common, pkg/config (the order of the files, the directories where none is
named) and libnetwork/network (which backend it is where none is named).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cni_core.names import printable

CNI, NETAVARK = "cni", "netavark"
# Where `install --netavark` puts the names: the first directory where podman looks.
PLUGIN_DIRECTORY = "/usr/local/libexec/netavark"
PLUGIN_DIRECTORIES = {
    CNI: ("/usr/local/libexec/cni", "/usr/libexec/cni", "/usr/local/lib/cni", "/usr/lib/cni", "/opt/cni/bin"),
    NETAVARK: (PLUGIN_DIRECTORY, "/usr/libexec/netavark", "/usr/local/lib/netavark", "/usr/lib/netavark"),
}
NETWORKS = {CNI: "/etc/cni/net.d", NETAVARK: "/etc/containers/networks"}
FILES = ("/usr/share/containers/containers.conf", "/etc/containers/containers.conf")
DROP_INS = "/etc/containers/containers.conf.d"
# What podman 4 has written down of the backend that it once chose.
CHOSEN = "/var/lib/containers/storage/defaultNetworkBackend"
HELPERS = ("/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman")
_WITHOUT_CNI = 5  # the first version
_SECONDS = 20


@dataclass(frozen=True)
class Podman:
    """version as it tells it; backend CNI or NETAVARK; where it looks for plugins, and for networks."""

    version: str
    backend: str
    plugin_directories: tuple[str, ...]
    networks: Path

    def plugin(self, name: str) -> str:
        """The path of the one that it calls; empty where there is none."""
        paths = (f"{directory}/{name}" for directory in self.plugin_directories)
        return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), "")

    def users(self, driver: str) -> list[str]:
        """The networks of a driver of netavark's, by name."""
        found = []
        for file in sorted(self.networks.glob("*.json")) if self.backend == NETAVARK else ():
            try:
                network = json.loads(file.read_bytes())
            except (OSError, ValueError):  # podman tells of it
                continue
            if isinstance(network, dict) and network.get("driver") == driver:
                found.append(str(network.get("name", file.stem)))
        return found


def find() -> Podman | None:
    """The node's; None where there is none."""
    program = shutil.which("podman")
    version = _version(program) if program else ""
    if not version:
        return None
    settings = _settings()
    backend = _backend(version, settings)
    named = settings.get(f"{backend}_plugin_dirs")
    directories = tuple(map(str, named)) if isinstance(named, list) else PLUGIN_DIRECTORIES[backend]
    return Podman(version, backend, directories, Path(settings.get("network_config_dir") or NETWORKS[backend]))


def _version(program: str) -> str:
    """Empty where it does not run."""
    # Our own loader's path (PyInstaller's) would have it take our libraries for its own.
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    call = [program, "--version"]
    try:
        told = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+(\.\d+)+", told.stdout)
    return found[0] if found else ""


def _settings() -> dict[str, Any]:
    """The table [network] of containers.conf: of a later file a key takes the place of an earlier one's, but a list
    that says {append = true} is added to it.
    """
    own = os.environ.get("CONTAINERS_CONF")
    files = [Path(own)] if own else [*map(Path, FILES), *sorted(Path(DROP_INS).glob("*.conf"))]
    settings: dict[str, Any] = {}
    for file in files:
        try:
            table = tomllib.loads(file.read_text()).get("network", {})
        except (OSError, ValueError):  # not there; podman tells of what cannot be read
            continue
        for key, value in table.items():
            appended = isinstance(value, list) and {"append": True} in value
            plain = [item for item in value if not isinstance(item, dict)] if isinstance(value, list) else value
            settings[key] = [*settings.get(key, []), *plain] if appended else plain
    return settings


def _backend(version: str, settings: dict[str, Any]) -> str:
    if int(version.partition(".")[0]) >= _WITHOUT_CNI:
        return NETAVARK
    try:
        chosen = settings.get("network_backend") or Path(CHOSEN).read_text().strip()
    except OSError:
        chosen = ""
    if chosen in (CNI, NETAVARK):
        return str(chosen)
    return NETAVARK if any(os.access(f"{directory}/netavark", os.X_OK) for directory in HELPERS) else CNI


def place(directory: Path, commands: dict[str, str]) -> None:
    """The names for netavark in a directory of plugins. commands: of each name, the program's path on the node."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, program in commands.items():
        link = directory / name
        if os.path.lexists(link) and not _is_ours(link):
            print(f"{printable(str(link))} is something else and stays.", file=sys.stderr)
            continue
        new = link.with_name(f".{name}.{os.getpid()}")
        new.symlink_to(program)
        new.rename(link)


def placed(directory: Path, commands: dict[str, str]) -> Iterator[Path]:
    """The links there that place made, to these programs."""
    for name, program in commands.items():
        if _is_ours(directory / name) and os.readlink(directory / name) == program:
            yield directory / name


def _is_ours(link: Path) -> bool:
    """Also one to a program that was installed elsewhere before."""
    return link.is_symlink() and os.path.basename(os.readlink(link)) == link.name
