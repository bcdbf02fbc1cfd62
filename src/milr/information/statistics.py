"""Mean and spread per channel over the training images, in one stream."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMALLEST_SHARE = 0.1  # of the spread that is usual in the layer: docs/method.md has the measurement
USUAL = 0.75  # quantile of the channels' std that counts as usual: most may be near-dead, or a few far out


def floored(std: Tensor) -> Tensor:
    """`std` of any shape with nothing under a tenth of the layer's usual one; ones where nothing ever moved.

    The usual one is the upper quartile of those that are not 0. A channel that hardly moved over the training images
    would count as almost infinitely surprising once it fires on a new one. Relative to the layer, so that a layer
    scaled by any factor gives the same standardised features.
    """
    moving = std[std > 0].sort().values
    if not len(moving):
        return torch.ones_like(std)
    usual = moving[int(USUAL * (len(moving) - 1) + 0.25)]  # a rank that a single outlier among 3 or more never has
    return std.clamp(min=SMALLEST_SHARE * usual.item())


class Standardise(nn.Module):
    """(features - mean) / std per channel, for features [K, C, ...]; mean and std are buffers [C].

    The std is `floored`: a channel that never changes (a dead ReLU) stays at zero, and cannot blow up if it ever does.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.detach().clone())
        self.register_buffer("std", floored(std.detach()).clone())

    def forward(self, features: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (features.ndim - 2)
        return (features - self.mean.view(shape)).div_(self.std.view(shape))  # in place: a new tensor costs as much


class ChannelStatistics:
    """Sums over a stream of features [K, C, ...], from which mean and std per channel follow.

    They are sums of differences from the first value of each channel: squares of a large offset would swallow the
    spread, and a channel that is always the same must have a std of exactly 0.
    """

    def __init__(self) -> None:
        self.count = 0
        self.origin: Tensor | None = None
        self.total, self.squares = torch.zeros(()), torch.zeros(())

    def add(self, features: Tensor) -> None:
        """Count these features in."""
        rows = features.detach().transpose(0, 1).flatten(1).double()  # [C, K·...]; double: sums of many squares
        if self.origin is None:
            self.origin = rows[:, 0].clone()
        rows = rows - self.origin[:, None]
        self.total, self.squares = self.total.to(rows) + rows.sum(1), self.squares.to(rows) + rows.square().sum(1)
        self.count += rows.shape[1]

    def standardise(self) -> Standardise:
        """The standardisation by what was counted; ValueError if nothing was."""
        if self.origin is None:
            raise ValueError("no features were counted")
        mean = self.total / self.count
        variance = (self.squares / self.count - mean.square()).clamp(min=0)
        return Standardise((self.origin + mean).float(), variance.sqrt().float())
