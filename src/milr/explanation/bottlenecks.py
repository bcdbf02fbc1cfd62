"""The upper bounds on I(x'_i; z) behind the decision-related map (paper eq. 8). A new one is a class and a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from milr.errors import MilrError
from milr.explanation.settings import BottleneckSettings
from milr.information.bottleneck import VariationalBottleneck, capacity, gaussian_kl, gaussian_log_likelihood
from milr.information.statistics import Standardise
from milr.information.whitening import Whitening, fit_whitening


class Bound(nn.Module):
    """What every bound keeps to: `nats` of what passes, and where it has weights what these are fitted by."""

    def nats(self, mask: Tensor, local: Tensor, occluded: Tensor) -> Tensor:
        """Mask, x and x' [K, C, H, W] -> nats [K, H, W]; the gradient reaches the mask (and x') only."""
        raise NotImplementedError

    def likelihood(self, occluded: Tensor, representation: Tensor) -> Tensor:
        """The mean log-likelihood that its weights are fitted by, of x' [K, C, H, W] and z [K, D]; 0 without any."""
        return occluded.new_zeros(())


class CapacityBound(Bound):
    """`capacity`, in closed form: holds for noise fill, and needs no fit."""

    def __init__(self, local: Standardise) -> None:
        super().__init__()
        self.local = local

    def nats(self, mask: Tensor, local: Tensor, occluded: Tensor) -> Tensor:
        """Of the mask and the standardised features."""
        return capacity(mask, self.local(local))


class VariationalBound(Bound):
    """KL(p(z~ | x'_i) || N(0, I)) with z~ whitened; mu and sigma are fitted by likelihood, or by the objective."""

    def __init__(self, settings: BottleneckSettings, local: Standardise, whitening: Whitening) -> None:
        super().__init__()
        self.by_likelihood = settings.fit == "likelihood"
        self.whitening = whitening
        self.posterior = VariationalBottleneck(local, whitening.projection.shape[1], settings.width)

    def nats(self, mask: Tensor, local: Tensor, occluded: Tensor) -> Tensor:
        """Of what p says of z~ from x'."""
        posterior = self.posterior.without_gradient if self.by_likelihood else self.posterior
        return gaussian_kl(*posterior(occluded))

    def likelihood(self, occluded: Tensor, representation: Tensor) -> Tensor:
        """Mean log p(z~ | x'), x' without gradient."""
        if not self.by_likelihood:
            return super().likelihood(occluded, representation)
        mean, log_sigma = self.posterior(occluded.detach())
        return gaussian_log_likelihood(mean, log_sigma, self.whitening(representation)).mean()


@dataclass(frozen=True)
class Bottleneck:
    """A row of BOTTLENECKS.

    Attributes:
        name: in `bottleneck.kind`.
        build: from the settings, the local layer's standardisation and the training images' z [P, D].
        rebuild: from the settings, the same, and saved weights, whose shapes it takes; they are loaded afterwards.
    """

    name: str
    build: Callable[[BottleneckSettings, Standardise, Tensor], Bound]
    rebuild: Callable[[BottleneckSettings, Standardise, Mapping[str, Tensor]], Bound]


def whitened_bound(settings: BottleneckSettings, local: Standardise, representations: Tensor) -> Bound:
    """MilrError for representations that cannot be whitened."""
    try:
        whitening = fit_whitening(representations, settings.whitening_share)
    except ValueError as error:
        share = settings.whitening_share
        raise MilrError(f"bottleneck.kind=variational, bottleneck.whitening_share={share}: {error}") from None
    return VariationalBound(settings, local, whitening)


def whitened_again(settings: BottleneckSettings, local: Standardise, weights: Mapping[str, Tensor]) -> Bound:
    """MilrError for weights of another bound."""
    names = [f"bottleneck.whitening.{name}" for name in ("mean", "projection", "share")]
    if not all(name in weights for name in names):
        raise MilrError("the saved MI-LR module has no whitening: bottleneck.kind=variational needs one")
    return VariationalBound(settings, local, Whitening(*(torch.zeros_like(weights[name]) for name in names)))


ROWS = (
    Bottleneck(
        "capacity",
        build=lambda settings, local, representations: CapacityBound(local),
        rebuild=lambda settings, local, weights: CapacityBound(local),
    ),
    Bottleneck("variational", build=whitened_bound, rebuild=whitened_again),
)
BOTTLENECKS = {bottleneck.name: bottleneck for bottleneck in ROWS}
