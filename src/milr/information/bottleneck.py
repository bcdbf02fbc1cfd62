"""Decision-related information I(x'_i; z): two upper bounds, location by location (paper eq. 7 and 8). All in nats."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from milr.information.statistics import Standardise

LOG_SIGMA_RANGE = (-5.0, 3.0)  # keeps the likelihood finite where a dimension is all but determined


class VariationalBottleneck(nn.Module):
    """p(z~ | x'_i) = N(mu(x'_i), diag sigma^2(x'_i)) by an MLP of 1x1 convolutions; the bound is KL(p || N(0, I)).

    The bound of Alemi et al. 2016 with z~ the whitened representation of the first pass (docs/method.md).
    """

    def __init__(self, local: Standardise, dimension: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            local, nn.Conv2d(local.mean.numel(), width, 1), nn.ReLU(), nn.Conv2d(width, 2 * dimension, 1)
        )
        last = self.layers[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.zeros_(last.weight)  # starts as q itself: KL = 0 everywhere, and the likelihood finite
        nn.init.zeros_(last.bias)

    def forward(self, occluded: Tensor) -> tuple[Tensor, Tensor]:
        """x' [K, C, H, W] -> mu and log sigma, each [K, d, H, W]."""
        mean, log_sigma = self.layers(occluded).chunk(2, dim=1)
        return mean, log_sigma.clamp(*LOG_SIGMA_RANGE)

    def without_gradient(self, occluded: Tensor) -> tuple[Tensor, Tensor]:
        """The same, with gradients to x' only: the KL shapes the mask and leaves mu and sigma to the likelihood."""
        constants = {name: parameter.detach() for name, parameter in self.named_parameters()}
        mean, log_sigma = functional_call(self, constants, (occluded,))
        return mean, log_sigma


def gaussian_kl(mean: Tensor, log_sigma: Tensor) -> Tensor:
    """KL(N(mean, sigma^2) || N(0, I)) in nats, summed over dimension 1: [K, d, ...] -> [K, ...]."""
    return 0.5 * (mean.square() + (2 * log_sigma).exp() - 1 - 2 * log_sigma).sum(1)


def gaussian_log_likelihood(mean: Tensor, log_sigma: Tensor, whitened: Tensor) -> Tensor:
    """log N(z~; mean, sigma^2) up to the constant -d/2 log 2 pi, [K, d, H, W] and z~ [K, d] -> [K, H, W]."""
    distance = (whitened[:, :, None, None] - mean) * (-log_sigma).exp()
    return -(0.5 * distance.square() + log_sigma).sum(1)


def capacity(mask: Tensor, standardised: Tensor) -> Tensor:
    """KL(N(a·u, (1-a)^2) || N(0, 1)) in nats, summed over channels: mask and u [K, C, H, W] -> [K, H, W].

    What passes a mask with noise fill, in closed form (Schulz et al. 2020, eq. 6), u being the standardised features.
    A mask of exactly 1 passes the number itself, as `occlude` does: the bound is then what a float of so many bits can
    hold, whatever it is (at least 32 bits a channel in float32). A channel that never moved over the training images
    counts like any other, with the floor of `Standardise` as its spread: so the bound holds if it fires after all.
    """
    passed = mask * standardised
    most = torch.finfo(passed.dtype).bits
    noise = (1 - mask).clamp(min=2.0 ** -(most + 1))  # -log of it, less 1/2, is more than `most` bits
    return (0.5 * (passed.square() + noise.square() - 1) - noise.log()).sum(1)


def occlude(local: Tensor, mask: Tensor, fill: str, noise: Tensor | None = None) -> Tensor:
    """x' = a·x ("zero", the paper) or a·x + (1-a)·noise ("noise"); all [K, C, H, W], noise may be [1, C, H, W].

    Noise fill takes noise with the features' own mean and std per channel: a mask of 0.3 then cannot be undone by
    rescaling, as it can with zero fill.
    """
    if fill == "zero":
        return mask * local
    if fill == "noise" and noise is not None:
        return torch.lerp(noise, local, mask)  # the same in one pass, and exactly x where a is 1
    raise ValueError(f"fill must be 'zero', or 'noise' with noise given, not '{fill}'")


def noise_like(
    statistics: Standardise, features: Tensor, generator: torch.Generator, one_for_all: bool = False
) -> Tensor:
    """Gaussian noise like features [K, C, H, W], with the mean and std of each channel; `one_for_all`: [1, C, H, W]."""
    shape = (1, *features.shape[1:]) if one_for_all else tuple(features.shape)
    # Drawn where the generator lives, so that one seed gives the same noise on any device.
    draw = torch.randn(shape, generator=generator, device=generator.device).to(statistics.mean.device)
    noise = draw * statistics.std[None, :, None, None] + statistics.mean[None, :, None, None]
    return noise.to(features)
