"""The packages of milr (here: rooms), read from the imports: their order, what imports what, and docs/rooms.svg.

    python scripts/rooms.py          # draws docs/rooms.svg again: `make rooms`

tests/test_rooms.py holds the order, and that the picture has today's arrows.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
PICTURE = ROOT / "docs" / "rooms.svg"

LIBRARY = (
    "information",
    "data",
    "networks",
    "backbones",
    "training",
    "decisions",
    "explanation",
    "figures",
    "baselines",
    "evaluation",
    "checks",
)
PROGRAM = ("settings", "command", "runs", "sweeps", "stages", "lineage", "report")
ORDER = ("base", *LIBRARY, *PROGRAM, "entry")  # from the lowest up: a package imports only those below it
ENTRY = (
    "milr",
    "milr.__main__",
    "milr.cli",
)  # of the files beside the packages, those that users enter by; the others are the base

Trees = dict[str, ast.Module]
Arrows = dict[str, set[str]]


def modules() -> Trees:
    """Module -> its tree, of the whole package."""
    files = {path: ".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in sorted(SOURCE.rglob("*.py"))}
    return {name.removesuffix(".__init__"): ast.parse(path.read_text(encoding="utf-8")) for path, name in files.items()}


def imported(tree: ast.AST, known: set[str]) -> set[str]:
    """The modules of milr that a tree imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {name for a in node.names if (name := f"{node.module}.{a.name}") in known} or {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & known


def arrows(trees: Trees) -> Arrows:
    """Module -> what it imports of milr. Its face, the module milr, names everything, but imports it on first use."""
    known = set(trees) - {"milr"}
    return {name: imported(trees[name], known) for name in known}


def room_of(module: str) -> str:
    """The package that a module is in."""
    parts = module.split(".")
    if module in ENTRY:
        return "entry"
    return parts[1] if parts[1] in ORDER else "base"


def between_rooms(imports: Arrows) -> Counter[tuple[str, str]]:
    """(package, package that it imports) -> the number of pairs of files between them."""
    pairs = ((room_of(one), room_of(other)) for one, others in imports.items() for other in others)
    return Counter(pair for pair in pairs if pair[0] != pair[1])


def drawn_pairs(svg: str) -> set[tuple[str, str]]:
    """The arrows in a picture."""
    return set(re.findall(r"<title>(\w+) → (\w+):", svg))


# The picture: the packages from the lowest up; arrows within the library and within the program on the left, from the
# program to the library on the right.

WIDE, LEFT, RIGHT = 1000, 330, 690  # of the picture; where the boxes begin and end
FLOOR, GAP, EDGE = 46, 16, 26  # height of the lowest box, between boxes, around the two halves
COLOURS = {
    **{"evaluation": "#2a7f62", "explanation": "#3b9c8f", "networks": "#6aa84f", "data": "#93b84a"},
    **{"entry": "#555555", "lineage": "#8e4b8c", "stages": "#c8553d", "sweeps": "#d98f2b", "runs": "#3d6fb4"},
    **{"checks": "#1f6a6a", "baselines": "#4f9a7f", "figures": "#5fae9f", "decisions": "#58a55c"},
    **{"training": "#86a84f", "backbones": "#a2b24a"},
    **{"command": "#7a68ae", "settings": "#5aa0c8", "report": "#a0527d"},
}


@dataclass
class Arrow:
    """An arrow of the picture, and where it ends."""

    above: str
    below: str
    count: int
    start: float = 0
    end: float = 0

    @property
    def width(self) -> float:
        """In pixels."""
        return 1 + 0.42 * self.count

    @property
    def side(self) -> int:
        """-1: left, 1: right."""
        return 1 if self.above not in LIBRARY and self.below in LIBRARY else -1


def docked(arrows: list[Arrow], room: str, side: int) -> list[Arrow]:
    """The arrows at one side of a box, from its top to its bottom, so that none crosses another there."""

    def reach(arrow: Arrow) -> int:
        return ORDER.index(arrow.above) - ORDER.index(arrow.below)

    coming = sorted((a for a in arrows if a.below == room and a.side == side), key=reach)
    going = sorted((a for a in arrows if a.above == room and a.side == side), key=reach, reverse=True)
    return coming + going


def draw(trees: Trees) -> str:
    """docs/rooms.svg."""
    counts = between_rooms(arrows(trees))
    base = sum(count for (_, below), count in counts.items() if below == "base")
    lines = [Arrow(above, below, n) for (above, below), n in sorted(counts.items()) if below != "base"]
    boxes, y = [], 20.0
    for room in reversed(ORDER[1:]):
        y += EDGE if room in (PROGRAM[-1], LIBRARY[-1]) else 0
        sides = [docked(lines, room, side) for side in (-1, 1)]
        high = max(FLOOR, *(sum(a.width + 4 for a in side) for side in sides))
        for side in sides:
            at = y + (high - sum(a.width + 4 for a in side)) / 2
            for a in side:
                middle = at + 2 + a.width / 2
                a.start, a.end = (middle, a.end) if a.above == room else (a.start, middle)
                at += a.width + 4
        boxes.append((room, y, high))
        y += high + GAP
    bottom = y + EDGE
    parts = [half(name, rooms, boxes) for name, rooms in (("program", PROGRAM), ("library", LIBRARY))]
    parts += [box(room, LEFT, top, RIGHT - LEFT, high, trees) for room, top, high in boxes]
    parts += [curve(a) for a in sorted(lines, key=lambda a: -a.count)]
    parts.append(box("base", 60, bottom - 10, WIDE - 120, FLOOR + 4, trees, f"{base} imports, not drawn"))
    legend = (
        "An arrow leads to what a package imports, as wide as there are imports. None runs up: tests/test_rooms.py."
    )
    parts.append(text(WIDE / 2, bottom + 66, legend, 13, "#555"))
    size = f'width="{WIDE}" height="{bottom + 84:.0f}" viewBox="0 0 {WIDE} {bottom + 84:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="Helvetica, Arial, DejaVu Sans, sans-serif">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>"]) + "\n"


def text(x: float, y: float, words: str, size: int, colour: str = "#222", more: str = 'text-anchor="middle"') -> str:
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" {more}>{escape(words)}</text>'


def half(name: str, rooms: tuple[str, ...], boxes: list[tuple[str, float, float]]) -> str:
    """The frame around the library's or the program's packages."""
    tops = [(y, y + high) for room, y, high in boxes if room in rooms]
    top, end = tops[0][0] - 22, tops[-1][1] + 10
    frame = f'<rect x="20" y="{top:.1f}" width="{WIDE - 40}" height="{end - top:.1f}" rx="8" fill="#f6f4ef"/>'
    return frame + text(34, top + 20, f"the {name}", 14, "#8a8272", 'font-style="italic"')


def box(room: str, x: float, y: float, wide: float, high: float, trees: Trees, note: str = "") -> str:
    """A package: its name, its number of files, and the first line of its docstring."""
    inside = [name for name in trees if room_of(name) == room and name != f"milr.{room}"]
    meaning = (ast.get_docstring(trees[f"milr.{room}"]) or "") if f"milr.{room}" in trees else ""
    if room in ("base", "entry"):
        meaning = ", ".join(name.removeprefix("milr.") if name != "milr" else "__init__" for name in inside)
    shape = f'<rect x="{x}" y="{y:.1f}" width="{wide}" height="{high:.1f}" rx="4" fill="white" stroke="#444"/>'
    middle = x + wide / 2
    title = f"{room}  ({', '.join(filter(None, (f'{len(inside)} files', note)))})"
    return "\n".join(
        [
            shape,
            text(middle, y + high / 2 - 3, title, 15, "#111", 'text-anchor="middle" font-weight="bold"'),
            text(middle, y + high / 2 + 14, meaning.partition("\n")[0].rstrip("."), 11, "#555"),
        ]
    )


def curve(a: Arrow) -> str:
    """An arrow from a package to one below it."""
    x, colour = (RIGHT if a.side > 0 else LEFT), COLOURS[a.above]
    bulge = a.side * min(40 + 0.36 * (a.end - a.start), 350)
    head = 5 + a.width / 2
    tip = x + a.side * head
    path = f"M{x} {a.start:.1f} C{x + bulge:.1f} {a.start:.1f} {tip + bulge:.1f} {a.end:.1f} {tip:.1f} {a.end:.1f}"
    wing = a.width / 2 + 3
    return "\n".join(
        [
            f'<g opacity="0.75"><title>{a.above} → {a.below}: {a.count} imports</title>',
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{a.width:.1f}"/>',
            f'<path d="M{x} {a.end:.1f} L{tip:.1f} {a.end - wing:.1f} v{2 * wing:.1f} Z" fill="{colour}"/>',
            "</g>",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(modules()), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))
