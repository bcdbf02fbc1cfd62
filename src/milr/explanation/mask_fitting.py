"""The mask's fit on the frozen network by the paper's objective (eq. 10), the critic as it is; and its validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from milr.decisions.decisions import Batch, checked_batch
from milr.decisions.inputs import own_modes
from milr.errors import MilrError
from milr.explanation.explainer import Explainer
from milr.explanation.modules import Modules
from milr.explanation.objective import Terms, measure
from milr.explanation.progress import Best, Progress, moving_average, without_gradients
from milr.explanation.reach import check_reach
from milr.explanation.settings import FitSettings
from milr.networks.layers import frozen
from milr.training.continuation import Continuation
from milr.training.finite import FiniteCheck
from milr.training.winograd import FewerProducts

CHECK_EVERY = 10  # steps between looks at whether the loss was finite: each look waits for the device
WATCHED = 4  # of the fit's first batches, whose objective says where there is no validation that it has stalled


class Weights(NamedTuple):
    """Of the loss: alpha and beta of eq. 10, and gamma."""

    alpha: float
    beta: float
    gamma: float


def fit_mask(
    explainer: Explainer,
    batches: Callable[[int], Batch],
    settings: FitSettings,
    validation: Sequence[Batch],
    on_step: Callable[[int, Terms], None] | None,
    on_validation: Callable[[int, dict[str, float]], None] | None,
    continuation: Continuation,
) -> int:
    """Fits the mask, and the bottleneck where it has weights, as `fit` says; returns the step that was kept.

    It ends as the moving average of its weights where the objective was lowest. Where the objective has stalled the
    rate falls, and the fit goes on from the best step; at last it ends.
    """
    modules, fitted_before = explainer.ready(), explainer.fitted
    progress = begin(modules, settings)
    finite = FiniteCheck(modules.bank.local.device)
    if continuation.state:
        progress.resume(continuation.state)
    explainer.fitted = fitted_before or continuation.done > 0
    watched = validation or [batches(step) for step in range(1, 1 + min(WATCHED, settings.steps))]

    for step in range(continuation.done + 1, settings.steps + 1):
        if not progress.goes_on(settings.patience, settings.decays):
            break
        batch = checked_batch(batches(step), explainer.layers, f"batches({step})")
        with fewer_products(explainer, settings):
            terms, loss = backward(explainer, batch, progress, weights_at(step, explainer, settings))
        finite.update(step, loss)
        validates = step == settings.steps or step % settings.validate_every == 0
        if (validates or step % CHECK_EVERY == 0) and (bad := finite.first()):
            give_up(explainer, progress, fitted_before, "the loss", bad.loss, bad.step)
        progress.step()
        explainer.fitted = True
        if on_step:
            on_step(step, terms)
        if validates:
            metrics = keep_the_best(explainer, progress, watched, step, settings, fitted_before)
            if validation and on_validation:
                with progress.averaged():
                    on_validation(step, metrics)
        continuation.on_state(step, partial(progress.snapshot, step))

    progress.restore()
    return progress.best.step


def keep_the_best(
    explainer: Explainer,
    progress: Progress,
    watched: Sequence[Batch],
    step: int,
    settings: FitSettings,
    fitted_before: bool,
) -> dict[str, float]:
    """What `validate` says of the average of the weights, which is kept if it is better than all before."""
    with progress.averaged():
        metrics = validate(explainer, watched)
    if not math.isfinite(objective := metrics["objective"]):
        give_up(explainer, progress, fitted_before, "the objective on the validation batches", objective, step)
    progress.best.update(step, objective)
    if step < beta_steps(settings):  # it rises with beta: that none is better says nothing yet
        progress.best.waited = 0
    return metrics


def give_up(
    explainer: Explainer, progress: Progress, fitted_before: bool, what: str, value: float, step: int
) -> NoReturn:
    """Puts the best state of a fit back that cannot go on, and raises the MilrError that says why."""
    progress.restore()
    explainer.fitted = fitted_before or progress.best.step > 0
    unless = ", if no picture of that step holds nan or inf itself"
    raise MilrError(f"{what} is {value} at step {step}: lower milr.learning_rate or milr.beta{unless}")


def fewer_products(explainer: Explainer, settings: FitSettings) -> AbstractContextManager[object]:
    """What a step's passes run in: on a CPU, in float32, with faster convolutions if they are wanted."""
    on_cpu = explainer.modules.bank.local.device.type == "cpu"
    fewer = settings.winograd and on_cpu and explainer.layers.precision == torch.float32
    return FewerProducts() if fewer else nullcontext()


def begin(modules: Modules, settings: FitSettings) -> Progress:
    """The progress of a fit before its first step."""
    fitted = nn.ModuleList([modules.mask, modules.bottleneck])
    optimiser = torch.optim.Adam(fitted.parameters(), lr=settings.learning_rate)
    generator = torch.Generator(modules.bank.local.device).manual_seed(settings.seed)
    average = moving_average(fitted)
    return Progress(fitted, optimiser, generator, Best(average.module), average)


def weights(explainer: Explainer) -> Weights:
    """Those of the settings; alpha is 0 for the mask in the literal reading, where its term reaches the critic."""
    settings = explainer.settings
    return Weights(settings.alpha if settings.infomax.shape_mask else 0.0, settings.beta, settings.gamma)


def weights_at(step: int, explainer: Explainer, settings: FitSettings) -> Weights:
    """The same at a step of the fit, at whose beginning beta rises."""
    full = weights(explainer)
    return full._replace(beta=full.beta * min(1.0, step / beta_steps(settings)))


def beta_steps(settings: FitSettings) -> float:
    """Over how many steps beta rises in a straight line: half of a fit that is given few."""
    return max(1.0, min(settings.beta_warmup, settings.steps / 2))


def backward(explainer: Explainer, batch: Batch, progress: Progress, weights: Weights) -> tuple[Terms, Tensor]:
    """The terms of a batch and its loss, whose gradients are then at the mask and the bottleneck."""
    # Frozen backwards too: a network that saves memory computes parts of itself again there.
    with frozen(explainer.layers.network, *batch.modules), without_gradients(explainer.modules.critic):
        first = explainer.layers.first_pass(batch.images)
        terms = measure(explainer, batch, first, progress.generator)
        loss = terms.loss(*weights)
        progress.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
    return terms, loss


def check_gradients(explainer: Explainer, batch: Batch) -> None:
    """MilrError where the loss of a batch would give no gradient to the mask: before any time is spent."""
    with frozen(explainer.layers.network, *batch.modules):
        generator = torch.Generator(explainer.modules.bank.local.device).manual_seed(0)
        measure(explainer, batch, explainer.layers.first_pass(batch.images), generator)
    check_reach(explainer.layers, batch.images, weights(explainer).alpha)


def validate(explainer: Explainer, batches: Sequence[Batch]) -> dict[str, float]:
    """The terms' means over held-out batches, the noise always the same.

    "objective" is the loss that the mask's fit takes the gradient of, with alpha and beta as they are at its end. It
    chooses among steps of one fit; it does not compare fits of two alphas or betas.

    Args:
        explainer: prepared, fitted or not.
        batches: held-out batches, at least one.

    Returns:
        "objective" in nats, and `Terms.metrics`: "decision_loss" in nats, "accuracy", "untouched_accuracy",
        "total_bits", "cap_bits", "saturation", "redundant_bits", "decision_bits", "log_likelihood", "mask_mean". Before
        the end of `fit` "redundant_bits" means nothing: the critic has not met what the mask lets pass.

    Raises:
        MilrError: for no batches, a batch of anything else than images and a decision, an explainer never prepared.

    Example:
        >>> import milr, torch, torchvision
        >>> network = torchvision.models.resnet18(num_classes=4)
        >>> images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 4
        >>> explainer = milr.MILR(network, "layer1", "avgpool", example=images[:2])
        >>> explainer.prepare(images.split(8), len(images))
        >>> metrics = milr.validate(explainer, [milr.Batch(images, lambda output: (output, labels))])
        >>> round(metrics["cap_bits"], 2)  # log2(1 + 16 images in the reference bank)
        4.09
    """
    rows = []
    with own_modes(explainer.layers, gradients=False):
        explainer.ready().eval()
        generator = torch.Generator().manual_seed(0)
        for number, given in enumerate(batches, 1):
            batch = checked_batch(given, explainer.layers, f"validation batch {number}")
            with frozen(explainer.layers.network, *batch.modules):
                terms = measure(explainer, batch, explainer.layers.first_pass(batch.images), generator)
            rows.append({"objective": terms.loss(*weights(explainer)).item(), **terms.metrics()})
    if not rows:
        raise MilrError("validate got no batches: there is nothing to take the mean of")
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
