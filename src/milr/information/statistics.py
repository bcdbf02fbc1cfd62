"""Mean and spread per channel over the training images, in one stream."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """(features - mean) / std per channel, for features [K, C, ...]; mean and std are buffers [C]."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.detach().clone())
        # A channel that never changes (a dead ReLU) carries nothing: std 1 leaves it at zero instead of dividing by it.
        self.register_buffer("std", torch.where(std > 1e-6, std, torch.ones_like(std)).detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (features.ndim - 2)
        return (features - self.mean.view(shape)).div_(self.std.view(shape))  # in place: a new tensor costs as much


class ChannelStatistics:
    """Sums over a stream of features [K, C, ...], from which mean and std per channel follow."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Tensor | None = None
        self.squares: Tensor | None = None

    def add(self, features: Tensor) -> None:
        """Count these features in."""
        rows = features.detach().transpose(0, 1).flatten(1).double()  # [C, K·...]; double: sums of many squares
        total, squares = rows.sum(1), rows.square().sum(1)
        self.total = total if self.total is None else self.total + total
        self.squares = squares if self.squares is None else self.squares + squares
        self.count += rows.shape[1]

    def standardise(self) -> Standardise:
        """The standardisation by what was counted; ValueError if nothing was."""
        if self.total is None or self.squares is None:
            raise ValueError("no features were counted")
        mean = self.total / self.count
        variance = (self.squares / self.count - mean.square()).clamp(min=0)
        return Standardise(mean.float(), variance.sqrt().float())
