from __future__ import annotations

from itertools import product

from milr.evaluation.metrics import Metric
from milr.evaluation.summary import main_metrics
from milr.evaluation.tables import Measurement, summarise


def test_a_dozen_metrics_are_told_first_none_of_them_twice() -> None:
    regions = ("box", "bird", "defining", "other")
    decision = [
        Metric("untouched", measure="accuracy"),
        Metric("area", measure="accuracy"),
        Metric("keep", measure="accuracy", share=0.2),
        Metric("remove", measure="accuracy", share=0.2),
    ]
    location = [Metric(kind, region) for kind, region in product(("rank accuracy", "pointing"), regions)]
    rest = [
        Metric("rank accuracy", "bird", small=True),  # which says the same as without
        Metric("keep", measure="accuracy", share=0.5),
        Metric("keep", measure="accuracy", share=0.2, fill="blur"),
        Metric("remove", measure="accuracy", share=0.2, at="pixels"),
        Metric("area", measure="cosine"),
        Metric("percentile", "beak"),
        Metric("mass", "box"),
    ]
    measured = [Measurement("decision", 0, "a.jpg", metric, 0.5, 0.1) for metric in [*rest, *location, *decision]]
    shown = main_metrics(summarise(measured, "birds"))
    assert shown == [*decision, *location] and len(shown) == 12


def test_of_pictures_without_parts_all_but_the_pieces_are_told() -> None:
    kinds = ("completeness", "preservation", "correctness", "contrastivity")
    measured = [Measurement("decision", 0, "a.jpg", Metric(kind), 0.5, 0.1) for kind in kinds]
    shown = main_metrics(summarise(measured, "birds"))
    assert [metric.kind for metric in shown] == ["completeness", "correctness", "contrastivity"]
