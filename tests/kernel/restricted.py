"""Runs a plugin from source under an importer that knows builtin modules and ours, and nothing else.

As a program: python -I -S restricted.py REPOSITORY PACKAGE. What it imports itself it forgets before the plugin runs.
"""

from __future__ import annotations
import __future__

import ctypes  # setns until the launcher brings it (netns.py)
import os.path
import sys
from importlib.machinery import BuiltinImporter, ModuleSpec
from types import CodeType, ModuleType

BUILTIN = {"posix", "_socket", "_struct", "fcntl", "select", "errno", "time", "marshal"}
OURS = {"cni_core", "cni_macvlan_py", "cni_ipvlan_py", "ipam"}
KEPT = {"sys", "builtins", "__main__", "_frozen_importlib", "_frozen_importlib_external", "_imp", "_ctypes"}


class Importer:
    """A meta path finder, and the loader of our modules (importlib.abc)."""

    def __init__(self, repository: str) -> None:
        self.code = {name: _compile(path) for name, path in _modules(repository)}
        self.packages = {name for name, path in _modules(repository) if path.endswith("__init__.py")}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name in BUILTIN:
            return BuiltinImporter.find_spec(name)
        if name in self.code:
            return ModuleSpec(name, self, is_package=name in self.packages)  # type: ignore[arg-type]
        raise ImportError(f"{name} is not for the per-pod path")

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code[module.__name__], module.__dict__)


def _modules(repository: str) -> list[tuple[str, str]]:
    found = []
    for package in sorted(OURS):
        for directory, _, files in os.walk(os.path.join(repository, package)):
            for file in files:
                if file.endswith(".py"):
                    path = os.path.join(directory, file)
                    name = os.path.relpath(path, repository).removesuffix(".py").removesuffix("/__init__")
                    found.append((name.replace("/", "."), path))
    return found


def _compile(path: str) -> CodeType:
    with open(path, encoding="utf-8") as source:
        code: CodeType = compile(source.read(), path, "exec")
        return code


def main() -> None:
    repository, package = sys.argv[1:]
    sys.meta_path[:] = [Importer(repository)]
    for loaded in set(sys.modules) - KEPT:
        del sys.modules[loaded]
    # The first is a directive to the compiler, which the launcher's modules are compiled with.
    sys.modules |= {"__future__": __future__, "ctypes": ctypes}
    __import__(f"{package}.__main__")


main()
