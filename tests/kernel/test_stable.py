"""mac and ipam.order stable: who comes back has its hardware address and its address again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conformance.lab import syscalls
from conformance.lab.topology import Host
from tests.kernel.conftest import Lan
from tests.kernel.plugin import OURS, leases

POD = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=4711"


def stable(lan: Lan, **keys: Any) -> dict[str, Any]:
    return lan.config(**{"mac": "stable", "ipam": lan.ipam("10.1.0.0/24", "fd00:1::/64", order="stable")} | keys)


def mac(host: Host) -> str:
    found: str = host.ip_json("link show dev eth0")[0]["address"]
    return found


def identity(host: Host, result: dict[str, Any]) -> tuple[str, list[str]]:
    """The hardware address, which the result tells, and the addresses."""
    [interface] = result["interfaces"]
    assert interface["mac"] == mac(host)
    return interface["mac"], [ip["address"] for ip in result["ips"]]


def test_a_pod_that_comes_back_is_known_by_its_addresses(lan: Lan) -> None:
    first, config = lan.container("first"), stable(lan)
    result = lan.macvlan.add(first, config, CNI_ARGS=POD).result
    own = identity(first, result)
    lan.macvlan.check(first, config, result).succeeded()
    # Others come and go meanwhile.
    for n in range(3):
        assert identity(pod := lan.host(f"other{n}"), lan.macvlan.add(pod, config).result)[0] != own[0]
    lan.macvlan.delete(first, config, CNI_ARGS=POD).succeeded()
    again = lan.container("again")
    assert identity(again, lan.macvlan.add(again, config, CNI_ARGS=POD).result) == own
    assert again.ping("10.1.0.1")
    assert again.ping("fd00:1::1")


def test_a_container_that_is_stopped_and_started_is_known_by_its_id(lan: Lan) -> None:
    """In another network namespace."""
    config, namespaces = stable(lan), [lan.host("before"), lan.host("after")]
    known = []
    for namespace in namespaces:
        result = lan.macvlan.add(namespace, config, CNI_CONTAINERID="web").result
        known.append(identity(namespace, result))
        lan.macvlan.delete(namespace, config, CNI_CONTAINERID="web").succeeded()
    assert known[0] == known[1]


def test_while_the_one_before_is_still_there_both_work(lan: Lan) -> None:
    """Its namespace is held, or it ends too late: two hardware addresses that are the same would cut both off."""
    first, second, config = lan.container("first"), lan.container("second"), stable(lan)
    own = identity(first, lan.macvlan.add(first, config, CNI_ARGS=POD).result)
    outcome = lan.macvlan.add(second, config, CNI_ARGS=POD)
    others = identity(second, outcome.result)
    assert outcome.stderr == f"the hardware address {own[0]} is in use on eth0 already: eth0 gets another one\n"
    assert own[0] != others[0] and set(own[1]).isdisjoint(others[1])
    for pod in (first, second):
        assert pod.ping("10.1.0.1")
        assert pod.ping("fd00:1::1")
    assert len(leases(lan.data_dir)) == 4
    # The next ones are always the same, too; and the first is free again.
    for pod in (first, second):
        lan.macvlan.delete(pod, config, CNI_ARGS=POD).succeeded()
    for name, expected in (("third", own), ("fourth", others)):
        pod = lan.container(name)
        assert identity(pod, lan.macvlan.add(pod, config, CNI_ARGS=POD).result) == expected


def test_ipvlan_has_its_address_again_and_its_parents_hardware_address(lan: Lan) -> None:
    config = stable(lan, type="ipvlan")
    known = []
    for name in ("first", "second"):
        pod = lan.host(name)
        known.append(identity(pod, lan.ipvlan.add(pod, config, CNI_ARGS=POD).result))
        lan.ipvlan.delete(pod, config, CNI_ARGS=POD).succeeded()
    assert known[0] == known[1]
    assert known[0][0] == mac(lan.node)


def test_a_network_of_the_commands_has_both_where_the_machine_has_an_id(lan: Lan, tmp_path: Path) -> None:
    def created(name: str) -> tuple[dict[str, Any], bytes]:
        argv = [str(OURS / "cni-macvlan-py"), "network", "create", name, "-o", "parent=eth0", "--dir", str(tmp_path)]
        done = lan.node.run([*argv, "--subnet", "10.1.0.0/25" if name == "lan" else "10.1.0.128/25"])
        [plugin] = json.loads((tmp_path / f"{name}.conflist").read_text())["plugins"]
        return plugin, done.stderr

    plugin, _ = created("lan")
    assert (plugin["mac"], plugin["ipam"]["order"]) == ("stable", "stable")
    syscalls.mount("/dev/null", "/etc/machine-id", flags=syscalls.MS_BIND)
    try:
        plugin, told = created("other")
        assert ("mac" in plugin, plugin["ipam"]["order"]) == (False, "stable")
        assert b"hardware addresses are others each time" in told
        error = lan.macvlan.add(lan.host("pod"), stable(lan)).error
        assert (error["code"], "/etc/machine-id" in error["msg"]) == (7, True)
        doctor = [str(OURS / "cni-macvlan-py"), "doctor", "--dir", str(tmp_path)]
        assert b"network lan: mac: a stable hardware" in lan.node.run(doctor, check=False).stdout
    finally:
        syscalls.umount("/etc/machine-id")
