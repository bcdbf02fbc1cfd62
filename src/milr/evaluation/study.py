"""One episode measured: where every map points, and what keeping or removing its places does to the decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from milr.data.pictures import Pictures
from milr.evaluation.metrics import MEASURES, Metric, location_measurements
from milr.evaluation.perturbation import Trial, area_between, at_layer, at_pixels, highest, to_pixels
from milr.evaluation.regions import framing_of, parts_of, regions_of
from milr.evaluation.tables import Measurement
from milr.explanation.fitting import Batch
from milr.explanation.milr import MILR
from milr.networks.layers import frozen
from milr.seeding import seed_of


@dataclass(frozen=True)
class Shares:
    """The parts, rising, in (0, 1), of the layer's places and of the pixels that are kept or removed."""

    places: Sequence[float]
    pixels: Sequence[float] = ()  # none: no trials at the pixels


def measure_episode(
    explainer: MILR,
    batch: Batch,
    maps: Mapping[str, Tensor],
    pictures: Pictures,
    crop: str,
    shares: Shares,
    episode: int,
) -> list[Measurement]:
    """Every metric of every map [K, H, W] for the episode's pictures, supports first.

    Accuracy, loss and their areas are the queries', the cosine of z and z' is every picture's.
    """
    files = [str(record.path) for record in pictures.records]
    first = explainer.layers.first_pass(batch.images)
    with torch.no_grad(), frozen(explainer.layers.network, *batch.modules):
        decided = batch.decided(first.output)
    asked = decided.owners(len(files))
    untouched = {Metric("untouched", measure="accuracy"): decided.score.double().cpu()}
    layer, pixels = (place(explainer, batch, first, episode) for place in (at_layer, at_pixels))
    rows = []
    for name, heat in maps.items():
        for file, metric, value, chance in locations(heat, pictures, crop, episode):
            rows.append(Measurement(name, episode, file, metric, value, chance))
        result = untouched | curves(layer, heat, shares.places, episode, batch.images.device)
        if shares.pixels:
            wide = to_pixels(heat, (batch.images.shape[2], batch.images.shape[3]))
            result |= curves(pixels, wide, shares.pixels, episode, batch.images.device, "pixels")
        for metric, values in result.items():
            chance = metric.chance(heat, decided.chance)
            owners = range(len(files)) if len(values) == len(files) else asked
            rows += [
                Measurement(name, episode, files[owner], metric, value, chance)
                for owner, value in zip(owners, values.tolist(), strict=True)
            ]
    return rows


def locations(
    heat: Tensor, pictures: Pictures, crop: str, episode: int = 0
) -> Iterator[tuple[str, Metric, float, float]]:
    """(file, metric, value, chance) of each map [K, H, W] against what is marked on its picture."""
    shape, size = (heat.shape[1], heat.shape[2]), pictures.images.shape[-1]
    for number, record in enumerate(pictures.records):
        framing = framing_of(record, crop, size)
        regions, parts = regions_of(record, framing, shape), parts_of(record, framing, shape)
        seed = seed_of("ties", episode, number)
        for metric, (value, chance) in location_measurements(heat[number], regions, parts, seed).items():
            yield str(record.path), metric, value, chance


def curves(
    trial: Trial, heat: Tensor, shares: Sequence[float], seed: int, device: torch.device, at: str = "layer"
) -> dict[Metric, Tensor]:
    """Each measure, [Q] or [K], with each share kept and removed, and the areas between keep and remove."""
    curve: dict[Metric, Tensor] = {}
    for share in shares:
        high = highest(heat, share, seed).to(device)
        for kind, kept in (("keep", high), ("remove", ~high)):
            for measure, values in trial(kept).items():
                curve[Metric(kind, "", measure, share, at)] = values
    for measure in (name for name, row in MEASURES.items() if row.direction == "higher"):
        keep, remove = (
            torch.stack([curve[Metric(kind, "", measure, share, at)] for share in shares], dim=1)
            for kind in ("keep", "remove")
        )
        area = area_between(keep, remove, torch.tensor(list(shares), dtype=keep.dtype))
        curve[Metric("area", "", measure, at=at)] = area
    return curve
