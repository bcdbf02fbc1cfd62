"""What takes the place of what is removed, of local features or of pictures. A new one is a function and a row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from milr.errors import MilrError
from milr.information.bottleneck import noise_like
from milr.information.mask import blurred
from milr.information.statistics import Standardise

BLUR_SHARE = 8  # sigma of the blur is this part of the shorter side: whole parts of a bird go


def noise(features: Tensor, scale: Standardise, generator: torch.Generator) -> Tensor:
    """Gaussian, with each channel's own mean and std; as the mask's noise in the fit (Schulz et al. 2020)."""
    return noise_like(scale, features, generator)


def zero(features: Tensor, scale: Standardise, generator: torch.Generator) -> Tensor:
    """Nothing."""
    return torch.zeros_like(features)


def mean(features: Tensor, scale: Standardise, generator: torch.Generator) -> Tensor:
    """Each channel's mean over the training images."""
    return scale.mean[:, None, None].to(features).expand_as(features)


def blur(features: Tensor, scale: Standardise, generator: torch.Generator) -> Tensor:
    """Each image's own content without its details (as Fong, Vedaldi 2017 blur pictures)."""
    return blurred(features, min(features.shape[2:]) / BLUR_SHARE)


FILLS: dict[str, Callable[[Tensor, Standardise, torch.Generator], Tensor]] = {
    "noise": noise,
    "zero": zero,
    "mean": mean,
    "blur": blur,
}


def filling(fill: str, features: Tensor, scale: Standardise, seed: int) -> Tensor:
    """What the fill puts in place of features [K, C, H, W], the same shape; MilrError for one that FILLS has not."""
    if fill not in FILLS:
        raise MilrError(f"there is no fill '{fill}': choose among {', '.join(FILLS)}")
    return FILLS[fill](features, scale, torch.Generator().manual_seed(seed))
