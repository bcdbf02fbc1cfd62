"""Charts of the checks whether masks are honest: what shapes tell, and the maps' order from one judge to another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from milr.checks.mask_only import AS_IT_IS, RANDOM, WRITTEN
from milr.checks.sanity import SanityRow
from milr.evaluation.charts import COLOURS, MARKERS, OTHER_COLOURS
from milr.figures.canvas import canvas, headline, write

VARIANTS = {AS_IT_IS: "#D55E00", RANDOM: "0.7", WRITTEN: "#CC79A7"}


def draw_class_accuracies(path: Path, rows: Sequence[SanityRow], title: str) -> None:
    """A bar with its interval for each map: classes predicted from it, from random shapes of its values, by chance."""
    shown = [row for row in rows if row.variant in VARIANTS]
    maps = list(dict.fromkeys(row.map for row in shown))
    drawing = canvas(7, 0.45 * len(maps) + 1.6)
    panel = drawing.subplots()
    for number, (variant, colour) in enumerate(VARIANTS.items()):
        own = [row for row in shown if row.variant == variant]
        values = np.array([row.value for row in own])
        reach = np.abs(np.array([[row.low, row.high] for row in own]).T - values)
        places = [maps.index(row.map) + 0.27 * (number - 1) for row in own]
        panel.barh(places, values, 0.25, xerr=reach, color=colour, label=variant, capsize=2)
    chance = next(row.value for row in rows if row.variant == "chance")
    panel.axvline(chance, color="black", linestyle=":", linewidth=1, label="chance")
    panel.set_yticks(range(len(maps)), [name.replace("_", " ") for name in maps], fontsize=8)
    panel.invert_yaxis()
    panel.set_xlabel("accuracy of a classifier that sees the map alone", fontsize=9)
    panel.grid(axis="x", alpha=0.3)
    panel.legend(fontsize=8)
    headline(drawing, title, 9)
    write(drawing, path)


def draw_agreement(path: Path, rows: Sequence[SanityRow], ways: Sequence[str], title: str) -> None:
    """The area of each map with its interval under each way to judge, joined by a line: where lines cross, the order
    does not hold."""
    areas = {(row.variant, row.map): row for row in rows if row.measure == "area" and row.variant in ways}
    maps = sorted({map for _, map in areas}, key=lambda map: -areas[ways[0], map].value)
    others = zip((map for map in maps if map not in COLOURS), cycle(OTHER_COLOURS), strict=False)
    colours = dict(others) | COLOURS
    drawing = canvas(2.2 * len(ways) + 2.5, 5)
    panel = drawing.subplots()
    for map, marker in zip(maps, cycle(MARKERS), strict=False):
        own = [areas[way, map] for way in ways]
        values = np.array([row.value for row in own])
        reach = np.abs(np.array([[row.low, row.high] for row in own]).T - values)
        line: dict[str, Any] = {
            "color": colours[map],
            "linestyle": "-" if map in COLOURS else "--",
            "marker": marker,
            "markersize": 4,
        }
        panel.errorbar(range(len(ways)), values, reach, label=map.replace("_", " "), capsize=2, **line)
    panel.set_xticks(range(len(ways)), ways)
    panel.set_xlim(-0.3, len(ways) - 0.7)
    panel.set_ylabel("area between keep and remove, accuracy", fontsize=9)
    panel.grid(axis="y", alpha=0.3)
    panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    headline(drawing, title, 9)
    write(drawing, path)
