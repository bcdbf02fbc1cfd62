"""Nats inside, bits for people."""

from __future__ import annotations

import math
from typing import TypeVar

from torch import Tensor

Number = TypeVar("Number", float, Tensor)


def bits(nats: Number) -> Number:
    """Nats to bits."""
    return nats / math.log(2)
