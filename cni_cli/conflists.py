"""The networks of a node: the conflists and confs of a directory that are ours, as a runtime reads them."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cni_cli.errors import CommandError
from cni_core.schema.formats import is_cni_name, split_vlan
from ipam.store import DEFAULT_DATA_DIR

DIRECTORY = "/etc/cni/net.d"
KINDS = {"macvlan": "macvlan", "cni-macvlan-py": "macvlan", "ipvlan": "ipvlan", "cni-ipvlan-py": "ipvlan"}
SUFFIXES = (".conf", ".conflist", ".json")


def add_directory(parser: argparse.ArgumentParser) -> None:
    """--dir, of the commands that read or write networks."""
    parser.add_argument("--dir", default=DIRECTORY, metavar="DIRECTORY", help="of the networks (default: %(default)s)")


@dataclass(frozen=True)
class Network:
    """name; file; kind macvlan or ipvlan; config, the plugin's own with what libcni adds (name, cniVersion)."""

    name: str
    file: Path
    kind: str
    config: dict[str, Any]

    @property
    def parent(self) -> str:
        """As people call it: eth0, eth0.50, "internal", or "default route"."""
        if self.config.get("internal"):
            return "internal"
        master = self.config.get("master") or "default route"
        name = master if isinstance(master, str) else ", ".join(master)
        return f"{name}.{self.config['vlan']}" if self.config.get("vlan") else name

    @property
    def lower(self) -> tuple[str, tuple[int, ...]] | None:
        """The parent for comparison: the lowest link's name, and the VLAN ids above it. None where no name tells."""
        master = self.config.get("master")
        if not isinstance(master, str) or not master:
            return None
        ids = [self.config["vlan"]] if self.config.get("vlan") else []
        while split := split_vlan(master):
            master = split[0]
            ids.insert(0, split[1])
        return master, tuple(ids)

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
        return str(ipam.get("dataDir") or DEFAULT_DATA_DIR) if ipam.get("type") == "host-local" else ""

    @property
    def ranges(self) -> list[dict[str, Any]]:
        """Every range of host-local's, of all sets, and the older form's."""
        ipam = self.config.get("ipam") or {}
        found = [one for part in ipam.get("ranges") or [] for one in part]
        return [*found, ipam] if ipam.get("subnet") else found


def networks_in(directory: str) -> list[Network]:
    """Those of our kinds, in the order of their files; a file that cannot be read as a network is passed over."""
    found = []
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    for name in names:
        if name.endswith(SUFFIXES):
            found += _of(Path(directory, name))
    return found


def find(directory: str, name: str) -> Network:
    """The network of that name. CommandError."""
    networks = networks_in(directory)
    for network in networks:
        if network.name == name:
            return network
    known = ", ".join(network.name for network in networks) or "none"
    raise CommandError(f"there is no macvlan or ipvlan network {name} in {directory}", f"There are: {known}.")


def plugins_of(document: Any) -> list[dict[str, Any]]:
    """The plugins of a conflist or conf, each with the name and version that libcni adds."""
    if not isinstance(document, dict):
        return []
    plugins = document.get("plugins", [document])
    common = {key: document[key] for key in ("name", "cniVersion") if key in document}
    return [plugin | common for plugin in plugins if isinstance(plugin, dict)] if isinstance(plugins, list) else []


def _of(file: Path) -> list[Network]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [
        Network(config["name"], file, KINDS[config["type"]], config)
        for config in plugins_of(document)
        if config.get("type") in KINDS and isinstance(config.get("name"), str) and is_cni_name(config["name"])
    ]


def write_new(directory: str, name: str, document: dict[str, Any]) -> Path:
    """Writes DIRECTORY/NAME.conflist, whole or not at all, and never over an existing one. CommandError."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
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
