"""What must hold of information on real features, where the truth is unknown (Song and Ermon 2020, section 6.2).

More processing of z never has more of it, two independent pictures have the sum, another picture's z has none. And how
far the estimate is from where more pictures would bring it. Each number is one critic of its own, fitted to `Features`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from milr.explanation.bars import critic_bar
from milr.explanation.critic_fitting import CriticTask, fit_critic, held_out_values
from milr.explanation.features import Features, Sample
from milr.explanation.modules import critic_of
from milr.explanation.settings import CriticSettings, InfomaxSettings
from milr.information.estimators import ESTIMATORS
from milr.information.statistics import ChannelStatistics, Standardise
from milr.information.units import bits
from milr.seeding import seeded

PROJECTED = 8  # dimensions of the random projection of z
SHARES = (0.25, 0.5, 1.0)  # of the pictures, for the extrapolation
STATISTICS = 256  # pictures at once that means and spreads are taken over


@dataclass(frozen=True)
class Fitting:
    """How every critic of a comparison is fitted."""

    infomax: InfomaxSettings
    critic: CriticSettings
    grid: tuple[int, int]  # (H, W) of the local layer
    device: torch.device


@dataclass(frozen=True)
class Found:
    """What one critic found in held-out pictures."""

    batches: Tensor  # bits a place of each batch [B]
    seconds: float  # of the fit

    @property
    def bits(self) -> float:
        """The mean."""
        return float(self.batches.mean())


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


def found(train: Features, held_out: Features, fitting: Fitting, seed: int, shuffled: bool = False) -> Found:
    """Fits one critic to features, standardised by their own statistics, and reads it on held-out ones."""
    local, representation = scales_of(side_by_side(train, 0) if isinstance(train, Pairs) else train)
    with seeded(seed):
        critic = critic_of(fitting.infomax, local, representation, fitting.grid).to(fitting.device)
    task = CriticTask(train, held_out, fitting.infomax.estimator, fitting.infomax.denominator, seed, shuffled=shuffled)
    started = time.perf_counter()
    with critic_bar("critic", fitting.critic.steps) as on_step:
        fit_critic(critic, task, fitting.critic, on_step)
    seconds = time.perf_counter() - started
    return Found(bits(held_out_values(critic, task, fitting.critic.images)).cpu(), seconds)


def scales_of(features: Features) -> tuple[Standardise, Standardise]:
    """The standardisation of x, and of z, by these features."""
    local, representation = ChannelStatistics(), ChannelStatistics()
    for part in contents(features).split(STATISTICS):
        local.add(part.transpose(1, 2).float() * features.scale)
    representation.add(features.representation)
    return local.standardise(), representation.standardise()


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


def dealt(features: Features, seed: int) -> Features:
    """Each picture with the representation of another one at random."""
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    return replace(features, representation=features.representation[order])


def self_consistency(train: Features, held_out: Features, fitting: Fitting, seeds: Sequence[int]) -> list[Comparison]:
    """The three laws, on held-out pictures."""
    alone = over_seeds(train, held_out, fitting, seeds)
    less = over_seeds(projected(train, 0), projected(held_out, 0), fitting, seeds)
    both = over_seeds(pairs_of(train), side_by_side(held_out, 1), fitting, seeds)
    none = over_seeds(dealt(train, 0), dealt(held_out, 1), fitting, seeds, shuffled=True)
    one = bits_of(alone)
    return [
        comparison("z", alone, ""),
        comparison(f"z projected to {PROJECTED} dimensions", less, f"at most {one:.3f}"),
        comparison("two pictures side by side", both, f"{2 * one:.3f}, twice one alone"),
        comparison("z of another picture", none, "0 ± 0.05"),
    ]


def over_seeds(
    train: Features, held_out: Features, fitting: Fitting, seeds: Sequence[int], shuffled: bool = False
) -> list[Found]:
    """The same with each seed."""
    return [found(train, held_out, fitting, seed, shuffled) for seed in seeds]


def bits_of(results: Sequence[Found]) -> float:
    """The mean over seeds."""
    return sum(result.bits for result in results) / len(results)


def comparison(name: str, results: Sequence[Found], wanted: str) -> Comparison:
    """A row of the table."""
    return Comparison(name, bits_of(results), deviation([result.bits for result in results]), wanted)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation; NaN of one value."""
    return float(torch.tensor(values).std()) if len(values) > 1 else math.nan


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


def estimator_line(name: str, results: Sequence[Found], best: float) -> EstimatorLine:
    """A row of the table."""
    mean = bits_of(results)
    batches = [float(result.batches.std()) if len(result.batches) > 1 else math.nan for result in results]
    return EstimatorLine(
        *(name, ESTIMATORS[name].bound, mean, mean - best, deviation([result.bits for result in results])),
        *(sum(batches) / len(batches), sum(result.seconds for result in results) / len(results)),
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
            row.append(found(part, held_out, fitting, seed).bits)
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
