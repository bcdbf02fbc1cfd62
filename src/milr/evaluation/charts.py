"""Pictures of what was measured: curves, bars, and maps side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from milr.evaluation.metrics import Metric
from milr.evaluation.study import Shares
from milr.evaluation.tables import Result, without_repeated
from milr.figures.canvas import INCHES, canvas, headline, letters, picture_inches, write
from milr.figures.columns import literal, readable
from milr.figures.figures import MIX
from milr.figures.palette import colour_map, colour_scale
from milr.figures.settings import SheetSettings
from milr.figures.shown import displayable, frame_of, grey

# Okabe and Ito's colours, which colour-blind eyes tell apart; what is no map of ours has a marker of its own as well.
COLOURS = {"total": "#0072B2", "kept": "#56B4E9", "redundant": "#009E73", "decision": "#D55E00"}
OTHER_COLOURS = ("#E69F00", "#CC79A7", "#000000", "#7F7F7F", "#882255", "#999933")
MARKERS = "osD^v<>PX*hdp"
STYLES = {"milr": "-", "baseline": "--", "control": ":"}
MARGIN = 0.6  # inches of a sheet beside its pictures
GAP = 0.08  # between the pictures of a sheet, of their size
AREA = Metric("area", measure="accuracy")
BARS = {  # file -> its metrics; those that the data set has not are left out
    "decision": (AREA, Metric("area", measure="accuracy", at="pixels"), Metric("area", measure="cosine")),
    "location": (
        Metric("rank accuracy", "defining"),
        Metric("pointing", "defining"),
        Metric("rank accuracy", "bird"),
        Metric("rank accuracy", "box"),
        Metric("rank accuracy", "box", small=True),
        Metric("pointing", "box"),
    ),
}


@dataclass(frozen=True)
class Case:
    """One image with all maps of it, for a sheet."""

    picture: Tensor  # [3, H, W], as `displayable` takes it
    title: str
    maps: dict[str, Tensor]  # name -> [H, W]


def draw_curves(path: Path, results: Sequence[Result], shares: Shares, measure: str, title: str) -> None:
    """Keep and remove, at the local layer and at the pixels: the measure along the share of places, a line a map."""
    rows = [("layer", "places of the layer", shares.places), ("pixels", "pixels", shares.pixels)]
    rows = [row for row in rows if row[2]]
    drawing = canvas(11, 3.75 * len(rows))
    panels = drawing.subplots(len(rows), 2, sharey=True, sharex=True, squeeze=False)
    table = {(result.map, result.metric): result for result in results}
    names = list(dict.fromkeys(result.map for result in results))
    colours = dict(zip((name for name in names if name not in COLOURS), cycle(OTHER_COLOURS), strict=False)) | COLOURS
    markers = dict(zip(names, cycle(MARKERS), strict=False))
    for row, (at, where, own) in enumerate(rows):
        percent = [100 * share for share in own]
        for column, what in enumerate(("keep", "remove")):
            panel = panels[row, column]
            for name in names:
                points = [table[name, Metric(what, "", measure, share, at)] for share in own]
                style = STYLES[points[0].method]
                line = {"color": colours[name], "marker": markers[name], "markersize": 4}
                panel.plot(percent, [p.value for p in points], style, label=name.replace("_", " "), **line)
                panel.fill_between(
                    percent, [p.low for p in points], [p.high for p in points], alpha=0.1, color=colours[name]
                )
            untouched = table.get((names[0], Metric("untouched", "", measure)))
            if untouched:
                panel.axhline(untouched.value, color="black", linewidth=0.8, label="untouched")
            panel.set_xlabel(f"% of the {where} {'kept' if what == 'keep' else 'removed'}, highest first", fontsize=9)
            panel.grid(alpha=0.3)
        panels[row, 0].set_ylabel(measure)
    panels[0, 1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    headline(drawing, title, 10)
    write(drawing, path)


def draw_bars(path: Path, results: Sequence[Result], metrics: Sequence[Metric], title: str) -> None:
    """A panel for each metric, a bar with its interval for each map, chance as a line; absent metrics are left out."""
    results = without_repeated(results)
    there = [metric for metric in metrics if any(result.metric == metric for result in results)]
    drawing = canvas(3.1 * len(there) + 1.2, 4.4)
    panels = drawing.subplots(1, len(there), squeeze=False, sharey=True)[0]
    for panel, metric in zip(panels, there, strict=True):
        rows = [result for result in results if result.metric == metric]
        values = np.array([row.value for row in rows])
        reach = np.abs(np.array([[row.low, row.high] for row in rows]).T - values)
        names = [row.map.replace("_", " ") for row in rows]
        panel.barh(names, values, xerr=reach, color=[COLOURS.get(row.map, "0.7") for row in rows], capsize=2)
        panel.axvline(rows[0].chance, color="black", linestyle=":", linewidth=1)  # NaN draws nothing
        panel.set_title(metric.name, fontsize=9)
        panel.set_xlabel(metric.unit, fontsize=8)
        panel.tick_params(labelsize=8)
        panel.grid(axis="x", alpha=0.3)
    panels[0].invert_yaxis()
    headline(drawing, title, 10)
    write(drawing, path)


def draw_parts(path: Path, results: Sequence[Result], maps: Sequence[str], kind: str, title: str) -> bool:
    """A bar for each part and map, parts from the highest to the lowest of the first map; False where no part is."""
    rows = {(result.map, result.metric.subject): result for result in results if result.metric.kind == kind}
    parts = [part for name, part in rows if name == maps[0]]
    if not parts:
        return False
    parts.sort(key=lambda part: -rows[maps[0], part].value)
    drawing = canvas(0.75 * len(parts) + 2, 4)
    panel = drawing.subplots()
    width = 0.8 / len(maps)
    for number, name in enumerate(maps):
        own = [rows[name, part] for part in parts]
        values = np.array([row.value for row in own])
        reach = np.abs(np.array([[row.low, row.high] for row in own]).T - values)
        middle = np.arange(len(parts)) + number * width
        panel.bar(middle, values, width, yerr=reach, label=name.replace("_", " "), color=COLOURS.get(name))
    panel.axhline(rows[maps[0], parts[0]].chance, color="black", linestyle=":", linewidth=1)
    panel.set_xticks(np.arange(len(parts)) + 0.4 - width / 2, parts, fontsize=8)
    panel.set_ylabel(f"{kind} at the part")
    panel.legend(fontsize=8)
    headline(drawing, title, 10)
    write(drawing, path)
    return True


def case_inches(how: SheetSettings, maps: int) -> float:
    """How wide each picture of a sheet of cases is, beside so many maps. MilrError where they do not fit the width."""
    return 1.15 if how.width == "screen" else picture_inches(how.width, maps + 1, MARGIN)


def draw_cases(
    path: Path, cases: Sequence[Case], title: str, signed: bool | None = None, how: SheetSettings | None = None
) -> None:
    """Rows are images, columns are maps laid over them, each map on its own scale.

    A signed map has its zero white: the redundant one, or, where `signed` is given, all or none.
    """
    how, names = how or SheetSettings(), list(cases[0].maps)
    each = case_inches(how, len(names))
    wide = INCHES.get(how.width, each * (len(names) + 1) + MARGIN)
    drawing = canvas(wide, 1.13 * each * len(cases) + 0.6)
    axis = drawing.subplots()  # one for all: two hundred take a minute to lay out
    _, width, height, _ = frame_of(cases[0].picture)
    across, down = width * (1 + GAP), height * (1 + GAP)  # from one picture to the next
    for row, case in enumerate(cases):
        for column, name in enumerate((None, *names)):
            left, top = column * across, row * down
            diverging = name == "redundant" if signed is None else signed
            draw_case(axis, case, name, (left, left + width, top + height, top), diverging, how.colours)
    axis.set_xlim(0, len(names) * across + width)
    axis.set_ylim((len(cases) - 1) * down + height, 0)
    columns, small = ["image", *(name.replace("_", "\n") for name in names)], each < 1
    middles = [column * across + width / 2 for column in range(len(columns))]
    axis.set_xticks(middles, columns, fontsize=6 if small else 8, rotation=90 if each < 0.5 else 0)
    middles = [row * down + height / 2 for row in range(len(cases))]
    size = 4.5 if small else 6
    titles = [literal(textwrap.fill(readable(case.title), letters(each, size))) for case in cases]
    axis.set_yticks(middles, titles, fontsize=size, rotation=90, va="center", multialignment="center")
    axis.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axis.spines[:].set_visible(False)
    headline(drawing, title, 7 if small else 9)
    write(drawing, path)


def draw_case(
    axis: Axes, case: Case, name: str | None, frame: tuple[float, float, float, float], signed: bool, colours: str
) -> None:
    """One picture of a sheet: the image as it is, or grey under one of its maps."""
    picture = displayable(case.picture[None])[0]
    axis.imshow((picture if name is None else grey(picture)).permute(1, 2, 0).numpy(), extent=frame)
    if name is not None:
        heat = case.maps[name].double()
        cmap, norm = colour_map(signed, colours), colour_scale(heat, signed)
        axis.imshow(heat.numpy(), cmap, norm, alpha=MIX, extent=frame, interpolation="bilinear")
