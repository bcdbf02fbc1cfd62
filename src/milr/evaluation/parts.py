"""What the network itself makes of each part, and what the mask lets pass of it; with the network's own figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from milr.evaluation.intervals import bootstrap
from milr.evaluation.interventions import PictureResult
from milr.evaluation.protocol import relevant_things

Interval = tuple[float, float, float]  # mean, low, high


@dataclass(frozen=True)
class PartRow:
    """A mean over pictures with its 95 % interval."""

    parts: str  # one, or several that are taken away together
    quantity: str
    unit: str
    value: float
    low: float
    high: float
    n: int


def part_rows(results: Sequence[PictureResult], parts: Sequence[str]) -> list[PartRow]:
    """Of each part, of those that tell the species together, and of all: what the decision loses without; of each part
    the mask's mean there."""
    telling = tuple(part for part, fixed in enumerate(results[0].case.look) if fixed is not None)
    sets = dict.fromkeys([*((part,) for part in range(len(parts))), telling, tuple(range(len(parts)))])
    rows = []
    for own in sets:
        name, number = " + ".join(parts[part] for part in own), sum(1 << part for part in own)
        lost = [one.case.log_probability_drop(own) for one in results]
        changed = [float(one.case.logits[number].argmax() != one.case.explained) for one in results]
        values = {("log probability lost", "nats"): lost, ("decision changed", "share of images"): changed}
        if len(own) == 1:
            values["mask", "mean over the part"] = [float(one.mask[own[0]]) for one in results]
        rows += [PartRow(name, *what, *interval(results, each), counted(each)) for what, each in values.items()]
    return rows


def network_rows(results: Sequence[PictureResult]) -> dict[str, Interval]:
    """The share of pictures that are decided rightly, and background independence: the share of the things of the
    background without which the decision hardly changes (Hesse et al. 2023)."""
    things = [(one, value) for one in results for value in relevant_things(one.case)]
    return {
        "accuracy": interval(results, [float(one.case.right) for one in results]),
        "background independence": interval([one for one, _ in things], [1 - value for _, value in things]),
    }


def interval(results: Sequence[PictureResult], values: Sequence[float]) -> Interval:
    """Mean and interval, the pictures of each episode drawn anew."""
    pairs = [(value, one.episode) for one, value in zip(results, values, strict=True) if not math.isnan(value)]
    return bootstrap([value for value, _ in pairs], [episode for _, episode in pairs])


def counted(values: Sequence[float]) -> int:
    """How many are numbers."""
    return int((~torch.tensor(values).isnan()).sum())
