"""Pictures as people have them, brought to what a figure can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from milr.errors import MilrError
from milr.text import first_line

ROUNDING = 1e-3  # of a normalisation that was undone: less than a step of uint8
SCALED = "each picture from its least to its highest value (no mean and std were given)"


def drawn(images: Any, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> tuple[Tensor, str]:
    """Pictures to draw, uint8 [K, 3, H, W] on the CPU, and a note where their values had to be guessed at.

    Channels may come first or last; one picture counts as a batch of one, a list of them as a batch. Floats beyond 0 to
    1 count as normalised: by mean and std, a number for each colour, if they are given, else by an unknown one.
    MilrError for anything else.
    """
    try:
        if isinstance(images, list | tuple) and images and not isinstance(images[0], Tensor):
            images = np.stack([np.asarray(image) for image in images])  # of Pillow's, or arrays
        elif isinstance(images, list | tuple) and images:
            images = torch.stack(list(images))
        images = torch.as_tensor(images).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise MilrError(f"images to draw must be one tensor [K, 3, H, W]: {first_line(error)}") from None
    if images.ndim == 3 and (images.shape[0] in (1, 3) or images.shape[2] in (1, 3)):
        images = images[None]
    if images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.permute(0, 3, 1, 2)
    if not images.is_floating_point() or images.ndim != 4 or not images.numel():
        return displayable(images), ""
    if (mean is None) != (std is None):
        raise MilrError("to undo a normalisation both mean and std are needed")
    if mean is not None and std is not None:
        shift, scale = (images.new_tensor(values).view(-1, 1, 1) for values in (mean, std))
        return displayable((images * scale + shift).clamp(0, 1)), ""
    if images.isfinite().all() and images.min() < -ROUNDING:
        low, high = (extreme((1, 2, 3), keepdim=True) for extreme in (images.amin, images.amax))
        return displayable((images - low) / (high - low).clamp(min=1e-12)), SCALED
    return displayable(images), ""


def displayable(images: Tensor) -> Tensor:
    """Pictures to draw, uint8 [K, 3, H, W] on the CPU: of whole numbers to 255, or floats from 0 to 1; grey or RGB.

    MilrError for anything else: normalised floats would be clipped, and show another picture.
    """
    images = images.detach().cpu()
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.numel():
        raise MilrError(f"images to draw must be [K, 3, H, W], at least one, not {list(images.shape)}")
    floats = images.is_floating_point()
    values = images.double() if images.dtype != torch.bool else 255 * images.double()
    low, high = values.min().item(), values.max().item()
    rounding = ROUNDING if floats else 0.0
    if not (low >= -rounding and high <= (1 if floats else 255) + rounding):
        hint = "undo a normalisation first (images * std + mean), or clamp what an interpolation made"
        if floats and low >= 0 and 1 < high <= 255:
            hint = "divide by 255 what goes to 255, clamp what an interpolation made"
        raise MilrError(
            f"images to draw must be uint8, or floats from 0 to 1, not {images.dtype} from {low:.3g} to {high:.3g}: "
            + hint
        )
    whole = (255 * values.clamp(0, 1)).round() if floats else values
    return whole.to(torch.uint8).expand(-1, 3, -1, -1)


def grey(images: Tensor) -> Tensor:
    """The pictures uint8 [..., 3, H, W] without colours: under a map, colour then says bits alone."""
    weights = torch.tensor([0.299, 0.587, 0.114]).view(-1, 1, 1)  # of a television's luma (ITU-R BT.601)
    return (images * weights).sum(-3, keepdim=True).round().to(torch.uint8).expand_as(images)


def frame_of(picture: Tensor) -> tuple[int, int, int, int]:
    """Where imshow puts a picture [3, H, W] and every map of it: (left, right, bottom, top) in its pixels."""
    return (0, picture.shape[-1], picture.shape[-2], 0)
