"""`make demo`: real containers attached with the plugins of a directory, told as a story for somebody new to it.

As a program inside the lab: python3 -m conformance.demo DIRECTORY [ETCD]. Without an etcd, no chapter on two hosts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from conformance.lab.topology import Container, Host, Topology

BOLD, PLAIN = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")


def main() -> int:
    directory, *etcd = sys.argv[1:]
    with Topology() as net, tempfile.TemporaryDirectory() as data_dir:
        return Story(net, os.path.realpath(directory), data_dir, *map(os.path.realpath, etcd)).tell()


class Story:
    def __init__(self, net: Topology, directory: str, data_dir: str, etcd: str = "") -> None:
        self.net = net
        self.directory = directory
        self.data_dir = data_dir
        self.etcd = etcd
        self.said = ""  # by the last call, to its runtime's log
        self.failures = 0
        self.prefixes: dict[str, list[str]] = {}  # by a host's name, what a program of it is to be started by

    def tell(self) -> int:
        self.macvlan()
        self.neighbours()
        self.trunk()
        self.l3()
        if self.etcd:
            self.two_hosts()
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

    def neighbours(self) -> None:
        chapter("An address that somebody on the LAN has already, and a node that reaches its own containers")
        laptop = self.net.host("laptop")
        self.net.cable(laptop, "eth0", self.switch)
        laptop.address("eth0", "192.168.50.100/24")
        self.node.address("eth0", "192.168.50.7/24", "fd00:50::7/64")
        say('A laptop has 192.168.50.100. Two keys more: "conflict": "probe" and "hostAccess": true.')
        ranges = [[{"subnet": "192.168.50.0/24", "rangeStart": "192.168.50.100"}]]
        keys = {"type": "macvlan", "master": "eth0", "conflict": "probe", "hostAccess": True}
        conflist, pod = network("house", ranges, ["0.0.0.0/0"], **keys), self.net.container("pihole")
        result = self.call("ADD", self.node, pod, conflist)
        say(f"The plugin says: {self.said}")
        address = result["ips"][0]["address"].partition("/")[0]
        self.expect(f"pihole has {address}", address == "192.168.50.101")
        self.ping(self.node, "its own container", address)
        self.ping(pod, "its own node", "192.168.50.7")
        self.call("DEL", self.node, pod, conflist)

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

    def two_hosts(self) -> None:
        chapter("Two hosts on one LAN that never give an address twice: lan-local, and an etcd")
        engine = self.net.host("engine")
        self.net.cable(engine, "eth0", self.switch)
        engine.address("eth0", "192.168.50.8/24")
        url = "http://192.168.50.8:2379"
        urls = [f"--listen-client-urls={url}", f"--advertise-client-urls={url}", f"--data-dir={self.data_dir}/etcd"]
        engine.popen([self.etcd, *urls], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ipam = {"type": "lan-local", "cluster": "house"}
        conflist = network("shared", [[{"subnet": "192.168.50.0/24"}]], [], type="macvlan", master="eth0")
        conflist["plugins"][0]["ipam"] |= ipam
        show(conflist)
        given = []
        for name, number in (("attic", 9), ("cellar", 10)):
            host = self.net.host(name)
            self.net.cable(host, "eth0", self.switch)
            host.address("eth0", f"192.168.50.{number}/24")
            self.own_files(host)
            join = f"cluster join house --etcd {url} --node {name} --parent eth0 --dir {self.data_dir}"
            self.command(host, join.split())
            for i in (1, 2):
                pod = self.net.container(f"{name}{i}")
                result = self.call("ADD", host, pod, conflist)
                given.append((pod, result["ips"][0]["address"].partition("/")[0]))
        say(", ".join(f"{pod.name} has {address}" for pod, address in given))
        self.expect("no address twice", len({address for _, address in given}) == len(given))
        self.ping(given[0][0], "a container of the other host", given[-1][1])

    def own_files(self, host: Host) -> None:
        """As on a machine of its own: what hosts would write to one place here."""
        mounts = []
        for place in ("/etc/cni", "/run/cni-vlan", "/run/cni-lan-local", self.data_dir):
            own = f"{self.data_dir}/{host.name}{place}"
            for directory in (own, place):
                os.makedirs(directory, exist_ok=True)
            mounts.append(f"mount --bind {own} {place}")
        self.prefixes[host.name] = ["unshare", "-m", "sh", "-c", f'{" && ".join(mounts)} && exec "$@"', "sh"]

    # The steps

    def command(self, host: Host, arguments: list[str]) -> None:
        """One of those for people, once more for as long as its engine starts."""
        argv = [*self.prefixes[host.name], f"{self.directory}/cni-macvlan-py", *arguments]
        for _ in range(30):
            done = host.run(argv, env=dict(os.environ), check=False, timeout=60)
            if done.returncode == 0:
                break
            time.sleep(0.5)
        self.expect(f"{host.name}: cni-macvlan-py {' '.join(arguments[:6])} …", done.returncode == 0)

    def call(
        self,
        command: str,
        node: Host,
        container: Container,
        conflist: dict[str, Any],
        *,
        fails: bool = False,
        **keys: Any,
    ) -> dict[str, Any]:
        """One call of the plugin, as a runtime makes it from a conflist."""
        config = conflist["plugins"][0] | {"cniVersion": conflist["cniVersion"], "name": conflist["name"]} | keys
        config["ipam"] = config["ipam"] | {"dataDir": self.data_dir}
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container.name,
            "CNI_NETNS": container.netns,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": self.directory,
            "PATH": os.environ["PATH"],
        }
        argv = [*self.prefixes.get(node.name, []), f"{self.directory}/{config['type']}"]
        done = node.run(argv, input=json.dumps(config).encode(), env=environment, check=False)
        if (done.returncode != 0) != fails:
            self.failures += 1
            print(f"  ✗ {command} {container.name}: exit status {done.returncode} {done.stderr.decode()}")
        self.said = done.stderr.decode().strip()
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
    return {"cniVersion": "1.1.0", "name": name, "plugins": [{**keys, "ipam": ipam}]}


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
