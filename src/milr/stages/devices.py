"""The device that a stage computes on, and pictures brought to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from milr.errors import MilrError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def choose_device(device: str) -> torch.device:
    """`auto`: a GPU if there is one. Errors: MilrError if CUDA is asked for and absent."""
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise MilrError("device=cuda: torch finds no CUDA on this machine; take device=cpu or device=auto")
    return torch.device("cuda" if available and device != "cpu" else "cpu")


def dtype_of(precision: str) -> torch.dtype:
    """torch's word for float32 or bfloat16."""
    import torch

    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def inputs(images: Tensor, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """uint8 images [n, 3, S, S] as normalised batches [<= batch_size, 3, S, S] on the device, in their order."""
    from milr.data.augmentation import to_input

    for part in images.split(batch_size):
        yield to_input(part).to(device)


def example_images(size: int, device: torch.device) -> Tensor:
    """Two images of noise [2, 3, S, S], from which a network's layers show their order, shapes and dependence."""
    import torch

    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
