"""`validate`: every problem of a conf or conflist, with its path, its line and a suggestion."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cni_cli.conflists import KINDS
from cni_core.config import LATEST, SUPPORTED, without_nulls
from cni_core.errors import CniError
from cni_core.request import Request
from cni_core.schema.explain import documents, located, problems
from cni_core.schema.formats import is_cni_name
from ipam.ranges import range_sets

Position = tuple[str | int, ...]

_BLANK = re.compile(r"\s*")
# Keys of the specification that are the runtime's, not the plugin's.
OF_RUNTIMES = {"capabilities", "disableCheck", "disableGC", "loadOnlyInlinedPlugins", "cniVersions", "plugins"}


@dataclass(frozen=True)
class Finding:
    """line counts from 1, 0 where none is known; serious: a call would fail, else it is only suspicious."""

    line: int
    path: Position
    text: str
    serious: bool = True

    def __str__(self) -> str:
        return located(self.path, self.text)


def add_to(commands: Any, kind: str) -> None:
    parser = commands.add_parser(
        "validate",
        help="tell every problem of a network's configuration",
        description="Checks configurations as the plugins do, and looks for keys that are misspelt. "
        "Exit status: 0 if every file is valid, 1 if one is not, 2 if one cannot be read.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help=".conf or .conflist")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    status, document = 0, {}
    for file in options.files:
        try:
            found = findings(Path(file).read_bytes())
        except OSError as error:
            print(f"{file}: {error.strerror}", file=sys.stderr)
            status = 2
            continue
        if any(finding.serious for finding in found):
            status = max(status, 1)
        document[file] = [
            {"line": finding.line, "message": str(finding), "serious": finding.serious} for finding in found
        ]
        if not options.json:
            for finding in found:
                print(f"{file}:{finding.line}: {'' if finding.serious else 'warning: '}{finding}")
            if not found:
                print(f"{file}: valid")
    if options.json:
        print(json.dumps(document, indent=2))
    return status


def findings(content: bytes) -> list[Finding]:
    """In the order of their lines."""
    try:
        text = content.decode()
        document = json.loads(text)
    except UnicodeDecodeError as error:
        return [Finding(content.count(b"\n", 0, error.start) + 1, (), "this is not UTF-8")]
    except json.JSONDecodeError as error:
        return [Finding(error.lineno, (), f"this is not JSON: {error.msg} at column {error.colno}")]
    except RecursionError:
        return [Finding(1, (), "the document is nested too deeply")]
    if not isinstance(document, dict):
        return [Finding(1, (), "this is not a JSON object")]
    lines = dict(_lines(text))
    found = [*_of_the_list(document), *_of_the_plugins(document)]
    placed = {Finding(_line_of(path, lines), path, text, serious) for path, text, serious in found}
    return sorted(placed, key=lambda finding: (finding.line, str(finding)))


Found = Iterator[tuple[Position, str, bool]]


def _of_the_list(document: dict[str, Any]) -> Found:
    if "plugins" not in document:
        return
    name, version = document.get("name"), document.get("cniVersion")
    if name is None:
        yield (), "name is missing", True
    elif not isinstance(name, str) or not is_cni_name(name):
        yield ("name",), f"{json.dumps(name)} cannot be a network's name", True
    if version is not None and version not in SUPPORTED:
        near = get_close_matches(str(version), SUPPORTED, 1)
        yield ("cniVersion",), f"{json.dumps(version)} is not one of {', '.join(SUPPORTED)}{_meant(near)}", True
    plugins = document["plugins"]
    if not isinstance(plugins, list) or not plugins:
        yield ("plugins",), "is not a list of plugins", True


def _of_the_plugins(document: dict[str, Any]) -> Found:
    """The plugins of ours, each as it is called."""
    if "plugins" not in document:
        yield from _of_a_plugin(document, ())
    elif isinstance(document["plugins"], list):
        common = {key: document[key] for key in ("name", "cniVersion") if key in document}
        for i, plugin in enumerate(document["plugins"]):
            if not isinstance(plugin, dict):
                yield ("plugins", i), "is not an object", True
            else:
                yield from _of_a_plugin({"name": "network"} | plugin | common, ("plugins", i))


def _of_a_plugin(config: dict[str, Any], place: Position) -> Found:
    kind = config.get("type")
    if not isinstance(kind, str) or not kind:
        yield place, "type is missing", True
        return
    if kind not in KINDS:
        near = get_close_matches(kind, KINDS, 1, 0.8)
        if near:
            yield (*place, "type"), f"{json.dumps(kind)} is not a plugin of ours{_meant(near)}", False
        return
    own = without_nulls(config)
    wrong = problems(KINDS[kind], own)
    for problem in wrong:
        meant = get_close_matches(str(problem.value), problem.choices, 1) if problem.choices else []
        yield (*place, *problem.path), problem.message + _meant(meant), True
    for path, text in _near_misses(KINDS[kind], config):
        yield (*place, *path), text, False
    if not wrong:
        yield from _contradictions(own, place)


def _contradictions(config: dict[str, Any], place: Position) -> Found:
    """What no single key has wrong."""
    if config.get("internal"):
        for key in ("master", "vlan"):
            if config.get(key):
                yield (*place, key), "has no place beside internal: the network has a parent of its own", True
    if (config.get("ipam") or {}).get("type") != "host-local":
        return
    try:
        range_sets(Request("STATUS", {}, config | {"cniVersion": LATEST}))
    except CniError as error:
        yield (*place, "ipam"), error.msg.removeprefix("ipam: "), True


def _near_misses(kind: str, config: dict[str, Any]) -> Iterator[tuple[Position, str]]:
    """Keys that nobody knows but that look like one that we do."""
    schemas = documents()
    range_keys = schemas["host-local.json"]["$defs"]["rangeKeys"]["properties"]
    known = {
        "network": {*schemas["network.json"]["properties"], *schemas[f"{kind}.json"]["properties"], *OF_RUNTIMES},
        "ipam": {*schemas["host-local.json"]["properties"], *range_keys, "type"},
        "range": set(range_keys),
        "route": set(schemas["result.json"]["$defs"]["route"]["properties"]),
    }
    yield from _misspelt(config, known["network"], ())
    ipam = config.get("ipam")
    if not isinstance(ipam, dict) or ipam.get("type") != "host-local":
        return
    yield from _misspelt(ipam, known["ipam"], ("ipam",))
    for i, route in enumerate(_list(ipam.get("routes"))):
        yield from _misspelt(route, known["route"], ("ipam", "routes", i))
    for i, part in enumerate(_list(ipam.get("ranges"))):
        for j, one in enumerate(_list(part)):
            yield from _misspelt(one, known["range"], ("ipam", "ranges", i, j))


def _misspelt(members: Any, known: set[str], place: Position) -> Iterator[tuple[Position, str]]:
    if isinstance(members, dict):
        by_lower = {key.lower(): key for key in known}
        for key in members.keys() - known:
            near = get_close_matches(key.lower().replace("_", "").replace("-", ""), by_lower, 1, 0.8)
            if near:
                yield (*place, key), f"nobody knows this key{_meant([by_lower[near[0]]])}"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _meant(near: list[str]) -> str:
    return f"; did you mean {near[0]}?" if near else ""


def _line_of(path: Position, lines: dict[Position, int]) -> int:
    """Of the value at the path, or of what it would be in."""
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _lines(text: str) -> Iterator[tuple[Position, int]]:
    """The line of every value of a JSON document by its path, and of a member's name."""
    found: list[tuple[Position, int]] = []
    _locate(text, 0, (), found)
    yield from found


def _locate(text: str, at: int, path: Position, found: list[tuple[Position, int]]) -> int:
    """Notes the value at that offset and those in it; the offset behind it."""
    at = _skip(text, at)
    found.append((path, text.count("\n", 0, at) + 1))
    if text[at] not in "{[":
        return json.JSONDecoder().raw_decode(text, at)[1]
    is_object, number = text[at] == "{", 0
    at = _skip(text, at + 1)
    while text[at] not in "}]":
        key: str | int = number
        if is_object:
            key, at = json.decoder.scanstring(text, at + 1)  # type: ignore[attr-defined]
            at = _skip(text, at) + 1  # the colon
        at = _skip(text, _locate(text, at, (*path, key), found))
        if text[at] == ",":
            at = _skip(text, at + 1)
        number += 1
    return at + 1


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    assert match
    return match.end()
