"""The critic's fit: alone, on features that were computed once, until the held-out bound has stalled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor

from milr.errors import MilrError
from milr.explanation.features import Features, Sample
from milr.explanation.progress import Best, Progress, moving_average
from milr.explanation.settings import CriticSettings
from milr.information.critics import AnyCritic, members_of
from milr.information.estimators import ESTIMATORS
from milr.information.infomax import batch_scores
from milr.seeding import seed_of
from milr.training.continuation import Continuation
from milr.training.finite import FiniteCheck

HELD_OUT_SHARE = 0.2  # of the images
HELD_OUT_PLACES = 256  # of each held-out image at most: more make the estimate no surer, its images are few
HELD_OUT_BATCHES = 8
LEAST = 4  # images, two to fit to and two held out: one alone has nothing to be told from


@dataclass(frozen=True)
class CriticTask:
    """What a critic is fitted to.

    Attributes:
        train, held_out: features of different images; of held-out ones with what their masks let pass, this counts
            as much as they themselves.
        estimator: a name of `ESTIMATORS`.
        denominator: a name of `DENOMINATORS`.
        seed: of the images and places of each step.
        pairs: further features to fit to, with what masks let pass.
        shuffled: a null: representations are shuffled among the images of each step, the own one as likely as any, as
            in the denominator, so that there is nothing to learn.
    """

    train: Features
    held_out: Features
    estimator: str = "infonce"
    denominator: str = "representations"
    seed: int = 0
    pairs: Features | None = None
    shuffled: bool = False


def fit_critic(
    critic: AnyCritic,
    task: CriticTask,
    settings: CriticSettings,
    on_step: Callable[[int, float | None], None] = lambda step, nats: None,
    continuation: Continuation | None = None,
) -> int:
    """Fits the critic by AdamW; it ends as the moving average of its weights where that found most in held-out images.

    Where these have stalled the rate falls, and the fit goes on from the best step; at last it ends.

    Args:
        critic: on any device.
        task: what it is fitted to.
        settings: how.
        on_step: called after each step with its number, and the held-out nats a place where they were estimated.
        continuation: with a state in it the fit goes on after its step.

    Returns:
        The step that was kept; 0 if none was better than the critic at the beginning.

    Raises:
        MilrError: if the loss or a held-out estimate is not finite; the critic is then in its last good state.
    """
    device = device_of(critic)
    continuation = continuation or Continuation()
    optimiser = torch.optim.AdamW(critic.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    average = moving_average(critic)
    averaged = cast(AnyCritic, average.module)  # what is held out, and kept
    progress = Progress(critic, optimiser, torch.Generator().manual_seed(task.seed), Best(averaged), average)
    best, finite = progress.best, FiniteCheck(device)
    if continuation.state:
        progress.resume(continuation.state)
    else:
        best.update(0, -held_out_nats(averaged, task, settings.images))
    for step in range(continuation.done + 1, settings.steps + 1):
        if not progress.goes_on(settings.patience, settings.decays):
            break
        critic.train()
        drawn = samples(task, settings, progress.generator, device)
        # Dropout's is a function of the step's number: nothing to save, and no other generator is disturbed.
        dropout = torch.Generator(device).manual_seed(seed_of("dropout", task.seed, step))
        loss = critic_loss(critic, drawn, task, dropout)
        finite.update(step, loss)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        progress.step()
        nats = None
        if step % settings.validate_every == 0 or step == settings.steps:
            nats = held_out_nats(averaged, task, settings.images)
            if finite.first() or not math.isfinite(nats):
                progress.restore()
                raise MilrError(f"the critic's loss is not finite at step {step}: lower critic.learning_rate")
            best.update(step, -nats)
        on_step(step, nats)
        continuation.on_state(step, partial(progress.snapshot, step))
    progress.restore()
    critic.eval()
    return best.step


def samples(
    task: CriticTask, settings: CriticSettings, generator: torch.Generator, device: torch.device
) -> list[Sample]:
    """What a step is fitted to."""
    drawn = [task.train.draw(settings.images, settings.places, generator, device)]
    if task.pairs is not None:
        drawn.append(task.pairs.draw(settings.images, settings.places, generator, device))
    if not task.shuffled:
        return drawn
    orders = [torch.randperm(len(sample.representation), generator=generator).to(device) for sample in drawn]
    return [
        replace(sample, representation=sample.representation[order])
        for sample, order in zip(drawn, orders, strict=True)
    ]


def critic_loss(critic: AnyCritic, drawn: Sequence[Sample], task: CriticTask, generator: torch.Generator) -> Tensor:
    """What a step minimises: of every critic its own bound's loss, over all kinds of pairs of the samples."""
    losses, members = [], members_of(critic)
    for member in members:
        with member.dropout.drawing_from(generator):
            pairs = [each for sample in drawn for each in pair_scores(member, sample)]
        estimator = ESTIMATORS[task.estimator]
        losses.append(torch.stack([estimator.loss(f, task.denominator, second) for f, second in pairs]).mean())
    return torch.stack(losses).sum()  # no weight is shared: each has the gradient that it would have alone


def device_of(critic: AnyCritic) -> torch.device:
    """Where it lies."""
    return next(critic.parameters()).device


def pair_scores(critic: AnyCritic, sample: Sample) -> list[tuple[Tensor, Tensor | None]]:
    """f of every pair of a sample, [K, S, K], and the second score [K, S] where the critic has one.

    They are of each kind of pairs: (x, z), and (x', z) or (x, z') where it holds such.
    """
    local = critic.project_locations(sample.local, sample.places)
    representation = critic.project_representation(sample.representation)
    kinds = [(local, representation)]
    if sample.occluded is not None:
        kinds.append((critic.project_locations(sample.occluded, sample.places), representation))
    if sample.masked is not None:
        kinds.append((local, critic.project_representation(sample.masked)))
    return [(batch_scores(*both), critic.second_scores(*both)) for both in kinds]


def held_out_nats(critic: AnyCritic, task: CriticTask, images: int) -> float:
    """The estimate on the held-out images in nats a place, over all kinds of pairs: batches of `images`, each alone."""
    return float(held_out_values(critic, task, images).mean())


@torch.no_grad()
def held_out_values(critic: AnyCritic, task: CriticTask, images: int) -> Tensor:
    """What `held_out_nats` is the mean of: each batch's nats a place [batches]."""
    critic.eval()
    held_out, estimator = task.held_out, ESTIMATORS[task.estimator]
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(held_out), generator=generator)
    places = torch.randperm(len(held_out.places), generator=generator)[:HELD_OUT_PLACES]
    size = min(images, len(order))
    values = []
    for part in order.split(size)[:HELD_OUT_BATCHES]:
        if len(part) == size:
            kinds = pair_scores(critic, held_out.sample(part, places, device_of(critic)))
            values.append(torch.stack([estimator.value(f, task.denominator, s) for f, s in kinds]).mean())
    return torch.stack(values)


def split_features(features: Features) -> tuple[Features, Features]:
    """Features to fit to, and a share of the images, at least two, to hold out. MilrError for too few."""
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))
    if len(order) < LEAST:
        raise MilrError(
            f"the critic's fit has {len(order)} images: it needs at least {LEAST}, half of them held out; prepare with "
            "more images, or give validation batches"
        )
    count = max(2, round(HELD_OUT_SHARE * len(order)))
    return features.at(order[count:].sort().values), features.at(order[:count])
