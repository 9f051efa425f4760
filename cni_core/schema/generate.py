"""Writes validators.py and spellings.py from the JSON Schemas beside it: `python -m cni_core.schema.generate`.

jsonschema takes 230 ms to import, a hundred times what a call may take; the generated code is plain comparisons. It
says only whether a document is valid. What is wrong with one that is not, explain.py says with jsonschema, and a
property test holds the two against each other. A keyword that this generator does not know is an error, never ignored.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOTS = ("macvlan.json", "ipvlan.json", "host-local-plugin.json", "lan-local-plugin.json", "result.json")
TARGET = HERE / "validators.py"
SPELLINGS = HERE / "spellings.py"

HEADER = '''"""Generated from the JSON Schemas by generate.py: do not edit."""

from __future__ import annotations

from cni_core.schema import formats
'''

_ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description", "default", "examples"}
_TYPE_TESTS = {
    "object": "isinstance({v}, dict)",
    "array": "isinstance({v}, list)",
    "string": "isinstance({v}, str)",
    "boolean": "isinstance({v}, bool)",
    "integer": "isinstance({v}, int) and not isinstance({v}, bool)",
}
_COMPARISONS = {"type", "enum", "const", "format", "minimum", "maximum"}
_COMBINATIONS = {"$ref", "allOf", "anyOf", "if", "then"}
_PARTS = {"properties", "required", "additionalProperties", "propertyNames", "items", "minItems", "maxItems"}


class Generator:
    """Turns schemas into functions, equal ones into the same; what is a comparison or two stands where it is needed.

    functions maps a schema's place ("FILE#/POINTER") or, where it stands inside another, its text to a name.
    """

    def __init__(self, documents: dict[str, Any]) -> None:
        self.documents = documents
        self.functions: dict[str, str] = {}
        self.source: list[str] = []

    def function(self, place: str) -> str:
        """The name of the function for the schema at a place, made if it is new."""
        if place not in self.functions:
            file, _, pointer = place.partition("#")
            self.functions[place] = name = name_of(place)
            schema = self.documents[file]
            for key in pointer.split("/")[1:]:
                schema = schema[key]
            self.source.append(self._definition(name, schema, file))
        return self.functions[place]

    def _definition(self, name: str, schema: dict[str, Any], file: str) -> str:
        lines = [f"if not ({test}):\n        return False" for test in self._tests(schema, "v", file)]
        lines += self._parts("dict", self._members(schema, file), schema.get("type") == "object")
        lines += self._parts("list", self._items(schema, file), schema.get("type") == "array")
        return "\n    ".join([f"def {name}(v: object) -> bool:", *lines, "return True"]) + "\n"

    def _fits(self, schema: dict[str, Any], v: str, file: str) -> str:
        """An expression: whether the value that the expression v gives fits the schema."""
        keys = set(schema) - _ANNOTATIONS
        if keys & _PARTS or "if" in keys:
            return f"{self._nested(schema, file)}({v})"
        return " and ".join(self._tests(schema, v, file)) or "True"

    def _nested(self, schema: dict[str, Any], file: str) -> str:
        """The name of a function for a schema that stands inside another."""
        meaning = file + json.dumps({key: part for key, part in schema.items() if key not in _ANNOTATIONS})
        if meaning not in self.functions:
            self.functions[meaning] = name = f"_{len(self.functions)}"
            self.source.append(self._definition(name, schema, file))
        return self.functions[meaning]

    def _tests(self, schema: dict[str, Any], v: str, file: str) -> list[str]:
        """All of a schema but what it says of the parts of a value, as expressions to be joined by `and`."""
        unknown = set(schema) - _ANNOTATIONS - _COMPARISONS - _COMBINATIONS - _PARTS
        if unknown:
            raise SystemExit(f"{file}: the generator does not know {sorted(unknown)}")
        tests = _comparisons(schema, v)
        if "$ref" in schema:
            target, _, pointer = schema["$ref"].partition("#")
            tests.append(f"{self.function(f'{target or file}#{pointer}')}({v})")
        tests += [self._fits(part, v, file) for part in schema.get("allOf", [])]
        if "anyOf" in schema:
            tests.append(f"({' or '.join(self._fits(part, v, file) for part in schema['anyOf'])})")
        if "if" in schema:
            condition, consequence = self._fits(schema["if"], v, file), self._fits(schema["then"], v, file)
            tests.append(f"(not ({condition}) or {consequence})")
        return tests

    @staticmethod
    def _parts(kind: str, tests: list[str], is_of_kind: bool) -> list[str]:
        """Statements for a value's parts, where it is of the kind that has them."""
        guard = "" if is_of_kind else f"isinstance(v, {kind}) and "
        return [f"if {guard}not ({test}):\n        return False" for test in tests]

    def _members(self, schema: dict[str, Any], file: str) -> list[str]:
        tests = [f"{name!r} in v" for name in schema.get("required", [])]
        for name, member in schema.get("properties", {}).items():
            tests.append(f"{name!r} not in v or {self._fits(member, f'v[{name!r}]', file)}")
        if "additionalProperties" in schema:
            # The generator's subset: with a schema for all members, there are no named ones beside it.
            assert "properties" not in schema
            tests.append(f"all([{self._fits(schema['additionalProperties'], 'm', file)} for m in v.values()])")
        if "propertyNames" in schema:
            tests.append(f"all([{self._fits(schema['propertyNames'], 'n', file)} for n in v])")
        return tests

    def _items(self, schema: dict[str, Any], file: str) -> list[str]:
        tests = [f"len(v) >= {schema['minItems']}"] if "minItems" in schema else []
        tests += [f"len(v) <= {schema['maxItems']}"] if "maxItems" in schema else []
        if "items" in schema:
            tests.append(f"all([{self._fits(schema['items'], 'i', file)} for i in v])")
        return tests


def name_of(place: str) -> str:
    """The function for the schema at a place, which "FILE#/$defs/NAME" or "FILE#" tells."""
    file, _, pointer = place.partition("#")
    return "_" + "_".join([file.removesuffix(".json").replace("-", "_"), *pointer.split("/")[2:]])


def _comparisons(schema: dict[str, Any], v: str) -> list[str]:
    """What a schema says of a value without parts. A number's bounds hold for numbers alone, a format for strings."""
    tests = []
    if "type" in schema:
        tests.append(_TYPE_TESTS[schema["type"]].format(v=v))
    for choices in ([schema["const"]] if "const" in schema else [], schema.get("enum", [])):
        # Of other types, JSON's equality is not Python's (1 == True).
        assert all(isinstance(choice, str) for choice in choices)
        if choices:
            tests.append(f"{v} in {tuple(choices)!r}")
    if "minimum" in schema or "maximum" in schema:
        low = f"{schema['minimum']} <= {v}" if "minimum" in schema else v
        bounds = f"{low} <= {schema['maximum']}" if "maximum" in schema else low
        is_number = schema.get("type") == "integer"
        tests.append(
            bounds if is_number else f"(not isinstance({v}, (int, float)) or isinstance({v}, bool) or {bounds})"
        )
    if "format" in schema:
        accepts = f"formats.is_{schema['format'].replace('-', '_')}({v})"
        tests.append(accepts if schema.get("type") == "string" else f"(not isinstance({v}, str) or {accepts})")
    return tests


def generate() -> str:
    """The source of validators.py."""
    documents = {path.name: json.loads(path.read_text()) for path in HERE.glob("*.json")}
    generator = Generator(documents)
    public = []
    for root in ROOTS:
        public.append(f"{root.removesuffix('.json').replace('-', '_')} = {generator.function(f'{root}#')}\n")
    return "\n\n".join([HEADER, *generator.source]) + "\n\n" + "".join(public)


def spellings() -> str:
    """The source of spellings.py: every key that a schema knows, by its lower-case form."""
    known = set[str]()
    for path in HERE.glob("*.json"):
        known |= set(_keys(json.loads(path.read_text())))
    by_lower = {key.lower(): key for key in sorted(known)}
    assert len(by_lower) == len(known)  # no two keys differ by case alone
    lines = [f"    {lower!r}: {key!r},\n" for lower, key in by_lower.items()]
    doc = '"""The usual spelling of every key. Generated from the JSON Schemas by generate.py: do not edit."""'
    return f"{doc}\n\nUSUAL = {{\n{''.join(lines)}}}\nKNOWN = frozenset(USUAL.values())\n"


def _keys(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for part in schema.values():
            yield from _keys(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _keys(part)


if __name__ == "__main__":
    for target, source in ((TARGET, generate()), (SPELLINGS, spellings())):
        if not target.exists() or target.read_text() != source:
            target.write_text(source)
            print(f"generated {target}", file=sys.stderr)
