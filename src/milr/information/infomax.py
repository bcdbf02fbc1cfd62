"""Total information I(x_i; z): InfoNCE, a lower bound (paper eq. 2, 3; Tschannen et al. 2019), and its readings.

Everything is in nats. K images, S or N places, p dimensions of the critic, u and v its projections of x_i and z: the
score f(x_i, z) is u·v. What a score is compared with, the denominator, is a choice; each gives a lower bound:

* "places" (eq. 3): all places of all images, for this z. On I(x_I; z) for a random place I; given the place's number,
  on I(x_I; z | I), the mean over the places.
* "same_place": the same place of the other images, for this z. On I(x_i; z), each place for itself.
* "representations": the other images' representations, for this x_i. On I(x_i; z), each place for itself.

All three cannot exceed log K on average over an image's places, K counting the images that are compared.
"""

from __future__ import annotations

import math

from torch import Tensor

SCORES_AT_ONCE = 1 << 24  # 64 MiB of scores in memory, however many images and places there are

DENOMINATORS = {"places": (0, 1), "same_place": (0,), "representations": (2,)}  # dimensions of the scores [K, S, K]


def batch_scores(local: Tensor, representation: Tensor) -> Tensor:
    """f(x_i^m, z^k): u [K, S, p] and v [K, p] -> [K, S, K]."""
    return local @ representation.T


def matched(scores: Tensor) -> Tensor:
    """Those of pairs that belong together, f(x_i^k, z^k): [K, S, K] -> [K, S]."""
    return scores.diagonal(dim1=0, dim2=2).T


def log_mean(scores: Tensor, denominator: str) -> Tensor:
    """The log of the mean of e^f over the denominator, the own image included: [K, S, K] -> what broadcasts to [K, S].

    A denominator of the other images alone would be no bound, and diverges.
    """
    over = DENOMINATORS[denominator]
    result = scores.logsumexp(over) - math.log(math.prod(scores.shape[dimension] for dimension in over))
    return result[:, None] if denominator == "places" else result.T if denominator == "same_place" else result


def batch_information(local: Tensor, representation: Tensor, denominator: str = "places") -> Tensor:
    """i(x_i^k; z^k) [K, S] (eq. 2 before its expectation), compared with the batch itself: u [K, S, p], v [K, p]."""
    scores = batch_scores(local, representation)
    return matched(scores) - log_mean(scores, denominator)


def mean_cap(images: int) -> float:
    """The most nats that the mean over an image's places can reach when it is compared with `images`, itself one."""
    return math.log(images)
