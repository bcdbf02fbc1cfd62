"""Total information I(x_i; z): the Infomax estimator, a lower bound (paper eq. 2, 3; InfoNCE, Tschannen et al. 2019).

Everything is in nats. K images, N = H·W locations, C channels, D dimensions, p dimensions of the critic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from milr.information.statistics import Standardise

SCORES_AT_ONCE = 1 << 24  # 64 MiB of scores f(x, z) in memory, however many images and locations there are


class Critic(nn.Module):
    """The score f(x_i, z): inner product of both sides' projections to p dimensions, over sqrt(p).

    Local features pass a two-layer MLP of 1x1 convolutions (`width` 0: one layer), the representation a linear map;
    both are standardised first with statistics of the training images.
    """

    def __init__(self, local: Standardise, representation: Standardise, width: int, dimension: int) -> None:
        super().__init__()
        channels, size = local.mean.numel(), representation.mean.numel()
        self.dimension = dimension
        local_layers: list[nn.Module] = [local]
        if width:
            local_layers += [nn.Conv2d(channels, width, 1), nn.ReLU()]
        local_layers += [nn.Conv2d(width or channels, dimension, 1)]
        self.local = nn.Sequential(*local_layers)
        self.representation = nn.Sequential(representation, nn.Linear(size, dimension))

    def project_local(self, local: Tensor) -> Tensor:
        """x [K, C, H, W] -> u [K, N, p], divided by sqrt(p) so that scores are plain inner products."""
        projected: Tensor = self.local(local)
        return projected.flatten(2).transpose(1, 2) / math.sqrt(self.dimension)

    def project_locations(self, locations: Tensor) -> Tensor:
        """Single locations [M, C] -> [M, p]."""
        return self.project_local(locations[:, :, None, None])[:, 0]

    def project_representation(self, representation: Tensor) -> Tensor:
        """z [K, D] -> v [K, p]."""
        projected: Tensor = self.representation(representation)
        return projected


def batch_information(
    local: Tensor, representation: Tensor, others: Tensor | None = None, scores_at_once: int = SCORES_AT_ONCE
) -> Tensor:
    """i(x_i^j; z^j) [K, N] in nats, with the denominator over all locations of all K images, the own one included.

    `local` [K, N, p] and `representation` [K, p] are the critic's projections. `others` [M, p] are further locations
    in the denominator: the estimator's batch then counts as K + M / N images. The mean is at most log(K + M / N).
    """
    pools = [local.flatten(0, 1)] if others is None else [local.flatten(0, 1), others]
    # 1. The log of the mean of e^f(x_n^m, z^j) over the pool's locations, for every z^j (eq. 3 over N·K): [K].
    log_mean = log_sum_of_scores(representation, pools, scores_at_once) - math.log(sum(map(len, pools)))
    # 2. f(x_i^j, z^j), the own image's scores, minus that (eq. 2 before its expectation).
    return own_scores(local, representation) - log_mean[:, None]


def banked_information(
    local: Tensor, representation: Tensor, bank: Tensor, scores_at_once: int = SCORES_AT_ONCE
) -> Tensor:
    """i(x_i^j; z^j) [K, N] in nats, with the denominator over a fixed bank [M, p] and the own image's N locations.

    Each image is measured alone, so its map does not depend on the others in the batch. The mean over an image's
    locations is at most log((M + N) / N), one location at most log(M + N).
    """
    own = own_scores(local, representation)
    log_sum = torch.logaddexp(own.logsumexp(1), log_sum_of_scores(representation, [bank], scores_at_once))
    return own - (log_sum - math.log(own.shape[1] + bank.shape[0]))[:, None]


def own_scores(local: Tensor, representation: Tensor) -> Tensor:
    """f(x_i^j, z^j), each image's locations [K, N, p] against its own representation [K, p]: [K, N]."""
    return (local @ representation[:, :, None])[:, :, 0]


def log_sum_of_scores(representation: Tensor, pools: Sequence[Tensor], scores_at_once: int) -> Tensor:
    """log of the sum of e^f over all locations of the pools, each [M, p], for every z [K, p]: [K].

    The scores [K, M] are made in chunks of `scores_at_once`, and made again in the backward pass where there is more
    than one, so that memory does not grow with K·M.
    """

    def log_sum(part: Tensor, representation: Tensor) -> Tensor:
        return (representation @ part.T).logsumexp(1)

    chunk = max(1, scores_at_once // len(representation))
    parts = [part for pool in pools for part in pool.split(chunk)]
    if len(parts) == len(pools):  # a chunk each: keeping their scores is quicker than making them again
        sums = [log_sum(part, representation) for part in parts]
    else:
        sums = [
            checkpoint(log_sum, part, representation, use_reentrant=False, preserve_rng_state=False) for part in parts
        ]
    return torch.stack(sums).logsumexp(0)


def mean_cap(locations: int, others: int) -> float:
    """The most nats the mean over an image's N locations can reach with M other locations in the denominator."""
    return math.log((locations + others) / locations)
