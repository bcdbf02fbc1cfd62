"""What must hold of information on real features, where the truth is unknown (Song and Ermon 2020, section 6.2).

More processing of z never has more of it, two independent pictures have the sum, another picture's z has none. And how
far the estimate is from where more pictures would bring it. Each number is one critic of its own, fitted to `Features`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from milr.checks.critic_fits import CriticFit, Fitting, bits_of, deviation, fit_to_features, over_seeds, spread_of
from milr.checks.feature_pairs import PROJECTED, mispaired, pairs_of, projected, side_by_side
from milr.explanation.features import Features
from milr.information.estimators import ESTIMATORS

SHARES = (0.25, 0.5, 1.0)  # of the pictures, for the extrapolation


@dataclass(frozen=True)
class Comparison:
    """A number that a law makes known, or bounds."""

    name: str
    bits: float
    deviation: float  # standard deviation over seeds; NaN of one seed
    wanted: str


@dataclass(frozen=True)
class EstimatorLine:
    """One estimator on the same features, all in bits but the seconds."""

    name: str
    bound: str
    bits: float  # mean over seeds
    bias: float  # against the highest of the lower bounds
    over_seeds: float  # standard deviation of the seeds' means
    over_batches: float  # standard deviation of one critic's batches, mean over seeds
    seconds: float  # of a fit


@dataclass(frozen=True)
class Convergence:
    """Held-out bits over the number n of pictures, and the line a - b / n through them."""

    pictures: tuple[int, ...]
    bits: tuple[tuple[float, ...], ...]  # of each number, of each seed
    limit: float  # a
    error: float  # its standard error
    share: float  # what all pictures give, as a share of a


def self_consistency(train: Features, held_out: Features, fitting: Fitting, seeds: Sequence[int]) -> list[Comparison]:
    """The three laws, on held-out pictures."""
    alone = over_seeds(train, held_out, fitting, seeds)
    less = over_seeds(projected(train, 0), projected(held_out, 0), fitting, seeds)
    both = over_seeds(pairs_of(train), side_by_side(held_out, 1), fitting, seeds)
    none = over_seeds(mispaired(train, 0), mispaired(held_out, 1), fitting, seeds, shuffled=True)
    one = bits_of(alone)
    return [
        comparison("z", alone, ""),
        comparison(f"z projected to {PROJECTED} dimensions", less, f"at most {one:.3f}"),
        comparison("two pictures side by side", both, f"{2 * one:.3f}, twice one alone"),
        comparison("z of another picture", none, "0 ± 0.05"),
    ]


def comparison(name: str, results: Sequence[CriticFit], wanted: str) -> Comparison:
    """A row of the table."""
    return Comparison(name, bits_of(results), deviation([result.bits for result in results]), wanted)


def estimator_table(
    train: Features, held_out: Features, fitting: Fitting, names: Sequence[str], seeds: Sequence[int]
) -> list[EstimatorLine]:
    """Every estimator on the same features: bias against the best lower bound, variance, and time."""
    results = {
        name: over_seeds(train, held_out, replace(fitting, infomax=replace(fitting.infomax, estimator=name)), seeds)
        for name in names
    }
    bounds = [bits_of(results[name]) for name in names if ESTIMATORS[name].bound == "lower"]
    best = max(bounds, default=math.nan)
    return [estimator_line(name, results[name], best) for name in names]


def estimator_line(name: str, results: Sequence[CriticFit], best: float) -> EstimatorLine:
    """A row of the table."""
    spread = spread_of(results)
    return EstimatorLine(
        *(name, ESTIMATORS[name].bound, spread.bits, spread.bits - best),
        *(spread.over_seeds, spread.over_batches, spread.seconds),
    )


def parts_of(features: Features, shares: Sequence[float], seed: int) -> Iterator[Features]:
    """Shares of the pictures, the smaller ones within the larger ones."""
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    for share in shares:
        yield features.at(order[: max(2, round(share * len(order)))].sort().values)


def convergence(train: Features, held_out: Features, fitting: Fitting, seeds: Sequence[int]) -> Convergence:
    """Held-out bits with a quarter, a half and all of the pictures; each seed draws its own."""
    counts: list[int] = []
    values: list[list[float]] = [[] for _ in SHARES]
    for seed in seeds:
        parts = list(parts_of(train, SHARES, seed))
        counts = [len(part) for part in parts]
        for row, part in zip(values, parts, strict=True):
            row.append(fit_to_features(part, held_out, fitting, seed).bits)
    limit, error = extrapolated(counts, values)
    last = sum(values[-1]) / len(values[-1])
    return Convergence(tuple(counts), tuple(map(tuple, values)), limit, error, last / limit)


def extrapolated(counts: Sequence[int], values: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The a of a - b / n by least squares over every value of every n, and its standard error (NaN of two values)."""
    inverse = torch.tensor([1 / n for n, row in zip(counts, values, strict=True) for _ in row], dtype=torch.double)
    found_bits = torch.tensor([value for row in values for value in row], dtype=torch.double)
    design = torch.stack([torch.ones_like(inverse), -inverse], dim=1)
    line = torch.linalg.lstsq(design, found_bits).solution
    freedom = len(inverse) - 2
    if freedom < 1:
        return float(line[0]), math.nan
    variance = (found_bits - design @ line).square().sum() / freedom
    return float(line[0]), float((variance * torch.linalg.inv(design.T @ design)[0, 0]).sqrt())
