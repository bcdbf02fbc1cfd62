"""What a critic can be fitted by, and what it then says of the mean information, in nats: one row an estimator.

Scores [K, S, K] are f(x_i^m, z^k) of K images at S places (`infomax.batch_scores`); the pairs m = k belong together, P,
the others are as if drawn independently, Q. Sums of exponentials are taken in log space.

InfoNCE alone compares a pair with others of its own x_i or z, and the own pair is among them; that caps it at log K.
The others take the K (K-1) pairs of Q at each place, have no cap, and pay with variance (Song and Ermon 2020).

`infomax.denominator` says for InfoNCE and FLO what a pair is compared with, and for MINE over what the logarithm is
taken: of each place ("same_place", "representations"), or all together ("places"). NWJ, JSD and SMILE's fit are plain
means over P and Q. The few lines are milr's own: torch-mist, which has most of these, asks for a numpy before 2 and for
pyro, and its estimators take batches of vectors, not places that share one bank of scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

from milr.information.infomax import DENOMINATORS, log_mean, matched

SMILE_CLIP = 5.0  # tau, in nats: Song and Ermon's own choice for their comparison


class Formula(Protocol):
    """Scores [K, S, K], a name of DENOMINATORS and, of an estimator that has it, the second score [K, S] -> nats."""

    def __call__(self, scores: Tensor, denominator: str, second: Tensor | None = None) -> Tensor: ...


@dataclass(frozen=True)
class Estimator:
    """A row of ESTIMATORS.

    Attributes:
        name: in `infomax.estimator`.
        bound: "lower" where the mean over many batches cannot exceed the information, "none" where it can.
        loss: what a step minimises, a scalar.
        value: the estimate of the mean information in nats, a scalar.
        source: the paper.
        second: whether the critic gives a second score of the pairs that belong together.
    """

    name: str
    bound: str
    loss: Formula
    value: Formula
    source: str
    second: bool = False


def infonce(scores: Tensor, denominator: str, second: Tensor | None = None) -> Tensor:
    """E_P[f - log mean e^f], the mean over the denominator, the own pair included; at most log K.

    van den Oord, Li, Vinyals 2018, eq. 4 and section 2.3.
    """
    return (matched(scores) - log_mean(scores, denominator)).mean()


def nwj(scores: Tensor, denominator: str, second: Tensor | None = None) -> Tensor:
    """E_P[f] - E_Q[e^(f - 1)]: at its highest where f = 1 + log p(x_i, z) / p(x_i) p(z).

    Nguyen, Wainwright, Jordan 2010, in the form that Poole et al. 2019, section 2.1, give it.
    """
    return matched(scores).mean() - (log_mean_apart(scores, "places") - 1).exp().mean()


def mine(scores: Tensor, denominator: str, second: Tensor | None = None) -> Tensor:
    """E_P[f] - log E_Q[e^f], the bound of Donsker and Varadhan; f is right up to a constant for each place.

    Belghazi et al. 2018, definition 3.1. The logarithm of a batch's mean lies below that of the true mean, so that the
    value is too high on average and no bound; and the gradient is biased. The paper (section 3.2) corrects the latter
    by a moving average over the steps. Here the mean is one over all K (K-1) pairs of a batch, 4,032 at K = 64 where
    the paper has K, and there is no moving average.
    """
    return matched(scores).mean() - log_mean_of_q(scores, denominator).mean()


def jensen_shannon(scores: Tensor, denominator: str, second: Tensor | None = None) -> Tensor:
    """E_P[-softplus(-f)] - E_Q[softplus(f)]: a fit by it ends at f = log p(x_i, z) / p(x_i) p(z), without exponentials.

    Hjelm et al. 2018 (Deep InfoMax), eq. 4, after Nowozin et al. 2016. Its value is no information.
    """
    return -softplus(-matched(scores)).mean() - _mean_apart(softplus(scores))


def jsd(scores: Tensor, denominator: str, second: Tensor | None = None) -> Tensor:
    """The value of a critic that was fitted by `jensen_shannon`, read off as NWJ: E_P[f] + 1 - E_Q[e^f].

    Poole et al. 2019, section 2.3: f + 1 is then NWJ's critic, and NWJ a lower bound for any critic.
    """
    return nwj(scores + 1, denominator)


def smile(scores: Tensor, denominator: str, second: Tensor | None = None) -> Tensor:
    """E_P[f] - log E_Q[clip(e^f, e^-tau, e^tau)] of a critic that was fitted by `jensen_shannon`.

    Song and Ermon 2020, I_SMILE of section 5, tau = 5; the clipping trades MINE's variance for a bias, and the value is
    no bound. It is fitted as in the authors' program: by itself, f past tau would grow at no cost.
    """
    clipped = scores.clamp(-SMILE_CLIP, SMILE_CLIP)
    return matched(scores).mean() - log_mean_of_q(clipped, denominator).mean()


def flo(scores: Tensor, denominator: str, second: Tensor | None = None) -> Tensor:
    """1 - E_P[u + e^(-u - f) mean_Q e^f], the mean over the denominator, the own pair left out; u = s - f.

    Guo et al. 2022, I_FLO, tight for any f where u = log mean_Q e^f - f, that is where the second score s(x_i, z) of a
    pair is the logarithm of its denominator. No s makes it more than the information. [K, S, K] and s [K, S] -> nats.
    """
    if second is None:
        raise ValueError("FLO needs a critic with a second score: CriticShape(..., second=True)")
    excess = (log_mean_apart(scores, denominator) - second).exp()
    return 1 + (matched(scores) - second - excess).mean()


def log_mean_apart(scores: Tensor, denominator: str) -> Tensor:
    """The log of the mean of e^f over the denominator's pairs of Q: [K, S, K] -> what broadcasts to [K, S]."""
    over = DENOMINATORS[denominator]
    count = (len(scores) - 1) * (scores.shape[1] if denominator == "places" else 1)
    result = _apart(scores).logsumexp(over) - math.log(count)
    return result[:, None] if denominator == "places" else result.T if denominator == "same_place" else result


def log_mean_of_q(scores: Tensor, denominator: str) -> Tensor:
    """The log of E_Q[e^f]: of each place [S], or for "places" of all together []."""
    pairs = len(scores) * (len(scores) - 1)
    if denominator == "places":
        return _apart(scores).logsumexp((0, 1, 2)) - math.log(pairs * scores.shape[1])
    return _apart(scores).logsumexp((0, 2)) - math.log(pairs)


def _apart(scores: Tensor) -> Tensor:
    """Scores with those of pairs that belong together at minus infinity."""
    return scores.masked_fill(torch.eye(len(scores), dtype=torch.bool, device=scores.device)[:, None], -math.inf)


def _mean_apart(values: Tensor) -> Tensor:
    """The mean over Q of any values [K, S, K]."""
    images, places, _ = values.shape
    return (values.sum() - matched(values).sum()) / (images * (images - 1) * places)


def minus(formula: Formula) -> Formula:
    """The loss that makes the formula as large as it gets."""

    def loss(scores: Tensor, denominator: str, second: Tensor | None = None) -> Tensor:
        """What a fit minimises."""
        return -formula(scores, denominator, second)

    return loss


ROWS = (
    Estimator("infonce", "lower", minus(infonce), infonce, "van den Oord, Li, Vinyals 2018"),
    Estimator("nwj", "lower", minus(nwj), nwj, "Nguyen, Wainwright, Jordan 2010"),
    Estimator("smile", "none", minus(jensen_shannon), smile, "Song, Ermon 2020"),
    Estimator("mine", "none", minus(mine), mine, "Belghazi et al. 2018"),
    Estimator("jsd", "lower", minus(jensen_shannon), jsd, "Hjelm et al. 2018"),
    Estimator("flo", "lower", minus(flo), flo, "Guo et al. 2022", second=True),
)
ESTIMATORS = {estimator.name: estimator for estimator in ROWS}
