"""`validate`: every problem of a conf or conflist, with its path, its line and a suggestion."""

from __future__ import annotations

import argparse
import json
import re
import sys
from _socket import AF_INET6
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from cni_cli.conflists import KINDS, add_directory
from cni_cli.kinds import has_leases, link_kind
from cni_core.address import Cidr
from cni_core.config import SUPPORTED, version_of
from cni_core.errors import CniError, located
from cni_core.gojson import as_go_reads
from cni_core.hostaccess import refuse_elsewhere
from cni_core.names import printable
from cni_core.network import Network
from cni_core.request import Request
from cni_core.schema.explain import documents, meant, problems
from cni_core.schema.formats import is_cni_name
from cni_core.schema.spellings import USUAL
from cni_core.tuning import refuse_contradictions
from ipam.host_local import route_of
from ipam.lan_local import cluster_of
from ipam.ranges import Range, range_sets

Position = tuple[str | int, ...]

_BLANK = re.compile(r"\s*")
# Keys of the specification that are the runtime's, not the plugin's: of a list, and of a plugin.
OF_LISTS = {"name", "plugins", "cniVersion", "cniVersions", "disableCheck", "disableGC", "loadOnlyInlinedPlugins"}
OF_RUNTIMES = OF_LISTS | {"capabilities"}
# Words of docker's, for which there are others here.
OF_DOCKER = {
    "parent": "master",
    "macvlan_mode": "mode",
    "ipvlan_mode": "mode",
    "ipvlan_flag": "flag",
    "gateway": "ipam.gateway",
    "subnet": "ipam.subnet",
}
OF_GO = ("macvlan", "ipvlan")  # names that Go's plugins have, too
OWN_KEYS = ("vlan", "internal", "dad", "conflict", "hostRoutes", "hostAccess", "ra", "ipv6Token", "sysctls")
RANGE_KEYS = ("ipRange", "exclude", "auxAddresses")
IGNORED_BY_GO = "is obeyed; Go's plugins, which have this name too, ignore it"
REFUSED_BY_GO = "is obeyed; Go's plugin, which has this name too, refuses it"
OF_GO_ALONE = (IGNORED_BY_GO, REFUSED_BY_GO)
IPAM_TYPES = ("host-local", "lan-local", "dhcp", "static")
IPV6_MIN_MTU = 1280  # RFC 8200, 5: the kernel has no IPv6 on a link of less


STDIN = "-"
SUFFIXES = (".conflist", ".conf", ".json")  # of the files that libcni reads


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
    about = "a .conf or .conflist; a directory of such; a network's name; or - for standard input"
    parser.add_argument("files", nargs="+", metavar="FILE", help=about)
    parser.add_argument("--json", action="store_true", help="for programs")
    add_directory(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    status, document = 0, {}
    for file in (file for named in options.files for file in _files(named, options.dir)):
        try:
            found = findings(sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes())
        except OSError as error:
            print(f"{printable(file)}: {error.strerror}", file=sys.stderr)
            status = 2
            continue
        if any(finding.serious for finding in found):
            status = max(status, 1)
        document[file] = [
            {"line": finding.line, "message": str(finding), "serious": finding.serious} for finding in found
        ]
        if not options.json:
            for finding in found:
                grade = "" if finding.serious else "warning: "
                print(f"{printable(file)}:{finding.line}: {grade}{printable(str(finding))}")
            if not found:
                print(f"{printable(file)}: valid")
    if options.json:
        print(json.dumps(document, indent=2))
    return status


def _files(named: str, directory: str) -> list[str]:
    """What is meant: of a directory, its networks' files; of a network's name, its file. Else as it is named."""
    path = Path(named)
    if path.is_dir():
        return [str(file) for file in sorted(path.iterdir()) if file.suffix in SUFFIXES]
    if named == STDIN or path.exists() or not is_cni_name(named):
        return [named]
    return [str(file) for suffix in SUFFIXES if (file := Path(directory, named + suffix)).exists()] or [named]


def findings(content: bytes) -> list[Finding]:
    """In the order of their lines."""
    try:
        text = content.decode()
        document = _JSON.decode(text)
        if not isinstance(document, dict):
            return [Finding(1, (), "this is not a JSON object")]
        return _of_a_document(document, _lines(text))
    except UnicodeDecodeError as error:
        return [Finding(content.count(b"\n", 0, error.start) + 1, (), "this is not UTF-8")]
    except json.JSONDecodeError as error:
        return [Finding(error.lineno, (), f"this is not JSON: {error.msg} at column {error.colno}")]
    except _NotANumber as constant:
        line = text.count("\n", 0, text.find(str(constant))) + 1
        return [Finding(line, (), f"this is not JSON: it has no {constant}")]
    except RecursionError:
        return [Finding(1, (), "the document is nested too deeply")]


class _NotANumber(ValueError):
    """NaN, Infinity and -Infinity, which Python's json takes and nobody else's."""


def _refuse(constant: str) -> NoReturn:
    raise _NotANumber(constant)


# int refuses thousands of digits; the first of them are too many for any key.
_JSON = json.JSONDecoder(parse_constant=_refuse, parse_int=lambda text: int(text[:1000]))


def _of_a_document(document: dict[str, Any], lines: list[tuple[Position, int]]) -> list[Finding]:
    found = [*_of_the_list(document), *_of_the_plugins(document)]
    times = Counter(path for path, _ in lines)
    for path, number in times.items():
        if number > 1 and times[path[:-1]] == 1:
            found.append((path, "is given more than once; the last one counts", False))
    line_of = dict(lines)
    placed = {Finding(_line_of(path, line_of), path, text, serious) for path, text, serious in found}
    return sorted(placed, key=lambda finding: (finding.line, str(finding)))


Found = Iterator[tuple[Position, str, bool]]


def _of_the_list(document: dict[str, Any]) -> Found:
    if "plugins" not in document:
        return
    name, plugins = document.get("name"), document["plugins"]
    if name is None:
        yield (), "name is missing", True
    elif not isinstance(name, str) or not is_cni_name(name):
        yield ("name",), f"{json.dumps(name)} cannot be a network's name", True
    if not isinstance(plugins, list) or not plugins:
        yield ("plugins",), "is not a list of plugins", True
    for path, text in _misspelt(document, OF_LISTS, (), usual={}):  # libcni matches these exactly
        yield path, text, False


def _of_the_plugins(document: dict[str, Any]) -> Found:
    """Each as it is called."""
    plugins: Any = document.get("plugins", [document])
    common = {key: document[key] for key in ("name", "cniVersion") if key in document}
    ours = False
    for i, plugin in enumerate(_list(plugins)):
        place: Position = ("plugins", i) if "plugins" in document else ()
        if not isinstance(plugin, dict):
            yield place, "is not an object", True
        else:
            yield from _of_a_plugin(({"name": "network"} if place else {}) | plugin | common, place)
            kind = plugin.get("type")
            ours = ours or not isinstance(kind, str) or bool(meant(kind, KINDS, 0.8))
    if plugins and isinstance(plugins, list) and not ours:
        yield (), "there is no macvlan or ipvlan in it: other plugins are theirs to check", False
    elif ours:
        yield from _of_the_version(document.get("cniVersion"))


def _of_the_version(version: Any) -> Found:
    if version is None:
        yield (), f"cniVersion is missing, and taken for {version_of({})}", False
    elif version not in SUPPORTED:
        known = f"{json.dumps(version)} is not one of {', '.join(SUPPORTED)}"
        yield ("cniVersion",), known + meant(str(version), SUPPORTED), True


def _of_a_plugin(config: dict[str, Any], place: Position) -> Found:
    kind = config.get("type")
    if not isinstance(kind, str) or not kind:
        yield place, "type is missing", True
        for path, text in _misspelt(config, {"type", *OF_LISTS}, place):
            yield path, text, False
        return
    if kind not in KINDS:
        near = meant(kind, KINDS, 0.8)
        if near:
            yield (*place, "type"), f"{json.dumps(kind)} is not a plugin of ours{near}", False
        return
    own = as_go_reads(deepcopy(config))
    wrong = problems(KINDS[kind], own)
    for problem in wrong:
        yield (*place, *problem.path), problem.message, True
    for path, text in _near_misses(KINDS[kind], config):
        yield (*place, *path), text, False
    for path in _ignored_by_go(KINDS[kind], own) if kind in OF_GO else ():
        yield (*place, *path), IGNORED_BY_GO, False
    if kind == "macvlan" and own.get("mac") == "stable":
        yield (*place, "mac"), REFUSED_BY_GO, False
    capabilities = own.get("capabilities", {})
    if not isinstance(capabilities, dict) or not all(isinstance(value, bool) for value in capabilities.values()):
        yield (*place, "capabilities"), 'is not an object of booleans, such as {"ips": true}', True
    if not wrong and version_of(own) in SUPPORTED:
        yield from _contradictions(own, place)


def _contradictions(config: dict[str, Any], place: Position) -> Found:
    """What no single key has wrong."""
    request = Request("ADD", {"CNI_CONTAINERID": "x", "CNI_NETNS": "x", "CNI_IFNAME": "eth0"}, config)
    for key in ("master", "vlan"):
        if config.get("internal") and config.get(key):
            yield (*place, key), "has no place beside internal: the network has a parent of its own", True
    wrong = [*_refused((), link_kind(config).mac, request, Network(config))]
    wrong += _refused((), refuse_contradictions, Network(config))
    wrong += _refused((), refuse_elsewhere, Network(config))
    if has_leases(config):
        wrong += _of_host_local(request)
    if request.ipam.get("type") == "lan-local":
        wrong += _refused((), cluster_of, request)
    for path, text, serious in wrong:
        yield (*place, *path), text, serious


def _of_host_local(request: Request) -> Found:
    config, ipam = request.config, request.ipam
    wrong: list[tuple[Position, str, bool]] = []
    for i, spec in enumerate(ipam.get("routes", [])):
        wrong += _refused((), route_of, i, spec)
        if config.get("internal") and Cidr.parse(spec["dst"]).length == 0:
            yield ("ipam", "routes", i), "is a default route, and internal has none", True
    if ipam.get("subnet"):
        wrong += _refused(("ipam",), Range, ipam)
    for i, part in enumerate(ipam.get("ranges", [])):
        for j, one in enumerate(part):
            wrong += _refused(("ipam", "ranges", i, j), Range, one)
    wrong = wrong or list(_refused(("ipam",), range_sets, request))
    yield from wrong
    for one in range_sets(request) if not wrong else ():
        if one.family == AF_INET6 and not config.get("ipv6", True):
            yield ("ipv6",), f"is false, and {one} is of IPv6", True
        if 0 < config.get("mtu", 0) < IPV6_MIN_MTU and one.family == AF_INET6:
            yield ("mtu",), f"{config['mtu']} is less than IPv6's {IPV6_MIN_MTU}", True
        if not one.size:
            yield ("ipam",), f"no address of {one} can be chosen: all are excluded", False


def _refused(place: Position, attempt: Callable[..., object], *arguments: Any) -> Found:
    """The error of a call, if it is one, at its path, or at the place if that is nearer."""
    try:
        attempt(*arguments)
    except CniError as error:
        yield (place if len(place) > len(error.path) else error.path), error.problem, True


def keys_of_ours(config: dict[str, Any]) -> list[str]:
    """What an accepted configuration asks for that Go's plugin of the same name ignores or refuses, as paths; none
    where the name is ours alone."""
    kind = config["type"]
    found = [located(path, "").removesuffix(": ") for path in _ignored_by_go(KINDS[kind], config)]
    found += ["mac"] if config.get("mac") == "stable" else []
    found += ["master"] if isinstance(config.get("master"), list) else []
    return found if kind in OF_GO else []


def _ignored_by_go(kind: str, config: dict[str, Any]) -> Iterator[Position]:
    """Keys that ours obey, and that a configuration may have had for nothing with Go's plugin of the same name."""
    yield from ((key,) for key in OWN_KEYS if config.get(key))
    if config.get("ipv6") is False:
        yield ("ipv6",)
    if kind == "ipvlan":
        yield from ((key,) for key in ("flag",) if config.get(key))
    ipam = config.get("ipam")
    if not isinstance(ipam, dict) or ipam.get("type") != "host-local":
        return
    yield from (("ipam", key) for key in (*RANGE_KEYS, "order") if ipam.get(key))
    for i, part in enumerate(_list(ipam.get("ranges"))):
        for j, one in enumerate(_list(part)):
            if isinstance(one, dict):
                yield from (("ipam", "ranges", i, j, key) for key in RANGE_KEYS if one.get(key))


def _near_misses(kind: str, config: dict[str, Any]) -> Iterator[tuple[Position, str]]:
    """Keys that nobody knows but that look like one that we do."""
    schemas = documents()
    range_keys = schemas["host-local.json"]["$defs"]["rangeKeys"]["properties"]
    known = {
        "network": {*schemas["network.json"]["properties"], *schemas[f"{kind}.json"]["properties"], *OF_RUNTIMES},
        "host-local": {*schemas["host-local.json"]["properties"], *range_keys, "type"},
        "range": set(range_keys),
        "route": set(schemas["result.json"]["$defs"]["route"]["properties"]),
    }
    yield from _misspelt(config, known["network"], ())
    ipam = config.get("ipam")
    if not isinstance(ipam, dict):
        return
    delegate = ipam.get("type")
    if isinstance(delegate, str) and delegate not in IPAM_TYPES and (near := meant(delegate, IPAM_TYPES, 0.8)):
        yield ("ipam", "type"), f"{json.dumps(delegate)} is another plugin{near}"
    if delegate is None:
        yield from _misspelt(ipam, {"type"}, ("ipam",))
    if delegate not in ("host-local", "lan-local"):
        return
    of_clusters = schemas["lan-local.json"]["properties"] if delegate == "lan-local" else ()
    yield from _misspelt(ipam, known["host-local"] | {*of_clusters}, ("ipam",))
    for i, route in enumerate(_list(ipam.get("routes"))):
        yield from _misspelt(route, known["route"], ("ipam", "routes", i))
    for i, part in enumerate(_list(ipam.get("ranges"))):
        for j, one in enumerate(_list(part)):
            yield from _misspelt(one, known["range"], ("ipam", "ranges", i, j))


def _misspelt(
    members: Any, known: set[str], place: Position, usual: Mapping[str, str] = USUAL
) -> Iterator[tuple[Position, str]]:
    if isinstance(members, dict):
        for key in members.keys() - known:
            if usual.get(key.lower()) in known:
                yield (*place, key), f"is read as {usual[key.lower()]}, which is the usual spelling"
                continue
            near = f"; did you mean {OF_DOCKER[key]}?" if key in OF_DOCKER and not place else ""
            near = near or meant(key, known, 0.8)
            if near:
                yield (*place, key), f"nobody knows this key{near}"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _line_of(path: Position, lines: dict[Position, int]) -> int:
    """Of the value at the path, or of what it would be in."""
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _lines(text: str) -> list[tuple[Position, int]]:
    """The path of every value of a JSON document, and its line."""
    found: list[tuple[Position, int]] = []
    breaks = [match.start() for match in re.finditer("\n", text)]
    _locate(text, 0, (), found)
    return [(path, bisect_left(breaks, at) + 1) for path, at in found]


def _locate(text: str, at: int, path: Position, found: list[tuple[Position, int]]) -> int:
    """Notes the value at that offset and those in it, each with its offset; the offset behind it."""
    at = _skip(text, at)
    found.append((path, at))
    if text[at] not in "{[":
        return _JSON.raw_decode(text, at)[1]
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
