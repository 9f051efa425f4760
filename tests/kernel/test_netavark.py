"""The frozen plugins as netavark calls them, without a podman around them (test_podman5.py has that)."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from conformance.lab.topology import Host
from tests.kernel.conftest import Lan
from tests.kernel.plugin import OURS, RECORDS, links


def network(**changes: Any) -> dict[str, Any]:
    return {
        "name": "lan",
        "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
        "driver": "cni-macvlan-py",
        "subnets": [{"subnet": "10.1.0.0/24", "gateway": "10.1.0.1"}],
        "ipv6_enabled": False,
        "internal": False,
        "dns_enabled": False,
        "options": {"parent": "eth0", "mac": "stable"},
    } | changes


def for_container(pod: Host, of: dict[str, Any], *ips: str) -> dict[str, Any]:
    return {
        "container_id": pod.name,
        "container_name": "web",
        "network": of,
        "network_options": {"interface_name": "eth0", "static_ips": list(ips) or None},
    }


def call(lan: Lan, *arguments: str, stdin: object = None, kind: str = "macvlan") -> subprocess.CompletedProcess[bytes]:
    command = [str(OURS / f"cni-{kind}-py"), *arguments]
    return lan.node.run(command, input=json.dumps(stdin).encode(), env={}, check=False)


def answered(done: subprocess.CompletedProcess[bytes]) -> Any:
    assert (done.returncode, done.stderr) == (0, b""), (done.stdout, done.stderr)
    return json.loads(done.stdout) if done.stdout else None


def refused(done: subprocess.CompletedProcess[bytes]) -> str:
    assert (done.returncode, done.stderr) == (1, b"")
    document = json.loads(done.stdout)
    assert document.keys() == {"error"}
    return str(document["error"])


def attachments() -> list[str]:
    return [path.name for path in (RECORDS / "attachments").glob("*")]


def test_a_container_is_set_up_and_torn_down(lan: Lan) -> None:
    assert answered(call(lan, "info"))["api_version"] == "1.0.0"
    pod = lan.container("pod")
    document = for_container(pod, network(), "10.1.0.9")
    told = answered(call(lan, "setup", pod.netns, stdin=document))["interfaces"]["eth0"]
    [link] = pod.ip_json("link show dev eth0")
    assert told == {
        "mac_address": link["address"],
        "subnets": [{"ipnet": "10.1.0.9/24", "gateway": "10.1.0.1"}],
    }
    assert pod.ping("10.1.0.1")
    assert "already" in refused(call(lan, "setup", pod.netns, stdin=document))
    assert pod.ping("10.1.0.1")
    for _ in range(2):
        assert answered(call(lan, "teardown", pod.netns, stdin=document)) is None
        assert (links(pod), attachments()) == ([], [])


def test_a_vlan_of_a_trunk_comes_and_goes(lan: Lan) -> None:
    pods = [lan.host("one"), lan.host("two")]
    of = network(options={"parent": "eth0.50"})
    documents = [for_container(pod, of, f"10.1.0.{10 + n}") for n, pod in enumerate(pods)]
    for pod, document in zip(pods, documents, strict=True):
        answered(call(lan, "setup", pod.netns, stdin=document))
    assert links(lan.node) == ["eth0", "eth0.50"]
    answered(call(lan, "teardown", pods[0].netns, stdin=documents[0]))
    assert links(lan.node) == ["eth0", "eth0.50"]
    answered(call(lan, "teardown", pods[1].netns, stdin=documents[1]))
    assert (links(lan.node), attachments()) == (["eth0"], [])
    answered(call(lan, "teardown", "/run/netns/gone", stdin=documents[1]))  # netavark calls it then, too


def test_what_is_refused_is_told_in_netavarks_form_and_leaves_nothing(lan: Lan) -> None:
    pod = lan.host("pod")
    for changes, why in (
        ({"options": {"parrent": "eth0"}}, "-o parrent: macvlan has no such option. Did you mean parent?"),
        ({"options": {"parent": "eth0", "mode": "bridg"}}, "-o mode=bridg: "),
        ({"options": {"parent": "eth9"}}, "-o parent=eth9: there is no link named eth9"),
    ):
        assert why in refused(call(lan, "create", stdin=network(**changes)))
    document = for_container(pod, network(**changes), "10.1.0.9")
    assert why in refused(call(lan, "setup", pod.netns, stdin=document))
    assert "gateway" in refused(call(lan, "setup", pod.netns, stdin=for_container(pod, network(), "10.1.0.1")))
    document = for_container(pod, network(), "10.1.0.9")
    assert "namespace" in refused(call(lan, "setup", "/run/netns/none", stdin=document))
    assert (links(pod), links(lan.node), attachments()) == ([], ["eth0"], [])


def test_the_other_kind_is_the_other_program(lan: Lan) -> None:
    pod = lan.host("pod")
    of = answered(
        call(
            lan,
            "create",
            stdin=network(driver="cni-ipvlan-py", options={"parent": "eth0", "mode": "l3"}),
            kind="ipvlan",
        )
    )
    told = answered(call(lan, "setup", pod.netns, stdin=for_container(pod, of, "10.1.0.9"), kind="ipvlan"))
    assert told["interfaces"]["eth0"]["subnets"] == [{"ipnet": "10.1.0.9/24"}]
    [link] = pod.ip_json("-d link show dev eth0")
    assert link["linkinfo"]["info_data"]["mode"] == "l3"
