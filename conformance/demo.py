"""`make demo`: real containers attached with the plugins of a directory, told as a story for somebody new to it.

As a program inside the lab: python3 -m conformance.demo DIRECTORY.
"""

from __future__ import annotations

import json
import sys
import tempfile
from typing import Any

from conformance.lab.topology import Container, Host, Topology

BOLD, PLAIN = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")


def main() -> int:
    directory = sys.argv[1]
    with Topology() as net, tempfile.TemporaryDirectory() as data_dir:
        return Story(net, directory, data_dir).tell()


class Story:
    def __init__(self, net: Topology, directory: str, data_dir: str) -> None:
        self.net = net
        self.directory = directory
        self.data_dir = data_dir
        self.failures = 0

    def tell(self) -> int:
        self.macvlan()
        if self.failures:
            print(f"\n{self.failures} of the steps above failed.")
            return 1
        print(f"\n{BOLD}That was all.{PLAIN} `make test` runs every test; the README says how to go on.")
        return 0

    def macvlan(self) -> None:
        chapter("A node and a router on one switch; two containers that are to join them")
        node, router, switch = self.net.host("node"), self.net.host("router"), self.net.switch("switch")
        self.net.cable(node, "eth0", switch)
        self.net.cable(router, "eth0", switch)
        router.address("eth0", "192.168.50.1/24", "fd00:50::1/64")
        web, db = self.net.container("web"), self.net.container("db")
        say("node and router are network namespaces with a cable to the switch; web and db have a busybox each.")

        chapter("The network, as a person writes it to /etc/cni/net.d/lan.conflist")
        conflist: dict[str, Any] = {
            "cniVersion": "1.1.0",
            "name": "lan",
            "plugins": [
                {
                    "type": "macvlan",
                    "master": "eth0",
                    "ipam": {
                        "type": "host-local",
                        "ranges": [
                            [{"subnet": "192.168.50.0/24", "rangeStart": "192.168.50.100"}],
                            [{"subnet": "fd00:50::/64"}],
                        ],
                        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                    },
                }
            ],
        }
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

    # The steps

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
        }
        argv = [f"{self.directory}/{config['type']}"]
        done = node.run(argv, input=json.dumps(config).encode(), env=environment, check=False)
        if (done.returncode != 0) != fails:
            self.failures += 1
            print(f"  ✗ {command} {container.name}: exit status {done.returncode} {done.stderr.decode()}")
        document: dict[str, Any] = json.loads(done.stdout or b"{}")
        return document

    def ping(self, source: Container, what: str, address: str) -> None:
        self.expect(f"{source.name} reaches {what}, {address}", source.ping(address, deadline=0))

    def expect(self, what: str, ok: bool) -> None:
        self.failures += not ok
        print(f"  {'✓' if ok else '✗'} {what}", flush=True)


def chapter(title: str) -> None:
    print(f"\n{BOLD}— {title}{PLAIN}", flush=True)


def say(text: str) -> None:
    print(f"  {text}", flush=True)


def show(document: dict[str, Any]) -> None:
    """JSON for a person: short objects and lists stay on a line."""
    print("\n".join(f"    {line}" for line in _pretty(document, 110)), flush=True)


def _pretty(value: Any, width: int) -> list[str]:
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) <= width or not isinstance(value, (dict, list)):
        return [flat]
    members = [(f"{json.dumps(name)}: ", member) for name, member in value.items()] if isinstance(value, dict) else []
    members = members or [("", item) for item in value]
    lines = ["{" if isinstance(value, dict) else "["]
    for i, (name, member) in enumerate(members):
        inner = _pretty(member, width - 2 - len(name))
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
