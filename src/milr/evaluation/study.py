"""One episode measured: where every map points, and what keeping or removing its places does to the decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from milr.data.pictures import Pictures
from milr.evaluation.methods import all_maps
from milr.evaluation.perturbation import area_between, decide_with, highest
from milr.evaluation.regions import framing_of, parts_of, regions_of
from milr.evaluation.tables import Measurement, location_measurements
from milr.explanation.fitting import Batch
from milr.explanation.milr import MILR
from milr.information.bottleneck import noise_like

NO_CHANCE = float("nan")  # what the random map gets is the chance of a curve


def measure_episode(
    explainer: MILR, batch: Batch, pictures: Pictures, crop: str, shares: Sequence[float], episode: int
) -> list[Measurement]:
    """Every metric of every map for the episode's pictures, supports first.

    `shares` are the parts of the places that are kept or removed, rising, in (0, 1). Accuracy, loss and their areas
    are the queries', the cosine of z and z' is every picture's.
    """
    files = [str(record.path) for record in pictures.records]
    rows = []
    for name, heat in all_maps(explainer, batch, seed=episode).items():
        for file, metric, value, chance in locations(heat, pictures, crop):
            rows.append(Measurement(name, episode, file, metric, value, chance))
        for metric, values in curves(explainer, batch, heat, shares, episode).items():
            queries = files[len(files) - len(values) :]
            rows += [
                Measurement(name, episode, file, metric, value, NO_CHANCE)
                for file, value in zip(queries, values.tolist(), strict=True)
            ]
    return rows


def locations(heat: Tensor, pictures: Pictures, crop: str) -> Iterator[tuple[str, str, float, float]]:
    """(file, metric, value, chance) of each map [K, H, W] against what is marked on its picture."""
    shape, size = (heat.shape[1], heat.shape[2]), pictures.images.shape[-1]
    for number, record in enumerate(pictures.records):
        framing = framing_of(record, crop, size)
        regions, parts = regions_of(record, framing, shape), parts_of(record, framing, shape)
        for metric, (value, chance) in location_measurements(heat[number], regions, parts, seed=number).items():
            yield str(record.path), metric, value, chance


def curves(explainer: MILR, batch: Batch, heat: Tensor, shares: Sequence[float], seed: int) -> dict[str, Tensor]:
    """Metric -> values: accuracy and loss [Q] and cosine [K] at each share, areas between keep and remove, and the
    untouched network's accuracy, which no map changes."""
    first = explainer.layers.first_pass(batch.images)
    generator = torch.Generator().manual_seed(seed)
    noise = noise_like(explainer.prepared.local, tuple(first.local.shape), generator)
    fill = explainer.settings.mask.fill
    logits, labels = batch.decide(first.output)
    found: dict[str, Tensor] = {"untouched, accuracy": (logits.argmax(1) == labels).double().cpu()}
    rows: dict[tuple[str, str], list[Tensor]] = {}
    for share in shares:
        high = highest(heat, share, seed).to(batch.images.device)
        for what, kept in (("keep", high), ("remove", ~high)):
            decided = decide_with(explainer.layers, first, batch.images, batch.decide, kept, fill, noise)
            for measure, values in decided.items():
                found[f"{what} {share:.0%}, {measure}"] = values
                rows.setdefault((what, measure), []).append(values)
    for measure in ("accuracy", "cosine"):
        keep, remove = (torch.stack(rows[what, measure], dim=1) for what in ("keep", "remove"))
        found[f"area, {measure}"] = area_between(keep, remove, torch.tensor(list(shares), dtype=keep.dtype))
    return found
