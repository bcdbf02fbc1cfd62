"""True against estimated information, place by place, on planted worlds: what the estimate is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from milr.checks.critic_fits import CriticFit, deviation, mean, spread_of, timed_fit
from milr.checks.estimators import features_of
from milr.checks.worlds import LAYERS, World
from milr.decisions.inputs import own_modes
from milr.explanation.critic_fitting import CriticTask
from milr.explanation.milr import MILR
from milr.explanation.settings import CriticSettings, InfomaxSettings, MilrSettings
from milr.information.readings import READINGS, read
from milr.information.units import bits

BATCH = 512  # pictures that go through the small networks at once
EMPTY = 1e-6  # bits: less is a place without information
QUANTILES = (0.1, 0.9)  # of single pictures, around a place's mean


@dataclass(frozen=True)
class Counts:
    """Pictures of a planted world: to fit to, to hold out, and to read maps of."""

    train: int
    held_out: int
    test: int


@dataclass(frozen=True)
class PlacePoint:
    """One place in one reading: a row of places.csv, all in bits."""

    world: str
    estimator: str
    denominator: str
    reading: str
    row: int
    column: int
    true: float
    estimated: float  # mean over the test pictures
    low: float  # 10 % of the pictures lie below
    high: float  # 10 % lie above
    error: float  # RMS over the pictures, against what the true densities give for each of them
    seed: int = 0  # of the fit and its pictures


@dataclass(frozen=True)
class Line:
    """One reading of the fit of one seed, over all its places; in bits but for the slope."""

    slope: float  # of the least-squares line: estimated mean of a place = intercept + slope x truth
    intercept: float
    empty: float  # mean estimate of the places without information
    empty_worst: float  # the place among them whose mean is farthest from 0
    single_error: float  # RMS over all places of all pictures, each against its own truth
    single_error_empty: float  # the same over the places without information
    true_mean: float
    estimated_mean: float


@dataclass(frozen=True)
class Calibration:
    """One reading of one estimator, over seeds: a row of calibrate.csv, in bits but for slopes and seconds.

    A number of `Line` is its mean over seeds; `..._over_seeds` its standard deviation over them, NaN of one seed.
    """

    world: str
    estimator: str
    denominator: str
    reading: str
    sound: bool  # whether the fit says what this reading asks (`is_sound`)
    slope: float
    intercept: float
    empty: float
    empty_worst: float  # of all seeds the one farthest from 0
    single_error: float
    single_error_empty: float
    true_mean: float
    estimated_mean: float
    held_out: float  # the estimator's own value, of batches of critic.images held-out pictures
    seeds: int = 1  # how many
    slope_over_seeds: float = math.nan
    empty_over_seeds: float = math.nan
    single_error_over_seeds: float = math.nan
    held_out_over_seeds: float = math.nan
    held_out_over_batches: float = math.nan  # standard deviation of one fit's batches, mean over seeds
    seconds: float = math.nan  # of a critic's fit, mean over seeds


def is_sound(estimator: str, denominator: str, reading: str) -> bool:
    """Whether a fit fixes what a reading sums over.

    InfoNCE leaves free what its denominator cannot see: with "representations" any function of (x_i, i) may be added to
    f, with "same_place" any of (z, i), with "places" any of z. A softmax over representations needs f's course along z,
    one over places' contents its course along x_i. The other estimators fix f up to a number.
    """
    if estimator != "infonce" or reading == "sample":
        return True
    return (reading == "representation") == (denominator == "representations")


def planted_fit(
    world: World,
    infomax: InfomaxSettings,
    critic: CriticSettings,
    counts: Counts,
    seed: int,
    device: torch.device,
) -> tuple[MILR, CriticFit]:
    """A critic fitted to a world as to any network, and the estimator's own values on held-out pictures."""
    train, held_out = (
        world.pictures(count, 3 * seed + part).to(device) for part, count in enumerate((counts.train, counts.held_out))
    )
    explainer = MILR(world.network.to(device), *LAYERS, train[:2], MilrSettings(infomax=infomax))
    explainer.prepare(train.split(BATCH), len(train), seed)
    assert explainer.features is not None
    other = features_of(explainer, held_out.split(BATCH), len(held_out))
    task = CriticTask(explainer.features, other, infomax.estimator, infomax.denominator, seed)
    fit = timed_fit(explainer.modules.critic, task, critic, f"{world.name}, {infomax.estimator}, seed {seed}")
    explainer.fitted = True
    return explainer, fit


@torch.no_grad()
def planted_points(world: World, explainer: MILR, pictures: Tensor, seed: int) -> list[PlacePoint]:
    """Every place in every reading of the fit of a seed, over test pictures [P, 3, 32, 32]."""
    infomax = explainer.settings.infomax
    truth = world.truth.flatten()
    points = []
    with own_modes(explainer.layers, gradients=False):
        critic, bank = explainer.ready().eval().critic, explainer.bank()[0]
        first = explainer.layers.first_pass(pictures)
        pair = critic.project_local(first.local), critic.project_representation(first.representation)
    content, representation = first.local.flatten(2).transpose(1, 2).cpu(), first.representation.cpu()
    for reading in READINGS:
        estimate = bits(read(reading, infomax.denominator, *pair, bank)).cpu().double()
        errors = (estimate - world.single(reading, content, representation).flatten(1)).square().mean(0).sqrt()
        low, high = (estimate.quantile(share, dim=0) for share in QUANTILES)
        values = torch.stack([truth, estimate.mean(0), low, high, errors], dim=1).tolist()
        fit = (world.name, infomax.estimator, infomax.denominator, reading)
        for place, (true, estimated, lowest, highest, error) in enumerate(values):
            row, column = divmod(place, world.truth.shape[1])
            points.append(PlacePoint(*fit, row, column, true, estimated, lowest, highest, error, seed))
    return points


def line(points: Sequence[PlacePoint]) -> Line:
    """The line through the places of one reading of one fit, its places without information, and single errors."""
    true, estimate, error = (
        torch.tensor([getattr(point, name) for point in points], dtype=torch.double)
        for name in ("true", "estimated", "error")
    )
    empty = true < EMPTY
    offsets = true - true.mean()
    slope = (offsets * estimate).sum() / offsets.square().sum()
    worst = estimate[empty][estimate[empty].abs().argmax()]
    return Line(
        *(slope.item(), (estimate.mean() - slope * true.mean()).item(), estimate[empty].mean().item(), worst.item()),
        *(error.square().mean().sqrt().item(), error[empty].square().mean().sqrt().item()),
        *(true.mean().item(), estimate.mean().item()),
    )


def summary(seeds: Sequence[Sequence[PlacePoint]], fits: Sequence[CriticFit]) -> Calibration:
    """One reading over the fits of several seeds: the places of each, and what each found in held-out pictures."""
    lines, spread, one = [line(points) for points in seeds], spread_of(fits), seeds[0][0]
    values = {field.name: [getattr(each, field.name) for each in lines] for field in fields(Line)}
    means = {name: mean(numbers) for name, numbers in values.items()}
    means["empty_worst"] = max(values["empty_worst"], key=abs)
    return Calibration(
        world=one.world,
        estimator=one.estimator,
        denominator=one.denominator,
        reading=one.reading,
        sound=is_sound(one.estimator, one.denominator, one.reading),
        **means,
        held_out=spread.bits,
        seeds=len(lines),
        slope_over_seeds=deviation(values["slope"]),
        empty_over_seeds=deviation(values["empty"]),
        single_error_over_seeds=deviation(values["single_error"]),
        held_out_over_seeds=spread.over_seeds,
        held_out_over_batches=spread.over_batches,
        seconds=spread.seconds,
    )


def calibrate_world(
    world: World,
    infomax: InfomaxSettings,
    critic: CriticSettings,
    counts: Counts,
    seeds: Sequence[int],
    device: torch.device,
) -> tuple[list[PlacePoint], list[Calibration]]:
    """Fits one estimator to one world with each seed; the places of all its readings, and a summary of each reading."""
    points, fits = [], []
    for seed in seeds:
        explainer, of_seed = planted_fit(world, infomax, critic, counts, seed, device)
        points += planted_points(world, explainer, world.pictures(counts.test, 3 * seed + 2).to(device), seed)
        fits.append(of_seed)
    parts = [[[p for p in points if (p.reading, p.seed) == (name, seed)] for seed in seeds] for name in READINGS]
    return points, [summary(part, fits) for part in parts]


def fits_wanted(infomax: InfomaxSettings, estimators: list[str], denominators: list[str]) -> list[InfomaxSettings]:
    """A critic for each estimator; of InfoNCE one for each denominator, which alone changes what it says of a map."""
    result = []
    for name in estimators:
        which = denominators if name == "infonce" else [infomax.denominator]
        # All readings are compared, also those that the settings of a fit refuse for a denominator.
        result += [replace(infomax, estimator=name, denominator=over, map="sample") for over in which]
    return result
