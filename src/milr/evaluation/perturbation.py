"""Does it matter to the decision? Keep or remove the places that a map ranks highest, and let a network decide."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from milr.baselines.batching import at_once, laid_out
from milr.evaluation.fills import filling
from milr.evaluation.location import ranked
from milr.evaluation.metrics import MEASURES
from milr.explanation.fitting import Batch
from milr.information.statistics import Standardise
from milr.networks.inputs import take
from milr.networks.layers import FirstPass, LayerPair, SecondPass, frozen
from milr.seeding import seed_of

Outcome = dict[str, Tensor]


def places_in_order(heat: Tensor, seed: int) -> Tensor:
    """How many places of its map are higher than each, ties broken by the seed: [K, H, W] -> 0 to H·W - 1.

    One seed gives each image its own order, the same for every map and share.
    """
    order = torch.empty(heat.flatten(1).shape, dtype=torch.long)
    numbers = torch.arange(order.shape[1])
    for number, values in enumerate(heat.flatten(1)):
        order[number, ranked(values, seed_of("ties", seed, number))] = numbers
    return order.view(heat.shape)


def highest(heat: Tensor, share: float, seed: int) -> Tensor:
    """The `share` (0 to 1) highest places of each map [K, H, W], ties broken by the seed: bool [K, H, W]."""
    return places_in_order(heat, seed) < round(share * heat[0].numel())


@dataclass(frozen=True)
class Trial:
    """The decision about a batch of K images with only some places kept, and others filled.

    Supports and queries are treated alike, the same filling stands in every trial, and what is filled is a copy.
    (Deletion and insertion, Petsiuk et al. 2018; at a layer, as Schulz et al. 2020 put their noise.)
    """

    judge: LayerPair  # whose network decides; of `at="layer"` its local features are filled
    batch: Batch
    first: FirstPass  # the judge's, of the batch
    whole: Tensor  # [K, C, H, W], with every place as it is
    filled: Tensor  # the same with every place filled
    at: str = "layer"  # or "pixels"
    fill: str = ""  # what the tables call it; empty: the MI-LR module's own

    @torch.no_grad()
    def __call__(self, kept: Tensor) -> Outcome:
        """What the network makes of the images in T trials, each with the places `kept`, bool [T, K, H, W].

        Of each trial "accuracy" (score; of classes 0 or 1) and "loss" [T, Q] (of classes the cross-entropy in nats),
        and "cosine" [T, K] between each image's representation and the untouched one. The images of all trials go
        through the network `at_once`, whatever trial they are of.
        """
        kept = kept.to(self.whole.device)
        trials, count = kept.shape[:2]
        each, parts = kept.flatten(0, 1)[:, None], []
        with frozen(self.judge.network, *self.batch.modules):
            for rows in torch.arange(trials * count, device=kept.device).split(at_once(self.batch.images)):
                images = rows % count
                changed = torch.where(each[rows], self.whole[images], self.filled[images])
                parts.append(self.passed(laid_out(changed), images))
            output = torch.cat([part.output for part in parts]).view(trials, count, -1)
            representation = torch.cat([part.representation for part in parts]).view(trials, count, -1)
            outcomes = [self.outcome(*both) for both in zip(output, representation, strict=True)]
        return {name: torch.stack([outcome[name] for outcome in outcomes]) for name in MEASURES}

    def passed(self, changed: Tensor, images: Tensor) -> SecondPass:
        """What the judge makes of changed features or pictures [n, C, H, W] of these images [n]."""
        if self.at == "layer":
            return self.judge.second_pass(changed, take(self.batch.images, images))
        first = self.judge.first_pass(changed)
        return SecondPass(first.representation, first.output)

    def outcome(self, output: Tensor, representation: Tensor) -> Outcome:
        """How a changed output [K, E] decides, and how far the representation went from the first pass's."""
        changed = (self.batch.decided(output), representation, self.first.representation)
        return {name: measure.of(*changed).double().cpu() for name, measure in MEASURES.items()}


def at_layer(
    judge: LayerPair, batch: Batch, scale: Standardise, fill: str, seed: int, first: FirstPass | None = None
) -> Trial:
    """Trials at the judge's local layer.

    scale: mean and std of its channels. fill: a row of FILLS. first: the judge's first pass where it is known. The
    decision map was fitted with noise of this kind; trials at the pixels favour no map.
    """
    first = first or judge.first_pass(batch.images)
    filled = filling(fill, first.local, scale, seed_of("trial at the layer", seed))
    return Trial(judge, batch, first, first.local, filled)


def at_pixels(judge: LayerPair, batch: Batch, fill: str, seed: int, first: FirstPass | None = None) -> Trial:
    """Trials at the pictures themselves; noise is standard normal and the mean 0, as inputs are scaled."""
    first = first or judge.first_pass(batch.images)
    channels = batch.images.shape[1]
    scale = Standardise(torch.zeros(channels), torch.ones(channels)).to(batch.images.device)
    filled = filling(fill, batch.images, scale, seed_of("trial at the pixels", seed))
    return Trial(judge, batch, first, batch.images, filled, "pixels")


def to_pixels(heat: Tensor, size: int | tuple[int, int]) -> Tensor:
    """A map at the picture's resolution, for ranking its pixels: [K, H, W] -> [K, *size], or square."""
    return interpolate(heat[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def area_between(keep: Tensor, remove: Tensor, shares: Tensor) -> Tensor:
    """Mean height between the keep and the remove curve [..., S] over `shares` [S], by trapezia: [...].

    Higher is better; a map unrelated to the decision gets what a random one gets.
    """
    return torch.trapezoid(keep - remove, shares, dim=-1) / (shares[-1] - shares[0])
