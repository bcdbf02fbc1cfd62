"""How much the estimator finds on images that it was not fitted to, by eq. 2 and 3 as they stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from milr.data.augmentation import input_batches
from milr.data.pictures import Pictures
from milr.decisions.inputs import images_of, own_modes
from milr.errors import MilrError
from milr.explanation.milr import MILR
from milr.information.infomax import batch_information, mean_cap
from milr.information.units import bits

ESTIMATE_IMAGES = 64  # K of the quoted estimates: their cap is log2 of it
ESTIMATE_BATCHES = 4


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


def estimate_information(explainer: MILR, batches: Iterable[Any]) -> InformationEstimate:
    """A lower bound on I(x_i; z): the denominator is each batch's own images [K, 3, S, S], the reference bank unused.

    So the bound holds for these images whatever the bank is. Batches of one size K (the last may be smaller and is then
    left out, since its cap differs); the cap is log2 K. MilrError for batches of other sizes, of one image, or none,
    and for a module that was never fitted.
    """
    explainer.require_fitted()
    with own_modes(explainer.layers, gradients=False):
        modules, denominator = explainer.ready().eval(), explainer.settings.infomax.denominator
        means = []
        sizes: list[int] = []
        for given in batches:
            images = images_of(given, explainer.layers, "a batch of estimate_information")
            sizes.append(len(images))
            if sizes[0] < 2:
                raise MilrError(
                    "a batch of one image has no other image to be compared with (its cap is 0 bits): give 2 or more"
                )
            if (len(sizes) > 1 and sizes[-2] < sizes[0]) or sizes[-1] > sizes[0]:
                raise MilrError(f"batches of {sizes} images: all must have one size, the last may be smaller")
            if sizes[-1] == sizes[0]:
                first = explainer.layers.first_pass(images)
                local = modules.critic.project_local(first.local)
                representation = modules.critic.project_representation(first.representation)
                means.append(batch_information(local, representation, denominator).mean())
    if not means:
        raise MilrError("no images to estimate the information of: is the generator used up?")
    return InformationEstimate(bits(float(torch.stack(means).mean())), bits(mean_cap(sizes[0])), sizes[0] * len(means))


def estimates(explainer: MILR, pictures: dict[str, Pictures], device: torch.device) -> dict[str, dict[str, float]]:
    """Total information in bits on each split's pictures, by the strict bound; only the training ones were seen."""
    result = {}
    for split, part in pictures.items():
        count = min(len(part.images), ESTIMATE_IMAGES * ESTIMATE_BATCHES)
        order = torch.randperm(len(part.images), generator=torch.Generator().manual_seed(0))[:count]
        images = input_batches(part.images[order], device, min(ESTIMATE_IMAGES, count), part.normalisation)
        estimate = estimate_information(explainer, images)
        result[split] = {
            "bits": estimate.bits,
            "cap_bits": estimate.cap,
            "saturation": estimate.saturation,
            "images": estimate.images,
        }
    return result


def convergence(curve: Sequence[tuple[int, float]]) -> dict[str, float]:
    """How far a critic's fit came, from its held-out bits by step; nothing for a fit that was not validated.

    "bits" is the most, at "step" of "steps"; "last_quarter_gain" what the last quarter of the steps added to the most
    before, as a share: the bound is a lower one, so what it still gains it lacked. Without an estimate before its last
    quarter all is gained in it: such a fit cannot show that it had stalled.
    """
    if not curve:
        return {}
    steps = curve[-1][0]
    step, most = max(curve, key=lambda point: point[1])
    before = max((0.0, *(value for at, value in curve if at <= 0.75 * steps)))  # a critic not yet fitted has nothing
    gain = max(0.0, most - before) / most if most > 0 else 0.0
    return {"bits": most, "step": step, "steps": steps, "last_quarter_gain": gain}
