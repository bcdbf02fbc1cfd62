"""What becomes of the maps when the fit, the labels or the network change, and what a map to be trusted does.

Maps are compared by their ranks alone: scaled to their extremes, as SSIM needs it, two maps that share one outlier look
alike whatever else they hold. Low likeness is no proof of a good map: noise has it too, so it is to be read beside the
likeness between seeds. A layer that has forgotten leaves the ones below as they are, so that part of a map may rightly
stay (Hedström et al. 2024, "A Fresh Look at Sanity Checks for Saliency Maps"; docs/method.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from milr.baselines.methods import KINDS
from milr.checks.consistency import convergence, estimator_table, self_consistency
from milr.checks.critic_fits import Fitting, deviation
from milr.checks.estimators import estimator_bits, features_of, gaussian_bits, null_bits
from milr.data.pictures import Pictures
from milr.evaluation.information import estimates
from milr.evaluation.intervals import bootstrap
from milr.evaluation.similarity import rank_correlation
from milr.explanation.maps import Maps
from milr.explanation.milr import MILR
from milr.explanation.settings import CriticSettings
from milr.information.estimators import ESTIMATORS


@dataclass(frozen=True)
class SanityRow:
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


def compared(check: str, variant: str, real: Maps, other: Maps) -> list[SanityRow]:
    """Each kind of map against the real one, image by image."""
    rows = []
    for kind in KINDS:
        values = rank_correlation(getattr(real, kind).cpu(), getattr(other, kind).cpu())
        counted = values[~values.isnan()].tolist()
        mean, low, high = bootstrap(counted, [0] * len(counted))
        wanted = wanted_of(check, kind)
        rows.append(SanityRow(check, variant, kind, "rank correlation", mean, low, high, len(counted), wanted))
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


def estimator_rows(
    explainer: MILR,
    pictures: dict[str, Pictures],
    split: str,
    settings: CriticSettings,
    estimators: Sequence[str],
    seed: int,
    device: torch.device,
) -> list[SanityRow]:
    """The estimate and its gap, and a null and other estimators, fitted anew on the same features.

    "train" names the pictures that these are fitted to, `split` those that are held out.
    """
    rows = information_rows("as fitted", explainer, pictures, device)
    train, held_out = (
        features_of(explainer, pictures[name].batches(device), len(pictures[name].images)) for name in ("train", split)
    )
    both = explainer, train, held_out, settings
    values = {
        "null: shuffled pairs": null_bits(*both, seed),
        "Gaussian, held out": gaussian_bits(*both, seed),
        **{f"{name}, held out": estimator_bits(*both, name, seed) for name in estimators},
    }
    for variant, value in values.items():
        wanted = "0 ± 0.05" if variant.startswith("null") else ""
        rows.append(estimator_row(variant, "bits", value, len(held_out), wanted))
    return rows


def information_rows(
    variant: str, explainer: MILR, pictures: dict[str, Pictures], device: torch.device
) -> list[SanityRow]:
    """The quoted estimate on fitted and held-out images, its cap, and the gap as a share of the held-out figure."""
    quoted = estimates(explainer, pictures, device)
    rows = [
        estimator_row(f"{variant}, {split}", measure, entry[measure], int(entry["images"]), wanted)
        for split, entry in quoted.items()
        for measure, wanted in (("bits", ""), ("cap_bits", ""), ("saturation", "under 0.8"))
    ]
    gap = gap_share(quoted["train"]["bits"], quoted["novel"]["bits"])
    return [*rows, estimator_row(variant, "gap", gap, int(quoted["novel"]["images"]), "under 0.25")]


def law_rows(
    checks: Sequence[str],
    explainer: MILR,
    pictures: dict[str, Pictures],
    split: str,
    settings: CriticSettings,
    estimators: Sequence[str],
    seeds: Sequence[int],
    device: torch.device,
) -> list[SanityRow]:
    """What must hold of information on real features, its convergence, and the table of estimators, as wanted.

    Critics are fitted to the pictures of "train" and read on those of `split`.
    """
    train, held_out = (
        features_of(explainer, pictures[name].batches(device), len(pictures[name].images)) for name in ("train", split)
    )
    infomax = explainer.settings.infomax
    both = train, held_out, Fitting(infomax, settings, explainer.layers.grid, device)
    n, rows = len(seeds), list[SanityRow]()
    if "consistency" in checks:
        for law in self_consistency(*both, seeds):
            rows.append(law_row("consistency", law.name, "bits", law.bits, n, law.deviation, law.wanted))
    if "convergence" in checks:
        line = convergence(*both, seeds)
        for count, values in zip(line.pictures, line.bits, strict=True):
            mean = sum(values) / len(values)
            rows.append(law_row("convergence", f"{count} pictures", "bits", mean, n, deviation(values)))
        rows.append(law_row("convergence", "extrapolated", "bits", line.limit, n, line.error))
        rows.append(law_row("convergence", "found", "share of the limit", line.share, n))
    if "estimators" in checks:
        for estimate in estimator_table(*both, estimators or list(ESTIMATORS), seeds):
            rows.append(law_row("estimators", estimate.name, "bits", estimate.bits, n, estimate.over_seeds))
            for measure in ("bias", "over_seeds", "over_batches", "seconds"):
                value = getattr(estimate, measure)
                rows.append(law_row("estimators", estimate.name, measure.replace("_", " "), value, n))
    return rows


def law_row(
    check: str, variant: str, measure: str, value: float, n: int, spread: float = math.nan, wanted: str = ""
) -> SanityRow:
    """A number about the total information over n seeds, and as far to both sides as they spread, if that is known."""
    low, high = (value - spread, value + spread) if math.isfinite(spread) else (value, value)
    return SanityRow(check, variant, "total", measure, value, low, high, n, wanted)


def estimator_row(variant: str, measure: str, value: float, n: int, wanted: str) -> SanityRow:
    """A number about the total information; it has no interval."""
    return SanityRow("estimator", variant, "total", measure, value, value, value, n, wanted)
