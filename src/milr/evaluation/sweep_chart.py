"""How alpha and beta act: lines along beta, a grid of both with a number in each cell, and a grid of maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from torch import Tensor, stack

from milr.evaluation.charts import MARKERS
from milr.figures.canvas import INCHES, canvas, headline, picture_inches, write
from milr.figures.figures import MIX
from milr.figures.palette import EVEN, beyond, colour_map, colour_scale
from milr.figures.settings import SheetSettings
from milr.figures.shown import displayable, frame_of, grey

Pair = tuple[float, float]  # alpha and beta


@dataclass(frozen=True)
class SweepPoint:
    """One fit of a sweep, measured on its validation episodes."""

    name: str
    alpha: float
    beta: float
    untouched_accuracy: float
    accuracy: float  # of the decision through the mask
    mask_mean: float
    decision_bits: float  # a location
    redundant_bits: float
    total_bits: float

    @property
    def accuracy_kept(self) -> float:
        """The accuracy through the mask as a share of the untouched one."""
        return self.accuracy / self.untouched_accuracy if self.untouched_accuracy else math.nan


PANELS = (
    ("accuracy", "accuracy through the mask"),
    ("mask_mean", "mean of the mask"),
    ("decision_bits", "decision bits a location"),
    ("redundant_bits", "redundant bits a location"),
)
GRIDS = (
    ("accuracy_kept", "accuracy kept\n(through the mask / untouched)"),
    ("decision_bits", "decision bits a location"),
    ("redundant_bits", "redundant bits a location"),
)
SIGNED = ("redundant_bits", "redundant")


def draw_sweep(path: Path, points: Sequence[SweepPoint], chance: float, title: str) -> None:
    """Four panels along beta, one point an alpha and beta; the untouched accuracy and chance stand in the first."""
    drawing = canvas(13, 3.6)
    panels = drawing.subplots(1, len(PANELS))
    for panel, (field, label) in zip(panels, PANELS, strict=True):
        alphas = sorted({point.alpha for point in points})
        for number, alpha in enumerate(alphas):
            line = sorted((p for p in points if p.alpha == alpha), key=lambda p: p.beta)
            look = {"marker": MARKERS[number % len(MARKERS)], "color": colormaps[EVEN](0.85 * number / len(alphas))}
            panel.plot([p.beta for p in line], [getattr(p, field) for p in line], label=f"alpha {alpha:g}", **look)
        panel.set_xscale("symlog" if any(p.beta == 0 for p in points) else "log", **_linear_part(points))
        panel.set_xlabel("beta")
        panel.set_title(label, fontsize=9)
        panel.grid(alpha=0.3)
    panels[0].axhline(points[0].untouched_accuracy, color="black", linewidth=0.8, label="untouched")
    panels[0].axhline(chance, color="black", linewidth=0.8, linestyle=":", label="chance")
    panels[0].legend(fontsize=7)
    headline(drawing, title, 10)
    write(drawing, path)


def _linear_part(points: Sequence[SweepPoint]) -> dict[str, float]:
    """A logarithm has no 0: below the smallest beta that is not 0 the axis is linear."""
    if all(point.beta for point in points):
        return {}
    return {"linthresh": min((point.beta for point in points if point.beta), default=1.0)}


def draw_grids(path: Path, points: Sequence[SweepPoint], missing: Mapping[Pair, str], title: str) -> None:
    """Rows are alphas, columns betas, a panel for each of GRIDS; cells of `missing` say why they are empty."""
    alphas, betas = axes_of([*((p.alpha, p.beta) for p in points), *missing])
    drawing = canvas(len(GRIDS) * (0.75 * len(betas) + 1.6), 0.55 * len(alphas) + 1.7)
    panels = drawing.subplots(1, len(GRIDS))
    for panel, (field, label) in zip(panels, GRIDS, strict=True):
        values = np.full((len(alphas), len(betas)), np.nan)
        for point in points:
            values[alphas.index(point.alpha), betas.index(point.beta)] = getattr(point, field)
        signed, finite = field in SIGNED, values[np.isfinite(values)]
        colours = colormaps[colour_map(signed)]
        norm = colour_scale(torch.from_numpy(finite if finite.size else np.zeros(1)), signed)
        panel.imshow(np.ma.masked_invalid(values), cmap=colours, norm=norm, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            text = missing.get((alphas[row], betas[column]), "") if math.isnan(value) else f"{value:.3g}"
            dark = not math.isnan(value) and np.dot(colours(norm(value))[:3], (0.3, 0.59, 0.11)) < 0.5
            panel.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
        panel.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas], fontsize=8)
        panel.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas], fontsize=8)
        panel.set_xlabel("beta", fontsize=9)
        panel.set_title(label, fontsize=9)
    panels[0].set_ylabel("alpha", fontsize=9)
    headline(drawing, title, 10)
    write(drawing, path)


def contact_inches(how: SheetSettings, betas: int) -> float:
    """How wide each picture of a contact sheet is. MilrError where they do not fit the width."""
    return 1.3 if how.width == "screen" else picture_inches(how.width, betas + 1, 1.0)


def draw_contact_sheet(
    path: Path,
    picture: Tensor,
    maps: Mapping[Pair, Tensor],
    missing: Mapping[Pair, str],
    kind: str,
    title: str,
    how: SheetSettings | None = None,
) -> None:
    """One picture [3, H, W] under the maps ([H, W], bits per location) of every alpha (row) and beta (column).

    The picture is one that `displayable` takes. All maps have one colour scale, as in `milr visualize`; kind: total,
    decision or redundant.
    """
    alphas, betas = axes_of([*maps, *missing])
    how = how or SheetSettings()
    each = contact_inches(how, len(betas))
    text = 1.0 if how.width == "screen" else 0.75
    wide = INCHES.get(how.width, each * (len(betas) + 1) + 1.0)
    drawing = canvas(wide, (each + 0.05) * len(alphas) + 1.1)
    axes = drawing.subplots(len(alphas), len(betas) + 1, squeeze=False)
    signed = kind in SIGNED
    every = stack([*maps.values()])
    norm, colours = colour_scale(every, signed), colour_map(signed, how.colours)
    picture, frame = displayable(picture[None])[0], frame_of(picture)
    shown = {"cmap": colours, "norm": norm, "alpha": MIX, "interpolation": "bilinear"}
    for (row, column), axis in np.ndenumerate(axes):
        axis.set_xticks([])
        axis.set_yticks([])
        pair = alphas[row], betas[column - 1]
        if column and pair not in maps:
            _empty(axis, missing.get(pair, ""))
            continue
        axis.imshow((grey(picture) if column else picture).permute(1, 2, 0).numpy(), extent=frame)
        if column:
            axis.imshow(maps[pair].double().numpy(), extent=frame, **shown)
    _name_axes(axes, alphas, betas, 8 * text)
    arrows = beyond(every, norm)
    bar = drawing.colorbar(ScalarMappable(norm, colours), ax=axes[:, -1], extend=arrows, fraction=0.08, pad=0.02)
    bar.ax.tick_params(labelsize=6)
    bar.set_label("bits per location", fontsize=7)
    headline(drawing, title, 8)
    write(drawing, path)


def _name_axes(axes: npt.NDArray[Any], alphas: Sequence[float], betas: Sequence[float], size: float) -> None:
    """Betas over the first row, after the picture itself; alphas beside the first column."""
    for axis, name in zip(axes[0], ["the picture", *(f"beta {beta:g}" for beta in betas)], strict=True):
        axis.set_title(name, fontsize=size)
    for axis, alpha in zip(axes[:, 0], alphas, strict=True):
        axis.set_ylabel(f"alpha {alpha:g}", fontsize=size)


def _empty(axis: Axes, why: str) -> None:
    """A cell without a map, and why it has none."""
    axis.text(0.5, 0.5, why, ha="center", va="center", fontsize=7, transform=axis.transAxes)
    for line in axis.spines.values():
        line.set_color("0.8")


def axes_of(pairs: Sequence[Pair]) -> tuple[list[float], list[float]]:
    """The alphas and the betas of a grid, rising."""
    return sorted({alpha for alpha, _ in pairs}), sorted({beta for _, beta in pairs})
