"""The import rules: what runs once per pod imports builtin modules alone, and the arrows of the layout go one way."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.unit.calls import host_local

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("cni_core", "ipam", "cni_macvlan_py", "cni_ipvlan_py", "cni_cli", "conformance")
PER_POD = ("cni_core", "ipam", "cni_macvlan_py", "cni_ipvlan_py")

# What CPython's core has compiled in (design.md, "Two tiers"); __future__ is a directive to the compiler.
BUILTIN = {"posix", "_signal", "_socket", "_struct", "fcntl", "select", "errno", "time", "marshal", "sys", "__future__"}
BUILTIN |= {"_launcher"}  # the launcher's own

# Run when freezing, when a configuration was rejected, or when a cluster's engine must be asked.
NOT_PER_POD = {"cni_core.schema.explain", "cni_core.schema.generate", "cni_core.netavark.explain"}
NOT_PER_POD |= {
    f"ipam.{name}" for name in ("asking", "claims", "cluster", "contact", "domain", "etcd", "nodes", "verbs")
}

# Imports inside a function that leave the per-pod path, each where it is known why.
ALLOWED = {
    ("cni_core.native.setns", "ctypes"),  # posix.setns came with Python 3.12
    ("cni_core.entry._explained", "cni_core.schema.explain"),
    *((f"cni_core.netavark.{name}", "cni_core.netavark.explain") for name in ("calls._accepted", "options.read")),
    *((f"ipam.lan_local.{name}", "ipam.asking") for name in ("_lease_all", "delete", "gc", "status")),
    ("cni_macvlan_py.__main__.commands", "cni_cli.main"),  # for a person
    ("cni_ipvlan_py.__main__.commands", "cni_cli.main"),
}

# What a package may import of ours, beside itself.
ARROWS = {
    "cni_core": set[str](),
    "ipam": {"cni_core"},
    "cni_macvlan_py": {"cni_core", "ipam"},
    "cni_ipvlan_py": {"cni_core", "ipam"},
    "cni_cli": {"cni_core", "ipam", "cni_macvlan_py", "cni_ipvlan_py"},
    "conformance": set[str](),
}

# The floors of cni_core and ipam: a module imports of them only what is on a floor below its own.
FLOORS = (
    # The ground: errors, names and numbers; what is of types alone.
    ("errors", "address", "names", "strictjson", "contracts", "task", "schema.spellings", "native"),
    # Documents, messages and errors as values.
    ("access", "taken"),
    ("gojson", "network", "result", "rtnl.messages", "schema.formats", "interrupts"),
    ("config", "rtnl.neighbours"),
    # The doors to the outside: the caller, files, the kernel.
    ("schema.validators", "request", "undo", "second_tier", "sysctl", "files", "rtnl.socket"),
    ("netns", "namespaces", "policy", "lent"),
    # What is decided, and what one thing needs done.
    (
        *(
            "bridges",
            "chain",
            "claims",
            "dad",
            "hostaccess",
            "hostroutes",
            "hostsown",
            "parent",
            "probe",
            "records",
            "stable",
        ),
        *("tuning", "uppers"),
    ),
    ("whose", "making"),
    ("shared", "link", "dead", "proof"),
    ("attach",),
    ("netavark.options",),
    ("netavark.translate",),
    ("netavark.calls",),
    ("debug",),
    ("entry",),
)
IPAM_FLOORS = (
    ("ranges", "resolv_conf", "unaddressed", "pool", "last_contact"),
    ("index", "delegate", "held", "stable"),
    ("store", "verbs"),
    ("host_local", "domain", "contact", "etcd"),
    ("plugin", "nodes", "lan_local", "podman"),
    ("claims", "cluster"),
    ("asking",),
)

# What an ADD imports of ours, where it asks host-local for IPv4 and nothing else: each is time of each pod.
OF_ANY_CALL = {
    "cni_core",
    *(
        f"cni_core.{name}"
        for name in (
            *(
                "address",
                "config",
                "entry",
                "errors",
                "files",
                "gojson",
                "interrupts",
                "names",
                "native",
                "request",
                "result",
                "schema",
            ),
            *("schema.formats", "schema.spellings", "schema.validators", "second_tier", "strictjson", "sysctl", "undo"),
        )
    ),
    *("ipam", "ipam.host_local", "ipam.index", "ipam.ranges", "ipam.store"),
}
OF_A_LINK = {
    f"cni_core.{name}"
    for name in (
        *("attach", "hostsown", "link", "netns", "network", "parent", "records"),
        *("rtnl", "rtnl.messages", "rtnl.socket", "shared", "task"),
    )
}


def sources(packages: tuple[str, ...]) -> dict[str, ast.Module]:
    """Every module of the packages by its dotted name."""
    found = {}
    for package in packages:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = ast.parse(path.read_text(), str(path))
    return found


def imports(where: str, nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    """(where, what) of every import that may run: where is the module, with the function if it is inside one."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((where, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # "from package import x": x may be a module of ours.
            package = "." * node.level + (node.module or "")
            yield from ((where, _module(package, alias.name)) for alias in node.names)
        elif isinstance(node, ast.If) and _only_for_type_checkers(node):
            yield from imports(where, node.orelse)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield from imports(f"{where}.{node.name}", ast.iter_child_nodes(node))
        else:
            yield from imports(where, ast.iter_child_nodes(node))


def _module(package: str, name: str) -> str:
    path = REPOSITORY / package.replace(".", "/") / name
    return f"{package}.{name}" if path.with_suffix(".py").exists() or path.is_dir() else package


def _only_for_type_checkers(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


MODULES = sources(PER_POD)
ON_PER_POD_PATH = sorted(MODULES.keys() - NOT_PER_POD)


@pytest.mark.parametrize("name", ON_PER_POD_PATH)
def test_the_per_pod_path_imports_builtin_modules_alone(name: str) -> None:
    for where, what in imports(name, [MODULES[name]]):
        if (where, what) not in ALLOWED:
            # A relative import (".x") is none of these: ours are absolute.
            assert what in BUILTIN or what in ON_PER_POD_PATH, f"{where} imports {what}"


def test_every_exception_to_the_rule_is_still_needed() -> None:
    found = {(where, what) for name, tree in MODULES.items() for where, what in imports(name, [tree])}
    assert found >= ALLOWED


def test_dynamic_imports_do_not_escape_the_rule() -> None:
    for name, tree in MODULES.items():
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not names & {"__import__", "exec", "eval"}, name


@pytest.mark.parametrize("package", PACKAGES)
def test_the_arrows_of_the_layout_go_one_way(package: str) -> None:
    for name, tree in sources((package,)).items():
        for where, what in imports(name, [tree]):
            target = what.partition(".")[0]
            if target in PACKAGES and target != package and (where, what) not in ALLOWED:
                assert target in ARROWS[package], f"{where} imports {what}"


@pytest.mark.parametrize(("package", "floors"), [("cni_core", FLOORS), ("ipam", IPAM_FLOORS)])
def test_a_module_imports_only_what_is_on_a_floor_below(package: str, floors: tuple[tuple[str, ...], ...]) -> None:
    floor_of = {f"{package}.{name}": i for i, floor in enumerate(floors) for name in floor}
    packages = {package, *(f"{package}.{name}" for name in ("netavark", "rtnl", "schema"))}
    assert floor_of.keys() | packages | NOT_PER_POD >= {name for name in MODULES if name.startswith(package)}
    for name, floor in floor_of.items():
        for where, what in imports(name, [MODULES[name]]):
            if (where, what) not in ALLOWED and what in floor_of:
                assert floor_of[what] < floor, f"{where} imports {what}"


CALL = """
import sys
from cni_core import entry
from cni_macvlan_py.__main__ import {plugin}
environ = {{b"CNI_COMMAND": b"ADD", b"CNI_CONTAINERID": b"c1", b"CNI_NETNS": b"/run/netns/c1", b"CNI_IFNAME": b"eth0"}}
{prepare}
status, answer = entry.call(environ, sys.stdin.buffer.read(), {plugin})
assert status == 0, answer
print(*(name for name in sys.modules if name.partition(".")[0] in ("cni_core", "ipam")))
"""
# In place of the kernel: what the call asks of it is all the same here.
PREPARE = """
from tests.unit import kernel
lists = kernel.Kernel()
lists.namespace("/run/netns/c1")
from cni_core import netns, records, sysctl
netns.Place.host = lists.host_place
records.ROOT, sysctl.read, sysctl.write = {root!r}, lists.read_sysctl, lists.write_sysctl
"""


def imported(tmp_path: Path, plugin: str, prepare: str) -> set[str]:
    """By an ADD of the plugin in a process of its own."""
    source = CALL.format(plugin=plugin, prepare=prepare)
    config = {"name": "net1", "master": "eth0", "ipam": host_local(tmp_path / "networks", "10.1.0.0/24")}
    stub = "import cni_core.entry; cni_core.entry.main = lambda *_: None\n"
    done = subprocess.run(
        [sys.executable, "-c", stub + source],
        input=json.dumps(config).encode(),
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return set(done.stdout.decode().split())


def test_an_add_of_host_local_imports_nothing_of_links(tmp_path: Path) -> None:
    assert imported(tmp_path, "host_local", "") == OF_ANY_CALL | {"ipam.plugin"}


def test_an_add_of_a_link_imports_what_it_needs(tmp_path: Path) -> None:
    prepare = PREPARE.format(root=str(tmp_path / "records"))
    assert imported(tmp_path, "macvlan", prepare) == OF_ANY_CALL | OF_A_LINK


CALLED_BY_A_PERSON = """
import sys
from cni_cli.main import main
try:
    main("cni-macvlan-py", "macvlan", sys.argv[1:])
except SystemExit:
    pass
print(*sys.modules, file=sys.stderr)
"""
HEAVY = {"pyroute2", "asyncio", "prometheus_client"}


def loaded(*arguments: str) -> set[str]:
    """The heavy packages that a command imports."""
    argv = [sys.executable, "-c", CALLED_BY_A_PERSON, *arguments]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return HEAVY & set(done.stderr.split())


@pytest.mark.parametrize(
    "command", ["--version", "--help", "doctor --help", "leases", "network ls", "network inspect x"]
)
def test_a_command_that_asks_the_kernel_nothing_does_not_wait_for_pyroute2(command: str, tmp_path: Path) -> None:
    where = ["--dir", str(tmp_path)] if command.startswith(("leases", "network")) else []
    assert loaded(*command.split(), *where) == set()


def test_one_that_asks_imports_pyroute2(tmp_path: Path) -> None:
    assert {"pyroute2", "asyncio"} <= loaded("doctor", "--dir", str(tmp_path))


def test_the_walk_finds_an_import_wherever_it_hides() -> None:
    source = """
import a
from b import c
TYPE_CHECKING = False
if TYPE_CHECKING:
    import unseen
else:
    import d
def f():
    import e
    if x:
        from g import h
class C:
    import i
    def m(self):
        try:
            import j.k
        except ImportError:
            import l
    n = lambda: __import__("unseen")
"""
    assert set(imports("m", [ast.parse(source)])) == {
        ("m", "a"),
        ("m", "b"),
        ("m", "d"),
        ("m.f", "e"),
        ("m.f", "g"),
        ("m.C", "i"),
        ("m.C.m", "j.k"),
        ("m.C.m", "l"),
    }
