"""`network graph`: the text and the picture of a tree, the latter by what is drawn where."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given, strategies as st

from cni_cli.graph import Node, place, text
from cni_cli.svg import drawn

SVG = "{http://www.w3.org/2000/svg}"

TREE = [
    Node(
        "eth0",
        "up",
        on_it=[
            Node("lan", "macvlan", on_it=[Node("pod/eth0", "10.1.0.2/24"), Node("\x1b[2J", "gone", is_well=False)]),
            Node("eth0.50", on_it=[Node("till")]),
        ],
    ),
    Node("eth1"),
]


def test_the_text() -> None:
    assert list(text(TREE)) == [
        "eth0  up",
        "├─ lan  macvlan",
        "│  ├─ pod/eth0  10.1.0.2/24",
        "│  └─ \\x1b[2J  gone",
        "└─ eth0.50",
        "   └─ till",
        "eth1",
    ]


def test_what_is_on_one_parent_is_on_one_box() -> None:
    root = Node("")
    first = place(root, [("eth0", "up", True), ("eth0.50", "VLAN 50", True)])
    assert place(root, [("eth0", "up", True), ("eth0.50", "VLAN 50", True)]) is first
    place(root, [("eth0", "up", True)]).on("lan")
    [eth0] = root.on_it
    assert [node.name for node in eth0.on_it] == ["eth0.50", "lan"]


names = st.text(st.characters(codec="utf-8"), max_size=30)
trees = st.recursive(
    st.builds(Node, names, names, st.booleans()),
    lambda inner: st.builds(Node, names, names, st.booleans(), st.lists(inner, max_size=4)),
    max_leaves=20,
)


def size_of(nodes: list[Node]) -> int:
    return sum(1 + size_of(node.on_it) for node in nodes)


@given(st.lists(trees, max_size=4))
def test_the_picture_has_every_box_once_none_over_another_and_a_line_to_each(nodes: list[Node]) -> None:
    document = ElementTree.fromstring(drawn(nodes))
    width, height = float(document.attrib["width"]), float(document.attrib["height"])
    boxes = [[float(rect.attrib[key]) for key in ("x", "y", "width", "height")] for rect in document.iter(f"{SVG}rect")]
    assert len(boxes) == size_of(nodes)
    for x, y, wide, high in boxes:
        assert x >= 0
        assert y >= 0
        assert x + wide <= width
        assert y + high <= height
    for i, (x, y, wide, high) in enumerate(boxes):
        for other_x, other_y, other_wide, other_high in boxes[:i]:
            beside = x + wide <= other_x or other_x + other_wide <= x
            assert beside or y + high <= other_y + 0.1 or other_y + other_high <= y + 0.1
    lines = [re.findall(r"[0-9.]+", path.attrib["d"]) for path in document.iter(f"{SVG}path")]
    assert len(lines) == size_of(nodes) - len(nodes)
    lefts = {(x, round(y + high / 2, 1)) for x, y, _, high in boxes}
    rights = {(x + wide, round(y + high / 2, 1)) for x, y, wide, high in boxes}
    for start, at, _, to, end in lines:
        assert any(abs(x - float(start)) <= 1 and abs(y - float(at)) <= 0.11 for x, y in rights)
        assert any(abs(x - float(end)) <= 1 and abs(y - float(to)) <= 0.11 for x, y in lefts)
