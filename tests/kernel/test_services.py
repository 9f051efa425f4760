"""hostAccess with routes: what a pod sends to a cluster's services goes to its node, whose kube-proxy serves them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.lab.topology import BUSYBOX, Host, Topology
from tests.kernel.plugin import Plugin, addresses

KINDS = [("macvlan", "bridge"), ("ipvlan", "l2"), ("ipvlan", "l3")]
SERVICES = ["10.96.0.0/12", "fd00:96::/112"]
SERVICE = {4: "10.96.0.10", 6: "fd00:96::a"}
PODS_OF_THE_CLUSTER = {4: "10.244.0.0/16", 6: "fd00:244::/48"}
IPTABLES = {4: "iptables-legacy", 6: "ip6tables-legacy"}  # in its nft form the lab's kernel has no NAT


def kube_proxy(node: Host, family: int, *endpoints: str) -> None:
    """The rules of kube-proxy's iptables mode (pkg/proxy/iptables/proxier.go) for a service at port 80 with endpoints
    at 8080, of which each is chosen for every other connection; clusterCIDR is that of the cluster's own pods.
    """
    service, single = SERVICE[family], 32 if family == 4 else 128
    rules = [
        "-N KUBE-MARK-MASQ",
        "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000",
        "-N KUBE-POSTROUTING",
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000",
        "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
        "-A POSTROUTING -j KUBE-POSTROUTING",
        "-N KUBE-SVC",
        f"-A KUBE-SVC ! -s {PODS_OF_THE_CLUSTER[family]} -d {service}/{single} -p tcp --dport 80 -j KUBE-MARK-MASQ",
    ]
    for number, endpoint in enumerate(endpoints):
        chain, others = f"KUBE-SEP-{number}", len(endpoints) - number
        chosen = f"-m statistic --mode nth --every {others} --packet 0 -j {chain}" if others > 1 else f"-j {chain}"
        to = f"{endpoint}:8080" if family == 4 else f"[{endpoint}]:8080"
        rules += [
            f"-N {chain}",
            f"-A {chain} -s {endpoint}/{single} -j KUBE-MARK-MASQ",
            f"-A {chain} -p tcp -j DNAT --to-destination {to}",
            f"-A KUBE-SVC {chosen}",
        ]
    rules += ["-N KUBE-SERVICES", f"-A KUBE-SERVICES -d {service}/{single} -p tcp --dport 80 -j KUBE-SVC"]
    rules += [f"-A {chain} -j KUBE-SERVICES" for chain in ("PREROUTING", "OUTPUT")]
    for rule in rules:
        node.run([IPTABLES[family], "-t", "nat", *rule.split()])


class Cluster:
    """Two nodes on one LAN, each with a bridge of its own that came before its eth0, as docker0 may."""

    def __init__(self, net: Topology, data_dir: Path, kind: str, mode: str) -> None:
        self.net, self.kind, self.mode, self.data_dir = net, kind, mode, data_dir
        self.node, self.other = net.host("node"), net.host("other")
        switch = net.switch("switch")
        for number, node in ((7, self.node), (8, self.other)):
            node.ip("link add docker0 type bridge")
            node.address("docker0", "172.17.0.1/16")
            net.cable(node, "eth0", switch)
            node.address("eth0", f"10.1.0.{number}/24", f"fd00:1::{number}/64")
            node.ip("route add default via 10.1.0.1")
            node.ip("-6 route add default via fd00:1::1")
            node.forward()

    def pod(self, name: str, node: Host) -> Host:
        """With a word of its own, its name, at port 8080."""
        pod, here = self.net.host(name), node is self.node
        ipv4, ipv6 = (
            ("10.1.0", "fd00:1:") if self.mode != "l3" else (f"10.8.{7 if here else 8}", f"fd00:{7 if here else 8}:")
        )
        first = 100 if here else 200
        config = {
            "cniVersion": "1.0.0",
            "name": f"lan-{node.name}",
            "type": self.kind,
            "mode": self.mode,
            "master": "eth0",
            "hostAccess": {"addresses": True, "routes": SERVICES},
            "ipam": {
                "type": "host-local",
                "dataDir": str(self.data_dir),
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                "ranges": [
                    [{"subnet": f"{ipv4}.0/24", "rangeStart": f"{ipv4}.{first}"}],
                    [{"subnet": f"{ipv6}:/64", "rangeStart": f"{ipv6}:{first}"}],
                ],
            },
        }
        assert Plugin(node, self.kind).add(pod, config).status == 0
        pod.popen(["/bin/sh", "-c", f"while true; do {BUSYBOX} nc -l -p 8080 -e {BUSYBOX} echo {name}; done"])
        return pod


@pytest.fixture(params=KINDS, ids=["macvlan", "ipvlan-l2", "ipvlan-l3"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    with Topology() as net:
        yield Cluster(net, tmp_path / "networks", *request.param)


def asked(one: Host, where: str, port: int) -> str:
    """What is answered there; empty where nobody answers."""
    done = one.run([BUSYBOX, "nc", "-w", "2", where, str(port)], input=b"", check=False)
    return done.stdout.decode().strip()


def all_answer(one: Host, where: str, port: int, *names: str) -> bool:
    """Whether all of them do, some time: who answered is not there again at once."""
    missing = {*names}
    for _ in range(40):
        missing.discard(asked(one, where, port))
        if not missing:
            return True
        one.run(["sleep", "0.1"])
    return False


def test_a_pod_reaches_a_service_wherever_its_endpoint_is(cluster: Cluster) -> None:
    here, beside = cluster.pod("here", cluster.node), cluster.pod("beside", cluster.node)
    far = cluster.pod("far", cluster.other)
    if cluster.mode == "l3":  # as a router has them, or the nodes of a cluster
        for node, to, via in ((cluster.node, 8, 8), (cluster.other, 7, 7)):
            node.ip(f"route add 10.8.{to}.0/24 via 10.1.0.{via}")
            node.ip(f"route add fd00:{to}::/64 via fd00:1::{via}")
    assert asked(here, SERVICE[4], 80) == ""
    for family in (4, 6):
        of = {pod.name: addresses(pod)[family == 6].partition("/")[0] for pod in (here, beside, far)}
        kube_proxy(cluster.node, family, *of.values())
        for who in (here, cluster.node):
            assert all_answer(who, SERVICE[family], 80, *of), (who.name, family)
        for pod in (here, beside):  # as kubelet's probe
            assert all_answer(cluster.node, of[pod.name], 8080, pod.name)
