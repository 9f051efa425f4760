"""The container runtimes of a node, and where each looks for plugins and networks, as its own configuration says.

containerd reads /etc/containerd/config.toml and what its `imports` name; k3s and RKE2 write one of their own. A later
file takes the place of a whole plugin's section in version 2 (containerd 1.x), and adds to it key by key in version 3
(containerd 2.x; cmd/containerd/server/config/config.go: resolveImports, mergeConfig). CRI-O reads /etc/crio/crio.conf,
then every file below crio.conf.d in the order of their paths, key by key (pkg/config/config.go: UpdateFromPath).
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

PLUGINS, NETWORKS = "/opt/cni/bin", "/etc/cni/net.d"  # where both look without a word in their configuration
# The same section of containerd's configuration, by its versions: 3, 2 and 1.
CRI = ("io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri", "cri")
# Each containerd, by who runs it: the first file that is there is read; the node has one where any of `signs` is.
CONTAINERDS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("k3s", ("/var/lib/rancher/k3s/agent/etc/containerd/config.toml",), ()),
    ("RKE2", ("/var/lib/rancher/rke2/agent/etc/containerd/config.toml",), ()),
    # Flatcar has its own below /usr, for whoever writes none.
    (
        "containerd",
        ("/etc/containerd/config.toml", "/usr/share/containerd/config.toml"),
        ("/run/containerd/containerd.sock",),
    ),
)
CRIO, CRIO_DROP_INS, CRIO_SIGNS = "/etc/crio/crio.conf", "/etc/crio/crio.conf.d", ("/etc/crio", "/run/crio/crio.sock")


@dataclass(frozen=True)
class Runtime:
    """name; file, where its configuration is or would be; bin_dirs of plugins, in the order in which it looks; conf_dir
    of networks. All are paths of the node."""

    name: str
    file: str
    bin_dirs: tuple[str, ...]
    conf_dir: str

    def program(self, name: str, root: str = "") -> str:
        """The plugin that it would execute, a path below root; empty where there is none."""
        found = (f"{root}{directory}/{name}" for directory in self.bin_dirs)
        return next((path for path in found if os.access(path, os.X_OK)), "")


@dataclass(frozen=True)
class Unreadable:
    """A runtime whose configuration tells nothing, and why."""

    name: str
    file: str
    why: str


def runtimes(root: str = "") -> Iterator[Runtime | Unreadable]:
    """Those of the node whose files are below root. A containerd that runs no pods (docker's) is none."""
    for name, files, signs in CONTAINERDS:
        file = next((file for file in files if os.path.exists(root + file)), "")
        if file or any(os.path.exists(root + sign) for sign in signs):
            yield from _containerd(name, file or files[0], root)
    if any(os.path.exists(root + sign) for sign in CRIO_SIGNS):
        yield _crio(root)


def _containerd(name: str, file: str, root: str) -> Iterator[Runtime | Unreadable]:
    try:
        plugins, disabled = _merged(file, root)
        if not disabled.intersection((*CRI, *(f"io.containerd.grpc.v1.{one}" for one in CRI))):
            section: dict[str, Any] = next((plugins[key] for key in CRI if key in plugins), {})
            cni = section.get("cni", {})
            # Without a word, or with an empty one, it is the default (internal/cri/config/config.go).
            directories = cni.get("bin_dirs") or [cni.get("bin_dir") or PLUGINS]
            yield _runtime(name, file, directories, cni.get("conf_dir") or NETWORKS)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        yield Unreadable(name, file, str(error))


def _merged(first: str, root: str) -> tuple[dict[str, Any], set[str]]:
    """The sections of all plugins, and the disabled ones' names, of a file and of all that it imports."""
    plugins: dict[str, Any] = {}
    disabled: set[str] = set()
    pending, seen, version = [first], set[str](), 0
    while pending:
        file = pending.pop(0)
        if file in seen:
            continue
        seen.add(file)
        document = _document(file, root, missing_ok=file == first)
        version = version or document.get("version", 1)
        disabled.update(document.get("disabled_plugins", []))
        for name, section in document.get("plugins", {}).items():
            plugins[name] = _laid_over(plugins.get(name, {}), section) if version >= 3 else section
        for path in document.get("imports", []):
            path = os.path.normpath(os.path.join(os.path.dirname(file), path))
            found = sorted(glob(root + path)) if "*" in path else [root + path]
            pending += [one.removeprefix(root) for one in found]
    return plugins, disabled


def _laid_over(below: Any, above: Any) -> Any:
    """Tables by their keys, lists by what is new, all else by the upper."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _laid_over(below[key], value) if key in below else value for key, value in above.items()}
    if isinstance(below, list) and isinstance(above, list):
        return below + [one for one in above if one not in below]
    return above


def _crio(root: str) -> Runtime | Unreadable:
    network: dict[str, Any] = {}
    file = CRIO
    drop_ins = sorted(path for path in Path(root + CRIO_DROP_INS).rglob("*") if path.is_file())
    try:
        for file in (CRIO, *(str(path).removeprefix(root) for path in drop_ins)):
            network |= _document(file, root, missing_ok=file == CRIO).get("crio", {}).get("network", {})
        # The older word for one directory more (NetworkConfig.Validate).
        older = [network["plugin_dir"]] if network.get("plugin_dir") else []
        directories = [*network.get("plugin_dirs", [PLUGINS]), *older]
        return _runtime("CRI-O", CRIO, directories, network.get("network_dir") or NETWORKS)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        return Unreadable("CRI-O", file, str(error))


def _runtime(name: str, file: str, directories: list[str], networks: str) -> Runtime:
    return Runtime(name, file, tuple(map(os.path.normpath, directories)), os.path.normpath(networks))


def _document(file: str, root: str, *, missing_ok: bool) -> dict[str, Any]:
    """OSError, ValueError (no TOML)."""
    if missing_ok and not os.path.exists(root + file):
        return {}
    if os.path.exists(root + file) and not os.path.isfile(root + file):  # a FIFO would be waited for
        raise ValueError("it is not a file")
    return tomllib.loads(Path(root + file).read_text(encoding="utf-8"))


def directory_for(runtime: Runtime, root: str = "") -> str:
    """Of its directories the one to install in: ours already, else the first that can be written, else the first."""
    for is_fit in (_has_ours, _can_be_written):
        for directory in runtime.bin_dirs:
            if is_fit(root + directory):
                return directory
    return runtime.bin_dirs[0]


def _has_ours(directory: str) -> bool:
    return os.path.lexists(f"{directory}/cni-macvlan-py")


def _can_be_written(directory: str) -> bool:
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    return os.access(directory or "/", os.W_OK) and not os.statvfs(directory or "/").f_flag & os.ST_RDONLY
