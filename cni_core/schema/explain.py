"""Says everything that is wrong with a configuration, with jsonschema; loaded only when one was rejected."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from cni_core.errors import located
from cni_core.schema import validators
from cni_core.schema.formats import FORMATS
from cni_core.schema.generate import name_of

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Problem:
    """Where in the document, and what is wrong there."""

    path: tuple[str | int, ...]
    message: str

    def __str__(self) -> str:
        return located(self.path, self.message)


def meant(text: str, choices: Iterable[str], similarity: float = 0.6) -> str:
    """The end of a message about a text that is none of the choices, but may be a misspelling of one."""
    by_form = {_form(choice): choice for choice in choices}
    near = get_close_matches(_form(text[:_LONGEST]), by_form, 1, similarity)
    return f"; did you mean {by_form[near[0]]}?" if near else ""


def _form(text: str) -> str:
    """What is the same in range_start and rangeStart."""
    return text.lower().replace("_", "").replace("-", "")


MOST = 100  # a second's worth, and more than anybody reads
_LONGEST = 120  # characters of a value, in an error that a person is to read


def _validator_class() -> Any:
    # JSON Schema counts 1500.0 as an integer; Go's json, whose users we serve, does not.
    checker = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    keywords = {"items": _items, "anyOf": _any_of}
    return extend(Draft202012Validator, keywords, type_checker=checker)  # type: ignore[no-untyped-call]


# Two keywords as jsonschema has them, but for lists that somebody made as long as they may be.


def _items(validator: Any, items: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Of a list that is too long, that is all there is to say; what the generated code accepts needs no explanation."""
    if isinstance(instance, list) and len(instance) <= schema.get("maxItems", len(instance)):
        accepts = getattr(validators, name_of(items.get("$ref", "")), None)
        for i, item in enumerate(instance):
            if not (accepts and accepts(item)):
                yield from validator.descend(item, items, path=i)


def _any_of(validator: Any, alternatives: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Of each alternative no more errors are kept than are told."""
    context: list[ValidationError] = []
    for i, alternative in enumerate(alternatives):
        errors = list(islice(validator.descend(instance, alternative, schema_path=i), MOST))
        if not errors:
            return
        context += errors
    yield ValidationError("none of the alternatives", context=context)


def _format_checker() -> FormatChecker:
    checker = FormatChecker(formats=())
    for name, (accepts, _) in FORMATS.items():

        def check(value: object, accepts: Any = accepts) -> bool:
            return not isinstance(value, str) or bool(accepts(value))

        checker.checkers[name] = (check, ())
    return checker


def documents() -> dict[str, dict[str, Any]]:
    """The schemas by their file names."""
    return {path.name: json.loads(path.read_text()) for path in HERE.glob("*.json")}


def validator(schema: str) -> Any:
    """The jsonschema validator of a schema by name, such as macvlan."""
    found = documents()
    for document in found.values():
        del document["$schema"]  # jsonschema takes its own class for a document that names one (Validator.evolve)
    registry: Registry[Any] = Registry().with_resources(
        (name, DRAFT202012.create_resource(document)) for name, document in found.items()
    )
    return _validator_class()(found[f"{schema}.json"], registry=registry, format_checker=_format_checker())


def violations(schema: str, document: object) -> list[str]:
    """One line per violation, each led by its path, in the order of the paths."""
    return sorted({str(problem) for problem in problems(schema, document)})


def problems(schema: str, document: object) -> list[Problem]:
    """What is wrong with a document; of a thousand things, the first hundred found."""
    leaves = (leaf for error in validator(schema).iter_errors(document) for leaf in _leaves(error))
    return [_problem(leaf) for leaf in islice(leaves, MOST)]


def _leaves(error: ValidationError) -> list[ValidationError]:
    """Of alternatives that all failed, what is wrong with the one that was meant: the first that fits in type."""
    if error.validator != "anyOf":
        return [error]
    meant = [part for part in error.context or [] if part.path or part.validator not in ("const", "type", "enum")]
    return [leaf for part in meant for leaf in _leaves(part)] if meant else [error]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _problem(error: ValidationError) -> Problem:
    instance: Any = error.instance
    value = _short(json.dumps(instance, ensure_ascii=False))
    rule: Any = error.validator_value
    if error.validator == "format":
        message = f"{value} is not {FORMATS[rule][1]}"
    elif error.validator == "enum":
        choices = [str(choice) for choice in rule if choice]
        message = f"{value} is not one of {', '.join(choices)}{meant(str(error.instance), choices)}"
    elif error.validator == "type":
        message = f"{value} is not of type {rule}"
    elif error.validator == "anyOf":
        types = [str(part.validator_value) for part in error.context or [] if part.validator == "type"]
        message = f"{value} is not of type {' or '.join(types)}"
    elif error.validator == "required":
        message = error.message.replace("'", "").replace("is a required property", "is missing")
    elif error.validator == "minItems":
        message = "is empty"
    elif error.validator == "maxItems":
        message = f"has {len(instance):,} entries; {rule:,} are the most"
    else:
        message = _short(error.message)
    return Problem(tuple(error.absolute_path), message)
