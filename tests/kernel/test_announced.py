"""Who knew an address by an earlier container's hardware address learns the new one's at once, without asking."""

from __future__ import annotations

import pytest

from tests.kernel.conftest import Lan
from tests.kernel.plugin import addresses

SILENT = {
    f"net.{family}.conf.IFNAME.{name}": "0" for family, name in (("ipv4", "arp_notify"), ("ipv6", "ndisc_notify"))
}


@pytest.mark.parametrize("told", [True, False])
def test_neighbours_are_told_of_the_new_hardware_address(lan: Lan, told: bool) -> None:
    asked = {"runtimeConfig": {"ips": ["10.1.0.9", "fd00:1::9"]}, "capabilities": {"ips": True}}
    config = lan.config(ipam=lan.dual_stack, sysctls=None if told else SILENT, **asked)
    first, second = lan.host("first"), lan.host("second")

    def by(hardware_address: str) -> bool:
        """Whether the host beyond knows both addresses by it, after two seconds at most."""
        for _ in range(20):
            table = {one["dst"]: one.get("lladdr") for one in lan.beyond.ip_json("neigh show dev eth0")}
            if {table[address] for address in found} == {hardware_address}:
                return True
            lan.beyond.run(["sleep", "0.1"])
        return False

    macs = []
    for pod in (first, second):
        assert lan.macvlan.add(pod, config).status == 0
        macs.append(pod.ip_json("link show eth0")[0]["address"])
        found = [cidr.partition("/")[0] for cidr in addresses(pod)]
        if pod is first:
            for address in found:
                assert lan.beyond.ping(address)
            assert by(macs[0])
            lan.macvlan.delete(pod, config).succeeded()
    assert macs[0] != macs[1]
    assert by(macs[1]) == told
