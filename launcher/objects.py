"""Python objects as static C: what a call would else make when it starts, by reading marshalled code.

A code object and all that it refers to become initialised structures, as CPython does it with its own frozen modules
(the layouts are in Include/cpython, the macros in Include/internal/pycore_runtime_init.h). They are immortal. Strings
stand once in a build, so that interning them, which only the interpreter can, is done once, too. Objects of a kind lie
together, without gaps: a page that is written to is copied first, so what is written (the strings when they are
interned, the code of functions that are made) is not to be mixed with what is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from opcode import opmap
from types import CodeType
from typing import Any

PYTHON = (
    3,
    11,
)  # the version whose layouts these are: in 3.12 code objects changed, and 3.13 has no such modules itself

PREAMBLE = """\
#include <internal/pycore_code.h>
#include <internal/pycore_global_objects.h>
#include <internal/pycore_long.h>
#include <internal/pycore_runtime.h>
#include <internal/pycore_runtime_init.h>
#define VAR_HEAD(TYPE, SIZE) .ob_base = _PyVarObject_IMMORTAL_INIT(&TYPE, SIZE)
/* What the import of such a module begins with. */
static PyObject *frozen_code(PyObject *code)
{
    return _PyStaticCode_InternStrings((PyCodeObject *)code) ? NULL : Py_NewRef(code);
}
"""

DIGIT_BITS = 30  # of an int (PYLONG_BITS_IN_DIGIT)
SMALL_INTS = range(-5, 257)  # those that the interpreter has (pycore_global_objects.h)
RESUME = opmap["RESUME"]
# pycore_code.h: CO_FAST_*
LOCAL, CELL, FREE = 0x20, 0x40, 0x80
CO_OPTIMIZED = 1  # of functions, not of modules and classes (code.h)
KINDS = {1: "Py_UCS1", 2: "Py_UCS2", 4: "Py_UCS4"}


class Objects:
    """`of` returns the C expression for an object, a PyObject *; `definitions` has the structures that it is in."""

    def __init__(self) -> None:
        # Of each kind one big structure: the declarations of its members, and their values.
        self._members: dict[str, list[tuple[str, str]]] = {}
        self._known: dict[Any, str] = {}
        self._tuples = "frozen_tuples"
        self._kept: list[object] = []  # so that no other object gets the identity of one

    def of(self, value: object) -> str:
        """SystemExit for a constant of a type that no module of ours has had so far."""
        if value is None:
            return "Py_None"
        if value is Ellipsis:
            return "Py_Ellipsis"
        if isinstance(value, bool):
            return "Py_True" if value else "Py_False"
        if isinstance(value, int) and value in SMALL_INTS:
            return f"(PyObject *)&_PyLong_SMALL_INTS[_PY_NSMALLNEGINTS + {value}]"
        # By value (0.0 and -0.0 are two), but for tuples, which may hold 1 and 1.0, and code, which may be alike in two
        # files: those by identity.
        key = id(value) if isinstance(value, tuple | CodeType) else (type(value), repr(value))
        self._kept.append(value)
        if key not in self._known:
            define = {
                bytes: self._bytes,
                str: self._str,
                int: self._int,
                float: self._float,
                tuple: self._tuple,
                CodeType: self._code,
            }.get(type(value))
            if define is None:
                raise SystemExit(f"launcher: {value!r}: constants of type {type(value).__name__} cannot be frozen")
            self._known[key] = f"(PyObject *)&{define(value)}"  # type: ignore[operator]
        return self._known[key]

    def definitions(self) -> list[str]:
        """C, of all objects so far."""
        lines = []
        for kind, members in self._members.items():
            lines += [f"struct {kind} {{", *(f"    {declaration}" for declaration, _ in members), "};"]
            lines += [f"static struct {kind} {kind};"]  # for those before it that refer to it
        for kind, members in self._members.items():
            lines += [f"static struct {kind} {kind} = {{", *(f"    {{{value}}}," for _, value in members), "};"]
        return lines

    def _define(self, kind: str, structure: str, fields: Iterable[str], part: str = "") -> str:
        """A member of a kind's structure; the C expression of it, or of its part that is the object."""
        members = self._members.setdefault(kind, [])
        name = f"m{len(members)}"
        members.append((f"{structure} {name};", ", ".join(fields)))
        return f"{kind}.{name}{part}"

    def _bytes(self, value: bytes) -> str:
        structure = f"struct {{PyObject_VAR_HEAD Py_hash_t ob_shash; char ob_sval[{len(value) + 1}];}}"
        fields = [f"VAR_HEAD(PyBytes_Type, {len(value)})", ".ob_shash = -1", f".ob_sval = {{{_list([*value, 0])}}}"]
        return self._define("frozen_bytes", structure, fields)

    def _str(self, value: str) -> str:
        kind = next(kind for kind in KINDS if all(ord(char) < 1 << 8 * kind for char in value))
        ascii_only = value.isascii()
        base = (
            f".ob_base = _PyObject_IMMORTAL_INIT(&PyUnicode_Type), .length = {len(value)}, .hash = -1, "
            f".state = {{.kind = {kind}, .compact = 1, .ascii = {int(ascii_only)}, .ready = 1}}"
        )
        header = "PyASCIIObject" if ascii_only else "PyCompactUnicodeObject"
        fields = [
            f".header = {{{base}}}" if ascii_only else f".header = {{._base = {{{base}}}}}",
            f".data = {{{_list([*map(ord, value), 0])}}}",
        ]
        return self._define(
            "frozen_strings",
            f"struct {{{header} header; {KINDS[kind]} data[{len(value) + 1}];}}",
            fields,
        )

    def _int(self, value: int) -> str:
        digits = []
        rest = abs(value)
        while rest:
            digits.append(rest & ((1 << DIGIT_BITS) - 1))
            rest >>= DIGIT_BITS
        size = int(math.copysign(len(digits), value))
        fields = [f"VAR_HEAD(PyLong_Type, {size})", f".ob_digit = {{{_list(digits)}}}"]
        return self._define("frozen_numbers", f"struct {{PyObject_VAR_HEAD digit ob_digit[{len(digits)}];}}", fields)

    def _float(self, value: float) -> str:
        return self._define(
            "frozen_numbers",
            "PyFloatObject",
            [".ob_base = _PyObject_IMMORTAL_INIT(&PyFloat_Type)", f".ob_fval = {value!r}"],
        )

    def _tuple(self, value: tuple[object, ...]) -> str:
        items = [self.of(item) for item in value]
        body = f"struct {{PyObject_VAR_HEAD PyObject *ob_item[{len(items) or 1}];}}"
        fields = f"VAR_HEAD(PyTuple_Type, {len(items)}), .ob_item = {{{', '.join(items) or 'NULL'}}}"
        return self._define(
            self._tuples, f"struct {{PyGC_Head gc; {body} object;}}", [f".object = {{{fields}}}"], ".object"
        )

    def _code(self, code: CodeType) -> str:
        # The tuples of code that is run when its module is imported are written to, those of functions mostly read.
        before, self._tuples = self._tuples, "frozen_inner_tuples" if code.co_flags & CO_OPTIMIZED else "frozen_tuples"
        names = [*code.co_varnames, *(name for name in code.co_cellvars if name not in code.co_varnames)]
        plain_cells = len(names) - len(code.co_varnames)
        kinds = [
            (LOCAL if name in code.co_varnames else 0) | (CELL if name in code.co_cellvars else 0) for name in names
        ]
        names += code.co_freevars
        kinds += [FREE] * len(code.co_freevars)
        references = {
            "co_consts": code.co_consts,
            "co_names": code.co_names,
            "co_exceptiontable": code.co_exceptiontable,
            "co_localsplusnames": tuple(names),
            "co_localspluskinds": bytes(kinds),
            "co_filename": code.co_filename,
            "co_name": code.co_name,
            "co_qualname": code.co_qualname,
            "co_linetable": code.co_linetable,
        }
        numbers = {
            "co_flags": code.co_flags,
            "co_argcount": code.co_argcount,
            "co_posonlyargcount": code.co_posonlyargcount,
            "co_kwonlyargcount": code.co_kwonlyargcount,
            "co_stacksize": code.co_stacksize,
            "co_firstlineno": code.co_firstlineno,
            "co_nlocalsplus": len(names),
            "co_nlocals": len(code.co_varnames),
            "co_nplaincellvars": plain_cells,
            "co_ncellvars": len(code.co_cellvars),
            "co_nfreevars": len(code.co_freevars),
            "_co_firsttraceable": code.co_code[::2].index(RESUME),
        }
        fields = [f"VAR_HEAD(PyCode_Type, {len(code.co_code) // 2})"]
        fields += [f".{name} = {self.of(value)}" for name, value in references.items()]
        fields += [f".{name} = {value}" for name, value in numbers.items()]
        self._tuples = before
        fields += [".co_warmup = QUICKENING_INITIAL_WARMUP_VALUE", f".co_code_adaptive = {{{_list(code.co_code)}}}"]
        return self._define("frozen_code_objects", f"struct _PyCode_DEF({len(code.co_code)})", fields)


def _list(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
