"""What becomes of the maps when the fit, the labels or the network change, and what a map to be trusted does.

Maps are compared by their ranks alone: scaled to their extremes, as SSIM needs it, two maps that share one outlier look
alike whatever else they hold. Low likeness is no proof of a good map: noise has it too, so it is to be read beside the
likeness between seeds. A layer that has forgotten leaves the ones below as they are, so that part of a map may rightly
stay (Hedström et al. 2024, "A Fresh Look at Sanity Checks for Saliency Maps"; docs/method.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from milr.evaluation.methods import KINDS
from milr.evaluation.similarity import rank_correlation
from milr.evaluation.tables import bootstrap
from milr.explanation.maps import Maps


@dataclass(frozen=True)
class Row:
    """One number of the table."""

    check: str
    variant: str  # what was changed
    map: str
    measure: str
    value: float
    low: float
    high: float
    n: int
    wanted: str  # what a trustworthy map gets


def compared(check: str, variant: str, real: Maps, other: Maps) -> list[Row]:
    """Each kind of map against the real one, image by image."""
    rows = []
    for kind in KINDS:
        values = rank_correlation(getattr(real, kind).cpu(), getattr(other, kind).cpu())
        counted = values[~values.isnan()].tolist()
        mean, low, high = bootstrap(counted, [0] * len(counted))
        wanted = wanted_of(check, kind)
        rows.append(Row(check, variant, kind, "rank correlation", mean, low, high, len(counted), wanted))
    return rows


def wanted_of(check: str, kind: str) -> str:
    """What a trustworthy map does in this check."""
    if check == "seeds" or (check == "labels" and kind == "total"):
        return "at least 0.8"
    return "well under the seeds'"


def gap_share(fitted: float, held_out: float) -> float:
    """How much more is found on fitted images, as a share of what is found on held-out ones, both in bits.

    Infinite where nothing is found on held-out images: no gap is small beside nothing.
    """
    return (fitted - held_out) / held_out if held_out > 0 else math.inf
