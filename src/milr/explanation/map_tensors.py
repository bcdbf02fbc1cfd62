"""Tensors of maps [K, H, W] or [K, T]: whether they are finite, which of the K an index means, and other sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from operator import index
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from milr.errors import MilrError


def require_finite(named: Mapping[str, Tensor]) -> None:
    """MilrError naming the first image of which one of these tensors [K, ...] holds NaN or an infinity."""
    for name, values in named.items():
        broken = (~torch.isfinite(values)).flatten(1).any(1).nonzero().flatten().tolist()
        if broken:
            raise MilrError(
                f"{name} holds nan or inf for image {broken[0]} ({len(broken)} of {len(values)} images): "
                "look at the picture's values, and at the weights of the network and of the fitted module"
            )


def answers(output: Tensor) -> Tensor:
    """An output [K, ...] to be looked at for what is not finite: minus infinity says that a class is out of the
    question, where an image has other numbers too.
    """
    impossible = output == -torch.inf
    return output.masked_fill(impossible & ~impossible.flatten(1).all(1).view(-1, *[1] * (output.ndim - 1)), 0.0)


def numbers_of(images: Any, count: int) -> Tensor:
    """The numbers [n] of the images that an index means, of `count` images. IndexError for those out of range."""
    if isinstance(images, slice):
        return torch.tensor(range(count)[images], dtype=torch.long)
    if not isinstance(images, list | tuple | range | Tensor | np.ndarray) or np.ndim(images) == 0:
        try:
            return torch.tensor([range(count)[index(images)]])
        except TypeError:
            raise MilrError(f"maps[{images!r}]: a number, a slice, a list of numbers, or a mask [K]") from None
        except IndexError:  # not MilrError: a loop over maps ends by it
            raise IndexError(f"maps[{images}]: there are {count} images, counted from 0") from None
    rows = torch.as_tensor(images if isinstance(images, Tensor | np.ndarray) else list(images)).cpu()
    if rows.ndim != 1 or (len(rows) and rows.is_floating_point()):
        raise MilrError(f"maps[...] takes numbers [n] or a mask [{count}], not {rows.dtype} {list(rows.shape)}")
    return torch.arange(count)[rows if rows.dtype == torch.bool else rows.long()]


def upsampled(heat: Tensor, size: int | Sequence[int]) -> Tensor:
    """[K, H, W] -> [K, *size], bilinear, the values' unit as it was; [K, T] -> [K, size], linear."""
    wanted = tuple(size) if isinstance(size, Sequence) else (size,) * (heat.ndim - 1)
    if len(wanted) != heat.ndim - 1 or any(not isinstance(side, Integral) or side < 1 for side in wanted):
        raise MilrError(f"maps {list(heat.shape)} cannot be brought to the size {size}: give one for each dimension")
    mode = "bilinear" if heat.ndim == 3 else "linear"
    return interpolate(heat[:, None], wanted, mode=mode, align_corners=False)[:, 0]
