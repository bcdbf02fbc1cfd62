"""What a critic can be fitted by, and what it then says of the mean information, in nats: one row an estimator.

Scores [K, S, K] are f(x_i^m, z^k) of K images at S places (`infomax.batch_scores`); the pairs m = k belong together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from milr.information.infomax import log_mean, matched


@dataclass(frozen=True)
class Estimator:
    """A row of ESTIMATORS.

    Attributes:
        name: in `infomax.estimator`.
        bound: "lower" where the mean cannot exceed the information but by chance, "none" where it can.
        loss: scores and the denominator -> what a step minimises, a scalar.
        value: the same -> the estimate of the mean information in nats, a scalar.
        source: the paper.
    """

    name: str
    bound: str
    loss: Callable[[Tensor, str], Tensor]
    value: Callable[[Tensor, str], Tensor]
    source: str


def infonce(scores: Tensor, denominator: str) -> Tensor:
    """Mean of i(x; z); at most log K."""
    return (matched(scores) - log_mean(scores, denominator)).mean()


ROWS = (
    Estimator(
        "infonce", "lower", lambda scores, over: -infonce(scores, over), infonce, "van den Oord, Li, Vinyals 2018"
    ),
)
ESTIMATORS = {estimator.name: estimator for estimator in ROWS}
