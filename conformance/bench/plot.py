"""An SVG plot of points on logarithmic axes, for a page that is light or dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 170, 40, 50

STYLE = """\
text { font: 13px sans-serif; fill: #24292f } .title { font-weight: bold }
.grid { stroke: #d0d7de } path { fill: none; stroke-width: 2.5 }
.s0 { stroke: #0969da; fill: #0969da } .s1 { stroke: #8250df; fill: #8250df } .s2 { stroke: #bc4c00; fill: #bc4c00 }
path.s0, path.s1, path.s2 { fill: none } text.s0, text.s1, text.s2 { stroke: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .grid { stroke: #30363d }
  .s0 { stroke: #58a6ff; fill: #58a6ff } .s1 { stroke: #bc8cff; fill: #bc8cff } .s2 { stroke: #f0883e; fill: #f0883e }
}
"""


def log_log(title: str, x_label: str, y_label: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """One polyline for each name, its points (x, y) marked, its name beside its last point."""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    x_axis = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    y_axis = _Axis(10 ** floor(log10(min(ys))), 10 ** ceil(log10(max(ys))), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="22">{title}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{x_label}</text>',
        f'<text x="{LEFT - 8}" y="22" text-anchor="end">{y_label}</text>',
    ]
    for x in sorted(set(xs)):
        at = x_axis.place(x)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:,.0f}</text>')
    for y in y_axis.decades():
        at = y_axis.place(y)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{y:,.0f}</text>')
    for number, (name, points) in enumerate(lines.items()):
        places = [(x_axis.place(x), y_axis.place(y)) for x, y in points]
        path = " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path class="s{number}" d="M{path}"/>')
        parts += [f'<circle class="s{number}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places]
        x, y = places[-1]
        parts.append(f'<text class="s{number}" x="{x + 10:.1f}" y="{y + 4:.1f}">{name}: {points[-1][1]:,.1f} ms</text>')
    return "\n".join([*parts, "</svg>", ""])


class _Axis:
    """From values to places, logarithmically."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def place(self, value: float) -> float:
        share = (log10(value) - log10(self.low)) / ((log10(self.high) - log10(self.low)) or 1)
        return self.start + share * (self.end - self.start)

    def decades(self) -> list[float]:
        return [10.0**n for n in range(round(log10(self.low)), round(log10(self.high)) + 1)]
