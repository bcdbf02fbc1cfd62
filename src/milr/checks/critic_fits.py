"""One critic fitted to features and read on held-out ones, the same over several seeds, and how far these spread."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from milr.checks.feature_pairs import Pairs, contents, side_by_side
from milr.explanation.bars import critic_bar
from milr.explanation.critic_fitting import CriticTask, fit_critic, held_out_values
from milr.explanation.features import Features
from milr.explanation.modules import critic_of
from milr.explanation.settings import CriticSettings, InfomaxSettings
from milr.information.critics import AnyCritic
from milr.information.statistics import ChannelStatistics, Standardise
from milr.information.units import bits
from milr.seeding import seeded

STATISTICS = 256  # pictures at once that means and spreads are taken over


@dataclass(frozen=True)
class Fitting:
    """How every critic of a comparison is fitted."""

    infomax: InfomaxSettings
    critic: CriticSettings
    grid: tuple[int, int]  # (H, W) of the local layer
    device: torch.device


@dataclass(frozen=True)
class CriticFit:
    """What one fitted critic estimates on held-out pictures, and how long its fit took."""

    batches: Tensor  # bits a place of each batch [B]
    seconds: float  # of the fit

    @property
    def bits(self) -> float:
        """The mean."""
        return float(self.batches.mean())


@dataclass(frozen=True)
class Spread:
    """What fits that differ in their seed alone found, in bits a place but for the seconds."""

    bits: float  # mean over seeds
    over_seeds: float  # standard deviation of the seeds' means; NaN of one seed
    over_batches: float  # standard deviation of one critic's batches, mean over seeds; NaN of one batch
    seconds: float  # of a fit, mean over seeds


def over_seeds(
    train: Features, held_out: Features, fitting: Fitting, seeds: Sequence[int], shuffled: bool = False
) -> list[CriticFit]:
    """The same with each seed."""
    return [fit_to_features(train, held_out, fitting, seed, shuffled) for seed in seeds]


def fit_to_features(
    train: Features, held_out: Features, fitting: Fitting, seed: int, shuffled: bool = False
) -> CriticFit:
    """Fits one critic to features, standardised by their own statistics, and reads it on held-out ones."""
    local, representation = scales_of(side_by_side(train, 0) if isinstance(train, Pairs) else train)
    with seeded(seed):
        critic = critic_of(fitting.infomax, local, representation, fitting.grid).to(fitting.device)
    task = CriticTask(train, held_out, fitting.infomax.estimator, fitting.infomax.denominator, seed, shuffled=shuffled)
    return timed_fit(critic, task, fitting.critic)


def timed_fit(critic: AnyCritic, task: CriticTask, settings: CriticSettings, label: str = "critic") -> CriticFit:
    """Fits this critic behind a bar with the label, and reads it on the held-out pictures."""
    started = time.perf_counter()
    with critic_bar(label, settings.steps) as on_step:
        fit_critic(critic, task, settings, on_step)
    seconds = time.perf_counter() - started
    return CriticFit(bits(held_out_values(critic, task, settings.images)).cpu(), seconds)


def scales_of(features: Features) -> tuple[Standardise, Standardise]:
    """The standardisation of x, and of z, by these features."""
    local, representation = ChannelStatistics(), ChannelStatistics()
    for part in contents(features).split(STATISTICS):
        local.add(part.transpose(1, 2).float() * features.scale)
    representation.add(features.representation)
    return local.standardise(), representation.standardise()


def bits_of(results: Sequence[CriticFit]) -> float:
    """The mean over seeds."""
    return mean([result.bits for result in results])


def spread_of(results: Sequence[CriticFit]) -> Spread:
    """The mean over seeds, how far seeds and batches spread, and the time."""
    batches = [deviation(result.batches.tolist()) for result in results]
    seconds = [result.seconds for result in results]
    return Spread(bits_of(results), deviation([result.bits for result in results]), mean(batches), mean(seconds))


def mean(values: Sequence[float]) -> float:
    """The mean of at least one value."""
    return sum(values) / len(values)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation; NaN of one value."""
    return float(torch.tensor(values).std()) if len(values) > 1 else math.nan
