"""The device that a stage computes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milr.errors import MilrError

if TYPE_CHECKING:
    import torch


def pick_device(device: str) -> torch.device:
    """`auto`: a GPU if there is one. Errors: MilrError if CUDA is asked for and absent."""
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise MilrError("device=cuda: this machine offers no CUDA to torch; take device=cpu or device=auto")
    return torch.device("cuda" if available and device != "cpu" else "cpu")
