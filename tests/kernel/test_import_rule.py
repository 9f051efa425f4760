"""ADD, CHECK, DEL and VERSION run on builtin modules alone: what each call imports is what each pod pays."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.kernel.conftest import Lan
from tests.kernel.plugin import REPOSITORY, Outcome, links

RESTRICTED = Path(__file__).with_name("restricted.py")


def call(lan: Lan, command: str, config: dict[str, Any]) -> Outcome:
    environment = lan.macvlan.environment(command, lan.net.host("pod") if command == "ADD" else None, {})
    environment |= {"CNI_CONTAINERID": "pod", "CNI_NETNS": "/run/netns/pod", "CNI_IFNAME": "eth0"}
    argv = [sys.executable, "-I", "-S", str(RESTRICTED), str(REPOSITORY), "cni_macvlan_py"]
    return Outcome(lan.node.run(argv, input=json.dumps(config).encode(), env=environment, check=False))


def test_the_calls_of_a_pod_import_nothing_but_builtin_modules_and_ours(lan: Lan) -> None:
    config = lan.config(ipam=lan.dual_stack, mac="02:00:00:00:00:01")
    assert call(lan, "VERSION", config).result["cniVersion"] == "1.0.0"
    result = call(lan, "ADD", config).result
    call(lan, "CHECK", config | {"prevResult": result}).succeeded()
    call(lan, "DEL", config | {"prevResult": result}).succeeded()


def test_the_importer_does_refuse_what_is_not_builtin(lan: Lan) -> None:
    """A configuration that is rejected is explained with jsonschema, which this importer does not have."""
    error = call(lan, "ADD", lan.config(mode="x")).error
    assert "jsonschema" in error["msg"] or "json" in error["msg"]
    assert links(lan.node) == ["eth0"]
