"""Writes validators.py from the JSON Schemas beside it, when freezing: `python -m cni_core.schema.generate`.

jsonschema takes 230 ms to import, a hundred times what a call may take; the generated code is plain comparisons. It
says only whether a document is valid. What is wrong with one that is not, explain.py says with jsonschema, and a
property test holds the two against each other. A keyword that this generator does not know is an error, never ignored.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOTS = ("macvlan.json", "host-local-plugin.json", "result.json")
TARGET = HERE / "validators.py"

HEADER = '''"""Generated from the JSON Schemas by generate.py: do not edit."""

from __future__ import annotations

from cni_core.schema import formats
'''

_ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description", "default", "examples"}
_TYPE_TESTS = {
    "object": "isinstance(v, dict)",
    "array": "isinstance(v, list)",
    "string": "isinstance(v, str)",
    "boolean": "isinstance(v, bool)",
    "integer": "isinstance(v, int) and not isinstance(v, bool)",
}


class Generator:
    """Turns each schema that is reached into one function, equal ones into the same.

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
            name = "_" + "_".join([file.removesuffix(".json").replace("-", "_"), *pointer.split("/")[2:]])
            self.functions[place] = name
            schema = self.documents[file]
            for key in pointer.split("/")[1:]:
                schema = schema[key]
            self.source.append(self._definition(name, schema, file))
        return self.functions[place]

    def _definition(self, name: str, schema: dict[str, Any], file: str) -> str:
        body = "\n".join(f"    {line}" for line in self._lines(schema, "v", file))
        return f"def {name}(v: object) -> bool:\n{body}\n    return True\n"

    def _nested(self, schema: dict[str, Any], file: str) -> str:
        """The name of a function for a schema that stands inside another."""
        if set(schema) - _ANNOTATIONS == {"$ref"}:
            return self.function(self._place(schema["$ref"], file))
        meaning = file + json.dumps({key: part for key, part in schema.items() if key not in _ANNOTATIONS})
        if meaning not in self.functions:
            self.functions[meaning] = name = f"_{len(self.functions)}"
            self.source.append(self._definition(name, schema, file))
        return self.functions[meaning]

    @staticmethod
    def _place(reference: str, file: str) -> str:
        target, _, pointer = reference.partition("#")
        return f"{target or file}#{pointer}"

    def _lines(self, schema: dict[str, Any], v: str, file: str) -> list[str]:
        lines: list[str] = []
        unknown = set(schema) - _ANNOTATIONS - {
            "$ref", "type", "enum", "const", "properties", "required", "additionalProperties", "items", "minItems",
            "minimum", "maximum", "format", "allOf", "anyOf", "if", "then",
        }  # fmt: skip
        if unknown:
            raise SystemExit(f"{file}: the generator does not know {sorted(unknown)}")

        def refuse_unless(test: str) -> None:
            lines.append(f"if not ({test}):")
            lines.append("    return False")

        if "type" in schema:
            refuse_unless(_TYPE_TESTS[schema["type"]])
        if "const" in schema:
            refuse_unless(_equal(schema["const"]))
        if "enum" in schema:
            refuse_unless(" or ".join(_equal(value) for value in schema["enum"]))
        if "$ref" in schema:
            refuse_unless(f"{self.function(self._place(schema['$ref'], file))}({v})")
        for part in schema.get("allOf", []):
            refuse_unless(f"{self._nested(part, file)}({v})")
        if "anyOf" in schema:
            refuse_unless(" or ".join(f"{self._nested(part, file)}({v})" for part in schema["anyOf"]))
        if "if" in schema:
            condition, consequence = self._nested(schema["if"], file), self._nested(schema["then"], file)
            refuse_unless(f"not {condition}({v}) or {consequence}({v})")
        if "minimum" in schema or "maximum" in schema:
            refuse_unless(self._bounds(schema))
        if "format" in schema:
            function = "is_" + schema["format"].replace("-", "_")
            refuse_unless(f"not isinstance({v}, str) or formats.{function}({v})")
        lines += self._members(schema, file)
        lines += self._items(schema, file)
        return lines or ["pass"]

    def _members(self, schema: dict[str, Any], file: str) -> list[str]:
        lines = []
        for name in schema.get("required", []):
            lines += [f"if {name!r} not in v:", "    return False"]
        for name, member in schema.get("properties", {}).items():
            lines += [f"if {name!r} in v and not {self._nested(member, file)}(v[{name!r}]):", "    return False"]
        if "additionalProperties" in schema:
            # The generator's subset: with a schema for all members, there are no named ones beside it.
            assert "properties" not in schema
            lines += [f"if not all({self._nested(schema['additionalProperties'], file)}(m) for m in v.values()):"]
            lines += ["    return False"]
        return ["if isinstance(v, dict):", *(f"    {line}" for line in lines)] if lines else []

    def _items(self, schema: dict[str, Any], file: str) -> list[str]:
        lines = []
        if "minItems" in schema:
            lines += [f"if len(v) < {schema['minItems']}:", "    return False"]
        if "items" in schema:
            lines += [f"if not all({self._nested(schema['items'], file)}(i) for i in v):", "    return False"]
        return ["if isinstance(v, list):", *(f"    {line}" for line in lines)] if lines else []

    @staticmethod
    def _bounds(schema: dict[str, Any]) -> str:
        low = f"{schema['minimum']} <= v" if "minimum" in schema else "v"
        bounds = f"{low} <= {schema['maximum']}" if "maximum" in schema else low
        return f"not isinstance(v, (int, float)) or isinstance(v, bool) or {bounds}"


def _equal(value: object) -> str:
    assert isinstance(value, str)  # of other types, JSON's equality is not Python's (1 == True)
    return f"v == {value!r}"


def generate() -> str:
    """The source of validators.py."""
    documents = {path.name: json.loads(path.read_text()) for path in HERE.glob("*.json")}
    generator = Generator(documents)
    public = []
    for root in ROOTS:
        public.append(f"{root.removesuffix('.json').replace('-', '_')} = {generator.function(f'{root}#')}\n")
    return "\n\n".join([HEADER, *generator.source]) + "\n\n" + "".join(public)


if __name__ == "__main__":
    source = generate()
    if not TARGET.exists() or TARGET.read_text() != source:
        TARGET.write_text(source)
        print(f"generated {TARGET}", file=sys.stderr)
