"""How alpha and beta act: one line for each alpha along beta."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from milr.evaluation.charts import canvas


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


PANELS = (
    ("accuracy", "accuracy through the mask"),
    ("mask_mean", "mean of the mask"),
    ("decision_bits", "decision bits a location"),
    ("redundant_bits", "redundant bits a location"),
)


def draw_sweep(path: Path, points: Sequence[SweepPoint], chance: float, title: str) -> None:
    """Four panels along beta, one point an alpha and beta; the untouched accuracy and chance stand in the first."""
    drawing = canvas(13, 3.6)
    panels = drawing.subplots(1, len(PANELS))
    for panel, (field, label) in zip(panels, PANELS, strict=True):
        for alpha in sorted({point.alpha for point in points}):
            line = sorted((p for p in points if p.alpha == alpha), key=lambda p: p.beta)
            panel.plot([p.beta for p in line], [getattr(p, field) for p in line], marker="o", label=f"alpha {alpha:g}")
        panel.set_xscale("symlog" if any(p.beta == 0 for p in points) else "log", **_linear_part(points))
        panel.set_xlabel("beta")
        panel.set_title(label, fontsize=9)
        panel.grid(alpha=0.3)
    panels[0].axhline(points[0].untouched_accuracy, color="black", linewidth=0.8, label="untouched")
    panels[0].axhline(chance, color="black", linewidth=0.8, linestyle=":", label="chance")
    panels[0].legend(fontsize=7)
    drawing.suptitle(title, fontsize=10)
    drawing.savefig(path, dpi=110)


def _linear_part(points: Sequence[SweepPoint]) -> dict[str, float]:
    """A logarithm has no 0: below the smallest beta that is not 0 the axis is linear."""
    if all(point.beta for point in points):
        return {}
    return {"linthresh": min((point.beta for point in points if point.beta), default=1.0)}
