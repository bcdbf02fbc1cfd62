"""Where the decision map points, beside chance and the controls, as a finding."""

from __future__ import annotations

from collections.abc import Sequence

from milr.evaluation.metrics import METRIC_KINDS
from milr.evaluation.tables import Result
from milr.report import charts
from milr.report.evaluated import Evaluated, against_control, verdict_of
from milr.report.tables import Finding, between, number, percent

TITLE = "Does the decision map point better than chance, and than the controls?"
JUDGED = "defining"  # the region that the verdict is by, where it is marked; else the first
MARKED = {
    "bird": "the bird",
    "box": "the official box",
    "defining": "a part that defines the species",
    "other": "a part that does not define it",
}


def pointing_of(evaluated: Evaluated) -> Finding:
    """The answer by `milr evaluate`."""
    results = [*evaluated.results.values()]
    if not any(METRIC_KINDS[result.metric.kind].over == "regions" for result in results):
        return Finding(TITLE, ["Nothing is marked on these pictures: neither a box nor a segmentation nor parts."])
    hits = [r for r in results if r.map == "decision" and r.metric.kind == "pointing" and not r.metric.small]
    if not hits:
        return Finding(TITLE, ["The evaluation does not tell where the decision map's highest place lies."])
    judged = next((hit for hit in hits if hit.metric.subject == JUDGED), hits[0])
    beats_control, compared = against_control(evaluated, judged.metric, "hits a picture")
    sentences = [pointing_sentence(judged), compared, *others(hits, judged), rank_sentence(evaluated)]
    verdict = verdict_of(judged.low > judged.chance, beats_control)
    return Finding(TITLE, [each for each in sentences if each], verdict, charts.places(results))


def pointing_sentence(hit: Result) -> str:
    """In how many pictures the highest place lies on what is marked."""
    return (
        f"The decision map's highest place lies on {region_of(hit)} in "
        f"{percent(hit.value)} of {hit.n} pictures{between(hit.low, hit.high)}; a place at random would in "
        f"{percent(hit.chance)}."
    )


def others(hits: Sequence[Result], judged: Result) -> list[str]:
    """The regions that the verdict is not by."""
    rest = [pointing_sentence(hit) for hit in hits if hit is not judged]
    return [f"The answer is by {region_of(judged)}; the rest for comparison.", *rest] if rest else []


def rank_sentence(evaluated: Evaluated) -> str:
    """Where a control lies above the decision map once as many places count as the region has; or nothing."""
    above = []
    for (name, metric), own in evaluated.results.items():
        if name == "decision" and metric.kind == "rank accuracy" and not metric.small:
            best = evaluated.best_control(metric)
            if best and (most := evaluated.results[best, metric].value) > own.value:
                above.append(f"on {region_of(own)} ({best} {number(most, 2)}, decision {number(own.value, 2)})")
    if not above:
        return ""
    return (
        "That is about the highest place alone: by rank accuracy, over as many places as a region has, a control lies "
        f"above it {', '.join(above)}."
    )


def region_of(result: Result) -> str:
    """The region of a result."""
    return MARKED.get(result.metric.subject, result.metric.subject)
