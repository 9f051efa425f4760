"""One suite against one directory of plugins, on a kernel that has what the suite needs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from conformance.lab import Lab
from conformance.lab.kernel import Choice
from conformance.lab.uml import SYSTEM_PATH
from conformance.peers.suites import Spec, Suite, specs

SECONDS = 900.0  # the longest takes one and a half minutes, on a machine that has nothing else to do
REPORT = "/run/peers.xml"
# Go's plugins call iptables, whose rules User-Mode Linux takes in their older form alone.
LEGACY = "/run/peers"
_CHOOSE_IPTABLES = f"""
iptables -t nat -N trial && iptables -t nat -X trial && exit
mkdir {LEGACY}
for program in iptables ip6tables; do ln -s $(command -v $program-legacy) {LEGACY}/$program; done
"""


class SuiteBroke(Exception):
    """A suite that ended without a report."""


def lab_for(suite: Suite, directory: str, kernel: str = "auto") -> Lab:
    """Its own, not yet booted: nothing of one suite is there for another. LabError."""
    trial = ["unshare", "--net", "sh", "-c", suite.trial]
    environment = {**os.environ, "PATH": SYSTEM_PATH}
    if kernel == "auto" and subprocess.run(trial, env=environment, capture_output=True).returncode == 0:
        kernel = "host"
    return Lab(kernel, keep=[directory, os.path.dirname(os.path.realpath(f"{directory}/host-local"))])


def run(suite: Suite, directory: str, binaries: Path, lab: Lab) -> tuple[Choice, list[Spec]]:
    """Boots the lab, runs the suite and ends the lab. SuiteBroke where there is no report."""
    path = f"{directory}:{LEGACY}:{SYSTEM_PATH}"  # the tests' CNI_PATH is their PATH
    environment = {"PATH": path, "HOME": "/root", "PEERS_PLUGINS": directory}
    command = [str(binaries / f"{suite.name}.test"), "-ginkgo.noColor", f"-ginkgo.reportFile={REPORT}"]
    with lab:
        lab.run(["sh", "-c", _CHOOSE_IPTABLES], env={"PATH": SYSTEM_PATH})
        try:
            done = lab.run(command, env=environment, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise SuiteBroke(f"{suite.name} did not end within {SECONDS:.0f} s") from None
        report = lab.run(["cat", REPORT]).stdout.decode()
    if not report:
        raise SuiteBroke(f"{suite.name} ended with {done.returncode}: {(done.stdout + done.stderr).decode()[-2000:]}")
    return lab.choice, specs(suite.name, report)
