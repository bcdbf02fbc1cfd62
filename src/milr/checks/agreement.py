"""Do the maps stand in the same order, whoever judges what is kept and removed, and whatever fills its place?

`judge` asks another network, `fill` puts something else there. The maps, and the queries, are the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from milr.baselines.methods import Methods
from milr.checks.sanity import SanityRow
from milr.data.records import Record
from milr.decisions.decisions import Batch, Decision
from milr.evaluation.intervals import RESAMPLES, bootstrap
from milr.evaluation.perturbation import Trial, at_layer, highest
from milr.evaluation.similarity import rank_correlation
from milr.evaluation.study import areas
from milr.networks.layers import LayerPair

FIRST_PLACES = 3  # that are to be the same
ALL = "all maps"

Ask = Callable[[Sequence[Record]], Decision]


@dataclass(frozen=True)
class Way:
    """A way to judge: by whose network and decision, and with what in the place of what is removed."""

    layers: LayerPair
    ask: Ask
    fill: str


@dataclass(frozen=True)
class Judged:
    """What a way found for Q queries."""

    areas: Mapping[str, Tensor]  # of each map, between the keep and the remove curve of the accuracy [Q]
    untouched: Tensor  # accuracy with everything as it is [Q]
    kept: Tensor  # accuracy with random places kept, mean over the shares [Q]
    episodes: Tensor  # of each query [Q]


def judged(
    methods: Methods,
    ways: Mapping[str, Way],
    scenes: Iterable[tuple[int, Tensor, Sequence[Record]]],
    shares: Sequence[float],
) -> dict[str, Judged]:
    """Each way's view of the maps of the first one's batches: (number, images as the network takes them, records)."""
    results: dict[str, list[Judged]] = defaultdict(list)
    first = next(iter(ways.values()))
    for number, images, records in scenes:
        maps = methods.maps(Batch(images, first.ask(records)), number)
        for name, way in ways.items():
            batch = Batch(images, way.ask(records))
            trial = at_layer(way.layers, batch, methods.explainer.modules.local, way.fill, number)
            results[name].append(seen_by(trial, maps, shares, number))
    return {name: joined(parts) for name, parts in results.items()}


def seen_by(trial: Trial, maps: Mapping[str, Tensor], shares: Sequence[float], number: int) -> Judged:
    """One batch."""
    random = torch.stack([highest(maps["random"], share, number) for share in shares])
    kept = trial(random)["accuracy"].mean(0)
    untouched = trial.batch.decided(trial.first.output).score.double().cpu()
    return Judged(areas(trial, maps, shares, number), untouched, kept, torch.full((len(kept),), number))


def joined(parts: Sequence[Judged]) -> Judged:
    """Those of several batches."""
    by_map = {name: torch.cat([part.areas[name] for part in parts]) for name in parts[0].areas}
    rest = (torch.cat([getattr(part, what) for part in parts]) for what in ("untouched", "kept", "episodes"))
    return Judged(by_map, *rest)


def agreement_rows(check: str, ways: Mapping[str, Judged]) -> list[SanityRow]:
    """The table: each way's accuracy, areas and places; how far each falls from the first's, and whether places do."""
    (name, first), *others = ways.items()
    rows = [row for way, own in ways.items() for row in own_rows(check, way, own)]
    for other, own in others:
        for map, firsts in first.areas.items():
            rows.append(mean_row(check, f"{name} - {other}", map, "area", firsts - own.areas[map], own.episodes))
        kept = first.kept - own.kept
        rows.append(mean_row(check, f"{name} - {other}", "random", "accuracy, kept", kept, own.episodes))
        variant, count = f"{name} and {other}", len(own.areas)
        alike, same = rank_agreement(first, own), float(same_first_places(first.areas, own.areas))
        rows.append(SanityRow(check, variant, ALL, "rank correlation", *alike, count, "at least 0.8"))
        wanted = str(min(FIRST_PLACES, count))
        rows.append(SanityRow(check, variant, ALL, "same first places", same, same, same, count, wanted))
    return rows


def own_rows(check: str, way: str, own: Judged) -> list[SanityRow]:
    """What one way says."""
    rows = [
        mean_row(check, way, "", "untouched accuracy", own.untouched, own.episodes),
        mean_row(check, way, "random", "accuracy, kept", own.kept, own.episodes),
    ]
    order = ranking(own.areas)
    for map, values in own.areas.items():
        rows.append(mean_row(check, way, map, "area", values, own.episodes))
        place = 1.0 + order.index(map)
        rows.append(SanityRow(check, way, map, "place", place, place, place, len(values), ""))
    return rows


def ranking(areas: Mapping[str, Tensor]) -> list[str]:
    """The maps from the largest mean area to the smallest."""
    return sorted(areas, key=lambda name: -float(areas[name].mean()))


def same_first_places(first: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> int:
    """How many of the first three places hold the same map in both, counted to the first that does not."""
    pairs = list(zip(ranking(first), ranking(other), strict=True))[:FIRST_PLACES]
    return next((place for place, (one, two) in enumerate(pairs) if one != two), len(pairs))


def rank_agreement(first: Judged, other: Judged) -> tuple[float, float, float]:
    """Spearman's correlation of the maps' mean areas, and its 95 % interval: queries drawn anew in each episode."""
    names, rows = list(first.areas), redrawn(first.episodes)
    means = []
    for view in (first, other):
        values = torch.stack([view.areas[name] for name in names])  # [maps, Q]
        drawn = torch.stack([own[rows].mean(1) for own in values], 1)  # [RESAMPLES, maps]
        means.append(torch.cat([values.mean(1)[None], drawn])[:, None])
    value, *drawn_values = rank_correlation(*means).tolist()
    low, high = torch.tensor(drawn_values).nanquantile(torch.tensor([0.025, 0.975])).tolist()
    return value, low, high


def redrawn(episodes: Tensor) -> Tensor:
    """Numbers of queries [RESAMPLES, Q]: those of each episode drawn anew, with replacement."""
    generator = torch.Generator().manual_seed(0)
    parts = []
    for episode in episodes.unique():
        own = (episodes == episode).nonzero().flatten()
        parts.append(own[torch.randint(len(own), (RESAMPLES, len(own)), generator=generator)])
    return torch.cat(parts, 1)


def mean_row(check: str, variant: str, map: str, measure: str, values: Tensor, episodes: Tensor) -> SanityRow:
    """The mean over queries [Q] with its interval."""
    mean, low, high = bootstrap(values.tolist(), episodes.tolist())
    return SanityRow(check, variant, map, measure, mean, low, high, len(values), "")
