"""Beside the Go plugins on one node: the same configuration and lease files, and either cleans up for the other."""

from __future__ import annotations

from tests.kernel.conftest import Lan
from tests.kernel.plugin import GO, Plugin, addresses, leases, links


def test_either_deletes_what_the_other_added_and_goes_on_where_it_stopped(lan: Lan) -> None:
    go = Plugin(lan.node, "macvlan", GO)
    plugins = {"go": go, "ours": lan.macvlan}
    for adder, deleter, address in (("go", "ours", "10.1.0.2"), ("ours", "go", "10.1.0.3")):
        pod = lan.host(f"pod-{adder}")
        result = plugins[adder].add(pod, lan.config()).result
        assert addresses(pod) == [f"{address}/24"] == [ip["address"] for ip in result["ips"]]
        assert leases(lan.data_dir) == {address: f"{pod.name}\r\neth0"}
        plugins[deleter].check(pod, lan.config(), result).succeeded()
        plugins[deleter].delete(pod, lan.config()).succeeded()
        assert (links(pod), leases(lan.data_dir)) == ([], {})


def test_both_give_the_same_result_and_the_same_kernel_state(lan: Lan) -> None:
    config = lan.config(ipam=lan.dual_stack, mac="02:00:00:00:00:01", mtu=1400, dns={"nameservers": ["10.1.0.1"]})
    seen = []
    for name, plugin in (("pod-go", Plugin(lan.node, "macvlan", GO)), ("pod-ours", lan.macvlan)):
        pod = lan.host(name)
        result = plugin.add(pod, config).result
        result["interfaces"][0]["sandbox"] = result["interfaces"][0]["sandbox"].replace(name, "pod")
        link = pod.ip_json("link show dev eth0")[0]
        kernel = {key: link[key] for key in ("address", "mtu", "flags", "linkinfo", "operstate")}
        # Removed routes come back in another order, and addresses have ages.
        routes = [{"dst": r["dst"], "gateway": r.get("gateway")} for f in (4, 6) for r in pod.ip_json(f"-{f} route")]
        broadcast = [info.get("broadcast") for info in pod.ip_json("addr show dev eth0")[0]["addr_info"]]
        seen.append((result, kernel, routes, addresses(pod), broadcast))
        plugin.delete(pod, config).succeeded()
        for index in (0, 1):
            (lan.data_dir / "lan" / f"last_reserved_ip.{index}").unlink()
    assert seen[0] == seen[1]
