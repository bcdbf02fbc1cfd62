"""Features changed so that a law says what their information is: projected, paired with others, mispaired."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from milr.explanation.features import Features, Sample

PROJECTED = 8  # dimensions of the random projection of z


def contents(features: Features) -> Tensor:
    """x of the images in their order, as it is held [P, S, C]."""
    return features.local if features.rows is None else features.local[features.rows]


def projected(features: Features, seed: int) -> Features:
    """z through a random linear map to PROJECTED dimensions, the same for one seed."""
    size = features.representation.shape[1]
    matrix = torch.randn(size, PROJECTED, generator=torch.Generator().manual_seed(seed)) / math.sqrt(size)
    return replace(features, representation=features.representation @ matrix)


class Pairs(Features):
    """Pictures side by side: each draw joins other ones, so that a pair is seldom seen twice."""

    def draw(self, images: int, places: int, generator: torch.Generator, device: torch.device) -> Sample:
        """A sample of pairs at places common to all."""
        order = torch.cat([torch.randperm(len(self), generator=generator) for _ in range(2)]).view(2, -1)[:, :images]
        chosen = torch.randperm(len(self.places), generator=generator)[:places]
        return joined(*(self.sample(part, chosen, device) for part in order))


def joined(one: Sample, other: Sample) -> Sample:
    """Contents beside each other at each place, and representations."""
    local = torch.cat([one.local, other.local], dim=2)
    return replace(one, local=local, representation=torch.cat([one.representation, other.representation], dim=1))


def pairs_of(features: Features) -> Pairs:
    """The same features, to be drawn as pairs."""
    return Pairs(features.local, features.representation, features.places, features.scale, rows=features.rows)


def side_by_side(features: Features, seed: int) -> Features:
    """Each picture beside another one at random: their contents joined at each place, and their representations."""
    other = features.at(torch.randperm(len(features), generator=torch.Generator().manual_seed(seed)))
    return replace(
        features,
        local=torch.cat([contents(features), contents(other)], dim=2),
        representation=torch.cat([features.representation, other.representation], dim=1),
        rows=None,
    )


def mispaired(features: Features, seed: int) -> Features:
    """Each picture with the representation of another one at random."""
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    return replace(features, representation=features.representation[order])
