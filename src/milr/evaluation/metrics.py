"""What is measured of a map. A new metric is a function and a row of METRIC_KINDS or, of the curves, of MEASURES."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor
from torch.nn.functional import cosine_similarity

from milr.evaluation.location import TOP_SHARE, coverage, mass_lift, mass_share, percentile, pointing_hit, rank_accuracy

SMALL_REGION = 1 / 3  # of the frame: in a picture that is nearly all bird, any map is on the bird

CONTRASTS = {  # the parts that the paper and its readers name (4.1.2 to 4.1.4); throat and nape are among the others
    "bill, head and wing": ("beak", "crown", "forehead", "eye", "wing"),
    "tail and back": ("tail", "back"),
    "breast": ("breast",),
}
CLAIMS = {  # (map, contrast): what the paper says of one map says nothing of the others
    ("decision", "bill, head and wing"): "higher",
    ("redundant", "tail and back"): "higher",
    ("total", "breast"): "lower",
}

Place = tuple[int, int]
Group = tuple[Sequence[str], Mapping[str, Place]]  # names of parts, and where all parts of a picture are
Chance = float | Callable[[Tensor, Any], float]  # a number, or of the map and what it is taken against


@dataclass(frozen=True)
class Measure:
    """A row of MEASURES: what the curves show of a changed decision."""

    unit: str
    direction: str  # higher or lower: where a decision that stays as it was has it
    of: Callable[..., Tensor]  # (what was decided about Q, z' [K, D], z [K, D]) -> [Q] or [K]
    chance: Chance = math.nan  # against that of the decision; NaN: what the random map gets


@dataclass(frozen=True)
class MetricKind:
    """A row of METRIC_KINDS."""

    over: str  # what a map is taken against: regions, parts, or groups of parts; or curves, or pictures without parts
    direction: str  # higher or lower (is better), or none: what it should be is not known
    source: str
    unit: str = ""  # of the curves, the measure's
    of: Callable[[Tensor, Any, int], float] | None = None  # (map [H, W], region, part or group, seed of ties) -> value
    chance: Chance | None = None  # None: the measure's
    claims: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (map, subject) -> direction
    small_too: bool = False  # of small regions alone, too
    summary: bool = True  # whether the table on the screen shows it; the files hold everything


@dataclass(frozen=True)
class Metric:
    """What a number says. ValueError for a kind that METRIC_KINDS has not."""

    kind: str
    subject: str = ""  # the region, part or group
    measure: str = ""  # of a curve
    share: float | None = None  # of the places that are kept or removed
    at: str = "layer"  # whose places: the local layer's, or "pixels"
    small: bool = False  # only of regions up to SMALL_REGION
    fill: str = ""  # of a curve, what takes the place of what is removed; empty: the MI-LR module's own

    def __post_init__(self) -> None:
        if self.kind not in METRIC_KINDS:
            raise ValueError(f"there is no metric '{self.kind}': choose among {', '.join(METRIC_KINDS)}")

    @property
    def name(self) -> str:
        """As tables and charts have it: "keep 20% pixels, loss", "keep 20%, accuracy (blur)"."""
        share = "" if self.share is None else f" {self.share:.0%}"
        pixels, small = " pixels" * (self.at == "pixels"), " up to a third" * self.small
        fill = f" ({self.fill})" * bool(self.fill)
        return f"{self.kind}{share}{pixels}, {self.subject or self.measure}{small}{fill}"

    @property
    def unit(self) -> str:
        """What it counts."""
        return METRIC_KINDS[self.kind].unit or MEASURES[self.measure].unit

    @property
    def source(self) -> str:
        """Where it comes from."""
        return METRIC_KINDS[self.kind].source

    def chance(self, heat: Tensor, against: Any) -> float:
        """What a map [H, W] unrelated to the image gets against a region, part or group; of curves, its chance."""
        chance = METRIC_KINDS[self.kind].chance
        chance = MEASURES[self.measure].chance if chance is None else chance
        return chance(heat, against) if callable(chance) else chance

    def direction(self, map: str = "decision") -> str:
        """Whether "higher" or "lower" speaks for the map of this name, or "none".

        Curves are read as of a map that marks what matters; of the redundant map the opposite is asked.
        """
        kind = METRIC_KINDS[self.kind]
        direction = "none" if self.subject == "other" else kind.claims.get((map, self.subject), kind.direction)
        if self.measure and MEASURES[self.measure].direction == "lower":
            return {"higher": "lower", "lower": "higher"}.get(direction, direction)
        return direction


def contrast(heat: Tensor, group: Group, seed: int = 0) -> float:
    """Mean percentile of a map [H, W] at the visible parts of a group, minus the mean at all others.

    NaN where no part of it, or no other part, can be seen.
    """
    names, parts = group
    ranks: dict[bool, list[float]] = {True: [], False: []}
    for part, place in parts.items():  # a group names no sides: "eye" is "left eye", too
        ranks[part.removeprefix("left ").removeprefix("right ") in names].append(percentile(heat, place))
    inside, outside = ranks[True], ranks[False]
    return sum(inside) / len(inside) - sum(outside) / len(outside) if inside and outside else math.nan


def area_share(heat: Tensor, region: Tensor) -> float:
    """The region's share of the frame."""
    return float(region.double().mean())


def top_share(heat: Tensor, place: Place) -> float:
    """The share of a map's places [H, W] that count as marked."""
    return round(TOP_SHARE * heat.numel()) / heat.numel()


OWN, ARRAS, PETSIUK = "docs/method.md", "Arras, Osman, Samek 2022", "Petsiuk et al. 2018"
HESSE = "Hesse, Schaub-Meyer, Roth 2023"
METRIC_KINDS = {
    "rank accuracy": MetricKind("regions", "higher", ARRAS, "share", rank_accuracy, area_share, small_too=True),
    "pointing": MetricKind("regions", "higher", "Zhang et al. 2016", "share of images", pointing_hit, area_share),
    "mass": MetricKind("regions", "higher", ARRAS, "share of the mass", mass_share, area_share),
    "lift": MetricKind("regions", "higher", OWN, "share of mass over share of area", mass_lift, 1.0, summary=False),
    "percentile": MetricKind("parts", "none", OWN, "share of places", percentile, 0.5),
    "coverage": MetricKind("parts", "none", OWN, "share of images", coverage, top_share, summary=False),
    "contrast": MetricKind("groups", "none", "the paper, 4.1", "share of places", contrast, 0.0, CLAIMS),
    "completeness": MetricKind("removals", "higher", HESSE, "share", chance=math.nan),
    "synthetic data check": MetricKind("removals", "higher", HESSE, "share of parts", chance=math.nan, summary=False),
    "preservation": MetricKind("removals", "higher", HESSE, "share of images", chance=math.nan, summary=False),
    "deletion": MetricKind("removals", "higher", HESSE, "share of images", chance=math.nan, summary=False),
    "distractibility": MetricKind("removals", "higher", HESSE, "share of parts", chance=math.nan, summary=False),
    "correctness": MetricKind("removals", "higher", HESSE, "rank correlation, 0 to 1", chance=math.nan),
    "contrastivity": MetricKind("removals", "higher", HESSE, "share of classes", chance=0.5),
    "untouched": MetricKind("curves", "none", "the network"),
    "keep": MetricKind("curves", "higher", PETSIUK, summary=False),
    "remove": MetricKind("curves", "lower", PETSIUK, summary=False),
    "area": MetricKind("curves", "higher", PETSIUK, chance=math.nan),
}
MEASURES = {
    "accuracy": Measure("share of queries", "higher", lambda decided, *_: decided.score, lambda _, chance: chance),
    "loss": Measure("nats", "lower", lambda decided, *_: decided.loss),
    "cosine": Measure("cosine", "higher", lambda decided, changed, z: cosine_similarity(changed, z)),
}


def location_measurements(
    heat: Tensor, regions: Mapping[str, Tensor], parts: Mapping[str, Place], seed: int
) -> dict[Metric, tuple[float, float]]:
    """Metric -> (value, chance) of one map [H, W] against the regions and parts of its image."""
    groups = {name: (group, parts) for name, group in CONTRASTS.items()} if parts else {}
    measurements = {}
    for over, marks in {"regions": regions, "parts": parts, "groups": groups}.items():
        for subject, marked in marks.items():
            for name, kind in METRIC_KINDS.items():
                if kind.over == over and kind.of:
                    metric = Metric(name, subject)
                    value = kind.of(heat, marked, seed), metric.chance(heat, marked)
                    measurements[metric] = value
                    if kind.small_too and value[1] <= SMALL_REGION:
                        measurements[replace(metric, small=True)] = value
    return measurements
