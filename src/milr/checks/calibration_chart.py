"""The curve of true against estimated information: a panel for each planted world and reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from milr.checks.calibration import PlacePoint
from milr.figures.canvas import canvas, headline, write
from milr.information.readings import READINGS

LABELS = {
    "sample": "sample: the log-ratio at hand",
    "place": "place: KL(p(x_i|z), p(x_i))",
    "representation": "representation: KL(p(z|x_i), p(z))",
}
MARKERS = "osD^vP*X"


def draw_calibration(path: Path, points: Sequence[PlacePoint], title: str) -> None:
    """Each place's mean over the pictures; of the first fit also where four of five single pictures lie."""
    worlds = list(dict.fromkeys(point.world for point in points))
    fits = list(dict.fromkeys((point.estimator, point.denominator) for point in points))
    drawing = canvas(4.2 * len(READINGS), 3.9 * len(worlds) + 0.5)
    panels = drawing.subplots(len(worlds), len(READINGS), squeeze=False)
    for row, world in zip(panels, worlds, strict=True):
        for panel, reading in zip(row, READINGS, strict=True):
            shown = [point for point in points if (point.world, point.reading) == (world, reading)]
            draw_panel(panel, shown, fits)
            panel.set_title(f"{world}, {LABELS[reading]}", fontsize=8)
    panels[0, 0].legend(fontsize=6)
    for panel in panels[-1]:
        panel.set_xlabel("true bits of a place")
    for row in panels:
        row[0].set_ylabel("estimated bits of the place")
    headline(drawing, title, 10)
    write(drawing, path)


def draw_panel(panel: Axes, points: Sequence[PlacePoint], fits: Sequence[tuple[str, str]]) -> None:
    """One world in one reading."""
    highest = max(point.true for point in points)
    panel.plot([0, highest], [0, highest], color="black", linewidth=0.8)
    panel.set_ylim(-0.15 * highest, 1.35 * highest)  # what lies beyond is far off in any case
    panel.grid(alpha=0.3)
    for number, (estimator, denominator) in enumerate(fits):
        own = sorted(
            (point for point in points if (point.estimator, point.denominator) == (estimator, denominator)),
            key=lambda point: point.true,
        )
        true, means = [point.true for point in own], [point.estimated for point in own]
        label = f"{estimator}, {denominator}" if estimator == "infonce" else estimator
        if number == 0:
            spread = [[max(0.0, p.estimated - p.low) for p in own], [max(0.0, p.high - p.estimated) for p in own]]
            panel.errorbar(true, means, spread, fmt="none", color="C0", alpha=0.35, linewidth=1)
        marker = MARKERS[number % len(MARKERS)]
        panel.plot(true, means, marker, markersize=3.5, color=f"C{number}", alpha=0.8, label=label)
