"""What a runtime asks: CNI_* variables, CNI_ARGS and the configuration, checked before anything is touched."""

from __future__ import annotations

from cni_core.address import Address, Cidr
from cni_core.config import SINCE, SUPPORTED, TAKE_BACK, version_of
from cni_core.errors import INCOMPATIBLE_VERSION, INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from cni_core.names import Attachment
from cni_core.result import Result
from cni_core.schema.formats import is_address, is_cni_name, is_interface_name, is_mac
from cni_core.strictjson import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

# Which variables a command cannot do without.
REQUIRED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "GC": (),
    "STATUS": (),
}


class Request:
    """One call of a plugin.

    config is the network configuration as Go reads it, which the schema of the plugin accepts; args are the pairs of
    CNI_ARGS; path the directories of CNI_PATH; netns and the parts of attachment are empty where not given.
    own_netns: CNI_NETNS_OVERRIDE, by which the container's namespace may be our own.
    """

    __slots__ = ("_stdin", "args", "attachment", "cni_version", "command", "config", "netns", "own_netns", "path")

    def __init__(
        self, command: str, environ: Mapping[str, str], config: dict[str, Any], stdin: bytes | None = None
    ) -> None:
        """stdin: the bytes that config was read from, where a runtime gave any."""
        _check_environment(command, environ)
        self.command = command
        self.attachment = Attachment(environ.get("CNI_CONTAINERID", ""), environ.get("CNI_IFNAME", ""))
        self.netns = environ.get("CNI_NETNS", "")
        self.own_netns = environ.get("CNI_NETNS_OVERRIDE", "").lower() in ("1", "t", "true")  # libcni's skel: ParseBool
        self.path = [directory for directory in environ.get("CNI_PATH", "").split(":") if directory]
        # Nothing in them says what is to be taken back.
        self.args = {} if command in TAKE_BACK else _parse_args(environ.get("CNI_ARGS", ""))
        self.cni_version = _check_version(command, config)
        self.config = config
        self._stdin = stdin

    @property
    def stdin(self) -> bytes:
        """The configuration as the caller wrote it, to be passed on to delegated plugins."""
        return dumps(self.config) if self._stdin is None else self._stdin

    @property
    def container_id(self) -> str:
        return self.attachment.container_id

    @property
    def ifname(self) -> str:
        return self.attachment.ifname

    @property
    def name(self) -> str:
        """The network's name."""
        name: str = self.config["name"]
        return name

    @property
    def ipam(self) -> dict[str, Any]:
        ipam: dict[str, Any] = self.config.get("ipam", {})
        return ipam

    @property
    def prev_result(self) -> Result | None:
        """The result of the plugins before this one, or for CHECK and DEL of the ADD; None if there is none."""
        document = self.config.get("prevResult")
        return None if document is None else Result.from_json(document)

    @property
    def _runtime_config(self) -> dict[str, Any]:
        runtime_config: dict[str, Any] = self.config.get("runtimeConfig", {})
        return runtime_config

    @property
    def _args_cni(self) -> dict[str, Any]:
        args: dict[str, Any] = self.config.get("args", {}).get("cni", {})
        return args

    @property
    def mac(self) -> str:
        """The hardware address asked for beside the configuration's own, most specific first; empty if none is."""
        return self._runtime_config.get("mac") or self.args.get("MAC") or self._args_cni.get("mac") or ""

    @property
    def ips(self) -> list[Address]:
        """The addresses asked for: CNI_ARGS, args.cni and runtimeConfig together, as in Go's host-local."""
        texts: list[str] = [self.args["IP"]] if self.args.get("IP") else []
        texts += self._args_cni.get("ips", []) + self._runtime_config.get("ips", [])
        addresses = (Cidr.parse(text).address if "/" in text else Address.parse(text) for text in texts)
        return list(dict.fromkeys(addresses))

    @property
    def ip_ranges(self) -> list[list[dict[str, Any]]]:
        """Range sets of the runtime's, which come before the configuration's."""
        ranges: list[list[dict[str, Any]]] = self._runtime_config.get("ipRanges", [])
        return ranges

    @property
    def valid_attachments(self) -> set[Attachment]:
        """Of a GC: those to keep. CniError if there is no list (not an empty one)."""
        for key in ("cni.dev/valid-attachments", "cni.dev/attachments"):  # libcni sends both, the second is older
            if key in self.config:
                return {Attachment(item["containerID"], item["ifname"]) for item in self.config[key]}
        raise CniError(
            INVALID_CONFIG,
            "GC needs the list of valid attachments; nothing was freed",
            "An empty list frees everything; none at all is taken for a mistake of the caller.",
            path=("cni.dev/valid-attachments",),
        )


def _check_environment(command: str, environ: Mapping[str, str]) -> None:
    missing = [name for name in REQUIRED[command] if not environ.get(name)]
    if missing:
        raise CniError(INVALID_ENVIRONMENT, f"required environment variables are missing: {', '.join(missing)}")
    for variable, accepts, what in (
        ("CNI_CONTAINERID", is_cni_name, "a container id (letters, digits, '_', '.', '-')"),
        ("CNI_IFNAME", is_interface_name, "an interface name (1 to 15 bytes, no '/', ':', '%' or white space)"),
    ):
        value = environ.get(variable, "")
        if value and not accepts(value):
            raise CniError(INVALID_ENVIRONMENT, f"{variable}: {value!r} is not {what}")


def _check_version(command: str, config: Mapping[str, object]) -> str:
    version = version_of(config)
    if version not in SUPPORTED:
        raise CniError(
            INCOMPATIBLE_VERSION,
            f"cniVersion {version!r} is not supported",
            f"This plugin supports {', '.join(SUPPORTED)}.",
        )
    if SUPPORTED.index(version) < SUPPORTED.index(SINCE[command]):
        if command == "CHECK":  # in the words of Go's plugins, which their tests compare whole
            raise CniError(INCOMPATIBLE_VERSION, "config version does not allow CHECK")
        raise CniError(
            INCOMPATIBLE_VERSION,
            f"cniVersion {version} has no {command}",
            f"{command} came with version {SINCE[command]} of the specification.",
        )
    return version


def _known_args() -> dict[str, Callable[[str], bool]]:
    return {"IP": is_address, "MAC": is_mac, "IgnoreUnknown": lambda text: text.lower() in ("1", "true", "0", "false")}


def _parse_args(text: str) -> dict[str, str]:
    """CNI_ARGS, KEY=VALUE;…: unknown keys are an error unless IgnoreUnknown is true, as in Go's types.LoadArgs."""
    args = {}
    for pair in text.split(";") if text else []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CniError(INVALID_ENVIRONMENT, f"CNI_ARGS: {pair!r} is not KEY=VALUE")
        args[key] = value
    known = _known_args()
    for key, value in args.items():
        if value and key in known and not known[key](value):
            raise CniError(INVALID_ENVIRONMENT, f"CNI_ARGS: {key}={value!r} is invalid")
    if args.get("IgnoreUnknown", "").lower() not in ("1", "true"):
        unknown = [key for key in args if key not in known and not key.startswith("K8S_")]
        if unknown:
            raise CniError(
                INVALID_ENVIRONMENT,
                f"CNI_ARGS: unknown keys {', '.join(unknown)}",
                "Add IgnoreUnknown=1 to have them ignored.",
            )
    return args
