"""cni_cli.doctor: what the lab's own kernel and machine cannot show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cni_cli import doctor
from cni_cli.checks import FAILURE, OK, WARNING, Check, of_network, settled, status, to_the_end
from cni_cli.doctor import parent_checks, refused_kinds
from cni_cli.kernel import Link
from cni_core.errors import KERNEL_REFUSED, CniError
from cni_core.rtnl.messages import IFF_LOWER_UP, IFF_UP


def link(name: str, *, carrier: bool = True, up: bool = True, flags: int = 0) -> Link:
    return Link(1, name, "", "02:00:00:00:00:01", 1500, flags | IFF_UP * up | IFF_LOWER_UP * carrier)


class Makes:
    """A kernel without some kinds of link."""

    def __init__(self, *lacks: str) -> None:
        self.lacks = lacks
        self.links: dict[str, Link] = {}

    def make_link(self, name: str, kind: str, below: Link | None, **_: int) -> None:
        if kind in self.lacks:
            raise CniError(KERNEL_REFUSED, f"could not create {name}: Operation not supported")
        assert name not in self.links
        self.links[name] = link(name)

    def remove_link(self, found: Link) -> None:
        del self.links[found.name]

    def link(self, name: str) -> Link | None:
        return self.links.get(name)


@pytest.mark.parametrize("lacks", [(), ("dummy",), ("ipvlan",), ("dummy", "vlan")])
def test_a_kind_that_the_kernel_lacks_is_not_blamed_for_others(lacks: tuple[str, ...]) -> None:
    told = list(refused_kinds(Makes(*lacks)))  # type: ignore[arg-type]
    assert told == [f"{kind}: Operation not supported" for kind in lacks]


def levels(parent: Link, lowest: Link | None = None, *, macvlan: bool = True) -> dict[str, str]:
    checks = list(parent_checks(parent, lowest or parent, carries_macvlan=macvlan))
    assert all(check.mend for check in checks if check.level != OK)
    return {check.what: check.level for check in checks}


@pytest.fixture
def sys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(doctor, "SYS", tmp_path)
    return tmp_path


def test_wifi_fails_macvlan_also_below_a_vlan(sys: Path) -> None:
    (sys / "class/net/wlan0/wireless").mkdir(parents=True)
    for parent in (link("wlan0"), link("wlan0.5")):
        assert levels(parent, link("wlan0"))["wlan0 is Wi-Fi, which macvlan cannot use"] == FAILURE
        assert levels(parent, link("wlan0"), macvlan=False)["wlan0 is Wi-Fi, which macvlan cannot use"] == WARNING


@pytest.mark.parametrize(
    ("vendor", "product", "filters"),
    [
        ("VMware, Inc.", "VMware7,1", "vmware"),
        ("innotek GmbH", "VirtualBox", "virtualbox"),
        ("Microsoft Corporation", "Virtual Machine", "microsoft corporation virtual machine"),
        ("Microsoft Corporation", "Surface Pro 7", ""),
        ("Amazon EC2", "m5.large", "amazon ec2"),
        ("Google", "Google Compute Engine", "google compute engine"),
        ("Google", "Caroline", ""),
        ("Dell Inc.", "PowerEdge R640", ""),
    ],
)
def test_machines_whose_switch_filters(sys: Path, vendor: str, product: str, filters: str) -> None:
    table = sys / "class/dmi/id"
    table.mkdir(parents=True)
    (table / "sys_vendor").write_text(f"{vendor}\n")
    (table / "product_name").write_text(f"{product}\n")
    warned = [what for what, level in levels(link("eth0")).items() if level == WARNING]
    assert [f"({filters})" in what for what in warned] == ([True] if filters else [])
    assert not [what for what, level in levels(link("eth0"), macvlan=False).items() if level == WARNING]


def test_promiscuous_mode_and_a_missing_carrier(sys: Path) -> None:
    assert levels(link("eth0", flags=0x100))["eth0 is in promiscuous mode, which macvlan does not need"] == WARNING
    assert levels(link("eth0", carrier=False)) == {"eth0: up, but without a carrier": WARNING}
    assert levels(link("eth0", up=False, carrier=False)) == {"eth0: down, MTU 1500": WARNING}
    assert levels(link("eth0")) == {"eth0: up, MTU 1500": OK}


def test_a_network_that_fails_is_not_also_ok() -> None:
    """What is about the node, or about another network, is said all the same."""
    node, other = Check(OK, "permissions: root"), of_network("other", OK, "macvlan on eth1")
    good, bad = of_network("lan", OK, "macvlan on eth0"), of_network("lan", FAILURE, "it clashes")
    warned = of_network("lan", WARNING, "its gateway does not answer")
    assert settled([node, good, warned, other]) == [node, good, warned, other]
    assert settled([node, good, bad, warned, other]) == [node, bad, warned, other]
    assert settled([bad, good, bad]) == [bad]


def test_only_a_failure_is_a_failure() -> None:
    assert status([Check(OK, "x"), Check(WARNING, "y")]) == 0
    assert status([Check(OK, "x"), of_network("lan", FAILURE, "z")]) == 1


def test_what_cannot_be_looked_at_is_a_finding() -> None:
    def looks() -> Iterator[Check]:
        yield Check(OK, "x")
        raise PermissionError(1, "Operation not permitted", "/run/x")

    assert list(to_the_end("here", looks())) == [
        Check(OK, "x"),
        Check(FAILURE, "here: /run/x: Operation not permitted", "Call it as root."),
    ]
