"""The measurements as Markdown, for docs/performance.md."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path

from conformance.bench.side import Side

DOCUMENT = Path("docs/performance.md")


def tables(sides: Sequence[Side]) -> str:
    """Times, CPU and memory of each case, then of calls at once. The last side is the one to compare with."""
    ours, *others, reference = sides
    columns = [f"{ours.name} ms", "min", *(f"{side.name} ms" for side in others), f"{reference.name} ms", "min"]
    lines = _header("call", *columns, "ratio", "CPU", "memory MiB", "memory")
    for case, samples in ours.samples.items():
        walls, theirs = [s.wall for s in samples], [s.wall for s in reference.samples[case]]
        cpu, their_cpu = [s.cpu for s in samples], [s.cpu for s in reference.samples[case]]
        middle = [f"{statistics.median(s.wall for s in side.samples[case]):.1f}" for side in others]
        memory, their_memory = ours.memory.get(case), reference.memory.get(case)
        lines += _row(
            f"{case}",
            f"{statistics.median(walls):.1f}",
            f"{min(walls):.1f}",
            *middle,
            f"{statistics.median(theirs):.1f}",
            f"{min(theirs):.1f}",
            f"**{_ratio(walls, theirs)}**",
            _ratio(cpu, their_cpu),
            f"{memory / 1024:.1f}" if memory else "",
            f"{memory / their_memory:.2f}" if memory and their_memory else "",
        )
    lines += ["", *_header("at once", *(f"{s.name}: calls/s, p50, p99 ms" for s in sides), "ratio of rates", "of p99")]
    for case in ours.rates:
        cells = []
        for side in sides:
            walls = [sample.wall for sample in side.samples[case]]
            rate = statistics.median(side.rates[case])
            cells.append(f"{rate:.0f}, {statistics.median(walls):.0f}, {percentile(walls, 99):.0f}")
        rates = statistics.median(ours.rates[case]) / statistics.median(reference.rates[case])
        tails = [percentile([sample.wall for sample in side.samples[case]], 99) for side in (ours, reference)]
        lines += _row(case, *cells, f"**{rates:.2f}**", f"{tails[0] / tails[1]:.2f}")
    return "\n".join(lines)


def surroundings(rounds: int) -> str:
    """A paragraph that names machine and versions."""
    reference = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", "containernetworking-plugins"], capture_output=True, text=True
    ).stdout
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return (
        f"{_cpu_model()}, {os.cpu_count()} cores, Linux {platform.release()}, leases on tmpfs. Ours at commit "
        f"{commit}, CPython {platform.python_version()}; Go's are Debian's containernetworking-plugins {reference}. "
        f"Medians of {rounds} calls (fewer beside many leases), the sides in turns. *Ratio* is ours to Go's medians, "
        "*CPU* the same of processor time with that of child processes, *memory* the most of each process, together."
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """By nearest rank."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def _ratio(one: Sequence[float], other: Sequence[float]) -> str:
    return f"{statistics.median(one) / statistics.median(other):.2f}"


def _header(*cells: str) -> list[str]:
    return [*_row(*cells), *_row("---", *("---:" for _ in cells[1:]))]


def _row(*cells: str) -> list[str]:
    return [f"| {' | '.join(cells)} |"]


def _cpu_model() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    return models[0] if models else "unknown CPU"
