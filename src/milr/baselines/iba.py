"""Per-sample information bottleneck attribution (Schulz, Sixt, Tombari, Landgraf 2020): MI-LR's direct ancestor.

Noise is put into one image's local features, as much as its decision bears, and what still passes is counted. Unlike
MI-LR it is optimised anew for every image. Settings are the paper's: a = 5 at first, Adam at rate 1, 10 steps of 10
draws of noise each, beta = 10, a blur of sigma 1 over the mask.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from milr.baselines.attribution import Untouched
from milr.baselines.batching import at_once, laid_out
from milr.explanation.fitting import Batch
from milr.information.bottleneck import capacity, occlude
from milr.information.mask import blurred
from milr.information.statistics import ChannelStatistics
from milr.networks.layers import LayerPair, frozen

START, RATE, STEPS, DRAWS, BETA, BLUR = 5.0, 1.0, 10, 10, 10.0, 1.0


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and std [C, H, W] of every single feature over training images, the std `floored`."""

    mean: Tensor
    std: Tensor


@torch.no_grad()
def feature_statistics(layers: LayerPair, batches: Iterable[Tensor]) -> FeatureStatistics:
    """Over batches [K, 3, S, S]; ValueError for fewer than 2 images."""
    statistics = ChannelStatistics()
    for images in batches:
        statistics.add(layers.first_pass(images).local.flatten(1))
    if statistics.count < 2:
        raise ValueError(f"the spread of a feature needs at least 2 images, not {statistics.count}")
    scale = statistics.standardise()
    return FeatureStatistics(scale.mean.view(layers.local_shape), scale.std.view(layers.local_shape))


def per_sample_bottleneck(
    layers: LayerPair, batch: Batch, statistics: FeatureStatistics, generator: torch.Generator
) -> Tensor:
    """Nats that each place of each image may pass, [K, H, W]; all images of the batch at once, each on its own."""
    with frozen(layers.network, *batch.modules):
        return _per_sample_bottleneck(layers, batch, statistics, generator)


def _per_sample_bottleneck(
    layers: LayerPair, batch: Batch, statistics: FeatureStatistics, generator: torch.Generator
) -> Tensor:
    first = layers.first_pass(batch.images)
    untouched = Untouched.of(first.output, batch.decided)
    count = len(batch.images)
    draws_at_once = max(1, at_once(batch.images) // count)  # all at once, 48 of a ResNet-50 took 5.6 GiB, not 2.2
    pictures = torch.arange(count, device=first.local.device)
    standardised = (first.local - statistics.mean) / statistics.std
    # 1. lambda = sigmoid(a), blurred, in [0, 1].
    parameter = torch.full_like(first.local, START, requires_grad=True)
    optimiser = torch.optim.Adam([parameter], lr=RATE)
    for _ in range(STEPS):
        optimiser.zero_grad()
        # 2. z = lambda · r + (1 - lambda) · eps, DRAWS times, eps as the features themselves are spread.
        every = torch.randn(DRAWS, *first.local.shape, generator=generator, device=generator.device)
        for noise in every.to(first.local.device).split(draws_at_once):
            mask = blurred(torch.sigmoid(parameter), BLUR)
            passed = occlude(first.local, mask, "noise", noise * statistics.std + statistics.mean)
            images, rows = batch.images.repeat(len(noise), 1, 1, 1), pictures.repeat(len(noise))
            output = layers.second_pass(laid_out(passed.flatten(0, 1)), images).output
            # 3. Cross-entropy of the image's decision, the mean over the draws. Images do not touch each other, so that
            #    a sum over them keeps each one's own step.
            torch.autograd.backward(untouched.loss(output, rows).sum() / DRAWS)
        # 4. Plus beta times the mean capacity (their eq. 9).
        mask = blurred(torch.sigmoid(parameter), BLUR)
        torch.autograd.backward(BETA * mean_capacity(mask, standardised).sum())
        optimiser.step()
    with torch.no_grad():
        return capacity(blurred(torch.sigmoid(parameter), BLUR), standardised)


def mean_capacity(mask: Tensor, standardised: Tensor) -> Tensor:
    """Mean over channels and places of the nats that pass, [K]."""
    return capacity(mask, standardised).mean((1, 2)) / mask.shape[1]
