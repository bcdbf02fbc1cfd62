"""Is the estimate of the total information right? The numbers of `milr sanity` that need no other fit."""

from __future__ import annotations

import torch

from milr.data.pictures import Pictures
from milr.evaluation.estimators import gaussian_bits, infomax_bits, sample_features
from milr.evaluation.sanity import Row, gap_share
from milr.explanation.milr import MILR
from milr.settings.schema import Sanity
from milr.stages.devices import inputs
from milr.stages.fit_milr import BATCH, estimates


def estimator_rows(explainer: MILR, pictures: dict[str, Pictures], settings: Sanity, device: torch.device) -> list[Row]:
    """The estimate, its gap, the null, and the second estimator."""
    found = information_rows("as fitted", explainer, pictures, device)
    train, held_out = (
        sample_features(explainer.layers, inputs(pictures[split].images, BATCH, device), settings.seed)
        for split in ("train", settings.dataset.split)
    )
    steps, seen, new = settings.sanity.estimator_steps, len(train.local), len(held_out.local)
    for variant, value, n, wanted in (
        ("critic alone, held out", infomax_bits(explainer, train, held_out, steps, False, settings.seed), new, ""),
        ("null: shuffled pairs", infomax_bits(explainer, train, held_out, steps, True, settings.seed), new, "0 ± 0.05"),
        ("Gaussian, held out", gaussian_bits(explainer, train, held_out, steps, settings.seed), new, ""),
        ("Gaussian, fitted images", gaussian_bits(explainer, train, train, steps, settings.seed), seen, ""),
    ):
        found.append(Row("estimator", variant, "total", "bits", value, value, value, n, wanted))
    return found


def information_rows(variant: str, explainer: MILR, pictures: dict[str, Pictures], device: torch.device) -> list[Row]:
    """The quoted estimate on fitted and held-out images, its cap, and the gap as a share of the held-out figure."""
    rows = []
    found = estimates(explainer, pictures, device)
    for split, entry in found.items():
        for measure, wanted in (("bits", ""), ("cap_bits", ""), ("saturation", "under 0.8")):
            name = f"{variant}, {split}"
            value = entry[measure]
            rows.append(Row("estimator", name, "total", measure, value, value, value, int(entry["images"]), wanted))
    gap = gap_share(found["train"]["bits"], found["novel"]["bits"])
    rows.append(Row("estimator", variant, "total", "gap", gap, gap, gap, int(found["novel"]["images"]), "under 0.25"))
    return rows
