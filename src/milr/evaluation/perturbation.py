"""Does it matter to the decision? Keep or remove the places that a map ranks highest, and let the network decide."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from milr.evaluation.location import ranked
from milr.evaluation.metrics import MEASURES
from milr.explanation.fitting import Batch
from milr.explanation.milr import MILR
from milr.information.bottleneck import noise_like, occlude
from milr.networks.layers import FirstPass, frozen
from milr.seeding import seed_of

Outcome = dict[str, Tensor]
Trial = Callable[[Tensor], Outcome]


def highest(heat: Tensor, share: float, seed: int) -> Tensor:
    """The `share` (0 to 1) highest places of each map [K, H, W], ties broken by the seed: bool [K, H, W].

    One seed gives each image its own order, the same for every share.
    """
    count = round(share * heat[0].numel())
    chosen = torch.zeros_like(heat, dtype=torch.bool).flatten(1)
    for number, values in enumerate(heat.flatten(1)):
        chosen[number, ranked(values, seed_of("ties", seed, number))[:count]] = True
    return chosen.view_as(heat)


def at_layer(explainer: MILR, batch: Batch, first: FirstPass, seed: int) -> Trial:
    """The decision with only some places of the local layer kept, the rest filled as the module's mask fills.

    The trial takes `kept`, bool [K, H, W], and returns for each query "accuracy" (its score; of classes 0 or 1) and
    "loss" [Q] (of classes the cross-entropy in nats), and for each image "cosine" [K], between its representation and
    the untouched one. Supports and queries are treated alike, the same noise fills every trial, and what is filled is a
    copy. The decision map was fitted with noise of this kind; the trial at the pixels favours no map.
    (Deletion and insertion, Petsiuk et al. 2018; at a layer, as Schulz et al. 2020 put their noise.)
    """
    generator = torch.Generator().manual_seed(seed_of("trial at the layer", seed))
    noise = noise_like(explainer.modules.local, tuple(first.local.shape), generator).to(first.local)
    fill = explainer.settings.mask.fill

    @torch.no_grad()
    def trial(kept: Tensor) -> Outcome:
        """What the network makes of the images with only what `kept` [K, H, W] says, the rest filled."""
        occluded = occlude(first.local, kept[:, None].to(first.local), fill, noise)
        second = explainer.layers.second_pass(occluded, batch.images)
        with frozen(explainer.layers.network, *batch.modules):
            return outcome(batch, first, second.output, second.representation)

    return trial


def at_pixels(explainer: MILR, batch: Batch, first: FirstPass, seed: int) -> Trial:
    """The same at the picture itself, `kept` being bool [K, S, S]; noise is standard normal, as inputs are scaled."""
    generator = torch.Generator().manual_seed(seed_of("trial at the pixels", seed))
    noise = torch.randn(batch.images.shape, generator=generator).to(batch.images)
    fill = explainer.settings.mask.fill

    @torch.no_grad()
    def trial(kept: Tensor) -> Outcome:
        """What the network makes of the images with only what `kept` [K, H, W] says, the rest filled."""
        changed = explainer.layers.first_pass(occlude(batch.images, kept[:, None].to(batch.images), fill, noise))
        with frozen(explainer.layers.network, *batch.modules):
            return outcome(batch, first, changed.output, changed.representation)

    return trial


def outcome(batch: Batch, first: FirstPass, output: Tensor, representation: Tensor) -> Outcome:
    """How a changed output [K, E] decides, and how far the representation went from the first pass's."""
    changed = (batch.decided(output), representation, first.representation)
    return {name: measure.of(*changed).double().cpu() for name, measure in MEASURES.items()}


def to_pixels(heat: Tensor, size: int | tuple[int, int]) -> Tensor:
    """A map at the picture's resolution, for ranking its pixels: [K, H, W] -> [K, *size], or square."""
    return interpolate(heat[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def area_between(keep: Tensor, remove: Tensor, shares: Tensor) -> Tensor:
    """Mean height between the keep and the remove curve [..., S] over `shares` [S], by trapezia: [...].

    Higher is better; a map unrelated to the decision gets what a random one gets.
    """
    return torch.trapezoid(keep - remove, shares, dim=-1) / (shares[-1] - shares[0])
