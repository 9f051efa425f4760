"""`make demo`: real containers attached with the plugins of a directory, told as a story for somebody new to it.

As a program inside the lab: python3 -m conformance.demo DIRECTORY ETCD.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conformance.lab.topology import Container, Host, Topology

BOLD, PLAIN = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")


def main() -> int:
    directory, etcd = map(os.path.abspath, sys.argv[1:3])
    with Topology() as net, tempfile.TemporaryDirectory() as scratch:
        return Story(net, directory, etcd, Path(scratch)).tell()


class Story:
    def __init__(self, net: Topology, directory: str, etcd: str, scratch: Path) -> None:
        self.net = net
        self.directory = directory
        self.etcd = etcd
        self.scratch = scratch
        self.data_dir = str(scratch / "networks")
        os.mkdir(self.data_dir)
        self.failures = 0

    def tell(self) -> int:
        self.macvlan()
        self.trunk()
        self.l3()
        self.host_access()
        self.conflict()
        self.cluster()
        if self.failures:
            print(f"\n{self.failures} of the steps above failed.")
            return 1
        print(f"\n{BOLD}That was all.{PLAIN} `make test` runs every test; the README says how to go on.")
        return 0

    def macvlan(self) -> None:
        chapter("A node and a router on one switch; two containers that are to join them")
        node, router, switch = self.net.host("node"), self.net.host("router"), self.net.switch("switch")
        self.node, self.router, self.switch = node, router, switch
        self.net.cable(node, "eth0", switch)
        self.net.cable(router, "eth0", switch)
        router.address("eth0", "192.168.50.1/24", "fd00:50::1/64")
        web, db = self.net.container("web"), self.net.container("db")
        say("node and router are network namespaces with a cable to the switch; web and db have a busybox each.")

        chapter("The network, as a person writes it to /etc/cni/net.d/lan.conflist")
        ranges = [[{"subnet": "192.168.50.0/24", "rangeStart": "192.168.50.100"}], [{"subnet": "fd00:50::/64"}]]
        conflist = network("lan", ranges, ["0.0.0.0/0", "::/0"], type="macvlan", master="eth0")
        show(conflist)

        chapter("A container starts: the runtime calls `macvlan` with ADD")
        results = {container.name: self.call("ADD", node, container, conflist) for container in (web, db)}
        say("For web the plugin answers (db gets the next addresses):")
        show(results["web"])

        chapter("What that made")
        say("On the node, nothing but the parent:")
        links(node)
        say("In web, an interface of its own on the node's eth0, with its own hardware address:")
        links(web)

        chapter("They talk, at once, by IPv4 and IPv6")
        for source, what, address in (
            (web, "db", "192.168.50.101"),
            (web, "db", "fd00:50::3"),
            (db, "web", "192.168.50.100"),
            (web, "the router beyond the node", "192.168.50.1"),
            (db, "the router beyond the node", "fd00:50::1"),
        ):
            self.ping(source, what, address)

        chapter("CHECK tells when somebody breaks it")
        self.call("CHECK", node, web, conflist, prevResult=results["web"])
        say("web is as it should be. Now somebody removes its address (ip addr del), and CHECK says:")
        web.ip("addr del 192.168.50.100/24 dev eth0")
        show(self.call("CHECK", node, web, conflist, fails=True, prevResult=results["web"]))

        chapter("The containers stop: DEL")
        for container in (web, db):
            self.call("DEL", node, container, conflist, prevResult=results[container.name])
            self.expect(f"{container.name} has no link left", len(container.ip_json("link show")) == 1)

    def trunk(self) -> None:
        chapter("A trunk: the node's eth1 carries VLANs 50 and 60, each with a host of its own")
        switch = self.net.switch("trunk")
        self.net.cable(self.node, "eth1", switch, trunk=(50, 60))
        conflists, containers = {}, {}
        for vlan, name, keys in ((50, "till", {"type": "macvlan"}), (60, "camera", {"type": "ipvlan"})):
            peer = self.net.host(f"peer{vlan}")
            self.net.cable(peer, "eth0", switch, access=vlan)
            peer.address("eth0", f"10.{vlan}.0.1/24")
            ranges = [[{"subnet": f"10.{vlan}.0.0/24"}]]
            conflists[vlan] = network(f"vlan{vlan}", ranges, ["0.0.0.0/0"], **keys, master="eth1", vlan=vlan)
            containers[vlan] = self.net.container(name)
        till, camera = containers[50], containers[60]
        say('macvlan for VLAN 50, ipvlan for 60: "vlan" is all that a network on a trunk says more.')
        show(conflists[50])
        for vlan in (50, 60):
            self.call("ADD", self.node, containers[vlan], conflists[vlan])
        say("The node had neither sub-interface; the plugins made them:")
        links(self.node)
        self.ping(till, "its VLAN's host", "10.50.0.1")
        self.ping(camera, "its VLAN's host", "10.60.0.1")
        self.expect("the VLANs do not reach each other", not till.ping("10.60.0.2", expect=False))
        for vlan in (50, 60):
            self.call("DEL", self.node, containers[vlan], conflists[vlan])
        say("With the last container of each, its sub-interface went:")
        links(self.node)

    def l3(self) -> None:
        chapter("L3: two subnets behind the node's own address, without broadcast or gateway")
        self.node.address("eth0", "192.168.50.7/24", "fd00:50::7/64")
        conflists, containers = {}, {}
        for number, name in ((1, "blue"), (2, "green")):
            ranges = [[{"subnet": f"10.8.{number}.0/24"}], [{"subnet": f"fd00:8:{number}::/64"}]]
            keys = {"type": "ipvlan", "mode": "l3", "master": "eth0"}
            conflists[name] = network(name, ranges, ["0.0.0.0/0", "::/0"], **keys)
            containers[name] = self.net.container(name)
            self.call("ADD", self.node, containers[name], conflists[name])
        blue, green = containers["blue"], containers["green"]
        show(conflists["blue"])
        say("On the node, a route to each subnet for as long as a container needs it; in blue, no next hop:")
        for host, which in ((self.node, "proto 193"), (blue, "default")):
            for family in (4, 6):
                for route in host.ip_json(f"-{family} route show {which}"):
                    print(f"    {host.name:8} {route['dst']} dev {route['dev']}", flush=True)
        self.ping(blue, "green", "10.8.2.2")
        self.ping(green, "blue", "fd00:8:1::2")
        say("The router is told the way: ip route add 10.8.1.0/24 via 192.168.50.7")
        self.router.ip("route add 10.8.1.0/24 via 192.168.50.7")
        self.ping(self.router, "blue", "10.8.1.2")
        self.ping(blue, "the router", "192.168.50.1")
        for name, container in containers.items():
            self.call("DEL", self.node, container, conflists[name])
        self.expect("no route of ours is left on the node", not self.node.ip_json("route show proto 193"))

    def host_access(self) -> None:
        chapter("The node and its own containers: hostAccess")
        ranges = [[{"subnet": "192.168.50.0/24", "rangeStart": "192.168.50.120"}], [{"subnet": "fd00:50::/64"}]]
        plain = network("plain", ranges, ["0.0.0.0/0", "::/0"], type="macvlan", master="eth0")
        apart = self.net.container("apart")
        self.call("ADD", self.node, apart, plain)
        say("apart is an ordinary macvlan container: the kernel lets nothing pass between it and the node.")
        self.expect("the node does not reach apart", not self.node.ping("192.168.50.120", expect=False))
        self.call("DEL", self.node, apart, plain)
        reached = network("reached", ranges, ["0.0.0.0/0", "::/0"], type="macvlan", master="eth0", hostAccess=True)
        nas = self.net.container("nas")
        say('With "hostAccess": true the container also gets a link to the node alone:')
        show(reached)
        self.call("ADD", self.node, nas, reached)
        self.ping(self.node, "nas", "192.168.50.120")
        self.ping(nas, "the node", "192.168.50.7")
        self.ping(nas, "the node", "fd00:50::7")
        self.ping(nas, "the router beyond the node", "192.168.50.1")
        self.call("DEL", self.node, nas, reached)

    def conflict(self) -> None:
        chapter('An address that somebody on the LAN already has: "conflict": "probe"')
        printer, pihole = self.net.host("printer"), self.net.container("pihole")
        self.net.cable(printer, "eth0", self.switch)
        printer.address("eth0", "192.168.50.150/24")
        ranges = [[{"subnet": "192.168.50.0/24", "rangeStart": "192.168.50.150"}]]
        conflist = network("asked", ranges, ["0.0.0.0/0"], type="macvlan", master="eth0", conflict="probe")
        show(conflist)
        say("A printer has 192.168.50.150, the first address of the range. The plugin asks the LAN, and says so:")
        address = self.call("ADD", self.node, pihole, conflist)["ips"][0]["address"]
        self.expect(f"pihole has {address}", address == "192.168.50.151/24")
        self.ping(self.router, "the printer", "192.168.50.150")
        self.ping(self.router, "pihole", "192.168.50.151")
        self.call("DEL", self.node, pihole, conflist)

    def cluster(self) -> None:
        chapter("Two nodes on one LAN that never give the same address: lan-local, on an etcd")
        switch, engine = self.net.switch("office"), self.net.host("engine")
        self.net.cable(engine, "eth0", switch)
        engine.address("eth0", "10.1.0.100/24")
        url = "http://10.1.0.100:2379"
        options = {"data-dir": str(self.scratch / "etcd"), "listen-client-urls": url, "advertise-client-urls": url}
        log = self.scratch / "etcd.log"
        with log.open("wb") as out:
            command = [self.etcd, *(f"--{name}={value}" for name, value in options.items())]
            engine.popen(command, stdout=out, stderr=out, env={})
        ipam = {"type": "lan-local", "cluster": "office", "ranges": [[{"subnet": "10.1.0.0/24"}]]}
        conflist = conflist_of("office", {"type": "macvlan", "master": "eth0", "ipam": ipam})
        show(conflist)
        join = f"cluster join office --etcd {url} --parent eth0"
        say(f"Each node joins once: cni-macvlan-py {join}")
        given = []
        for number in (1, 2):
            node, pod = self.net.host(f"node{number}"), self.net.container(f"pod{number}")
            self.net.cable(node, "eth0", switch)
            node.address("eth0", f"10.1.0.{10 + number}/24")
            own = self.disk(node)
            argv = [*own, f"{self.directory}/cni-macvlan-py", *join.split(), "--node", node.name]
            self.expect(f"{node.name} has joined", self.succeeds(node, argv))
            result = self.call("ADD", node, pod, conflist, prefix=own)
            given.append((pod, result.get("ips", [{}])[0].get("address", "nothing").partition("/")[0]))
            say(f"{pod.name} on {node.name} gets {given[-1][1]}")
        (pod1, first), (_, second) = given
        self.expect("the addresses differ, though no node knows of the other's containers", first != second)
        self.ping(pod1, "pod2 on the other node", second)

    # The steps

    def disk(self, node: Host) -> list[str]:
        """A command's prefix: with files of the node's own, as on a machine of its own."""
        mounts = []
        for number, place in enumerate(("/etc/cni", "/run/cni-vlan", "/run/cni-lan-local", self.data_dir)):
            own = self.scratch / f"{node.name}-{number}"
            own.mkdir()
            Path(place).mkdir(parents=True, exist_ok=True)
            mounts.append(f"mount --bind {own} {place}")
        return ["unshare", "-m", "sh", "-c", f'{" && ".join(mounts)} && exec "$@"', "sh"]

    def succeeds(self, host: Host, argv: Sequence[str]) -> bool:
        """Tried for half a minute: an etcd that has just been started does not answer yet."""
        end = time.monotonic() + 30
        while (done := host.run(argv, check=False, timeout=60)).returncode != 0:
            if time.monotonic() > end:
                say(done.stderr.decode())
                return False
            time.sleep(0.2)
        return True

    def call(
        self,
        command: str,
        node: Host,
        container: Container,
        conflist: dict[str, Any],
        *,
        fails: bool = False,
        prefix: Sequence[str] = (),
        **keys: Any,
    ) -> dict[str, Any]:
        """One call of the plugin, as a runtime makes it from a conflist."""
        config = conflist["plugins"][0] | {"cniVersion": conflist["cniVersion"], "name": conflist["name"]} | keys
        config["ipam"] = config["ipam"] | {"dataDir": self.data_dir}
        environment = os.environ | {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container.name,
            "CNI_NETNS": container.netns,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": self.directory,
        }
        argv = [*prefix, f"{self.directory}/{config['type']}"]
        done = node.run(argv, input=json.dumps(config).encode(), env=environment, check=False)
        if (done.returncode != 0) != fails:
            self.failures += 1
            print(f"  ✗ {command} {container.name}: exit status {done.returncode} {done.stderr.decode()}")
        elif done.stderr:
            say(f"{config['type']}: {done.stderr.decode().strip()}")
        document: dict[str, Any] = json.loads(done.stdout or b"{}")
        return document

    def ping(self, source: Host, what: str, address: str) -> None:
        self.expect(f"{source.name} reaches {what}, {address}", source.ping(address, deadline=0))

    def expect(self, what: str, ok: bool) -> None:
        self.failures += not ok
        print(f"  {'✓' if ok else '✗'} {what}", flush=True)


def network(name: str, ranges: list[list[dict[str, str]]], routes: list[str], **keys: Any) -> dict[str, Any]:
    """A conflist of one plugin, with host-local."""
    ipam = {"type": "host-local", "ranges": ranges, "routes": [{"dst": route} for route in routes]}
    return conflist_of(name, {**keys, "ipam": ipam})


def conflist_of(name: str, plugin: dict[str, Any]) -> dict[str, Any]:
    return {"cniVersion": "1.1.0", "name": name, "plugins": [plugin]}


def chapter(title: str) -> None:
    print(f"\n{BOLD}— {title}{PLAIN}", flush=True)


def say(text: str) -> None:
    print(f"  {text}", flush=True)


def show(document: dict[str, Any]) -> None:
    """JSON for a person: short objects and lists stay on a line."""
    print("\n".join(f"    {line}" for line in pretty(document, 110)), flush=True)


def pretty(value: Any, width: int) -> list[str]:
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) <= width or not isinstance(value, (dict, list)):
        return [flat]
    members = [(f"{json.dumps(name)}: ", member) for name, member in value.items()] if isinstance(value, dict) else []
    members = members or [("", item) for item in value]
    lines = ["{" if isinstance(value, dict) else "["]
    for i, (name, member) in enumerate(members):
        inner = pretty(member, width - 2 - len(name))
        inner[0] = name + inner[0]
        inner[-1] += "," if i + 1 < len(members) else ""
        lines += [f"  {line}" for line in inner]
    return [*lines, "}" if isinstance(value, dict) else "]"]


def links(host: Host) -> None:
    """Name, kind, hardware address and addresses, a link a line."""
    for link in host.ip_json("addr show"):
        if link["ifname"] != "lo":
            kind = link.get("linkinfo", {}).get("info_kind", "")
            mode = link.get("linkinfo", {}).get("info_data", {}).get("mode", "")
            found = ", ".join(f"{i['local']}/{i['prefixlen']}" for i in link["addr_info"] if i["scope"] == "global")
            print(f"    {link['ifname']:8} {kind} {mode:8} {link['address']}  {found or 'no address'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
