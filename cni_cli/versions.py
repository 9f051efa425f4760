"""What a build consists of, for --version."""

from __future__ import annotations

import platform
from importlib.metadata import distributions

from cni_core import __version__
from cni_core.config import SUPPORTED


def text(name: str) -> str:
    """The program's own version, then a line for each thing that is bundled."""
    bundled = sorted(f"{part.name} {part.version}" for part in distributions())
    return "\n".join(
        [
            f"{name} {__version__}, CNI {SUPPORTED[0]} to {SUPPORTED[-1]}",
            f"{platform.python_implementation()} {platform.python_version()}",
            *bundled,
            "",
        ]
    )
