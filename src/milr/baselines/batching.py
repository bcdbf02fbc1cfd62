"""How many pictures go through a network at once where there are many, and how they lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from milr.networks.inputs import Inputs, main_tensor

PIXELS = 2**19  # 128 pictures of 64 pixels a side, 10 of 224: what a pass takes is memory, whatever their number


def at_once(images: Inputs) -> int:
    """How many images like these make a pass, at least 1."""
    main = main_tensor(images)
    return max(1, PIXELS // (main.shape[-1] * main.shape[-2] if main.ndim == 4 else 128 * 128))


def laid_out(images: Tensor) -> Tensor:
    """The same values [n, C, H, W] channels last on a CPU, where convolutions and pooling are faster by up to 1.4."""
    if images.ndim != 4 or images.device.type != "cpu":
        return images
    return images.contiguous(memory_format=torch.channels_last)
