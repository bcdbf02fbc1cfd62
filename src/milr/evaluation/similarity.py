"""How alike two maps of one image are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

WINDOW = 7  # places on a side, as in the paper of SSIM
SMALL = (0.01**2, 0.03**2)  # its two constants, for values from 0 to 1


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's correlation of each pair of maps [K, H, W] -> [K], from -1 to 1; maps that know nothing of each other
    get 0. Equal values share their mean rank. NaN where a map is constant."""
    a, b = (mean_ranks(maps.flatten(1)) for maps in (first, second))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    length = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(length > 0, (a * b).sum(1) / length, torch.nan)


def mean_ranks(values: Tensor) -> Tensor:
    """The rank of each of [K, n] values in its row, from 0; equal ones get the mean of theirs."""
    ranks = torch.empty_like(values, dtype=torch.float64)
    for row, own in zip(ranks, values, strict=True):
        _, group, counts = own.unique(return_inverse=True, return_counts=True)
        ends = counts.cumsum(0).double()
        row.copy_((ends - (counts.double() + 1) / 2)[group])
    return ranks


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """SSIM (Wang et al. 2004) of each pair of maps [K, H, W], each scaled to 0 … 1 first -> [K], at most 1.

    Over square windows of 7 places, without padding; smaller maps are one window.
    """
    a, b = (_scaled(maps.double())[:, None] for maps in (first, second))
    window = min(WINDOW, *a.shape[2:])
    mean_a, mean_b = avg_pool2d(a, window, 1), avg_pool2d(b, window, 1)
    variance_a = avg_pool2d(a * a, window, 1) - mean_a**2
    variance_b = avg_pool2d(b * b, window, 1) - mean_b**2
    covariance = avg_pool2d(a * b, window, 1) - mean_a * mean_b
    level = (2 * mean_a * mean_b + SMALL[0]) / (mean_a**2 + mean_b**2 + SMALL[0])
    structure = (2 * covariance + SMALL[1]) / (variance_a + variance_b + SMALL[1])
    return (level * structure).mean((1, 2, 3))


def _scaled(maps: Tensor) -> Tensor:
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp(min=1e-12)
