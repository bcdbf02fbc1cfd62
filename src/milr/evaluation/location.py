"""Where a map points, against a region that is known."""

from __future__ import annotations

import torch
from torch import Tensor


def ranked(values: Tensor, seed: int) -> Tensor:
    """Places [n] from the highest value to the lowest; ties in an order drawn from the seed."""
    shuffled = torch.randperm(values.numel(), generator=torch.Generator().manual_seed(seed))
    return shuffled[values[shuffled].argsort(descending=True, stable=True)]


def rank_accuracy(heat: Tensor, region: Tensor, seed: int = 0) -> float:
    """Share of the |M| highest places of a map [H, W] that fall in the region M [H, W] (bool).

    Higher is better; chance is |M| / (H·W), which a constant map gets on average. NaN for an empty region.
    (Relevance rank accuracy, Arras, Osman, Samek 2022.)
    """
    inside = region.flatten()
    count = int(inside.sum())
    if not count:
        return float("nan")
    return float(inside[ranked(heat.flatten(), seed)[:count]].double().mean())


def pointing_hit(heat: Tensor, region: Tensor, seed: int = 0) -> float:
    """1 if the map's highest place lies in the region, else 0 (pointing game, Zhang et al. 2016).

    Higher is better; chance is |M| / (H·W). A constant map points at a seeded random place. NaN for an empty region.
    """
    if not region.any():
        return float("nan")
    return float(region.flatten()[ranked(heat.flatten(), seed)[0]])


def percentile(heat: Tensor, place: tuple[int, int]) -> float:
    """Share of the map's places [H, W] that are lower than this one, ties counting half.

    Higher means that the map marks the place; chance is 0.5, which a constant map gets.
    """
    value = heat[place]
    return float((heat < value).double().mean() + 0.5 * (heat == value).double().mean())


def mass_share(heat: Tensor, region: Tensor) -> float:
    """Share of a map's positive mass that lies in the region; chance is |M| / (H·W).

    Higher is better. NaN for an empty region or a map without positive values.
    """
    positive = heat.clamp(min=0)
    if not region.any() or positive.sum() <= 0:
        return float("nan")
    return float(positive[region].sum() / positive.sum())
