"""One episode measured: where every map points, and what keeping or removing its places does to the decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from milr.data.pictures import Pictures
from milr.decisions.decisions import Decided
from milr.evaluation.metrics import MEASURES, Metric, location_measurements
from milr.evaluation.perturbation import Trial, area_between, at_layer, at_pixels, places_in_order, to_pixels
from milr.evaluation.regions import Marks, marks_of
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
    fills: Sequence[str] = ()  # rows of FILLS that the places are filled with beside the module's own

    @property
    def passes(self) -> int:
        """Of each image, for each map."""
        return 2 * (len(self.places) * (1 + len(self.fills)) + len(self.pixels))


@dataclass(frozen=True)
class Ground:
    """What every map of an episode is measured against: made once for all of them."""

    episode: int
    files: Sequence[str]  # of its K pictures, supports first
    marks: Sequence[Marks]
    decided: Decided  # of the untouched network
    trials: Sequence[tuple[Trial, Sequence[float]]]  # with the shares of each

    @classmethod
    def of(cls, explainer: MILR, batch: Batch, pictures: Pictures, crop: str, shares: Shares, episode: int) -> Ground:
        """Of a batch and its pictures; the decision is the explained network's own."""
        layers, own = explainer.layers, explainer.settings.mask.fill
        first = layers.first_pass(batch.images)
        with torch.no_grad(), frozen(layers.network, *batch.modules):
            decided = batch.decided(first.output)
        scale = explainer.modules.local
        trials = [(at_layer(layers, batch, scale, own, episode, first), shares.places)]
        for fill in shares.fills:
            trial = at_layer(layers, batch, scale, fill, episode, first)
            trials.append((replace(trial, fill=fill), shares.places))
        if shares.pixels:
            trials.append((at_pixels(layers, batch, own, episode, first), shares.pixels))
        shape, size = layers.grid, pictures.images.shape[-1]
        marks = [marks_of(record, crop, size, shape) for record in pictures.records]
        files = [str(record.path) for record in pictures.records]
        return cls(episode, files, marks, decided, trials)

    def rows(self, name: str, heat: Tensor, fit: int = 0) -> list[Measurement]:
        """Every metric of a map [K, H, W] of the fit with this seed.

        Accuracy, loss and their areas are the queries', the cosine of z and z' is every picture's.
        """
        row = partial(Measurement, name, self.episode, fit=fit)
        rows = [
            row(self.files[number], metric, value, chance)
            for number, metric, value, chance in locations(heat, self.marks, self.episode)
        ]
        result = {Metric("untouched", measure="accuracy"): self.decided.score.double().cpu()}
        for trial, shares in self.trials:
            result |= curves(trial, heat, shares, self.episode)
        asked = self.decided.owners(len(self.files))
        for metric, values in result.items():
            chance = metric.chance(heat, self.decided.chance)
            owners = range(len(self.files)) if len(values) == len(self.files) else asked
            rows += [
                row(self.files[owner], metric, value, chance)
                for owner, value in zip(owners, values.tolist(), strict=True)
            ]
        return rows


def locations(heat: Tensor, marks: Sequence[Marks], episode: int = 0) -> Iterator[tuple[int, Metric, float, float]]:
    """(picture, metric, value, chance) of each map [K, H, W] against what is marked on its picture."""
    for number, marked in enumerate(marks):
        seed = seed_of("ties", episode, number)
        for metric, (value, chance) in location_measurements(heat[number], *marked, seed).items():
            yield number, metric, value, chance


def curves(trial: Trial, heat: Tensor, shares: Sequence[float], seed: int) -> dict[Metric, Tensor]:
    """Each measure, [Q] or [K], with each share kept and removed, and the areas between keep and remove.

    heat: a map of each image of the trial's batch [K, H, W], brought to the pictures' size for a trial at the pixels.
    """
    if trial.at == "pixels":
        heat = to_pixels(heat, (trial.whole.shape[2], trial.whole.shape[3]))
    order, metric = places_in_order(heat, seed), partial(Metric, subject="", at=trial.at, fill=trial.fill)
    kept = torch.stack([order < round(share * heat[0].numel()) for share in shares])
    measured = {"keep": trial(kept), "remove": trial(~kept)}
    curve = {
        metric(kind, measure=measure, share=share): measured[kind][measure][number]
        for number, share in enumerate(shares)
        for kind in measured
        for measure in MEASURES
    }
    for measure in (name for name, row in MEASURES.items() if row.direction == "higher"):
        keep, remove = (measured[kind][measure].T for kind in ("keep", "remove"))
        area = area_between(keep, remove, torch.tensor(list(shares), dtype=keep.dtype))
        curve[metric("area", measure=measure)] = area
    return curve


def areas(trial: Trial, maps: Mapping[str, Tensor], shares: Sequence[float], seed: int) -> dict[str, Tensor]:
    """Of each map [K, H, W] the area between the keep and the remove curve of the accuracy, for each query [Q]."""
    area = Metric("area", "", "accuracy", at=trial.at, fill=trial.fill)
    return {name: curves(trial, heat, shares, seed)[area] for name, heat in maps.items()}
