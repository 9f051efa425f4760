"""CNI_DEBUG=FILE: a stranger can follow one call, in both tiers."""

from __future__ import annotations

import re
from pathlib import Path

from tests.kernel.conftest import Lan


def told(file: Path) -> str:
    """What was written, without process ids and times."""
    return re.sub(r"(?m)^\d+ +[\d.]+ ", "", file.read_text())


def test_each_step_of_an_add_is_told_with_what_went_in_and_out(lan: Lan, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert lan.macvlan.add(lan.host("pod"), lan.config(ipam=lan.dual_stack), CNI_DEBUG=str(log)).status == 0
    text = told(log)
    order = [
        "environment CNI_COMMAND=ADD",
        'stdin {"cniVersion"',
        "ip link show eth0",
        "claim the parent",
        "step: record the attachment",
        "step: make the link",
        "ip link add cni",
        "ipam host-local: ADD → ",
        "configure the link",
        "sysctl -w net.ipv4.conf.",
        "ip address add 10.1.0.2/24 dev if",
        'exit status 0, answer {"cniVersion"',
    ]
    assert [text.find(words) >= 0 for words in order] == [True] * len(order), text
    assert sorted(order, key=text.find) == order, text
    assert "  kernel → ok" in text


def test_what_is_refused_and_taken_back_is_told(lan: Lan, tmp_path: Path) -> None:
    log = tmp_path / "log"
    config = lan.config(mac="02:00:00:00:00:01")
    assert lan.macvlan.add(lan.host("one"), config).status == 0
    lan.macvlan.add(lan.host("other"), config, CNI_DEBUG=str(log))
    text = told(log)
    assert "EADDRINUSE" in text
    assert "take back: record the attachment, make the link, lease addresses" in text
    assert text.index("take back") < text.index("ip link del if")


def test_the_second_tier_goes_on_in_the_same_file(lan: Lan, tmp_path: Path) -> None:
    log = tmp_path / "log"
    error = lan.macvlan.add(lan.host("pod"), lan.config(mode="Bridge"), CNI_DEBUG=str(log)).error
    assert "did you mean bridge?" in error["msg"]
    assert "exit status 1" in told(log)


def test_the_steps_are_told_on_stderr(lan: Lan) -> None:
    done = lan.macvlan.add(lan.host("pod"), lan.config(), CNI_DEBUG="/dev/stderr")
    assert done.status == 0
    assert "step: make the link" in done.stderr


def test_a_file_that_cannot_be_written_hinders_nobody(lan: Lan) -> None:
    done = lan.macvlan.add(lan.host("pod"), lan.config(), CNI_DEBUG="/proc/nothing")
    assert done.result["ips"][0]["address"] == "10.1.0.2/24"
    assert "CNI_DEBUG: nothing is written" in done.stderr
