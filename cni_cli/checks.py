"""What `doctor` says: findings, each with what there is to do about it, and which of them it says to whom."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from cni_cli.terminal import styled
from cni_core.errors import CniError
from cni_core.names import printable

OK, WARNING, FAILURE = "ok", "warning", "failure"
COLOURS = {OK: "green", WARNING: "yellow", FAILURE: "red"}


@dataclass(frozen=True)
class Check:
    """level is ok, warning or failure; what was found; mend, where there is something to do about it; the name of the
    network that it is about, empty where it is about the node."""

    level: str
    what: str
    mend: str = ""
    network: str = ""


def of_network(name: str, level: str, what: str, mend: str = "") -> Check:
    """A finding about a network, which begins with its name."""
    return Check(level, f"network {name}: {what}", mend, name)


def to_the_end(about: str, found: Iterator[Check]) -> Iterator[Check]:
    """What is found; that it cannot be looked at is a finding, too."""
    try:
        yield from found
    except CniError as error:
        yield Check(FAILURE, f"{about}: {error.msg}", error.details or "docs/errors.md has the causes.")
    except OSError as error:
        mend = "Call it as root." if isinstance(error, PermissionError) else "See to what is named."
        yield Check(FAILURE, f"{about}: {error.filename or 'the system'}: {error.strerror or error}", mend)


def settled(checks: Iterable[Check]) -> list[Check]:
    """Without what is said twice, and without an "ok" about a network that something else fails."""
    found = list(dict.fromkeys(checks))
    failing = {check.network for check in found if check.level == FAILURE and check.network}
    return [check for check in found if check.level != OK or check.network not in failing]


def as_text(checks: Iterable[Check]) -> Iterator[str]:
    for check in checks:
        yield f"{styled(f'{check.level:8}', COLOURS[check.level])} {printable(check.what)}"
        if check.mend:
            yield f"{'':8} → {printable(check.mend)}"


def as_json(checks: Iterable[Check]) -> str:
    return json.dumps([asdict(check) for check in checks], indent=2)


def status(checks: Iterable[Check]) -> int:
    """The exit status: 1 if something fails, else 0."""
    return int(any(check.level == FAILURE for check in checks))
