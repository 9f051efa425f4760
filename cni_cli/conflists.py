"""The networks of a node: the conflists and confs of a directory that are ours, as a runtime reads them."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

from cni_cli.errors import CommandError
from cni_cli.kinds import has_leases, link_kind
from cni_core import network as core
from cni_core.gojson import as_go_reads
from ipam.store import DEFAULT_DATA_DIR

BIN_DIRECTORY = "/opt/cni/bin"
DIRECTORY = "/etc/cni/net.d"
KINDS = {"macvlan": "macvlan", "cni-macvlan-py": "macvlan", "ipvlan": "ipvlan", "cni-ipvlan-py": "ipvlan"}
OURS = {name: f"cni-{kind}-py" for name, kind in KINDS.items()}  # each type by the name that nobody else's has
SUFFIXES = (".conf", ".conflist", ".json")


def add_directory(parser: argparse.ArgumentParser) -> None:
    """--dir, of the commands that read or write networks."""
    parser.add_argument("--dir", default=DIRECTORY, metavar="DIRECTORY", help="of the networks (default: %(default)s)")


def add_bin_directory(parser: argparse.ArgumentParser) -> None:
    """--bin-dir, of the commands that look for the plugins."""
    default = os.environ.get("CNI_BIN_DIR", BIN_DIRECTORY)
    parser.add_argument("--bin-dir", default=default, metavar="DIRECTORY", help="of plugins (default: %(default)s)")


@dataclass(frozen=True)
class Network:
    """name; file; kind macvlan or ipvlan; config, the plugin's own with what libcni adds (name, cniVersion), which is
    valid by its schema."""

    name: str
    file: Path
    kind: str
    config: dict[str, Any]

    @property
    def values(self) -> core.Network:
        """The configuration as the plugin reads it."""
        return core.Network(self.config)

    @property
    def parent(self) -> str:
        """As people call it: eth0, eth0.50, "internal", or "default route"."""
        if self.config.get("internal"):
            return "internal"
        master = self.config.get("master") or "default route"
        name = master if isinstance(master, str) else ", ".join(master)
        name = f"{name}.{self.config['vlan']}" if self.config.get("vlan") else name
        return f"{name} in the container" if self.config.get("linkInContainer") else name

    @property
    def use(self) -> str:
        """What the parent is used as: as much of the configuration as all networks on it must share."""
        mode = self.config.get("mode") or {"macvlan": "bridge", "ipvlan": "l2"}[self.kind]
        if self.kind == "ipvlan":
            return f"ipvlan {mode}, flag {self.config.get('flag') or 'bridge'}"
        return "macvlan passthru" if mode == "passthru" else "macvlan"

    @property
    def data_dir(self) -> str:
        """Where its leases lie; empty if another IPAM plugin has them."""
        ipam = self.config.get("ipam") or {}
        return os.path.normpath(ipam.get("dataDir") or DEFAULT_DATA_DIR) if has_leases(self.config) else ""

    @property
    def ranges(self) -> list[dict[str, Any]]:
        """Every range, of all sets, and the older form's."""
        ipam = self.config.get("ipam") or {}
        found = [one for part in ipam.get("ranges") or [] for one in part]
        return [*found, ipam] if ipam.get("subnet") else found


@dataclass(frozen=True)
class Broken:
    """A file, or a network of ours in it, that no runtime can use; the network's name, or empty; what is wrong."""

    file: Path
    name: str
    why: str


def networks_in(directory: str) -> list[Network]:
    """Those of our kinds, in the order of their files; what is broken is passed over."""
    return [found for file in files_in(directory) for found in _of(file) if isinstance(found, Network)]


def broken_in(directory: str) -> list[Broken]:
    """What networks_in passes over though somebody meant it for a runtime."""
    return [found for file in files_in(directory) for found in _of(file) if isinstance(found, Broken)]


def find(directory: str, name: str) -> Network:
    """The network of that name. CommandError."""
    networks = networks_in(directory)
    for network in networks:
        if network.name == name:
            return network
    for broken in broken_in(directory):
        if name in (broken.name, broken.file.stem):
            raise CommandError(f"{broken.file}: {broken.why}", f"`validate {broken.file}` tells all.")
    known = ", ".join(network.name for network in networks) or "none"
    raise CommandError(f"there is no macvlan or ipvlan network {name} in {directory}", f"There are: {known}.")


def refuse_name(directory: str, name: str) -> None:
    """CommandError where a network has the name, of whatever plugins it is."""
    for file in files_in(directory):
        try:
            document = _document(file)
        except ValueError:
            continue
        if isinstance(document, dict) and document.get("name") == name:
            raise CommandError(
                f"network {name} exists: {file}", "Remove that network first, or give this one another name."
            )


def types_in(directory: str) -> Iterator[tuple[str, set[str]]]:
    """The name of each file, in the order of a runtime, with the types of its plugins, whosever they are."""
    for file in files_in(directory):
        try:
            plugins = plugins_of(_document(file))
        except ValueError:  # broken_in tells of those that are ours
            continue
        yield file.name, {kind for plugin in plugins if isinstance(kind := plugin.get("type"), str)}


def plugins_of(document: Any) -> list[dict[str, Any]]:
    """The plugins of a conflist or conf, each with the name and version that libcni adds."""
    if not isinstance(document, dict):
        return []
    plugins = document.get("plugins", [document])
    common = {key: document[key] for key in ("name", "cniVersion") if key in document}
    return [plugin | common for plugin in plugins if isinstance(plugin, dict)] if isinstance(plugins, list) else []


def files_in(directory: str) -> list[Path]:
    """The files that a runtime reads, in its order."""
    try:
        return [Path(directory, name) for name in sorted(os.listdir(directory)) if name.endswith(SUFFIXES)]
    except FileNotFoundError:
        return []


def _document(file: Path) -> Any:
    """ValueError, with what is wrong."""
    if not file.is_file():
        raise ValueError("it is not a file")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _of(file: Path) -> Iterator[Network | Broken]:
    try:
        configs = [as_go_reads(config) for config in plugins_of(_document(file))]
    except ValueError as error:
        yield Broken(file, "", str(error))
        return
    except RecursionError:
        yield Broken(file, "", "it is nested too deeply")
        return
    for config in configs:
        kind, name = config.get("type"), config.get("name")
        if not isinstance(kind, str) or kind not in KINDS:
            continue
        if link_kind(config).accepts(config):
            yield Network(config["name"], file, KINDS[kind], config)
        else:
            yield Broken(file, name if isinstance(name, str) else "", f"its configuration of {kind} is invalid")


@contextmanager
def locked(directory: str) -> Iterator[None]:
    """Makes the directory, and keeps other commands that write networks out of it."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_new(directory: str, name: str, document: dict[str, Any]) -> Path:
    """Writes DIRECTORY/NAME.conflist, whole or not at all, and never over an existing file. CommandError."""
    file = Path(directory, f"{name}.conflist")
    unfinished = Path(directory, f".{name}.{os.getpid()}")  # no suffix that a runtime reads
    try:
        with open(unfinished, "x", encoding="utf-8") as stream:
            stream.write(text_of(document))
            stream.flush()
            os.fsync(stream.fileno())
        os.link(unfinished, file)
    except FileExistsError:
        raise CommandError(f"{file} exists", "Remove that network first, or give this one another name.") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return file


def text_of(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
