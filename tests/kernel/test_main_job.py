"""The main job, by the real cnitool and a conflist as a person writes it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from conformance.lab.topology import Container
from tests.kernel.conftest import Lan
from tests.kernel.plugin import CNITOOL, OURS, leases, links


def conflist(data_dir: Path) -> str:
    return json.dumps(
        {
            "cniVersion": "1.0.0",
            "name": "lan",
            "plugins": [
                {
                    "type": "macvlan",
                    "master": "eth0",
                    "ipam": {
                        "type": "host-local",
                        "dataDir": str(data_dir),
                        "ranges": [
                            [{"subnet": "10.1.0.0/24", "gateway": "10.1.0.1"}],
                            [{"subnet": "fd00:1::/64", "gateway": "fd00:1::1"}],
                        ],
                        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                    },
                }
            ],
        }
    )


class Cnitool:
    def __init__(self, lan: Lan, netconf: Path) -> None:
        self.lan = lan
        self.environment = {"CNI_PATH": str(OURS), "NETCONFPATH": str(netconf), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def __call__(self, command: str, container: Container) -> subprocess.CompletedProcess[bytes]:
        argv = [str(CNITOOL), command, "lan", container.netns]
        return self.lan.node.run(argv, env=self.environment, check=False)


def test_containers_reach_each_other_and_a_host_beyond_the_parent_when_add_returns(lan: Lan, tmp_path: Path) -> None:
    netconf = tmp_path / "net.d"
    netconf.mkdir()
    (netconf / "10-lan.conflist").write_text(conflist(lan.data_dir))
    cnitool = Cnitool(lan, netconf)
    one, two = lan.container("one"), lan.container("two")

    for container, (ipv4, ipv6) in ((one, ("10.1.0.2", "fd00:1::2")), (two, ("10.1.0.3", "fd00:1::3"))):
        added = cnitool("add", container)
        assert added.returncode == 0, added.stdout
        result = json.loads(added.stdout)
        assert [ip["address"] for ip in result["ips"]] == [f"{ipv4}/24", f"{ipv6}/64"]
        # Usable at once: one packet each, without a second try.
        assert one.ping("10.1.0.1", deadline=0)
        assert container.run(["ping", "-c1", "-W1", "fd00:1::1"]).returncode == 0
    assert one.ping("10.1.0.3", deadline=0)
    assert two.ping("fd00:1::2", deadline=0)

    checked = cnitool("check", one)
    assert checked.returncode == 0, checked.stdout
    one.ip("addr del 10.1.0.2/24 dev eth0")
    checked = cnitool("check", one)
    assert checked.returncode != 0
    assert b"eth0 lacks the address 10.1.0.2/24" in checked.stdout + checked.stderr

    for container in (one, two):
        deleted = cnitool("del", container)
        assert deleted.returncode == 0, deleted.stdout
        assert links(container) == []
    assert leases(lan.data_dir) == {}
    assert links(lan.node) == ["eth0"]
