"""Containers that died without a DEL, of the same boot: what the records say of them is not believed, people are told,
and only a person frees what they had.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from conformance.lab.topology import Host
from tests.kernel.conftest import Lan
from tests.kernel.plugin import OURS, RECORDS, leases

PARENT_UNUSABLE, POOL_EXHAUSTED = 102, 104


def mode_of(host: Host, ifname: str) -> str:
    return str(host.ip_json(f"-d link show dev {ifname}")[0]["linkinfo"]["info_data"]["mode"])


def test_an_ipvlan_that_somebody_else_made_after_ours_had_died_keeps_its_mode(lan: Lan) -> None:
    config = lan.config(type="ipvlan")
    pod, stranger = lan.host("pod"), lan.host("stranger")
    assert lan.ipvlan.add(pod, config).status == 0
    pod.remove()
    lan.node.ip("link add link eth0 name theirs netns stranger type ipvlan mode l3")
    refused = lan.ipvlan.add(lan.host("next"), config).error
    assert (refused["code"], mode_of(stranger, "theirs")) == (PARENT_UNUSABLE, "l3")
    assert "in use as ipvlan l3 bridge by somebody else: ipvlan l2 bridge cannot share it" in refused["msg"]
    # The positive control: whoever uses it as it is used now is let in.
    routed = lan.config(type="ipvlan", mode="l3", name="routed", ipam=lan.ipam("10.9.0.0/24"))
    assert lan.ipvlan.add(lan.host("other"), routed).status == 0


def test_one_that_is_alive_is_still_what_the_records_say(lan: Lan) -> None:
    config = lan.config(type="ipvlan")
    gone, alive = lan.host("gone"), lan.host("alive")
    for pod in (gone, alive):
        assert lan.ipvlan.add(pod, config).status == 0
    gone.remove()
    assert lan.ipvlan.add(lan.host("next"), config).status == 0
    routed = lan.config(type="ipvlan", mode="l3", name="routed", ipam=lan.ipam("10.9.0.0/24"))
    assert "by alive/eth0 of network lan" in lan.ipvlan.add(lan.host("other"), routed).error["msg"]


def test_people_are_told_of_the_dead_and_free_what_they_had(lan: Lan, tmp_path: Path) -> None:
    where = ("--dir", str(tmp_path / "net.d"))
    (tmp_path / "net.d").mkdir()

    def command(*arguments: str) -> tuple[int, str]:
        done = lan.node.run([str(OURS / "cni-macvlan-py"), *arguments, *where], env={}, check=False)
        assert b"Traceback" not in done.stderr
        return done.returncode, (done.stdout + done.stderr).decode()

    # .1 is the gateway, .2 and .3 are to be given.
    ipam = lan.ipam() | {"ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.2", "rangeEnd": "10.1.0.3"}]]}
    config: dict[str, Any] = lan.config(ipam=ipam, vlan=50)
    (tmp_path / "net.d/lan.conflist").write_text(
        json.dumps({"cniVersion": "1.0.0", "name": "lan", "plugins": [config]})
    )
    gone, alive = lan.host("gone"), lan.host("alive")
    for pod in (gone, alive):
        assert lan.macvlan.add(pod, config).status == 0
    [(mine, _)] = [(address, who) for address, who in leases(lan.data_dir).items() if who.startswith("gone")]
    told = (
        command("network", "ls")[1],
        command("network", "inspect", "lan")[1],
        command("network", "rm", "lan")[1],
        command("doctor")[1],
        str(lan.macvlan.add(lan.host("next"), config).error),
    )
    assert not any("namespace is gone" in text for text in told), told  # the control
    assert command("leases", "release", "--dead") == (0, "")

    gone.remove()
    lan.host("same-inode")  # most likely: the kernel gives the number again
    full = lan.macvlan.add(lan.host("after"), config).error
    assert full["code"] == POOL_EXHAUSTED
    assert full["details"].endswith(
        "Of gone/eth0 the namespace is gone: `leases release --dead lan` frees what they had."
    )
    assert sorted(leases(lan.data_dir)) == ["10.1.0.2", "10.1.0.3"]
    mend = "leases release --dead lan"
    assert f"network lan: gone/eth0, its namespace is gone: {mend}" in command("network", "ls")[1]
    inspected = command("network", "inspect", "lan")[1]
    assert re.search(rf"gone +eth0 +gone +- +{mine}/24 ", inspected)
    assert re.search(r"alive +eth0 +alive +[0-9a-f:]{17} +10\.1\.0\.[23]/24 +10\.1\.0\.1 +50 +no +/", inspected)
    assert f"gone/eth0, its namespace is gone: {mend}" in inspected
    assert re.search(rf"lan +{mine}/24 +gone +eth0 +gone +20", command("leases")[1])
    status, text = command("network", "rm", "lan")
    assert (status, "gone (its namespace is gone)" in text, mend in text) == (1, True, True), text
    assert "alive (" not in text
    assert (
        f"gone/eth0 died without a DEL: its namespace is gone\n         → Take back what it had: {mend}"
        in (command("doctor")[1])
    )

    assert command("leases", "release", "--dead", "lan") == (
        0,
        f"network lan: gone/eth0, its namespace is gone: released {mine}\n",
    )
    assert list(leases(lan.data_dir).values()) == ["alive\r\neth0"]
    assert [path.name for path in (RECORDS / "attachments").iterdir()] == ["alive:eth0"]
    assert lan.node.ip_json("link show dev eth0.50")  # it is the living one's, too
    third = lan.host("third")
    assert lan.macvlan.add(third, config).status == 0
    for pod in (alive, third):
        pod.remove()
    assert command("leases", "release", "--dead")[0] == 0
    assert (leases(lan.data_dir), [link["ifname"] for link in lan.node.ip_json("link show type vlan")]) == ({}, [])
