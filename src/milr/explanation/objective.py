"""The objective of the fit, eq. 10: its terms on one batch, with gradients to the small modules."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from milr.explanation.decisions import Batch, require_gradient, require_own
from milr.explanation.milr import MILR
from milr.information.bottleneck import gaussian_log_likelihood, noise_like, occlude
from milr.information.infomax import batch_information, mean_cap
from milr.information.units import bits
from milr.networks.layers import FirstPass


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
