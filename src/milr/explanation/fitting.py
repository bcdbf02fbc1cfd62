"""Fitting the MI-LR module on a frozen network: the objective of eq. 10, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from milr.errors import MilrError
from milr.explanation.decisions import Batch as Batch
from milr.explanation.decisions import Decision as Decision
from milr.explanation.decisions import check_batches, check_fit, checked_batch, require_gradient, require_own
from milr.explanation.inputs import own_modes
from milr.explanation.milr import MILR
from milr.explanation.progress import Best, LocationQueue, Progress
from milr.explanation.settings import FitSettings
from milr.information.bottleneck import gaussian_log_likelihood, noise_like, occlude
from milr.information.infomax import batch_information, mean_cap
from milr.information.units import bits
from milr.networks.continuation import Continuation
from milr.networks.finite import FiniteCheck
from milr.networks.layers import FirstPass, frozen

CHECK_EVERY = 10  # steps between looks at whether the loss was finite: each look waits for the device


@dataclass(frozen=True)
class Terms:
    """The terms of the paper's eq. 10 on one batch: scalars, in nats where they are information.

    `fit` gives them to `on_step`. `loss(beta)` is what is minimised, `metrics()` plain numbers with information in
    bits. Alpha has no place among them: it scales the gradient of z' (`keep_information`).

    Example:
        >>> import milr, torch
        >>> one = torch.ones(())
        >>> terms = milr.Terms(
        ...     decision_loss=one, accuracy=one, untouched_accuracy=one, information=2 * one, information_kept=one,
        ...     redundant=one, bottleneck=3 * one, likelihood=0 * one, mask_mean=one, cap=4.0,
        ... )
        >>> terms.loss(beta=0.1)  # decision_loss + beta * bottleneck - information - information_kept - likelihood
        tensor(-1.7000)
        >>> terms.metrics()["saturation"]
        0.5
    """

    decision_loss: Tensor  # cross-entropy in the second pass, -l
    accuracy: Tensor  # of the decision in the second pass
    untouched_accuracy: Tensor  # of the decision in the first pass
    information: Tensor  # mean i(x; z)
    information_kept: Tensor  # mean i(x; z')
    redundant: Tensor  # mean of eq. 9 in the reading of `milr.redundancy`, without gradient
    bottleneck: Tensor  # mean over locations of the decision-related nats
    likelihood: Tensor  # mean log p(z~ | x'), zero for the capacity bound
    mask_mean: Tensor
    cap: float  # nats that `information` cannot exceed with this batch

    def loss(self, beta: float) -> Tensor:
        """What is minimised. Alpha has no place here: it scales z's gradient, see `keep_information`."""
        # 1. -l + beta · mean KL reaches the mask (and mu and sigma only with bottleneck.fit=objective).
        objective = self.decision_loss + beta * self.bottleneck
        # 2. The critic is fitted on pairs (x, z) and (x, z'); 3. mu and sigma by maximum likelihood.
        return objective - self.information - self.information_kept - self.likelihood

    def metrics(self) -> dict[str, float]:
        """Plain numbers for logs and people, information in bits."""
        information = self.information.item()
        return {
            "decision_loss": self.decision_loss.item(),
            "accuracy": self.accuracy.item(),
            "untouched_accuracy": self.untouched_accuracy.item(),
            "total_bits": bits(information),
            "cap_bits": bits(self.cap),
            "saturation": information / self.cap if self.cap else 1.0,  # one image, and an empty queue: nothing to find
            "redundant_bits": bits(self.redundant.item()),
            "decision_bits": bits(self.bottleneck.item()),
            "log_likelihood": self.likelihood.item(),
            "mask_mean": self.mask_mean.item(),
        }


def measure(
    explainer: MILR, batch: Batch, first: FirstPass, others: Tensor | None, generator: torch.Generator
) -> Terms:
    """One batch through the second pass: every term of eq. 10, with gradients to the small modules."""
    settings, modules = explainer.settings, explainer.modules
    mask = modules.mask(first.stages, (first.local.shape[2], first.local.shape[3]))
    noise = noise_like(modules.local, tuple(first.local.shape), generator).to(first.local.dtype)
    occluded = occlude(first.local, mask, settings.mask.fill, noise)
    second = explainer.layers.second_pass(occluded, batch.images)
    logits, labels = batch.decided(second.output)
    untouched, _ = batch.decided(first.output)
    if torch.is_grad_enabled():
        require_own(untouched)
        require_gradient(occluded, second.output, logits, explainer.layers)

    pool = None if others is None else modules.critic.project_locations(others)
    local = modules.critic.project_local(first.local)
    kept = keep_information(second.representation, settings.alpha if settings.infomax.shape_mask else 0.0)
    information = batch_information(local, modules.critic.project_representation(first.representation), pool)
    information_kept = batch_information(local, modules.critic.project_representation(kept), pool)
    lost = information - information_kept
    if settings.redundancy == "occluded":
        with torch.no_grad():
            passed = modules.critic.project_local(occluded)
            representation = modules.critic.project_representation(first.representation)
            lost = information - batch_information(passed, representation, pool)

    likelihood = information.new_zeros(())
    if modules.bottleneck is not None and modules.whitening is not None and settings.bottleneck.fit == "likelihood":
        mean, log_sigma = modules.bottleneck(occluded.detach())
        likelihood = gaussian_log_likelihood(mean, log_sigma, modules.whitening(first.representation)).mean()
    locations = local.shape[1]
    return Terms(
        decision_loss=cross_entropy(logits, labels),
        accuracy=(logits.argmax(1) == labels).float().mean(),
        untouched_accuracy=(untouched.argmax(1) == labels).float().mean(),
        information=information.mean(),
        information_kept=information_kept.mean(),
        redundant=lost.detach().mean(),
        bottleneck=explainer.decision_nats(mask, first.local, occluded).mean(),
        likelihood=likelihood,
        mask_mean=mask.mean(),
        cap=mean_cap(locations, (len(local) - 1) * locations + (0 if others is None else len(others))),
    )


def keep_information(representation: Tensor, alpha: float) -> Tensor:
    """The same z' with its gradient times alpha: the critic is fitted at full weight, the mask is asked with alpha."""
    return representation.detach() + alpha * (representation - representation.detach())


def warm(step: int, settings: FitSettings) -> float:
    """The share of beta at a step, rising in a straight line to 1."""
    return min(1.0, step / max(1.0, settings.beta_warmup * settings.steps))


def stopped(best: Best, step: int, what: str, value: float) -> MilrError:
    """Puts the best state back; the error that says why the fit stops here."""
    best.restore()
    unless = ", if no picture of that step holds nan or inf itself"
    return MilrError(f"{what} is {value} at step {step}: lower milr.learning_rate or milr.beta{unless}")


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
    optimiser = torch.optim.Adam(modules.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, settings.steps))
    generator = torch.Generator(modules.bank.device).manual_seed(settings.seed)
    queue = LocationQueue(explainer.settings.infomax.queue_size)
    best, finite = Best(modules), FiniteCheck(modules.bank.device)
    progress = Progress(modules, optimiser, schedule, generator, queue, best)
    done = progress.resume(continuation.state) if continuation.state else 0
    explainer.fitted = fitted_before or done > 0
    for step in range(done + 1, settings.steps + 1):
        if settings.patience and best.waited >= settings.patience:
            break
        batch = checked_batch(batches(step), explainer.layers, f"batches({step})")
        if step == done + 1:
            check_batches(explainer.layers, explainer.settings, batch, validation)
        # Backwards too: a network that saves memory computes parts of itself again there.
        with frozen(explainer.layers.network, *batch.modules):
            first = explainer.layers.first_pass(batch.images)
            terms = measure(explainer, batch, first, queue.locations, generator)
            loss = terms.loss(explainer.settings.beta * warm(step, settings))
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
        finite.see(step, loss)
        look = bool(validation) and (step % settings.validate_every == 0 or step == settings.steps)
        if (look or step % CHECK_EVERY == 0 or step == settings.steps) and (bad := finite.first()):
            explainer.fitted = fitted_before or best.step > 0
            raise stopped(best, bad.step, "the loss", bad.loss)
        optimiser.step()
        explainer.fitted = True
        schedule.step()
        queue.add(first.local, generator)
        if on_step:
            on_step(step, terms)
        if look:
            metrics = validate(explainer, validation)
            if not math.isfinite(metrics["objective"]):
                explainer.fitted = fitted_before or best.step > 0
                raise stopped(best, step, "the objective on the validation batches", metrics["objective"])
            best.see(step, metrics["objective"])
            if on_validation:
                on_validation(step, metrics)
        continuation.on_state(step, partial(progress.snapshot, step))
    if validation:
        best.restore()
    return best.step if validation else settings.steps
