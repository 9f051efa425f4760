"""What is wrong with options, in words. The full program's alone: the launcher has no difflib, and needs none."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from cni_core.errors import INVALID_CONFIG, CniError, located
from cni_core.netavark.options import name_of
from cni_core.schema.explain import problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def unknown(kind: str, name: str, known: Iterable[str]) -> CniError:
    """An option that the kind does not have."""
    near = get_close_matches(name, known, 1)
    mend = f"Did you mean {near[0]}?" if near else f"It has {', '.join(sorted(known))}."
    return CniError(INVALID_CONFIG, f"-o {name}: {kind} has no such option", mend)


def rejected(kind: str, config: dict[str, Any], options: Mapping[str, str]) -> CniError:
    """A configuration that the schema does not accept: by the options where they are to blame."""
    found = []
    for problem in problems(kind, config):
        name = name_of(kind, options, problem.path)
        found.append(
            f"-o {name}={options[name]}: {problem.message}" if name else located(problem.path, problem.message)
        )
    found = sorted({*found})
    return CniError(INVALID_CONFIG, found[0], "; ".join(found[1:]))
