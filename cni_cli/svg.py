"""A tree as a picture: a column for each level, a box for each node; in the colours that the viewer prefers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from cni_core.names import printable

LINE, PADDING, GAP, COLUMN_GAP, MARGIN = 17, 8, 10, 40, 12  # pixels
CHARACTER = 7.3  # as wide as one of 12 pixels is at most, in the fonts below

STYLE = """
text { font: 12px ui-monospace, "DejaVu Sans Mono", monospace; fill: #1f2328 }
text.name { font-weight: bold }
text.about { fill: #59636e }
rect { fill: #f6f8fa; stroke: #d1d9e0 }
rect.ill { stroke: #cf222e; stroke-width: 2 }
path { fill: none; stroke: #818b98 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } text.about { fill: #9198a1 }
  rect { fill: #151b23; stroke: #3d444d } rect.ill { stroke: #f85149 }
}
"""


class Tree(Protocol):
    """What is drawn (graph.Node)."""

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> str: ...

    @property
    def is_well(self) -> bool: ...

    @property
    def on_it(self) -> Sequence[Tree]: ...


class _Box:
    """Where a node is: in which column, and how far down its top is."""

    def __init__(self, node: Tree, column: int, top: float, on_it: list[_Box]) -> None:
        self.lines = [printable(node.name), *([printable(node.about)] if node.about else [])]
        self.is_well = node.is_well
        self.column = column
        self.on_it = on_it
        self.height = 2 * PADDING + LINE * len(self.lines)
        self.bottom: float = max([top + self.height, *(box.bottom for box in on_it)])
        # In the middle of what is on it.
        self.top: float = top if not on_it else max(top, (on_it[0].middle + on_it[-1].middle - self.height) / 2)

    @property
    def middle(self) -> float:
        return self.top + self.height / 2

    @property
    def width(self) -> float:
        return 2 * PADDING + CHARACTER * max(map(len, self.lines))


def drawn(nodes: Sequence[Tree]) -> str:
    """The document."""
    tops = _laid_out(nodes, 0, MARGIN)
    boxes = list(_all(tops))
    widths = [
        max(box.width for box in boxes if box.column == column)
        for column in range(1 + max((box.column for box in boxes), default=-1))
    ]
    left = [MARGIN + sum(widths[:column]) + COLUMN_GAP * column for column in range(len(widths))]
    width = MARGIN + (left[-1] + widths[-1] if left else MARGIN)
    height = MARGIN + max((box.bottom for box in boxes), default=MARGIN)
    size = {"width": f"{width:.0f}", "height": f"{height:.0f}", "viewBox": f"0 0 {width:.0f} {height:.0f}"}
    document = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size})
    SubElement(document, "style").text = STYLE
    for box in boxes:
        for other in box.on_it:
            start, end = left[box.column] + widths[box.column], left[other.column]
            bend = (start + end) / 2
            line = f"M{start:.0f} {box.middle:.1f}H{bend:.0f}V{other.middle:.1f}H{end:.0f}"
            SubElement(document, "path", {"d": line})
    for box in boxes:
        _draw(document, box, left[box.column], widths[box.column])
    indent(document)
    return tostring(document, encoding="unicode")


def _laid_out(nodes: Sequence[Tree], column: int, top: float) -> list[_Box]:
    boxes: list[_Box] = []
    for node in nodes:
        boxes.append(_Box(node, column, top, _laid_out(node.on_it, column + 1, top)))
        top = boxes[-1].bottom + GAP
    return boxes


def _all(boxes: Sequence[_Box]) -> list[_Box]:
    return [one for box in boxes for one in (box, *_all(box.on_it))]


def _draw(document: Element, box: _Box, left: float, width: float) -> None:
    place = {"x": f"{left:.0f}", "y": f"{box.top:.1f}", "width": f"{width:.0f}", "height": f"{box.height:.0f}"}
    SubElement(document, "rect", {**place, "rx": "4", **({} if box.is_well else {"class": "ill"})})
    for i, line in enumerate(box.lines):
        baseline = box.top + PADDING + LINE * (i + 0.75)
        style = "about" if i else "name"
        at = {"x": f"{left + PADDING:.0f}", "y": f"{baseline:.1f}", "class": style}
        SubElement(document, "text", at).text = line
