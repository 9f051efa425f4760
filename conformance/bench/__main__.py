from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from conformance import generated
from conformance.bench import __doc__ as about, plot, report
from conformance.bench.cases import DUAL_STACK, IPV4, Bench
from conformance.bench.side import Side
from conformance.lab.topology import Topology

PLOT = Path("docs/add-beside-leases.svg")
LEASES = (100, 1_000, 10_000, 50_000)
AT_ONCE = 16
# Go's host-local reads every lease in every call.
ROUNDS_BESIDE = {10_000: 20, 50_000: 6}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m conformance.bench", description=about)
    parser.add_argument("--ours", default="dist/cni", metavar="DIRECTORY")
    parser.add_argument("--second-tier", default="build/second-tier", metavar="DIRECTORY")
    parser.add_argument("--reference", default="/usr/lib/cni", metavar="DIRECTORY")
    parser.add_argument(
        "--rounds", type=int, default=60, help="of each case (default 60); fewer where Go takes seconds"
    )
    parser.add_argument(
        "--leases", type=int, nargs="*", default=LEASES, metavar="N", help="cases beside so many leases"
    )
    parser.add_argument("--write", action="store_true", help=f"write {report.DOCUMENT} and {PLOT}")
    options = parser.parse_args()
    with Topology() as net, tempfile.TemporaryDirectory(dir="/run") as scratch:
        sides = [
            Side("launcher", options.ours, scratch),
            Side("PyInstaller", options.second_tier, scratch),
            Side("Go", options.reference, scratch),
        ]
        bench = Bench(net, sides, options.rounds)
        with bench.node.inside():
            bench.version()
            bench.attachments("IPv4", IPV4, options.rounds)
            for leases in options.leases:
                bench.leases(leases, min(options.rounds, ROUNDS_BESIDE.get(leases, options.rounds)))
            bench.attachments("dual stack", DUAL_STACK, options.rounds)
            bench.at_once(AT_ONCE, max(1, options.rounds // 4))
            bench.parent_down(options.rounds)
            bench.other_links(options.rounds)
    content = f"{report.surroundings(options.rounds)}\n\n{report.tables(sides)}"
    print(content)
    if options.write:
        generated.write(report.DOCUMENT, "bench", content)
        if options.leases:
            PLOT.write_text(beside_leases(sides, options.leases), encoding="utf-8")


def beside_leases(sides: Sequence[Side], leases: Sequence[int]) -> str:
    lines = {
        side.name: [(n, statistics.median(s.wall for s in side.samples[f"ADD beside {n:,} leases"])) for n in leases]
        for side in sides
    }
    return plot.log_log("ADD beside other leases (median)", "leases of the network", "ms", lines)


if __name__ == "__main__":
    main()
