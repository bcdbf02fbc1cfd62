"""Tidy tables of what was measured: one row a value, the mean of each with its interval, and paired differences."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from milr.baselines.methods import METHODS
from milr.errors import MilrError
from milr.evaluation.intervals import Place, intervals
from milr.evaluation.metrics import Metric


@dataclass(frozen=True)
class Measurement:
    """One metric of one map of one image."""

    map: str
    episode: int
    file: str
    metric: Metric
    value: float  # NaN where it cannot be measured: left out of means, and counted
    chance: float  # what a map unrelated to the image gets; NaN where there is no such number
    fit: int = 0  # the seed of the fit whose map it is; of a map that needs none, the first's

    @property
    def place(self) -> Place:
        """What it was measured on."""
        return Place(self.fit, self.episode, self.file)


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
    fits: int  # that they are of
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
    counted = [[m for m in group if not math.isnan(m.value)] for group in groups.values()]
    estimates = intervals([[(m.place, m.value) for m in group] for group in counted])
    results = []
    for (name, metric), there, (mean, low, high) in zip(groups, counted, estimates, strict=True):
        chances = [m.chance for m in there if not math.isnan(m.chance)]
        chance = sum(chances) / len(chances) if chances else math.nan
        numbers = len(there), len(groups[name, metric]) - len(there), len({m.fit for m in there})
        place = (METHODS[name].family, name, data_set, metric)
        results.append(Result(*place, mean, low, high, *numbers, chance, metric.direction(name)))
    return results


def compare(measurements: Sequence[Measurement], data_set: str, maps: Sequence[str]) -> list[Comparison]:
    """Each of `maps` against every other map, metric by metric, image by image, fit by fit.

    A map that no fit was needed for stands against that of every fit.
    """
    values: dict[Metric, dict[str, dict[Place, float]]] = defaultdict(lambda: defaultdict(dict))
    for m in measurements:
        if not math.isnan(m.value) and m.metric.kind != "untouched":
            values[m.metric][m.map][m.place] = m.value
    pairs, samples = [], []
    for metric, by_map in values.items():
        for name in maps:
            for other in (other for other in by_map if other != name and name in by_map):
                pairs.append((name, other, metric))
                samples.append(differences(by_map[name], by_map[other], METHODS[other].fitted))
    return [
        Comparison(name, other, data_set, metric, *interval, len(sample), metric.direction(name))
        for (name, other, metric), sample, interval in zip(pairs, samples, intervals(samples), strict=True)
    ]


def differences(own: Mapping[Place, float], other: Mapping[Place, float], fitted: bool) -> list[tuple[Place, float]]:
    """`own` minus `other` where both could be measured; what is not `fitted` was measured once for all fits."""
    if fitted:
        return [(place, value - other[place]) for place, value in own.items() if place in other]
    once = {place[1:]: value for place, value in other.items()}
    return [(place, value - once[place[1:]]) for place, value in own.items() if place[1:] in once]


def without_repeated(results: Sequence[Result]) -> list[Result]:
    """All but those of small regions alone that say of every map what the whole metric says: no region was large."""
    values = {(row.map, row.metric): (row.value, row.n) for row in results}
    small = {row.metric for row in results if row.metric.small}
    repeated = {
        metric
        for metric in small
        if all(
            values.get((row.map, replace(metric, small=False))) == (row.value, row.n)
            for row in results
            if row.metric == metric
        )
    }
    return [row for row in results if row.metric not in repeated]


def read_measurements(path: Path) -> list[Measurement]:
    """What `write_csv` wrote, every number the very same. MilrError for a table of an earlier version."""

    def measurement(row: dict[str, str]) -> Measurement:
        """One row."""
        value, chance = float(row["value"]), float(row["chance"])
        share = float(row["share"]) if row["share"] else None
        metric = Metric(
            row["kind"], row["subject"], row["measure"], share, row["at"], row["small"] == "True", row["fill"]
        )
        return Measurement(row["map"], int(row["episode"]), row["file"], metric, value, chance, int(row["fit"]))

    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if not {"fill", "fit"} <= {*(reader.fieldnames or ["fill", "fit"])}:
            raise MilrError(f"{path} was begun by an earlier version of milr: evaluate anew instead of resuming")
        return [measurement(row) for row in reader]


def cells(row: Any) -> dict[str, Any]:
    """A dataclass's values under their fields' names; a metric is its name, and its own fields are the last columns."""
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    metric = values.get("metric")
    if not isinstance(metric, Metric):
        return values
    return {**values, "metric": metric.name, **{field.name: getattr(metric, field.name) for field in fields(metric)}}


def write_csv(path: Path, rows: Sequence[Any], append: bool = False) -> None:
    """Dataclasses of one kind, one line of `cells` each; ValueError for none."""
    if not rows:
        raise ValueError(f"nothing was measured: there is nothing to write to {path}")
    with path.open("a" if append else "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(cells(rows[0])))
        if not append:
            writer.writeheader()
        writer.writerows(map(cells, rows))
