"""What a case is, how one is declared, and what it may say of the plugins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.suite.world import World

# Whose sentence a case is: the CNI specification's, the Go plugins' documentation's, or this project's contract's.
TAGS = ("spec", "reference", "extension")


class Failed(Exception):
    """The plugin did not do what the case says; the text is what it did instead."""


class NotApplicable(Exception):
    """The plugin does not claim what the case is about; the text says what."""


@dataclass(frozen=True)
class Case:
    """name is GROUP/FUNCTION[VALUE]; says is the sentence that must hold, source where it stands."""

    name: str
    tag: str
    says: str
    source: str
    body: Callable[..., None]
    values: tuple[Any, ...] = ()

    @property
    def group(self) -> str:
        return self.name.partition("/")[0]

    def run(self, world: World) -> None:
        """Failed, NotApplicable, or whatever went wrong on the way."""
        self.body(world, *self.values)


CASES: list[Case] = []

Body = Callable[..., None]


def spec(source: str, each: Sequence[Any] = ()) -> Callable[[Body], Body]:
    """Declares a case of the specification. `each`: once for each of these values, a tuple being several arguments.

    The body's docstring is the sentence; {0}, {1} stand for the values.
    """
    return _declare("spec", f"CNI SPEC {source}", each)


def reference(source: str, each: Sequence[Any] = ()) -> Callable[[Body], Body]:
    """One of the Go plugins' documented behaviour."""
    return _declare("reference", source, each)


def extension(source: str, each: Sequence[Any] = ()) -> Callable[[Body], Body]:
    """One of this project's contract, which others need not know."""
    return _declare("extension", source, each)


def _declare(tag: str, source: str, each: Sequence[Any]) -> Callable[[Body], Body]:
    def declare(body: Body) -> Body:
        name = f"{body.__module__.rpartition('.')[2]}/{body.__name__}"
        says = " ".join((body.__doc__ or "").split())
        if not says:
            raise TypeError(f"{name} has no sentence")
        for value in each or [None]:
            values = value if isinstance(value, tuple) else () if value is None else (value,)
            suffix = f"[{','.join(str(v) for v in values)}]" if values else ""
            CASES.append(Case(name + suffix, tag, says.format(*values), source, body, values))
        return body

    return declare


def expect(condition: object, otherwise: str) -> None:
    """Failed with `otherwise` unless the condition holds."""
    if not condition:
        raise Failed(otherwise)


def equal(what: str, found: object, wanted: object) -> None:
    """Failed unless the two are equal."""
    if found != wanted:
        raise Failed(f"{what}: {found!r} instead of {wanted!r}")
