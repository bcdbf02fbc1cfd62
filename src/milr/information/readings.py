"""What one picture's map shows of eq. 1, I(x_i; z) = E_{x_i} KL(p(z|x_i) || p(z)) = E_z KL(p(x_i|z) || p(x_i)).

Three readings of a fitted critic, in nats, each compared with a bank of other images and the own one:

* "sample": the log-ratio of the pair at hand, log p(z|x_i) / p(z), whose mean is the estimate. Signed, noisy.
* "representation": KL(p(z|x_i) || p(z)), what this place's content tells about z, whatever z it came with.
* "place": KL(p(x_i|z) || p(x_i)), what this image's z tells about the place, whatever it shows.

The latter two are never negative: eq. 1's own inner terms. With scores f = log p(z|x_i)/p(z) + const, p(z|x_i) over the
bank's z is the softmax of f, and p(z) is uniform over the bank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from milr.information.infomax import SCORES_AT_ONCE

IN_CACHE = 2**18  # scores at once on a CPU: more do not fit its cache, and take four times as long

READINGS = ("sample", "place", "representation")


@dataclass(frozen=True)
class ProjectedBank:
    """Other images as the critic projects them: u of their places [M, N, p], v of their representations [R, p]."""

    locations: Tensor
    representations: Tensor

    def at(self, places: Tensor | slice) -> ProjectedBank:
        """The bank at some places [s] alone."""
        return ProjectedBank(self.locations[:, places], self.representations)

    def cap(self, reading: str, denominator: str) -> float:
        """The most nats that a map's mean can reach."""
        by_representation = reading == "representation" or (reading == "sample" and denominator == "representations")
        return math.log(1 + len(self.representations if by_representation else self.locations))


def read(reading: str, denominator: str, local: Tensor, representation: Tensor, bank: ProjectedBank) -> Tensor:
    """One reading of each image by itself: u [K, N, p] and v [K, p] -> nats [K, N]."""
    count = local.shape[1]
    if reading == "sample" and denominator == "places":  # one denominator of all places
        most, step = SCORES_AT_ONCE // (count * len(bank.locations)), count
    else:
        scores = SCORES_AT_ONCE if local.is_cuda else IN_CACHE
        others = max(len(bank.locations), len(bank.representations))
        step = min(count, max(1, scores // others))
        most = scores // (step * others)
    parts = zip(local.split(max(1, most)), representation.split(max(1, most)), strict=True)
    blocks = [slice(start, start + step) for start in range(0, count, step)]
    return torch.cat(
        [torch.cat([_read(reading, denominator, u[:, b], v, bank.at(b)) for b in blocks], 1) for u, v in parts]
    )


def _read(reading: str, denominator: str, local: Tensor, representation: Tensor, bank: ProjectedBank) -> Tensor:
    own = (local @ representation[:, :, None])[:, :, 0]  # f(x_i, z) of the pair at hand [K, N]
    if reading == "representation" or (reading == "sample" and denominator == "representations"):
        others = local @ bank.representations.T  # f(x_i, z^m) [K, N, R]
    else:
        others = torch.einsum("mnp,kp->knm", bank.locations, representation)  # f(x_i^m, z) [K, N, M]
    if reading != "sample":
        return divergence(own, others)
    if denominator == "places":  # all places of all images: one denominator an image
        both = torch.cat([own, others.flatten(1)], dim=1)
        return own - (both.logsumexp(1) - math.log(both.shape[1]))[:, None]
    return own - (torch.logaddexp(own, others.logsumexp(2)) - math.log(1 + others.shape[2]))


def divergence(own: Tensor, others: Tensor) -> Tensor:
    """KL in nats of the softmax over scores [...] and [..., M] from the uniform distribution over these 1 + M: [...].

    With g = f - max f it is sum(e^g g) / sum(e^g) - log sum(e^g) + log(1 + M): one exponential a score where
    `log_softmax` and its `exp` take two. `others`, which is most of a map's time, is overwritten and has no gradient.
    """
    most = torch.maximum(own, others.amax(-1))
    own, others = own - most, others.sub_(most[..., None])
    weight, weights = own.exp(), others.exp()
    total = weight + weights.sum(-1)
    mean = (weight * own + weights.mul_(others).sum(-1)) / total
    return mean - total.log() + math.log(1 + others.shape[-1])
