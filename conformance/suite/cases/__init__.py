"""The cases, a module for each group; `load` declares them all."""

from __future__ import annotations

from importlib import import_module

GROUPS = (
    "protocol",
    "environment",
    "results",
    "links",
    "macvlan",
    "ipvlan",
    "host_local",
    "ranges",
    "requested",
    "delegation",
    "routes",
    "inputs",
    "delete",
    "check",
    "collect",
    "trunk",
    "l3",
    "internal",
)


def load() -> None:
    """In the order of GROUPS."""
    for group in GROUPS:
        import_module(f"conformance.suite.cases.{group}")
