"""The keep and remove curves of all maps, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from milr.evaluation.tables import Result


def draw_curves(path: Path, results: Sequence[Result], shares: Sequence[float], measure: str, title: str) -> None:
    """Two panels, keep and remove: the measure (accuracy, loss, cosine) along the share of places, a line a map."""
    drawing = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(drawing)
    panels = drawing.subplots(1, 2, sharey=True)
    table = {(result.map, result.metric): result for result in results}
    names = list(dict.fromkeys(result.map for result in results))
    for panel, what in zip(panels, ("keep", "remove"), strict=True):
        for name in names:
            row = [table[name, f"{what} {share:.0%}, {measure}"] for share in shares]
            style = "--" if name in ("random", "centre", "activation", "grad_cam") else "-"
            percent = [100 * share for share in shares]
            (line,) = panel.plot(percent, [r.value for r in row], style, label=name.replace("_", "-"), marker=".")
            panel.fill_between(percent, [r.low for r in row], [r.high for r in row], alpha=0.12, color=line.get_color())
        panel.set_xlabel(f"% of the places that are {'kept' if what == 'keep' else 'removed'}, highest first")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(measure)
    panels[1].legend(fontsize=8)
    drawing.suptitle(title, fontsize=10)
    drawing.savefig(path, dpi=110)
