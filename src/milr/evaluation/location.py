"""Where a map points, against a region or a place that is known.

Higher is better; an empty region gives NaN; a constant map gets chance, ties being broken by a draw from the seed (or,
in a percentile, counted half), so that all measures take one; the map is left as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

TOP_SHARE = 0.2  # of the places: what `coverage` counts as marked


def ranked(values: Tensor, seed: int) -> Tensor:
    """Places [n] from the highest value to the lowest; ties in an order drawn from the seed."""
    shuffled = torch.randperm(values.numel(), generator=torch.Generator().manual_seed(seed))
    return shuffled[values[shuffled].argsort(descending=True, stable=True)]


def rank_accuracy(heat: Tensor, region: Tensor, seed: int = 0) -> float:
    """Share of the |M| highest places of a map [H, W] that fall in the region M [H, W] (bool).

    Chance is |M| / (H·W), which a constant map gets on average. (Relevance rank accuracy, Arras, Osman, Samek 2022.)
    """
    inside = region.flatten()
    count = int(inside.sum())
    if not count:
        return float("nan")
    return float(inside[ranked(heat.flatten(), seed)[:count]].double().mean())


def pointing_hit(heat: Tensor, region: Tensor, seed: int = 0) -> float:
    """1 if the map's highest place lies in the region, else 0; chance is |M| / (H·W).

    A constant map points at a drawn place. (Pointing game, Zhang et al. 2016, without their tolerance of 15 pixels.)
    """
    if not region.any():
        return float("nan")
    return float(region.flatten()[ranked(heat.flatten(), seed)[0]])


def mass_share(heat: Tensor, region: Tensor, seed: int = 0) -> float:
    """Share of a map's positive mass that lies in the region; chance is |M| / (H·W).

    NaN for a map without positive values, too. (Relevance mass accuracy, Arras, Osman, Samek 2022.)
    """
    positive = heat.clamp(min=0)
    if not region.any() or positive.sum() <= 0:
        return float("nan")
    return float(positive[region].sum() / positive.sum())


def mass_lift(heat: Tensor, region: Tensor, seed: int = 0) -> float:
    """The share of mass over the share of area: how much denser the map is in the region than on average; chance is 1.

    NaN as in `mass_share`. Unlike it, comparable between regions of different size.
    """
    return mass_share(heat, region) / max(float(region.double().mean()), 1e-12)


def percentile(heat: Tensor, place: tuple[int, int], seed: int = 0) -> float:
    """Share of the map's places [H, W] that are lower than this one, ties counting half; chance is 0.5.

    (The rank of a marked point, as in the first measurements of docs/method.md.)
    """
    value = heat[place]
    return float((heat < value).double().mean() + 0.5 * (heat == value).double().mean())


def coverage(heat: Tensor, place: tuple[int, int], seed: int = 0) -> float:
    """1 if the place is among the highest fifth of the map's places [H, W], else 0; chance is that fifth.

    (Part coverage by the top 20 %; the milr authors.)
    """
    top = ranked(heat.flatten(), seed)[: round(TOP_SHARE * heat.numel())]
    return float((top == place[0] * heat.shape[1] + place[1]).any())
