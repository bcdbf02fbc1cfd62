"""Tidy tables of what was measured: one row a value, and the mean of each with its interval."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from milr.evaluation.location import mass_share, percentile, pointing_hit, rank_accuracy

RESAMPLES = 1000


@dataclass(frozen=True)
class Measurement:
    """One metric of one map of one image."""

    map: str
    episode: int
    file: str
    metric: str
    value: float  # NaN where it cannot be measured: left out of means, and counted
    chance: float  # what a map unrelated to the image gets; NaN where there is no such number


@dataclass(frozen=True)
class Result:
    """The mean of one metric of one map, with its 95 % interval."""

    map: str
    metric: str
    value: float
    low: float
    high: float
    n: int  # values that count
    left_out: int  # values that could not be measured
    chance: float


def location_measurements(
    heat: Tensor, regions: dict[str, Tensor], parts: dict[str, tuple[int, int]], seed: int
) -> dict[str, tuple[float, float]]:
    """Metric -> (value, chance) of one map [H, W] against the regions and parts of its image."""
    found = {}
    for name, region in regions.items():
        chance = float(region.double().mean())
        found[f"rank accuracy, {name}"] = (rank_accuracy(heat, region, seed), chance)
        found[f"pointing, {name}"] = (pointing_hit(heat, region, seed), chance)
        found[f"mass, {name}"] = (mass_share(heat, region), chance)
    for name, place in parts.items():
        found[f"percentile, {name}"] = (percentile(heat, place), 0.5)
    return found


def summarise(measurements: Sequence[Measurement]) -> list[Result]:
    """The results, in the order in which maps and metrics first appear."""
    groups: dict[tuple[str, str], list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        groups[measurement.map, measurement.metric].append(measurement)
    results = []
    for (name, metric), group in groups.items():
        counted = [m for m in group if not math.isnan(m.value)]
        chances = [m.chance for m in counted if not math.isnan(m.chance)]
        chance = sum(chances) / len(chances) if chances else math.nan
        mean, low, high = bootstrap([m.value for m in counted], [m.episode for m in counted])
        results.append(Result(name, metric, mean, low, high, len(counted), len(group) - len(counted), chance))
    return results


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


def write_csv(path: Path, rows: Sequence[Measurement] | Sequence[Result]) -> None:
    """One line a row under the field names; ValueError for no rows."""
    if not rows:
        raise ValueError(f"nothing was measured: there is nothing to write to {path}")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=[field.name for field in fields(rows[0])])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
