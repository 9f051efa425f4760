"""Writes the launcher's tables, when building.

They are C: the builtin modules that it has, our modules' code, and the programs that it can be. The code is frozen as
CPython lets any program do it, marshalled (PyImport_FrozenModules, a public interface), or, for the one version of
Python whose layouts objects.py knows, as objects that need not be read any more: half a millisecond of an ADD.

Of our packages, a module is frozen if all that it imports at its top is frozen or builtin; the others (those that need
jsonschema, pyroute2, json) are the second tier's, and importing one is how a call gets there. So that nobody makes a
call slow unawares, a program's __main__ that cannot be frozen is an error here, and a test lists what is frozen.
"""

from __future__ import annotations

import ast
import marshal
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import CodeType
from typing import Literal

from launcher import objects
from launcher.programs import ALIASES, PROGRAMS, SELF_CHECK, loader

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("cni_core", "cni_ipvlan_py", "cni_macvlan_py", "ipam")

# What our modules may import.
BUILTIN = ("_signal", "_socket", "_struct", "errno", "fcntl", "posix", "select", "time")
# What the interpreter itself cannot do without.
CORE = ("_imp", "builtins", "sys")
# The functions of the C API that make them are called PyInit_NAME; these two it makes before any (Modules/config.c.in).
INITIALISERS = {"builtins": "NULL", "sys": "NULL"}

# What an ordinary ADD imports, with what these import at their top; much of it inside of functions.
MOST_CALLS = ("cni_core.entry", "cni_core.config", "cni_core.schema.validators", "cni_core.attach", "ipam.host_local")

Form = Literal["marshalled", "objects"]
Import = tuple[str, int]  # a module's name, and the line that imports it


class Module:
    """A module of ours: its tree as it is frozen, and what its top level imports."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.file = path.relative_to(REPOSITORY).as_posix()
        self.is_package = path.name == "__init__.py"
        self.tree = _stripped(path.read_text(encoding="utf-8"))

    def code(self) -> CodeType:
        code: CodeType = compile(self.tree, self.file, "exec", dont_inherit=True, optimize=2)
        return code

    def imports(self, known: dict[str, Module]) -> Iterator[Import]:
        for node in self.tree.body:
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                package = node.module or ""
                yield package, node.lineno
                below = (f"{package}.{alias.name}" for alias in node.names)
                yield from ((name, node.lineno) for name in below if name in known)


class _Stripped(ast.NodeTransformer):
    """Drops annotations, `if TYPE_CHECKING:` and `from __future__ import annotations`: a quarter of the code. Numbers
    that are imported from a builtin module (AF_INET, EEXIST) become what they are here.
    """

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        if node.module == "__future__":
            return []
        if node.module not in BUILTIN:
            return [node]
        module = import_module(node.module)
        numbers = {alias: getattr(module, alias.name, None) for alias in node.names}
        numbers = {alias: number for alias, number in numbers.items() if type(number) is int}
        node.names = [alias for alias in node.names if alias not in numbers]
        assignments = [
            ast.Assign([ast.Name(alias.asname or alias.name, ast.Store())], ast.Constant(number))
            for alias, number in numbers.items()
        ]
        return [*([node] if node.names else []), *(ast.copy_location(line, node) for line in assignments)]

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def _stripped(source: str) -> ast.Module:
    tree: ast.Module = _Stripped().visit(ast.parse(source))
    return ast.fix_missing_locations(tree)


def modules() -> dict[str, Module]:
    """All modules of our packages, by name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
            found[name] = Module(name, path)
    return found


def frozen(known: dict[str, Module]) -> dict[str, Module]:
    """Those of the modules that the launcher can have. SystemExit if a program is not among them."""
    kept = dict(known)
    missing: dict[str, Import] = {}
    while True:
        available = {*kept, *BUILTIN, *CORE}
        for name, module in kept.items():
            for imported in module.imports(known):
                if imported[0] not in available:
                    missing[name] = imported
        if not missing.keys() & kept.keys():
            break
        kept = {name: module for name, module in kept.items() if name not in missing}
    for package in PROGRAMS.values():
        main = f"{package}.__main__"
        if main not in kept:
            raise SystemExit(f"launcher: {main} cannot be frozen:\n{_explanation(main, known, missing)}")
    return kept


def laid_out(kept: dict[str, Module]) -> list[Module]:
    """The same, those first that most calls import, each behind what it imports itself.

    What lies together in the executable is in memory together: pages that a call touches are read, or copied, whole.
    """
    found: dict[str, Module] = {}

    def add(name: str) -> None:
        if name in kept and name not in found:
            for imported, _ in kept[name].imports(kept):
                add(imported)
            found[name] = kept[name]

    for name in (*MOST_CALLS, *kept):
        add(name)
    return list(found.values())


def _explanation(name: str, known: dict[str, Module], missing: dict[str, Import]) -> str:
    """From a module, import by import, to the one that the launcher does not have."""
    lines = []
    while name in missing:
        imported, line = missing[name]
        lines.append(f"  {known[name].file}:{line} imports {imported}")
        name = imported
    return "\n".join(lines)


def best_form() -> Form:
    """The faster one that this Python allows."""
    return "objects" if sys.version_info[:2] == objects.PYTHON else "marshalled"


def tables(form: Form) -> str:
    """The C source that launcher.c includes."""
    here = Path(__file__).parent
    import_system = Module("_frozen_importlib", here / "importing.py")
    self_check = Module(SELF_CHECK, here / "selfcheck.py")
    found = [import_system, self_check, *laid_out(frozen(modules()))]
    definitions, values = (_as_objects if form == "objects" else _marshalled)([module.code() for module in found])
    rows = [f'"{module.name}", {value}' for module, value in zip(found, values, strict=True)]
    entries = [f"{{{row.format(is_package=int(module.is_package))}}}," for module, row in zip(found, rows, strict=True)]
    functions = {name: INITIALISERS.get(name, f"PyInit_{name}") for name in sorted(BUILTIN + CORE)}
    builtins = [f'{{"{name}", {function}}},' for name, function in functions.items()]
    names = PROGRAMS | {alias: PROGRAMS[program] for alias, program in ALIASES.items()}
    programs = [f'{{"{name}", "{package}.__main__"}},' for name, package in names.items()]
    programs += [f'{{"{SELF_CHECK}", "{SELF_CHECK}"}},']
    lines = [
        "/* Generated by freeze.py: do not edit. */",
        f"#if PY_VERSION_HEX != {sys.hexversion:#x}",
        '#error "the code was frozen by another Python than the one that is linked in"',
        "#endif",
        f'#define LOADER "{loader().name}"',
        *definitions,
        *(f"extern PyObject *{function}(void);" for function in functions.values() if function != "NULL"),
        *["#define BUILTIN_MODULES \\", *(f"    {row} \\" for row in builtins), ""],
        *_array("struct _frozen bootstrap_modules", entries[:1]),
        *_array("struct _frozen frozen_modules", entries[1:]),
        *_array("struct program programs", programs),
    ]
    return "\n".join(lines) + "\n"


def _array(declaration: str, rows: list[str]) -> list[str]:
    return [f"static const {declaration}[] = {{", *(f"    {row}" for row in rows), "    {0}};"]


def _marshalled(codes: list[CodeType]) -> tuple[list[str], list[str]]:
    """Definitions, and of each code the rest of its struct _frozen (cpython/import.h)."""
    definitions = []
    for number, code in enumerate(codes):
        data = ",".join(map(str, marshal.dumps(code)))
        definitions.append(f"static const unsigned char code{number}[] = {{{data}}};")
    return definitions, [f"code{number}, sizeof code{number}, {{is_package}}" for number in range(len(codes))]


def _as_objects(codes: list[CodeType]) -> tuple[list[str], list[str]]:
    """The same: no bytes, but a function that returns the code."""
    everything = objects.Objects()
    expressions = [everything.of(code) for code in codes]
    functions = [
        f"static PyObject *code{number}(void) {{ return frozen_code({expression}); }}"
        for number, expression in enumerate(expressions)
    ]
    definitions = [objects.PREAMBLE, *everything.definitions(), *functions]
    return definitions, [f"NULL, 0, {{is_package}}, code{number}" for number in range(len(codes))]
