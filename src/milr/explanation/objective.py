"""The objective of the mask's fit, eq. 10: its terms on one batch, with gradients to the mask and the bottleneck."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from milr.decisions.decisions import Batch
from milr.explanation.decision_checks import require_gradient, require_own
from milr.explanation.explainer import Explainer
from milr.information.bottleneck import noise_like, occlude
from milr.information.readings import ProjectedBank, read
from milr.information.units import bits
from milr.networks.layers import FirstPass

# Of the metrics, what is an estimate only after the whole fit. Before the critic is fitted to what the mask lets pass,
# it finds less than nothing in that (a log-ratio below 0), so that more than the total seems redundant.
KNOWN_LATER = ("redundant_bits",)
PLACES = 64  # of each image, drawn anew each step, whose information is estimated: a mean needs no more


@dataclass(frozen=True)
class Terms:
    """The terms of the paper's eq. 10 on one batch: scalars, in nats where they are information.

    `fit` gives them to `on_step`. `loss(alpha, beta)` is what is minimised, `metrics()` plain numbers with information
    in bits. The critic is fitted before and stays as it is, so that i(x; z) is a number that no step changes.

    Example:
        >>> import milr, torch
        >>> one = torch.ones(())
        >>> terms = milr.Terms(
        ...     decision_loss=one, accuracy=one, untouched_accuracy=one, information=2 * one, information_kept=one,
        ...     redundant=one, bottleneck=3 * one, likelihood=0 * one, mask_mean=one, cap=4.0,
        ...     channels=3, complement=0 * one,
        ... )
        >>> terms.loss(alpha=1, beta=0.1)  # 1 + 0.1 * 3 / 3 - 1 * 1 - 0
        tensor(0.1000)
        >>> terms.metrics()["saturation"]
        0.5
    """

    decision_loss: Tensor  # in the second pass, -l: of classes the cross-entropy
    accuracy: Tensor  # the score of the decision in the second pass
    untouched_accuracy: Tensor  # and in the first pass
    information: Tensor  # mean i(x; z), without gradient
    information_kept: Tensor  # mean i(x; z'), whose gradient reaches the mask
    redundant: Tensor  # mean of eq. 9 in the reading of `milr.redundancy`, without gradient; see KNOWN_LATER
    bottleneck: Tensor  # mean over locations of the decision-related nats
    likelihood: Tensor  # mean log p(z~ | x'), zero for the capacity bound
    mask_mean: Tensor
    cap: float  # nats that `information` cannot exceed
    channels: int  # that the nats of a location are a sum over
    complement: Tensor  # how much better the mask turned over decides than one that lets nothing pass; zero at gamma 0

    def loss(self, alpha: float, beta: float, gamma: float = 0.0) -> Tensor:
        """What is minimised: -(l + alpha · i(x; z') - beta · mean KL), and mu and sigma by maximum likelihood.

        The mean is over locations and channels, so that one beta serves layers of 64 channels and of 2,048. gamma is
        the weight of what the paper does not ask for: that what is taken away decides nothing.
        """
        dropped = beta * self.bottleneck / self.channels
        return self.decision_loss + dropped + gamma * self.complement - alpha * self.information_kept - self.likelihood

    def metrics(self) -> dict[str, float]:
        """Plain numbers for logs and people, information in bits."""
        information = self.information.item()
        return {
            "decision_loss": self.decision_loss.item(),
            "accuracy": self.accuracy.item(),
            "untouched_accuracy": self.untouched_accuracy.item(),
            "total_bits": bits(information),
            "cap_bits": bits(self.cap),
            "saturation": information / self.cap,
            "redundant_bits": bits(self.redundant.item()),
            "decision_bits": bits(self.bottleneck.item()),
            "log_likelihood": self.likelihood.item(),
            "mask_mean": self.mask_mean.item(),
            "complement": self.complement.item(),
        }


def measure(explainer: Explainer, batch: Batch, first: FirstPass, generator: torch.Generator) -> Terms:
    """One batch through the second pass: every term of eq. 10, with gradients to the mask and the bottleneck."""
    settings, modules = explainer.settings, explainer.modules
    mask = modules.mask(first.stages, (first.local.shape[2], first.local.shape[3]))
    noise = noise_like(modules.local, first.local, generator)
    occluded = occlude(first.local, mask, settings.mask.fill, noise)
    second = explainer.layers.second_pass(occluded, batch.images)
    decided, untouched = batch.decided(second.output), batch.decided(first.output)
    if torch.is_grad_enabled():
        require_own(untouched)
        require_gradient(occluded, second.output, decided, explainer.layers)
    bank = explainer.bank()[0]  # once: whether it is still the same is asked of every value
    information, kept, redundant = informations(explainer, bank, first, occluded, second.representation, generator)
    return Terms(
        decision_loss=decided.loss.mean(),
        accuracy=decided.score.mean(),
        untouched_accuracy=untouched.score.mean(),
        information=information,
        information_kept=kept,
        redundant=redundant,
        bottleneck=modules.bottleneck.nats(mask, first.local, occluded).mean(),
        likelihood=modules.bottleneck.likelihood(occluded, first.representation),
        mask_mean=mask.mean(),
        cap=bank.cap("sample", settings.infomax.denominator),
        channels=first.local.shape[1],
        complement=complement(explainer, batch, first.local, mask, noise) if settings.gamma else mask.new_zeros(()),
    )


def complement(explainer: Explainer, batch: Batch, local: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
    """How far the loss of what the mask takes away is below that of noise alone, in nats, the mean over the items.

    Zero where the rest decides no better than nothing: what passes is then needed, not only sufficient.
    """
    fill = explainer.settings.mask.fill

    def loss(passes: Tensor) -> Tensor:
        """The decision's loss of each item for what this mask lets pass."""
        occluded = occlude(local, passes, fill, noise)
        return batch.decided(explainer.layers.second_pass(occluded, batch.images).output).loss

    with torch.no_grad():
        nothing = loss(torch.zeros_like(mask))
    return (nothing - loss(1 - mask)).relu().mean()


def informations(
    explainer: Explainer,
    bank: ProjectedBank,
    first: FirstPass,
    occluded: Tensor,
    masked: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean i(x; z), i(x; z') and eq. 9 in nats, at a sample of the places; z' is `masked` [K, D]."""
    critic, denominator = explainer.modules.critic, explainer.settings.infomax.denominator
    count = bank.locations.shape[1]
    places = torch.randperm(count, generator=generator, device=generator.device)[:PLACES].to(occluded.device)
    bank = bank.at(places)

    def estimate(local: Tensor, representation: Tensor) -> Tensor:
        """The mean information in nats of projected places about z."""
        return read("sample", denominator, local, critic.project_representation(representation), bank).mean()

    def projected(features: Tensor) -> Tensor:
        """The chosen places, as the critic projects them."""
        return critic.project_locations(features.flatten(2)[:, :, places].transpose(1, 2), places)

    with torch.no_grad():
        local = projected(first.local)
        information = estimate(local, first.representation)
        passed = None
        if explainer.settings.redundancy == "occluded":
            passed = estimate(projected(occluded), first.representation)
    kept = estimate(local, masked)
    return information, kept, information - (kept.detach() if passed is None else passed)
