"""The device that a stage computes on, and pictures brought to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from milr.errors import MilrError
from milr.stages.processes import local_rank

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def choose_device(device: str) -> torch.device:
    """`auto`: a GPU if there is one. Errors: MilrError if CUDA is asked for and absent.

    Under torchrun each process of a machine gets a GPU of its own; MilrError where there are too few.
    """
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise MilrError("device=cuda: torch finds no CUDA on this machine; take device=cpu or device=auto")
    if not available or device == "cpu":
        return torch.device("cpu")
    # float32 means float32: torch alone would let convolutions use TF32, with 10 bits of the 23. Who wants speed asks
    # for it with precision=bfloat16.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    gpus = torch.cuda.device_count()
    if local_rank() >= gpus:
        raise MilrError(f"torchrun started more processes than this machine has GPUs ({gpus}): --nproc-per-node={gpus}")
    chosen = torch.device("cuda", local_rank())
    torch.cuda.set_device(chosen)
    return chosen


def dtype_of(precision: str) -> torch.dtype:
    """torch's word for float32 or bfloat16."""
    import torch

    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def inputs(images: Tensor, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """uint8 images [n, 3, S, S] as normalised batches [<= batch_size, 3, S, S] on the device, in their order."""
    from milr.data.augmentation import to_input

    for part in images.split(batch_size):
        yield to_input(part, device)


def example_images(size: int, device: torch.device) -> Tensor:
    """Two images of noise [2, 3, S, S], from which a network's layers show their order, shapes and dependence."""
    import torch

    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
