"""Whether every loss was finite, without waiting for the device at each step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class NotFinite(NamedTuple):
    """A loss that is NaN or infinite."""

    step: int
    loss: float


class FiniteCheck:
    """The first loss that was not finite and its step (0: none), kept on the device until somebody asks."""

    def __init__(self, device: torch.device) -> None:
        self.loss, self.step = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device)

    def update(self, step: int, loss: Tensor) -> None:
        """Notes this step's loss if it is the first that is not finite."""
        first = (self.step == 0) & ~loss.detach().isfinite()
        self.loss = torch.where(first, loss.detach(), self.loss)
        self.step = torch.where(first, step, self.step)

    def first(self) -> NotFinite | None:
        """The first that was not finite, if there was one; asking waits for the device."""
        step = int(self.step)
        return NotFinite(step, self.loss.item()) if step else None
