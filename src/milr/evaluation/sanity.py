"""What becomes of the maps when the fit, the labels or the network change, and what a map to be trusted does."""

from __future__ import annotations

from dataclasses import dataclass

from milr.evaluation.methods import KINDS
from milr.evaluation.similarity import rank_correlation, structural_similarity
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
        pair = getattr(real, kind).cpu(), getattr(other, kind).cpu()
        for measure, values in (
            ("rank correlation", rank_correlation(*pair)),
            ("SSIM", structural_similarity(*pair)),
        ):
            counted = values[~values.isnan()].tolist()
            mean, low, high = bootstrap(counted, [0] * len(counted))
            wanted = wanted_of(check, kind) if measure == "rank correlation" else ""
            rows.append(Row(check, variant, kind, measure, mean, low, high, len(counted), wanted))
    return rows


def wanted_of(check: str, kind: str) -> str:
    """What a trustworthy map does in this check."""
    if check == "seeds" or (check == "labels" and kind == "total"):
        return "at least 0.8"
    return "under 0.3" if check == "cascade" else "well under the seeds'"
