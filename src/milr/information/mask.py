"""The mask module: one forward pass from the features of every stage to a mask in [0, 1] (paper 3.4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pad

from milr.information.statistics import Standardise


class MaskModule(nn.Module):
    """A readout by 1x1 convolutions: stage features [K, C_s, H_s, W_s] -> mask [K, channels, H, W] in (0, 1).

    As in the readout bottleneck of Schulz et al. 2020 the stages' features of the first pass are resized to H x W
    and joined. A 1x1 convolution and a bilinear resize commute (its weights sum to 1), so the first convolution
    runs on each stage at its own resolution: the resized results' sum is the convolution of the joined features.
    `initial` is the mask's value before fitting, `blur` the sigma, in places, of a Gaussian over its scores (0: none):
    places that decide alone, without their neighbours, are more often noise than cause (as in Schulz et al. 2020).
    """

    def __init__(
        self, stages: Sequence[Standardise], channels: int, width: int, initial: float, blur: float = 0.0
    ) -> None:
        super().__init__()
        self.blur = blur
        self.read = nn.ModuleList(
            nn.Sequential(stage, nn.Conv2d(stage.mean.numel(), width, 1, bias=index == 0))
            for index, stage in enumerate(stages)
        )
        self.combine = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, channels, 1))
        last = self.combine[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.normal_(last.weight, std=1e-3)  # almost the same mask everywhere at first
        nn.init.constant_(last.bias, float(torch.logit(torch.tensor(initial))))

    def forward(self, stages: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """The mask at `size` (H, W)."""
        return self.opened(self.scores(stages, size))

    def scores(self, stages: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """What is behind the mask [K, channels, H, W], any number."""
        joined = sum(
            interpolate(read(stage), size, mode="bilinear", align_corners=False)
            for read, stage in zip(self.read, stages, strict=True)
        )
        scores: Tensor = self.combine(joined)
        return scores

    def opened(self, scores: Tensor) -> Tensor:
        """The mask of scores [K, channels, H, W], which are blurred before the sigmoid: an open one stays exactly 1."""
        return torch.sigmoid(blurred(scores, self.blur) if self.blur else scores)


def blurred(maps: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur of every channel [K, C, H, W], sigma in places; the border counts as going on outside."""
    channels = maps.shape[1]
    reach = max(1, round(2 * sigma))
    offsets = torch.arange(-reach, reach + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(channels, 1, -1)
    wide = pad(maps, (reach,) * 4, mode="replicate")
    return conv2d(conv2d(wide, kernel[..., None], groups=channels), kernel[:, :, None], groups=channels)
