"""Every map of a batch held against interventions: what is found of each picture, and the metrics that follow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from milr.baselines.methods import Methods
from milr.data.records import Record
from milr.decisions.decisions import Batch, asking_for
from milr.evaluation.location import mass_lift, mass_share
from milr.evaluation.metrics import Metric
from milr.evaluation.perturbation import to_pixels
from milr.evaluation.protocol import (
    CHECKS,
    THRESHOLDS,
    Contrast,
    checks,
    contrast_holds,
    contrastivity,
    correctness,
    part_sums,
)
from milr.evaluation.removals import Change, Removed, Subject, members, removed
from milr.evaluation.tables import Measurement
from milr.networks.layers import frozen

OWN, BEST = "threshold of validation", "best threshold"  # where completeness has its threshold from


@dataclass(frozen=True)
class PictureResult:
    """What was measured of one picture."""

    episode: int
    case: Removed
    sums: Mapping[str, Tensor]  # of each map over parts and things [P + T]
    totals: Mapping[str, float]  # of each map over the whole picture
    located: Sequence[Measurement]  # the share of each map in each part
    mask: Tensor  # its mean over each part [P], NaN where a part is hidden


def picture_results(
    subject: Subject, methods: Methods, batch: Batch, records: Sequence[Record], classes: Sequence[int], episode: int
) -> list[PictureResult]:
    """Of each picture that a batch decides about. classes: the class id of each answer."""
    maps, size = methods.maps(batch, seed=episode), batch.images.shape[-1]
    cases = removed(subject, batch, records, classes)
    parts = subject.interventions.parts
    with torch.no_grad(), frozen(subject.explainer.layers.network, *batch.modules):
        first = subject.explainer.layers.first_pass(batch.images)
        owners = batch.decided(first.output).owners(len(records))
        mask = subject.explainer.ready().eval().mask(first.stages, subject.explainer.layers.grid)
    masks = to_pixels(mask.mean(1).cpu(), size)
    wide = {name: to_pixels(heat, size) for name, heat in maps.items()}
    result = []
    for owner, case in zip(owners, cases, strict=True):
        own = {name: heat[owner] for name, heat in wide.items()}
        located = [
            Measurement(name, episode, case.file, Metric(kind, part), measure(heat, area), chance_of(kind, area))
            for name, heat in own.items()
            for part, area in zip(parts, case.areas, strict=False)
            for kind, measure in (("mass", mass_share), ("lift", mass_lift))
        ]
        sums = {name: part_sums(heat, case.areas) for name, heat in own.items()}
        totals = {name: float(heat.double().sum()) for name, heat in own.items()}
        area = case.areas[: len(parts)]
        inside = part_sums(masks[owner], area) / area.sum((1, 2))
        result.append(PictureResult(episode, case, sums, totals, located, inside))
    return result


def chance_of(kind: str, area: Tensor) -> float:
    """What a constant map gets of a share of the mass, or of its density."""
    return float(area.double().mean()) if kind == "mass" else 1.0


def table_of_checks(results: Sequence[PictureResult], name: str) -> dict[str, Tensor]:
    """The four parts of completeness of one map: each [pictures, N]."""
    rows = [checks(one.case, one.sums[name], one.totals[name]) for one in results]
    return {check: torch.stack([row[check] for row in rows]) for check in CHECKS}


def completeness(table: Mapping[str, Tensor]) -> Tensor:
    """Half of it the mean of the first three, half distractibility, each a mean over the pictures that it is asked of:
    [N] (Hesse et al. 2023)."""
    means = {check: values.nanmean(0) for check, values in table.items()}
    return (sum(means[check] for check in CHECKS[:3]) / 3 + means[CHECKS[3]]) / 2


def best_threshold(table: Mapping[str, Tensor]) -> int:
    """The place in THRESHOLDS with the highest completeness."""
    return int(completeness(table).nan_to_num(-1).argmax())


def completeness_rows(
    results: Sequence[PictureResult], name: str, table: Mapping[str, Tensor], place: int, whose: str
) -> list[Measurement]:
    """Completeness and its parts at one threshold. A picture's completeness is its share of the mean of all."""
    rows, weighted = [], {}
    for check in CHECKS:
        values = table[check][:, place]
        counted = ~values.isnan()
        weighted[check] = torch.where(counted, values, 0) * len(values) / counted.sum()
        rows += rows_of(results, name, Metric(check, whose), values)
    whole = (sum(weighted[check] for check in CHECKS[:3]) / 3 + weighted[CHECKS[3]]) / 2
    return rows_of(results, name, Metric("completeness", whose), whole) + rows


def correctness_rows(results: Sequence[PictureResult], name: str) -> list[Measurement]:
    """By the logit, as Hesse et al. have it, and by the log probability, which says more of a decision among few."""
    rows = []
    for what in ("logit", "log probability"):
        values = []
        for one in results:
            count = len(one.case.look)
            drops: Sequence[float] | Tensor = one.case.drops()[:count]
            if what == "log probability":
                drops = [one.case.log_probability_drop([part]) for part in range(count)]
            values.append(correctness(one.sums[name][:count], drops))
        rows += rows_of(results, name, Metric("correctness", what), torch.tensor(values))
    return rows


def rows_of(results: Sequence[PictureResult], name: str, metric: Metric, values: Tensor) -> list[Measurement]:
    """A row for each picture."""
    return [
        Measurement(name, one.episode, one.case.file, metric, value, math.nan)
        for one, value in zip(results, values.tolist(), strict=True)
    ]


def contrast_rows(
    subject: Subject,
    methods: Methods,
    batch: Batch,
    records: Sequence[Record],
    contrasts: Sequence[Contrast | None],
    episode: int,
) -> list[Measurement]:
    """Contrastivity of every map, of the items that have a contrast (by the numbers of their answers) which holds.

    By the maps' sums over the parts, as Hesse et al. have it, and by the shares of the whole map that these are.
    """
    with torch.no_grad(), frozen(subject.explainer.layers.network, *batch.modules):
        decided = batch.decided(subject.explainer.layers.first_pass(batch.images).output)
    given, owners, size = decided.explained().cpu(), decided.owners(len(records)), batch.images.shape[-1]
    pairs = [(item, contrast) for item, contrast in enumerate(contrasts) if contrast]
    changes = [Change(item, members(number)) for item, contrast in pairs for number in contrast.sets]
    if not changes:
        return []
    logits = subject.decided(batch, records, changes).view(len(pairs), 3, -1)
    pairs = [pair for pair, own in zip(pairs, logits, strict=True) if contrast_holds(own, pair[1].classes)]
    maps = []
    for number in range(2):  # anew for each class, also what is drawn at random
        answers = given.clone()
        for item, contrast in pairs:
            answers[item] = contrast.classes[number]
        own = methods.maps(asking_for(batch, answers.to(batch.images.device)), seed=2 * episode + number)
        maps.append({name: to_pixels(heat, size) for name, heat in own.items()})
    rows = []
    for item, contrast in pairs:
        record = records[owners[item]]
        areas = subject.areas(record, size)[: len(subject.interventions.parts)]
        for name in maps[0]:
            heats = [own[name][owners[item]] for own in maps]
            sums = [part_sums(heat, areas) for heat in heats]
            shares = [own / heat.double().sum() for own, heat in zip(sums, heats, strict=True)]
            for what, (one, other) in (("sums", sums), ("shares", shares)):
                value = contrastivity(contrast, (one, other))
                rows.append(Measurement(name, episode, str(record.path), Metric("contrastivity", what), value, 0.5))
    return rows


def all_rows(
    results: Sequence[PictureResult], names: Sequence[str], chosen: Mapping[str, int]
) -> tuple[list[Measurement], dict[str, dict[str, float]]]:
    """All measurements of some pictures, with the thresholds of `chosen` (of each map, or none) and with the best ones;
    and of each map its thresholds."""
    rows, thresholds = [], dict[str, dict[str, float]]()
    for name in names:
        table = table_of_checks(results, name)
        places = {BEST: best_threshold(table)} | ({OWN: chosen[name]} if name in chosen else {})
        for whose, place in sorted(places.items(), reverse=True):
            rows += completeness_rows(results, name, table, place, whose)
        rows += correctness_rows(results, name)
        thresholds[name] = {whose: float(THRESHOLDS[place]) for whose, place in places.items()}
    located = [row for one in results for row in one.located]
    return rows + located, thresholds
