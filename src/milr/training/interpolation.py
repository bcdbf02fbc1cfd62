"""Weights between those that a training began with and those it ended with (WiSE-FT, Wortsman et al. 2022).

A network that was fine-tuned on few classes forgets some of what its first weights knew of all others; half way it may
know both.
"""

from __future__ import annotations

import torch
from torch import Tensor

SHARES = (0.15, 0.3, 0.45, 0.6, 0.8)  # of the way from the first weights to the trained ones


def between(first: dict[str, Tensor], last: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """The states' floats at `share` (0: first, 1: last) of the straight way between them; counters are the last's."""
    return {
        name: torch.lerp(first[name], value, share) if value.is_floating_point() else value
        for name, value in last.items()
    }
