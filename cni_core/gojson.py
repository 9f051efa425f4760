"""A JSON object as Go's encoding/json reads it, on which the plugins rely whose configurations we take unchanged."""

from __future__ import annotations

from cni_core.schema.spellings import KNOWN, USUAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAPS = frozenset(("auxAddresses", "sysctls"))  # whose members have names of people's own


def as_go_reads(members: dict[str, Any]) -> dict[str, Any]:
    """The object, and what is in it at every depth: null is absent, and a key that differs from a known one by case
    alone is that key; of several the last one counts.
    """
    found = {}
    for name, value in members.items():
        if value is None:
            continue
        if name not in KNOWN:
            name = USUAL.get(name.lower(), name)
        found[name] = _read_map(value) if name in _MAPS else _read(value)
    return found


def _read_map(value: Any) -> Any:
    return (
        {name: _read(member) for name, member in value.items() if member is not None}
        if isinstance(value, dict)
        else value
    )


def _read(value: Any) -> Any:
    if isinstance(value, dict):
        return as_go_reads(value)
    if isinstance(value, list):
        return [_read(item) for item in value]
    return value
