"""Whether two states of modules are the same, to the bit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from milr.explanation.milr import MILR


def states_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two state dicts have the same names and values."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def same_modules(one: MILR, other: MILR) -> bool:
    """Whether the small modules of two explainers have the same weights and buffers."""
    return states_equal(one.modules.state_dict(), other.modules.state_dict())
