"""Total information I(x_i; z): the Infomax estimator, a lower bound (paper eq. 2, 3; InfoNCE, Tschannen et al. 2019).

Everything is in nats. K images, N = H·W locations, C channels, D dimensions, p dimensions of the critic.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from milr.information.statistics import Standardise


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


def batch_information(local: Tensor, representation: Tensor, others: Tensor | None = None) -> Tensor:
    """i(x_i^j; z^j) [K, N] in nats, with the denominator over all locations of all K images, the own one included.

    `local` [K, N, p] and `representation` [K, p] are the critic's projections. `others` [M, p] are further locations
    in the denominator: the estimator's batch then counts as K + M / N images. The mean is at most log(K + M / N).
    """
    images, locations, _ = local.shape
    pool = local.flatten(0, 1)
    if others is not None:
        pool = torch.cat([pool, others])
    # 1. f(x_n^m, z^j) for every location of the pool and every image j: [K, pool].
    scores = representation @ pool.T
    # 2. The log of the mean of e^f over the pool, for every z^j (eq. 3 over N·K): [K].
    log_mean = scores.logsumexp(1) - math.log(pool.shape[0])
    # 3. f(x_i^j, z^j), the own image's scores, minus that (eq. 2 before its expectation).
    own = scores[:, : images * locations].view(images, images, locations).diagonal(dim1=0, dim2=1).T
    return own - log_mean[:, None]


def banked_information(local: Tensor, representation: Tensor, bank: Tensor) -> Tensor:
    """i(x_i^j; z^j) [K, N] in nats, with the denominator over a fixed bank [M, p] and the own image's N locations.

    Each image is measured alone, so its map does not depend on the others in the batch. The mean over an image's
    locations is at most log((M + N) / N), one location at most log(M + N).
    """
    own = (local @ representation[:, :, None])[:, :, 0]  # [K, N]
    others = representation @ bank.T  # [K, M]
    log_sum = torch.logaddexp(own.logsumexp(1), others.logsumexp(1))
    return own - (log_sum - math.log(own.shape[1] + bank.shape[0]))[:, None]


def mean_cap(locations: int, others: int) -> float:
    """The most nats the mean over an image's N locations can reach with M other locations in the denominator."""
    return math.log((locations + others) / locations)
