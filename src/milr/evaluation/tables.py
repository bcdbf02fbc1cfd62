"""Tidy tables of what was measured: one row a value, the mean of each with its interval, and paired differences."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from milr.errors import MilrError
from milr.evaluation.methods import METHODS
from milr.evaluation.metrics import Metric

RESAMPLES = 1000


@dataclass(frozen=True)
class Measurement:
    """One metric of one map of one image."""

    map: str
    episode: int
    file: str
    metric: Metric
    value: float  # NaN where it cannot be measured: left out of means, and counted
    chance: float  # what a map unrelated to the image gets; NaN where there is no such number


@dataclass(frozen=True)
class Result:
    """The mean of one metric of one map, with its 95 % interval."""

    method: str  # milr, control, or baseline
    map: str
    data_set: str
    metric: Metric
    value: float
    low: float
    high: float
    n: int  # values that count
    left_out: int  # values that could not be measured
    chance: float
    direction: str  # higher, lower (is better) or none


@dataclass(frozen=True)
class Comparison:
    """The mean difference of two maps on the same images of the same episodes, with its 95 % interval."""

    map: str
    other: str
    data_set: str
    metric: Metric
    difference: float  # of `map` minus `other`
    low: float
    high: float
    n: int  # images that could be measured with both
    direction: str


def summarise(measurements: Sequence[Measurement], data_set: str) -> list[Result]:
    """The results, in the order in which maps and metrics first appear."""
    groups: dict[tuple[str, Metric], list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        groups[measurement.map, measurement.metric].append(measurement)
    results = []
    for (name, metric), group in groups.items():
        counted = [m for m in group if not math.isnan(m.value)]
        chances = [m.chance for m in counted if not math.isnan(m.chance)]
        chance = sum(chances) / len(chances) if chances else math.nan
        mean, low, high = bootstrap([m.value for m in counted], [m.episode for m in counted])
        left_out = len(group) - len(counted)
        place = (METHODS[name].family, name, data_set, metric)
        results.append(Result(*place, mean, low, high, len(counted), left_out, chance, metric.direction(name)))
    return results


def compare(measurements: Sequence[Measurement], data_set: str, maps: Sequence[str]) -> list[Comparison]:
    """Each of `maps` against every other map, metric by metric, image by image."""
    values: dict[Metric, dict[str, dict[tuple[int, str], float]]] = defaultdict(lambda: defaultdict(dict))
    for m in measurements:
        if not math.isnan(m.value) and m.metric.kind != "untouched":
            values[m.metric][m.map][m.episode, m.file] = m.value
    result = []
    for metric, by_map in values.items():
        for name in maps:
            for other in (other for other in by_map if other != name and name in by_map):
                own, others = by_map[name], by_map[other]
                both = [key for key in own if key in others]
                mean, low, high = bootstrap([own[k] - others[k] for k in both], [episode for episode, _ in both])
                row = Comparison(name, other, data_set, metric, mean, low, high, len(both), metric.direction(name))
                result.append(row)
    return result


def bootstrap(values: Sequence[float], episodes: Sequence[int], seed: int = 0) -> tuple[float, float, float]:
    """Mean and its 95 % interval, from drawing the images of each episode anew, with replacement. NaN for no values."""
    if not values:
        return math.nan, math.nan, math.nan
    generator = torch.Generator().manual_seed(seed)
    everything, owners = torch.tensor(values, dtype=torch.float64), torch.tensor(episodes)
    totals = torch.zeros(RESAMPLES, dtype=torch.float64)
    for episode in owners.unique():
        own = everything[owners == episode]
        totals += own[torch.randint(len(own), (RESAMPLES, len(own)), generator=generator)].sum(1)
    low, high = (totals / len(everything)).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return everything.mean().item(), low, high


def read_measurements(path: Path) -> list[Measurement]:
    """What `write_csv` wrote, every number the very same. MilrError for a table of an earlier version."""

    def measurement(row: dict[str, str]) -> Measurement:
        """One row."""
        value, chance = float(row["value"]), float(row["chance"])
        share = float(row["share"]) if row["share"] else None
        metric = Metric(
            row["kind"], row["subject"], row["measure"], share, row["at"], row["small"] == "True", row["fill"]
        )
        return Measurement(row["map"], int(row["episode"]), row["file"], metric, value, chance)

    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if "fill" not in (reader.fieldnames or ["fill"]):
            raise MilrError(f"{path} was begun by an earlier version of milr: evaluate anew instead of resuming")
        return [measurement(row) for row in reader]


def cells(row: Any) -> dict[str, Any]:
    """A dataclass's values under their fields' names; a metric is its name, and its own fields are the last columns."""
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    metric = values.get("metric")
    return {**values, "metric": metric.name, **asdict(metric)} if isinstance(metric, Metric) else values


def write_csv(path: Path, rows: Sequence[Any], append: bool = False) -> None:
    """Dataclasses of one kind, one line of `cells` each; ValueError for none."""
    if not rows:
        raise ValueError(f"nothing was measured: there is nothing to write to {path}")
    with path.open("a" if append else "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(cells(rows[0])))
        if not append:
            writer.writeheader()
        writer.writerows(map(cells, rows))
