"""The fit: the critic alone until its bits have stalled, then the mask, then the critic on what the mask lets pass."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from milr.decisions.decisions import Batch as Batch
from milr.decisions.decisions import Decision as Decision
from milr.decisions.decisions import checked_batch
from milr.decisions.inputs import own_modes
from milr.explanation.critic_fitting import LEAST, CriticTask, fit_critic, split_features
from milr.explanation.dead_masks import warn_of
from milr.explanation.decision_checks import check_batches, check_fit
from milr.explanation.explainer import Explainer
from milr.explanation.features import Features
from milr.explanation.mask_fitting import check_gradients, fit_mask
from milr.explanation.mask_fitting import validate as validate
from milr.explanation.objective import Terms
from milr.explanation.pairs import (
    batch_features,
    fill_bank,
    first_rows,
    images_and_places,
    some_batches,
    split_images,
    without,
)
from milr.explanation.progress import Phases
from milr.explanation.settings import FitSettings
from milr.networks.inputs import count
from milr.training.continuation import Continuation

log = logging.getLogger("milr")

ROUNDING = 5e-3  # of the spread of z: how far two passes over one image are apart at most
OnCritic = Callable[[str, int, float | None], None]


def fit(
    explainer: Explainer,
    batches: Callable[[int], Batch],
    settings: FitSettings,
    validation: Sequence[Batch] = (),
    on_step: Callable[[int, Terms], None] | None = None,
    on_validation: Callable[[int, dict[str, float]], None] | None = None,
    on_critic: OnCritic | None = None,
    continuation: Continuation | None = None,
) -> int:
    """Fits the small modules of a prepared explainer on its frozen network: the critic, the mask, the critic's pairs.

    1. The critic alone, to the features of the images that `prepare` saw, until the held-out bits have stalled.
       Held out are the images of `validation`, or where there are none a fifth of `prepare`'s (mirrored or augmented
       views of one image count as different ones). (A loaded explainer has no features: its critic stays as it is.)
    2. The mask, by the paper's objective (eq. 10), with the critic as it is then, until the objective has stalled.
    3. The critic again, to pairs of what the mask lets pass too (`critic.pairs`), so that eq. 9 is no extrapolation.
       Without `validation` a fifth of the images of the fit's own batches is held out, of `prepare`'s too.

    The noise is drawn on the modules' device: a seed gives the same run on one kind of it. The caller's autocast,
    no_grad and inference_mode do not count in a fit.

    Args:
        explainer: after `prepare` or `load`.
        batches: gives the batch of a step, counted from 1; the same one when it is asked again, as after the mask's
            fit, or where a fit goes on.
        settings: how many steps at most, and how fast (`FitSettings`).
        validation: held-out batches, whose objective (`validate`) says when it has stalled; without any, the fit's own
            first batches do. The mask ends as the moving average of its weights where the objective was lowest.
        on_step: called after each step of the mask with its number and `Terms`.
        on_validation: called after each validation of the mask with the step and what `validate` gave; the mask has the
            average of its weights then.
        on_critic: called after each step of the critic with "critic" or "pairs", the step, and the held-out nats a
            place where they were estimated, else None.
        continuation: with a state in it the fit goes on after its step, as if it had not been stopped.

    Returns:
        The step whose mask was kept. The log warns of a mask that is closed, open or the same everywhere.

    Raises:
        MilrError: before a step is made, for whatever in the first batch or the validation batches is neither images
            nor a decision; later if the loss (looked at every few steps) or a validation is not finite: the modules
            are then in the last state kept.

    Example:
        >>> import milr, torch, torchvision
        >>> network = torchvision.models.resnet18(num_classes=4)
        >>> images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 4
        >>> explainer = milr.MILR(network, "layer1", "avgpool", example=images[:2])
        >>> explainer.prepare(images.split(8), len(images))
        >>> def batch(step):
        ...     chosen = torch.randperm(16, generator=torch.Generator().manual_seed(step))[:8]
        ...     return milr.Batch(images[chosen], lambda output: (output, labels[chosen]))
        >>> settings = milr.FitSettings(steps=3, learning_rate=1e-3, critic=milr.CriticSettings(steps=5))
        >>> milr.fit(explainer, batch, settings)
        3
    """
    check_fit(batches, settings, validation)
    with own_modes(explainer.layers, gradients=True):
        modules, held_out = explainer.ready(), list(validation)
        first = checked_batch(batches(1), explainer.layers, "batches(1)")
        check_batches(explainer.layers, first, held_out)
        check_gradients(explainer, first)
        phases, critic = Phases(continuation or Continuation(), modules), settings.critic
        phases.resume()
        if (going_on := phases.phase("critic", 0)) and explainer.features is not None:
            task = critic_task(explainer, explainer.features, held_out, settings.seed)
            fit_critic(modules.critic, task, critic, critic_callback(on_critic, "critic"), going_on)
        if going_on := phases.phase("mask", critic.steps):
            phases.result = fit_mask(explainer, batches, settings, held_out, on_step, on_validation, going_on)
        if going_on := phases.phase("pairs", critic.steps + settings.steps):
            explainer.fitted = True  # where the mask's phase was done before a stop
            fill_bank(explainer, some_batches(explainer.layers, batches, settings.steps, len(modules.bank.local)))
            pairs = pairs_task(explainer, batches, settings.steps, held_out, settings.seed) if critic.pairs else None
            if pairs:
                fit_critic(modules.critic, pairs, critic, critic_callback(on_critic, "pairs"), going_on)
        warn_of(masks_of(explainer, held_out[0] if held_out else first))
        return phases.result


def masks_of(explainer: Explainer, batch: Batch) -> Tensor:
    """The fitted masks of a batch's images [K, H, W], the mean of their channels."""
    batch = checked_batch(batch, explainer.layers, "a batch")
    with torch.no_grad():
        stages = explainer.layers.first_pass(batch.images).stages
        mask: Tensor = explainer.modules.mask(stages, explainer.layers.grid)
    return mask.mean(1)


def critic_callback(on_critic: OnCritic | None, phase: str) -> Callable[[int, float | None], None]:
    """What `fit_critic` calls after each step."""
    return (lambda step, nats: on_critic(phase, step, nats)) if on_critic else (lambda step, nats: None)


def critic_task(explainer: Explainer, features: Features, validation: Sequence[Batch], seed: int) -> CriticTask:
    """Pairs (x, z) of the images of `prepare`; held out are the validation batches', or a part."""
    held_out = held_out_features(explainer, validation, masked=False)
    if held_out is None:
        features, held_out = split_features(features)
    elif len(others := without(features, held_out, ROUNDING)) >= LEAST:
        features = others
    else:
        log.warning("the critic is held out on images that it is fitted to: prepare saw hardly any others")
    return task_of(explainer, features, held_out, seed)


def pairs_task(
    explainer: Explainer, batches: Callable[[int], Batch], steps: int, validation: Sequence[Batch], seed: int
) -> CriticTask | None:
    """Pairs (x, z) and what the mask leaves of them, of the fit's own batches, beside those of `prepare`'s images.

    None if the batches hold too few images.
    """
    known, (channels, height, width) = explainer.features, explainer.layers.local_shape
    most, _ = images_and_places(explainer.settings.infomax.memory_gib, channels, height * width)
    own = some_batches(explainer.layers, batches, steps, min(most, len(known)) if known else most)
    pairs = batch_features(explainer, own, "the fit's batch", masked=True, seed=seed)
    held_out = held_out_features(explainer, validation, masked=True)
    images = len(pairs) if held_out else len(first_rows(pairs.representation))
    if images < LEAST:
        log.warning("the critic is not fitted to what the mask lets pass: the fit's batches hold %s images", images)
        return None
    if held_out is None:
        pairs, held_out, known = split_images(pairs, known)
    elif known and len(others := without(known, held_out, ROUNDING)) >= LEAST:
        known = others
    task = task_of(explainer, pairs, held_out, seed)
    return replace(task, train=known, pairs=pairs) if known else task


def held_out_features(explainer: Explainer, validation: Sequence[Batch], masked: bool) -> Features | None:
    """Those of the validation batches; None where they hold fewer than two images."""
    if sum(count(batch.images) for batch in validation) < 2:
        return None
    return batch_features(explainer, validation, "validation batch", masked)


def task_of(explainer: Explainer, train: Features, held_out: Features, seed: int) -> CriticTask:
    """What the critic is fitted to, by the estimator of the settings."""
    infomax = explainer.settings.infomax
    return CriticTask(train, held_out, infomax.estimator, infomax.denominator, seed)
