"""Imports every module of the launcher and writes their names, one on a line: what it runs, once, when it is built.

A library that was linked in, but does not fit the headers or the frozen code, fails here and not at a pod's ADD.
"""

from __future__ import annotations

import sys
from _imp import _frozen_module_names  # type: ignore[attr-defined]
from posix import _exit, write


def main() -> None:
    names = [*sys.builtin_module_names, *_frozen_module_names()]
    for name in names:
        if name.endswith(".__main__"):
            continue  # a program: to import it is to call it
        try:
            __import__(name)
        except BaseException as error:
            write(2, f"{name} cannot be imported: {type(error).__name__}: {error}\n".encode())
            _exit(1)
    write(1, "".join(f"{name}\n" for name in names).encode())
    _exit(0)


main()
