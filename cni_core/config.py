"""The network configuration before any schema: that it is a JSON object, and in which version of the specification."""

from __future__ import annotations

from cni_core.errors import DECODING_FAILURE, CniError
from cni_core.strictjson import JsonError, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
LATEST = SUPPORTED[-1]

# Since when there is a command (SPEC.md, the history of each version).
SINCE = {"ADD": "0.1.0", "DEL": "0.1.0", "CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}


def parse_config(stdin: bytes) -> dict[str, Any]:
    """The configuration on stdin, without its null members. CniError DECODING_FAILURE."""
    try:
        document = loads(stdin)
    except JsonError as error:
        raise CniError(DECODING_FAILURE, f"the configuration on stdin is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise CniError(DECODING_FAILURE, "the configuration on stdin is not a JSON object")
    return without_nulls(document)


def version_of(config: Mapping[str, object]) -> str:
    """The configuration's cniVersion as a reply repeats it; absent it is 0.1.0, as in Go's libcni."""
    version = config.get("cniVersion") or "0.1.0"
    return version if isinstance(version, str) else LATEST


def without_nulls(members: dict[str, Any]) -> dict[str, Any]:
    """An object without its null members, at every depth: Go's json, whose users we serve, takes null for absent."""
    return {name: _denull(value) for name, value in members.items() if value is not None}


def _denull(value: Any) -> Any:
    if isinstance(value, dict):
        return without_nulls(value)
    if isinstance(value, list):
        return [_denull(item) for item in value]
    return value
