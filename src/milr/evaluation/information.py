"""How much the estimator finds on images that it was not fitted to, by eq. 2 and 3 as they stand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from milr.explanation.milr import MILR
from milr.information.infomax import batch_information, mean_cap
from milr.information.units import bits


@dataclass(frozen=True)
class InformationEstimate:
    """The mean of i(x; z) over locations and images, in bits, beside the most it can reach."""

    bits: float
    cap: float
    images: int

    @property
    def saturation(self) -> float:
        """The share of the cap that was reached; close to 1 the estimate says "at least", no more."""
        return self.bits / self.cap


@torch.no_grad()
def estimate_information(explainer: MILR, batches: Iterable[Tensor]) -> InformationEstimate:
    """A lower bound on I(x_i; z): the denominator is each batch's own images [K, 3, S, S], the reference bank unused.

    So the bound holds for these images whatever the bank is. Batches of one size K (the last may be smaller and is then
    left out, since its cap differs); the cap is log2 K.
    """
    modules = explainer.prepared.eval()
    means: list[Tensor] = []
    size = 0
    for images in batches:
        if size and len(images) < size:
            continue
        size = len(images)
        first = explainer.layers.first_pass(images)
        local = modules.critic.project_local(first.local)
        representation = modules.critic.project_representation(first.representation)
        means.append(batch_information(local, representation).mean())
    if not means:
        raise ValueError("no images to estimate the information of")
    _, height, width = explainer.layers.local_shape
    cap = mean_cap(height * width, (size - 1) * height * width)
    return InformationEstimate(bits(float(torch.stack(means).mean())), bits(cap), size * len(means))
