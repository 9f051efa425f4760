"""docs/configuration.md is what the schemas say, and their examples show every key."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
SCHEMAS = REPOSITORY / "cni_core" / "schema"
OF_RUNTIMES = {"prevResult", "cni.dev/valid-attachments", "cni.dev/attachments"}


def schema(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text())
    return document


def test_the_reference_is_made_of_the_schemas() -> None:
    done = subprocess.run(["scripts/reference", "--check"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, f"scripts/reference writes it anew {done.stderr}"


def keys(value: Any) -> Iterator[str]:
    """Every member's name, at every depth."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from keys(member)
    elif isinstance(value, list):
        for item in value:
            yield from keys(item)


def test_the_examples_show_every_key() -> None:
    shown = set(keys([schema(kind)["examples"] for kind in ("macvlan", "ipvlan")]))
    host_local = schema("host-local")
    known = {name for part in ("network", "macvlan", "ipvlan") for name in schema(part)["properties"]}
    known |= {*host_local["properties"], *host_local["$defs"]["rangeKeys"]["properties"]}
    known |= set(schema("result")["$defs"]["route"]["properties"])
    assert known - OF_RUNTIMES <= shown
