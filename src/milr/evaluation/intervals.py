"""Means with 95 % intervals, by drawing anew: the images of each episode and, where there are several, the fits."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

RESAMPLES = 1000
QUANTILES = torch.tensor([0.025, 0.975], dtype=torch.float64)


class Place(NamedTuple):
    """What a value was measured on."""

    fit: int  # its seed
    episode: int
    file: str


Sample = Sequence[tuple[Place, float]]
Interval = tuple[float, float, float]  # mean, low, high


def bootstrap(values: Sequence[float], episodes: Sequence[int]) -> Interval:
    """Mean and its 95 % interval, from drawing the images of each episode anew, with replacement. NaN for no values."""
    sample = [(Place(0, episode, ""), value) for value, episode in zip(values, episodes, strict=True)]
    return intervals([sample])[0]


def intervals(samples: Sequence[Sample], seed: int = 0) -> list[Interval]:
    """Of each sample, no value of which is NaN, mean and 95 % interval. NaN for a sample of none.

    The images of each episode are drawn anew, with replacement; of several fits, which all saw the same images, these
    as well, and each drawn fit has the drawn images (Owen 2007, the pigeonhole bootstrap). Samples of the same images
    have the same draws.
    """
    result: list[Interval] = [(math.nan, math.nan, math.nan)] * len(samples)
    groups: dict[tuple[int, tuple[int, ...]], dict[int, Tensor]] = defaultdict(dict)
    for number, sample in enumerate(samples):
        if sample:
            episodes, values = table_of(sample)
            groups[len(values), episodes][number] = values
    for (fits, episodes), tables in groups.items():
        generator = torch.Generator().manual_seed(seed)
        images = images_drawn(episodes, generator)
        chosen = torch.ones(RESAMPLES, 1, dtype=torch.float64) if fits == 1 else fits_drawn(fits, generator)
        values = torch.stack([*tables.values()])  # [samples, fits, images]
        there = ~values.isnan()
        sums, counts = (
            ((one @ images.T) * chosen.T).sum(1) for one in (values.nan_to_num(), there.double())
        )  # [samples, resamples]
        ends = (sums / counts).nanquantile(QUANTILES, dim=1).T.tolist()
        means = (values.nan_to_num().sum((1, 2)) / there.sum((1, 2))).tolist()
        for number, mean, (low, high) in zip(tables, means, ends, strict=True):
            result[number] = mean, low, high
    return result


def table_of(sample: Sample) -> tuple[tuple[int, ...], Tensor]:
    """The episode of each image, and the values [fits, images], NaN where a fit has none."""
    fits = {fit: row for row, fit in enumerate(dict.fromkeys(place.fit for place, _ in sample))}
    if len(fits) == 1:
        values = torch.tensor([[value for _, value in sample]], dtype=torch.float64)
        return tuple(place.episode for place, _ in sample), values
    images = {image: column for column, image in enumerate(dict.fromkeys(place[1:] for place, _ in sample))}
    values = torch.full((len(fits), len(images)), math.nan, dtype=torch.float64)
    for place, value in sample:
        values[fits[place.fit], images[place[1:]]] = value
    return tuple(episode for episode, _ in images), values


def images_drawn(episodes: Sequence[int], generator: torch.Generator) -> Tensor:
    """How often each image is drawn [RESAMPLES, images], as many of each episode as it has."""
    owners = torch.tensor(episodes)
    counts = torch.zeros(RESAMPLES, len(owners), dtype=torch.float64)
    for episode in owners.unique():
        own = (owners == episode).nonzero()[:, 0]
        drawn = torch.randint(len(own), (RESAMPLES, len(own)), generator=generator)
        counts.scatter_add_(1, own[drawn], torch.ones(drawn.shape, dtype=torch.float64))
    return counts


def fits_drawn(fits: int, generator: torch.Generator) -> Tensor:
    """How often each fit is drawn [RESAMPLES, fits]."""
    drawn = torch.randint(fits, (RESAMPLES, fits), generator=generator)
    return torch.zeros(RESAMPLES, fits, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(drawn.shape, dtype=torch.float64)
    )
