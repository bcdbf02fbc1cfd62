"""The colours of a map, and the scale from bits to them."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Normalize, TwoSlopeNorm
from torch import Tensor

from milr.figures.settings import FigureSettings

EVEN = FigureSettings().colours  # lightness rises evenly, so that it reads the same to colour-blind eyes and in grey
DIVERGING = "RdBu_r"  # of a signed map: zero is white, and both ends are equally dark
WRONG = "#D55E00"  # the frame of a wrong decision, which has a cross as well (Okabe and Ito's vermilion)
RIGHT_MARK, WRONG_MARK = "✓", "✗"


def colour_map(signed: bool, plain: str = EVEN) -> str:
    """The name of the colours of a map, or of a signed one, whose zero is white."""
    return DIVERGING if signed else plain


def colour_scale(values: Tensor, signed: bool, reach: float | None = None) -> Normalize:
    """A scale over these bits: from the 1st to the 99.5th percentile, or symmetric around 0 for a signed kind.

    Few extreme locations would flatten everything else; the colour bar's arrows say where values go on. With `reach`
    it goes from 0, or from minus that, to that.
    """
    if signed:
        reach = reach or reach_of(values)
        return TwoSlopeNorm(0.0, -reach, reach)
    if reach:
        return Normalize(0.0, reach)
    low, high = (float(v) for v in np.percentile(values.flatten().double().numpy(), [1, 99.5]))
    return Normalize(low, max(high, low + 1e-12))


def beyond(values: Tensor, norm: Normalize) -> str:
    """Past which ends of a scale there are bits, as a colour bar's `extend` takes it: its arrows are there alone."""
    assert norm.vmin is not None and norm.vmax is not None
    slack = 1e-6 * (norm.vmax - norm.vmin)  # of rounding
    low, high = float(values.min()) < norm.vmin - slack, float(values.max()) > norm.vmax + slack
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[low, high]


def reach_of(values: Tensor) -> float:
    """The 99.5th percentile of the sizes of these bits."""
    return max(float(np.percentile(values.flatten().double().abs().numpy(), 99.5)), 1e-12)
