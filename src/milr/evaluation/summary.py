"""The dozen metrics that are shown first of an evaluation; the files hold all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from milr.evaluation.metrics import METRIC_KINDS, Metric
from milr.evaluation.tables import Result, without_repeated

SHARE = 0.2  # of the places: of keeping and removing the measured share nearest to it is shown
LOCATION = ("rank accuracy", "pointing")


def main_metrics(results: Sequence[Result]) -> list[Metric]:
    """Of the decision: untouched, area, keep and remove; of the location: rank accuracy and pointing of each region.

    Of pictures without their parts everything but the pieces that completeness is made of.
    """
    metrics = list(dict.fromkeys(row.metric for row in without_repeated(results)))
    accuracy = [m for m in metrics if m.measure == "accuracy" and not m.fill]
    curves = [of_layer(metrics, kind) for kind in ("keep", "remove")]
    decision = [m for m in accuracy if m.kind in ("untouched", "area")] + [m for m in curves if m]
    removals = [m for m in metrics if METRIC_KINDS[m.kind].over == "removals" and METRIC_KINDS[m.kind].summary]
    return [*decision, *(m for kind in LOCATION for m in metrics if m.kind == kind), *removals]


def of_layer(metrics: Iterable[Metric], kind: str) -> Metric | None:
    """The accuracy with places of the layer kept or removed, filled as the module does: at the share nearest SHARE."""
    those = [m for m in metrics if (m.kind, m.measure, m.at, m.fill) == (kind, "accuracy", "layer", "")]
    return min(those, key=lambda metric: abs((metric.share or 0) - SHARE), default=None)
