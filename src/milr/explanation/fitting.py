"""Fitting the MI-LR module on a frozen network, step by step, by the objective of eq. 10."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from milr.errors import MilrError
from milr.explanation.decisions import Batch as Batch
from milr.explanation.decisions import Decision as Decision
from milr.explanation.decisions import check_batches, check_fit, checked_batch
from milr.explanation.inputs import own_modes
from milr.explanation.milr import MILR
from milr.explanation.objective import Terms, measure
from milr.explanation.progress import Progress
from milr.explanation.settings import FitSettings
from milr.networks.continuation import Continuation
from milr.networks.finite import FiniteCheck
from milr.networks.layers import FirstPass, frozen

CHECK_EVERY = 10  # steps between looks at whether the loss was finite: each look waits for the device


def warm(step: int, settings: FitSettings) -> float:
    """The share of beta at a step, rising in a straight line to 1."""
    return min(1.0, step / max(1.0, settings.beta_warmup * settings.steps))


def backward(explainer: MILR, batch: Batch, progress: Progress, beta: float) -> tuple[FirstPass, Terms, Tensor]:
    """The first pass over a batch, its terms and its loss, whose gradients are then at the small modules."""
    # Frozen backwards too: a network that saves memory computes parts of itself again there.
    with frozen(explainer.layers.network, *batch.modules):
        first = explainer.layers.first_pass(batch.images)
        terms = measure(explainer, batch, first, progress.queue.locations, progress.generator)
        loss = terms.loss(beta)
        progress.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
    return first, terms, loss


def validate(explainer: MILR, batches: Sequence[Batch]) -> dict[str, float]:
    """The terms' means over held-out batches, the noise always the same.

    "objective" is the loss that `fit` takes the gradient of: i(x; z') has weight 1 in it, as for the critic, whatever
    alpha is, and the bottleneck has beta. It chooses among steps of one fit; it does not compare fits of two betas.

    Args:
        explainer: prepared, fitted or not.
        batches: held-out batches, at least one.

    Returns:
        "objective" in nats, and `Terms.metrics`: "decision_loss" in nats, "accuracy", "untouched_accuracy",
        "total_bits", "cap_bits", "saturation", "redundant_bits", "decision_bits", "log_likelihood", "mask_mean".

    Raises:
        MilrError: for no batches, a batch of anything else than images and a decision, an explainer never prepared.

    Example:
        >>> import milr, torch, torchvision
        >>> network = torchvision.models.resnet18(num_classes=4)
        >>> images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 4
        >>> explainer = milr.MILR(network, "layer1", "avgpool", example=images[:2])
        >>> explainer.prepare(images.split(8), len(images))
        >>> metrics = milr.validate(explainer, [milr.Batch(images, lambda output: (output, labels))])
        >>> round(metrics["cap_bits"], 2)  # log2(16 images of the batch + 16 in the reference bank)
        5.0
    """
    rows = []
    with own_modes(explainer.layers, gradients=False):
        modules = explainer.ready().eval()
        generator = torch.Generator().manual_seed(0)
        for number, given in enumerate(batches, 1):
            batch = checked_batch(given, explainer.layers, f"validation batch {number}")
            with frozen(explainer.layers.network, *batch.modules):
                terms = measure(explainer, batch, explainer.layers.first_pass(batch.images), modules.bank, generator)
            rows.append({"objective": terms.loss(explainer.settings.beta).item(), **terms.metrics()})
    if not rows:
        raise MilrError("validate got no batches: there is nothing to take the mean of")
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def fit(
    explainer: MILR,
    batches: Callable[[int], Batch],
    settings: FitSettings,
    validation: Sequence[Batch] = (),
    on_step: Callable[[int, Terms], None] | None = None,
    on_validation: Callable[[int, dict[str, float]], None] | None = None,
    continuation: Continuation | None = None,
) -> int:
    """Fits the small modules of a prepared explainer on its frozen network, by the paper's objective (eq. 10).

    The noise is drawn on the modules' device: a seed gives the same run on one kind of it. The caller's autocast,
    no_grad and inference_mode do not count in a fit.

    Args:
        explainer: after `prepare` or `load`.
        batches: gives the batch of a step, counted from 1.
        settings: how many steps, and how fast (`FitSettings`).
        validation: held-out batches. With them the small modules end as they were where the objective on them
            (`validate`) was lowest, else as they are after the last step.
        on_step: called after each step with its number and `Terms`.
        on_validation: called after each look at the validation batches with the step and what `validate` gave.
        continuation: with a state in it the fit goes on after its step, as if it had not been stopped.

    Returns:
        The step whose modules were kept.

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
        >>> milr.fit(explainer, batch, milr.FitSettings(steps=3, learning_rate=1e-3))
        3
    """
    check_fit(batches, settings, validation)
    with own_modes(explainer.layers, gradients=True):
        return _fit(
            explainer, batches, settings, list(validation), on_step, on_validation, continuation or Continuation()
        )


def _fit(
    explainer: MILR,
    batches: Callable[[int], Batch],
    settings: FitSettings,
    validation: Sequence[Batch],
    on_step: Callable[[int, Terms], None] | None,
    on_validation: Callable[[int, dict[str, float]], None] | None,
    continuation: Continuation,
) -> int:
    modules, fitted_before = explainer.ready(), explainer.fitted
    progress = Progress.begin(modules, settings, explainer.settings.infomax.queue_size)
    best, finite = progress.best, FiniteCheck(modules.bank.device)
    done = progress.resume(continuation.state) if continuation.state else 0
    explainer.fitted = fitted_before or done > 0

    def stopped(step: int, what: str, value: float) -> MilrError:
        """Puts the best state back; the error that says why the fit stops here."""
        best.restore()
        explainer.fitted = fitted_before or best.step > 0
        unless = ", if no picture of that step holds nan or inf itself"
        return MilrError(f"{what} is {value} at step {step}: lower milr.learning_rate or milr.beta{unless}")

    for step in range(done + 1, settings.steps + 1):
        if settings.patience and best.waited >= settings.patience:
            break
        batch = checked_batch(batches(step), explainer.layers, f"batches({step})")
        if step == done + 1:
            check_batches(explainer.layers, explainer.settings, batch, validation)
        first, terms, loss = backward(explainer, batch, progress, explainer.settings.beta * warm(step, settings))
        finite.see(step, loss)
        last = step == settings.steps
        look = bool(validation) and (last or step % settings.validate_every == 0)
        if (look or last or step % CHECK_EVERY == 0) and (bad := finite.first()):
            raise stopped(bad.step, "the loss", bad.loss)
        progress.optimiser.step()
        explainer.fitted = True
        progress.schedule.step()
        progress.queue.add(first.local, progress.generator)
        if on_step:
            on_step(step, terms)
        if look:
            metrics = validate(explainer, validation)
            if not math.isfinite(metrics["objective"]):
                raise stopped(step, "the objective on the validation batches", metrics["objective"])
            best.see(step, metrics["objective"])
            if on_validation:
                on_validation(step, metrics)
        continuation.on_state(step, partial(progress.snapshot, step))
    if validation:
        best.restore()
    return best.step if validation else settings.steps
