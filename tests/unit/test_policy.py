"""What the node's administrator allows (cni_core.policy), and what a host route may never lead to."""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from cni_core import files, hostroutes, policy
from cni_core.address import Cidr
from cni_core.errors import CniError
from cni_core.policy import parse


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cni-vlan.conf"
    for module in (files, policy):
        monkeypatch.setattr(module, "POLICY", str(path))
    return path


def written(**sections: Any) -> policy.Policy:
    return parse(json.dumps(sections).encode())


@pytest.mark.parametrize(
    "subnet",
    ["10.8.1.0/24", "10.0.0.0/8", "172.31.255.0/24", "192.168.0.0/16", "100.127.0.0/16", "fd00:8::/64", "fc00::/16"],
)
def test_a_host_route_may_lead_to_a_private_subnet(subnet: str) -> None:
    network = ip_network(subnet)  # the oracle, which does not count RFC 6598 as private
    assert network.is_private or network.subnet_of(ip_network("100.64.0.0/10"))  # type: ignore[arg-type]
    assert hostroutes.refusal(Cidr.parse(subnet)) == ""


@pytest.mark.parametrize(
    ("subnet", "why"),
    [
        ("169.254.169.254/32", "169.254.0.0/16"),
        ("127.0.0.1/32", "127.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/8"),
        ("128.0.0.0/1", "169.254.0.0/16"),
        ("224.0.0.0/24", "224.0.0.0/3"),
        ("::1/128", "::/127"),
        ("fe80::/64", "fe80::/10"),
        ("ff02::/16", "ff00::/8"),
        ("fc00::/7", "larger than a /16"),
        ("10.0.0.0/7", "larger than a /8"),
        ("203.0.113.10/32", "not private"),
        ("172.32.0.0/24", "not private"),
        ("172.16.0.0/11", "not private"),
        ("2001:db8::/64", "not private"),
        ("192.0.0.0/16", "not private"),
    ],
)
def test_it_may_not_lead_elsewhere(subnet: str, why: str) -> None:
    assert why in hostroutes.refusal(Cidr.parse(subnet))


def test_the_administrator_allows_and_forbids_host_routes(file: Path) -> None:
    file.write_text(json.dumps({"hostRoutes": {"allow": ["203.0.113.0/24", "10.0.0.0/8"], "forbid": ["10.9.0.0/16"]}}))
    file.chmod(0o644)
    for subnet in ("203.0.113.0/24", "203.0.113.10/32", "10.8.0.0/24"):
        assert hostroutes.refusal(Cidr.parse(subnet)) == ""
    for subnet, section in (("192.168.0.0/24", "allow"), ("10.9.1.0/24", "forbid"), ("10.8.0.0/15", "forbid")):
        assert f"hostRoutes.{section}" in hostroutes.refusal(Cidr.parse(subnet))
    # Not even the administrator, of what is never behind a parent.
    file.write_text('{"hostRoutes": {"allow": ["0.0.0.0/0"]}}')
    assert "169.254.0.0/16" in hostroutes.refusal(Cidr.parse("169.254.169.254/32"))
    file.write_text('{"parents": {}}')
    assert hostroutes.refusal(Cidr.parse("192.168.0.0/24")) == ""
    assert "hostRoutes.allow" in hostroutes.refusal(Cidr.parse("203.0.113.0/24"))


@pytest.mark.parametrize(
    ("names", "section"),
    [
        (["eth1"], ""),
        (["eth1.7"], ""),
        (["vlan7", "eth1.7"], ""),
        (["eth1.50"], "forbid"),
        (["storage", "eth1.50"], "forbid"),
        (["eth0"], "allow"),
        (["eth10"], "allow"),
        (["xeth1"], "allow"),
        (["ens1f0np0"], ""),
        (["ens1np"], "allow"),
    ],
)
def test_parents_are_meant_by_patterns(names: list[str], section: str) -> None:
    found = written(parents={"allow": ["eth1", "eth1.*", "ens*f*np*"], "forbid": ["eth1.50"]}).refuses_parent(names)
    assert (section in found) if section else found == ""


@pytest.mark.parametrize(
    ("path", "section"),
    [
        ("/var/lib/cni", ""),
        ("/var/lib/cni//networks/.", ""),
        ("/var/lib/cni-other", "allow"),
        ("/var/lib", "allow"),
        ("/var/lib/cni/secret/x", "forbid"),
        ("/var/lib/cni/../../etc", "dataDirs"),
        ("var/lib/cni", "dataDirs"),
    ],
)
def test_directories_are_meant_with_all_below(path: str, section: str) -> None:
    rules = {"allow": ["/var/lib/cni/"], "forbid": ["/var/lib/cni/secret"]}
    found = written(dataDirs=rules).refuses_directory(path)
    assert (section in found) if section else found == ""
    assert written().refuses_directory(path) == written().refuses_parent(["eth0"]) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"hostroutes": {}}',
        '{"hostRoutes": []}',
        '{"hostRoutes": {"deny": []}}',
        '{"hostRoutes": {"allow": "10.0.0.0/8"}}',
        '{"hostRoutes": {"allow": [8]}}',
        '{"hostRoutes": {"forbid": ["10.0.0.1/8"]}}',
        '{"hostRoutes": {"forbid": ["ten"]}}',
        '{"dataDirs": {"allow": ["var"]}}',
        '{"dataDirs": {"allow": ["/var/../etc"]}}',
    ],
)
def test_what_the_file_does_not_know_is_an_error(text: str) -> None:
    with pytest.raises(CniError, match=r"cni-vlan\.conf cannot be used"):
        parse(text.encode())


def test_only_a_file_that_root_alone_can_write_counts(file: Path) -> None:
    file.write_text("{}")
    for mode in (0o644, 0o600, 0o664, 0o646):
        file.chmod(mode)
        if mode & 0o022:
            with pytest.raises(CniError, match="others than root can write it"):
                policy.of_the_node()
        else:
            policy.of_the_node()
    file.unlink()
    file.symlink_to("/dev/null")
    assert files.is_there_a_policy()
    with pytest.raises(CniError, match="cannot be used"):
        policy.of_the_node()
    file.unlink()
    file.mkdir()
    with pytest.raises(CniError, match="not a regular file"):
        policy.of_the_node()
