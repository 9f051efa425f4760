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

    What it is given may be changed, and is not to be used any more: there may be a hundred thousand values in it, and
    not twice.
    """
    is_usual = True
    for name, value in members.items():
        if value is None or (name not in KNOWN and name.lower() in USUAL):
            is_usual = False
        if isinstance(value, (dict, list)):
            members[name] = _read_map(value) if USUAL.get(name.lower()) in _MAPS else _read(value)
    if is_usual:
        return members
    return {
        name if name in KNOWN else USUAL.get(name.lower(), name): value
        for name, value in members.items()
        if value is not None
    }


def _read_map(value: Any) -> Any:
    if not isinstance(value, dict):
        return _read(value)
    return {name: _read(member) for name, member in value.items() if member is not None}


def _read(value: Any) -> Any:
    if isinstance(value, dict):
        return as_go_reads(value)
    if isinstance(value, list):
        for i, item in enumerate(value):
            if isinstance(item, (dict, list)):
                value[i] = _read(item)
    return value
