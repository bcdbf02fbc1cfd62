"""The queries that an evaluation shows side by side with all their maps: the first ones, and the worst ones so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from milr.data.pictures import Pictures
from milr.evaluation.charts import Case
from milr.evaluation.metrics import Metric
from milr.evaluation.tables import Measurement
from milr.training.continuation import State

Cases = dict[tuple[int, str], Case]  # under (episode, file)

WORST = Metric("keep", measure="loss", share=0.2)  # what decides which cases are the worst for the decision map


def cases_of(number: int, pictures: Pictures, maps: Mapping[str, Tensor], first_query: int) -> Cases:
    """The queries of an episode with all maps of each, under (episode, file)."""
    cases = {}
    for index, record in list(enumerate(pictures.records))[first_query:]:
        own = {name: heat[index].clone() for name, heat in maps.items()}
        cases[number, str(record.path)] = Case(pictures.images[index].clone(), record.class_name, own)
    return cases


def shown_cases(cases: Cases, measurements: Sequence[Measurement], rows: int) -> Cases:
    """Those that the sheets will show as far as is known now: the first ones and the worst ones, in their order."""
    worst = {(m.episode, m.file) for m in worst_losses(measurements, rows)[1]}
    return {key: case for place, (key, case) in enumerate(cases.items()) if place < rows or key in worst}


def worst_losses(measurements: Sequence[Measurement], rows: int) -> tuple[Metric, list[Measurement]]:
    """The metric that decides which cases are the worst, and the measurements in which it is highest."""
    first = measurements[0].fit  # whose maps the cases have
    kept = [m for m in measurements if (m.map, m.metric.kind, m.metric.measure) == ("decision", "keep", "loss")]
    kept = [m for m in kept if m.fit == first]
    metric = WORST if any(m.metric == WORST for m in kept) else kept[0].metric
    return metric, sorted((m for m in kept if m.metric == metric), key=lambda m: -m.value)[:rows]


def state_of(done: int, cases: Cases) -> State:
    """What an evaluation needs to go on, beside the rows of per_image.csv."""
    return {
        "step": done,
        "cases": [
            {"episode": episode, "file": file, "picture": case.picture, "title": case.title, "maps": case.maps}
            for (episode, file), case in cases.items()
        ],
    }


def cases_from(entries: Sequence[dict[str, Any]]) -> Cases:
    """The cases that `state_of` took down."""
    return {
        (entry["episode"], entry["file"]): Case(entry["picture"], entry["title"], entry["maps"]) for entry in entries
    }
