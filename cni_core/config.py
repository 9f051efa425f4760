"""The network configuration before any schema: that it is a JSON object, and in which version of the specification."""

from __future__ import annotations

from cni_core.errors import DECODING_FAILURE, INVALID_CONFIG, CniError
from cni_core.strictjson import MAX_BYTES, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
LATEST = SUPPORTED[-1]

# Since when there is a command (SPEC.md, the history of each version).
SINCE = {"ADD": "0.1.0", "DEL": "0.1.0", "CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}


TAKE_BACK = ("DEL", "GC")  # the commands that need no more of a configuration than what they use


def parse_config(stdin: bytes, limit: int = MAX_BYTES) -> dict[str, Any]:
    """The configuration on stdin, as Go reads it. CniError DECODING_FAILURE."""
    from cni_core.gojson import as_go_reads  # not for VERSION to pay for

    return as_go_reads(parse_object(stdin, limit))


def parse_object(stdin: bytes, limit: int = MAX_BYTES) -> dict[str, Any]:
    """The JSON object on stdin, as it stands there. CniError DECODING_FAILURE."""
    try:
        document = loads(stdin, limit)
    except ValueError as error:
        raise CniError(DECODING_FAILURE, f"the configuration on stdin is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise CniError(DECODING_FAILURE, "the configuration on stdin is not a JSON object")
    return document


def usable(config: dict[str, Any], accepts: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What is left of a configuration that is not valid: each key that is valid by itself, likewise in `ipam`.

    For the commands that take back: ADD may have been another version's, or another plugin's, which accepted it. The
    name decides whose leases and records there are, and stays; where it is not one, nothing is usable (CniError).
    """
    name = config.get("name")
    if not accepts({"name": name}):
        raise CniError(INVALID_CONFIG, f"{name!r} cannot be a network's name", path=("name",))
    ipam = config.get("ipam")
    if isinstance(ipam, dict) and not accepts({"name": name, "ipam": ipam}):
        of_type = {"type": ipam["type"]} if accepts({"name": name, "ipam": {"type": ipam.get("type")}}) else {}
        parts = [{key: value} for key, value in ipam.items()]
        ipam = {}
        for part in parts:
            ipam |= part if accepts({"name": name, "ipam": of_type | part}) else {}
        config = config | {"ipam": ipam}
    return {key: value for key, value in config.items() if accepts({"name": name, key: value})}


def version_of(config: Mapping[str, object]) -> str:
    """The configuration's cniVersion as a reply repeats it; absent it is 0.1.0, as in Go's libcni."""
    version = config.get("cniVersion") or "0.1.0"
    return version if isinstance(version, str) else LATEST
