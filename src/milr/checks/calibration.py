"""True against estimated information, place by place, on planted worlds: what the estimate is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from milr.checks.estimators import features_of
from milr.checks.worlds import LAYERS, World
from milr.decisions.inputs import own_modes
from milr.explanation.critic_fitting import CriticTask, fit_critic, held_out_nats
from milr.explanation.milr import MILR
from milr.explanation.settings import CriticSettings, InfomaxSettings, MilrSettings
from milr.information.readings import READINGS, read
from milr.information.units import bits

BATCH = 512  # pictures that go through the small networks at once
EMPTY = 1e-6  # bits: less is a place without information
QUANTILES = (0.1, 0.9)  # of single pictures, around a place's mean

OnStep = Callable[[int, float | None], None]


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


@dataclass(frozen=True)
class Calibration:
    """One reading of one fit, over all its places: a row of calibrate.csv, in bits but for the slope."""

    world: str
    estimator: str
    denominator: str
    reading: str
    sound: bool  # whether the fit says what this reading asks (`is_sound`)
    slope: float  # of the least-squares line: estimated mean of a place = intercept + slope x truth
    intercept: float
    empty: float  # mean estimate of the places without information
    empty_worst: float  # the place among them whose mean is farthest from 0
    single_error: float  # RMS over all places of all pictures, each against its own truth
    single_error_empty: float  # the same over the places without information
    true_mean: float
    estimated_mean: float
    held_out: float  # the estimator's own value, of batches of critic.images held-out pictures


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
    on_step: OnStep = lambda step, nats: None,
) -> tuple[MILR, float]:
    """A critic fitted to a world as to any network, and the estimator's own value on held-out pictures in bits."""
    train, held_out = (
        world.pictures(count, 3 * seed + part).to(device) for part, count in enumerate((counts.train, counts.held_out))
    )
    explainer = MILR(world.network.to(device), *LAYERS, train[:2], MilrSettings(infomax=infomax))
    explainer.prepare(train.split(BATCH), len(train), seed)
    assert explainer.features is not None
    other = features_of(explainer, held_out.split(BATCH), len(held_out))
    task = CriticTask(explainer.features, other, infomax.estimator, infomax.denominator, seed)
    fit_critic(explainer.modules.critic, task, critic, on_step)
    explainer.fitted = True
    return explainer, bits(held_out_nats(explainer.modules.critic, task, critic.images))


@torch.no_grad()
def planted_points(world: World, explainer: MILR, pictures: Tensor) -> list[PlacePoint]:
    """Every place in every reading, over test pictures [P, 3, 32, 32]."""
    infomax = explainer.settings.infomax
    truth = world.truth.flatten()
    points = []
    with own_modes(explainer.layers, gradients=False):
        critic, bank = explainer.ready().eval().critic, explainer.bank()[0]
        first = explainer.layers.first_pass(pictures)
        pair = critic.project_local(first.local), critic.project_representation(first.representation)
    content, representation = first.local.flatten(2).transpose(1, 2).cpu(), first.representation.cpu()
    for reading in READINGS:
        found = bits(read(reading, infomax.denominator, *pair, bank)).cpu().double()
        errors = (found - world.single(reading, content, representation).flatten(1)).square().mean(0).sqrt()
        low, high = (found.quantile(share, dim=0) for share in QUANTILES)
        values = torch.stack([truth, found.mean(0), low, high, errors], dim=1).tolist()
        fit = (world.name, infomax.estimator, infomax.denominator, reading)
        points += [PlacePoint(*fit, *divmod(place, world.truth.shape[1]), *row) for place, row in enumerate(values)]
    return points


def summary(points: list[PlacePoint], held_out: float) -> Calibration:
    """The line through the places of one reading of one fit, its places without information, and single errors."""
    true, found, error = (
        torch.tensor([getattr(point, name) for point in points], dtype=torch.double)
        for name in ("true", "estimated", "error")
    )
    empty = true < EMPTY
    offsets = true - true.mean()
    slope = (offsets * found).sum() / offsets.square().sum()
    worst = found[empty][found[empty].abs().argmax()]
    one = points[0]
    return Calibration(
        *(one.world, one.estimator, one.denominator, one.reading),
        is_sound(one.estimator, one.denominator, one.reading),
        *(slope.item(), (found.mean() - slope * true.mean()).item(), found[empty].mean().item(), worst.item()),
        *(error.square().mean().sqrt().item(), error[empty].square().mean().sqrt().item()),
        *(true.mean().item(), found.mean().item(), held_out),
    )


def calibrate_world(
    world: World,
    infomax: InfomaxSettings,
    critic: CriticSettings,
    counts: Counts,
    seed: int,
    device: torch.device,
    on_step: OnStep = lambda step, nats: None,
) -> tuple[list[PlacePoint], list[Calibration]]:
    """Fits one estimator to one world; the places of all its readings, and a summary of each."""
    explainer, held_out = planted_fit(world, infomax, critic, counts, seed, device, on_step)
    points = planted_points(world, explainer, world.pictures(counts.test, 3 * seed + 2).to(device))
    count = world.truth.numel()
    parts = [points[start : start + count] for start in range(0, len(points), count)]
    return points, [summary(part, held_out) for part in parts]


def fits_wanted(infomax: InfomaxSettings, estimators: list[str], denominators: list[str]) -> list[InfomaxSettings]:
    """A critic for each estimator; of InfoNCE one for each denominator, which alone changes what it says of a map."""
    result = []
    for name in estimators:
        which = denominators if name == "infonce" else [infomax.denominator]
        # All readings are compared, also those that the settings of a fit refuse for a denominator.
        result += [replace(infomax, estimator=name, denominator=over, map="sample") for over in which]
    return result
