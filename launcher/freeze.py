"""Writes the launcher's tables, when building: `python3 -m launcher.freeze TARGET`.

They are C: the builtin modules that it has, our modules as code objects, and the programs that it can be. Of our
packages, a module is frozen if all that it imports at its top is frozen or builtin; the others (those that need
jsonschema, pyroute2, json) are the second tier's, and importing one is how a call gets there. So that nobody makes a
call slow unawares, a program's __main__ that cannot be frozen is an error here, and a test lists what is frozen.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

from launcher import objects
from launcher.programs import ALIASES, PROGRAMS

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("cni_core", "cni_ipvlan_py", "cni_macvlan_py", "ipam")

# What our modules may import.
BUILTIN = ("_signal", "_socket", "_struct", "errno", "fcntl", "posix", "select", "time")
# What the interpreter itself cannot do without.
CORE = ("_imp", "builtins", "sys")
# The functions of the C API that make them are called PyInit_NAME; these two it makes before any (Modules/config.c.in).
INITIALISERS = {"builtins": "NULL", "sys": "NULL"}

Import = tuple[str, int]  # a module's name, and the line that imports it


class Module:
    """A module of ours: its tree without what only type checkers read, and what its top level imports."""

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


class _WithoutTypes(ast.NodeTransformer):
    """Drops annotations, `if TYPE_CHECKING:` and `from __future__ import annotations`: a quarter of the code."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        return None if node.module == "__future__" else node

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
    tree: ast.Module = _WithoutTypes().visit(ast.parse(source))
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


def _explanation(name: str, known: dict[str, Module], missing: dict[str, Import]) -> str:
    """From a module, import by import, to the one that the launcher does not have."""
    lines = []
    while name in missing:
        imported, line = missing[name]
        lines.append(f"  {known[name].file}:{line} imports {imported}")
        name = imported
    return "\n".join(lines)


def tables() -> str:
    """The C source that launcher.c includes."""
    import_system = Module("_frozen_importlib", Path(__file__).with_name("importing.py"))
    found = [import_system, *frozen(modules()).values()]
    everything = objects.Objects()
    codes = [everything.of(module.code()) for module in found]
    lines = [
        "/* Generated by freeze.py: do not edit. */",
        f"#if PY_VERSION_HEX != {sys.hexversion:#x}",
        '#error "the code was frozen by another Python than the one that is linked in"',
        "#endif",
        objects.PREAMBLE,
        *everything.definitions(),
        *(f"static PyObject *code{i}(void) {{ return frozen_code({code}); }}" for i, code in enumerate(codes)),
    ]
    entries = [f'{{"{module.name}", NULL, 0, {int(module.is_package)}, code{i}}},' for i, module in enumerate(found)]
    functions = {name: INITIALISERS.get(name, f"PyInit_{name}") for name in sorted(BUILTIN + CORE)}
    lines += [f"extern PyObject *{function}(void);" for function in functions.values() if function != "NULL"]
    rows = [f'{{"{name}", {function}}},' for name, function in functions.items()]
    lines += ["#define BUILTIN_MODULES \\", *(f"    {row} \\" for row in rows), ""]
    lines += ["static const struct _frozen bootstrap_modules[] = {", f"    {entries.pop(0)}", "    {0}};"]
    lines += ["static const struct _frozen frozen_modules[] = {", *(f"    {entry}" for entry in entries), "    {0}};"]
    names = PROGRAMS | {alias: PROGRAMS[program] for alias, program in ALIASES.items()}
    programs = [f'{{"{name}", "{ALIASES.get(name, name)}", "{package}.__main__"}},' for name, package in names.items()]
    lines += ["static const struct program programs[] = {", *(f"    {row}" for row in programs), "    {0}};"]
    return "\n".join(lines) + "\n"
