"""How alike two maps of one image are."""

from __future__ import annotations

import torch
from torch import Tensor


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's correlation of each pair of maps [K, H, W] -> [K], from -1 to 1; maps that know nothing of each other
    get 0. Equal values share their mean rank. NaN where a map is constant."""
    return correlation(*(mean_ranks(maps.flatten(1)) for maps in (first, second)))


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's of each pair of rows [K, n] -> [K]; NaN where a row is constant."""
    a, b = first - first.mean(1, keepdim=True), second - second.mean(1, keepdim=True)
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
