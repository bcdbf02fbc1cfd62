"""The metrics by the names that they have in tables, and which way each speaks for a map that marks what matters."""

from __future__ import annotations

from torch import Tensor

from milr.evaluation.location import TOP_SHARE, coverage, mass_lift, mass_share, percentile, pointing_hit, rank_accuracy

SMALL_REGION = 1 / 3  # of the frame: in a picture that is nearly all bird, any map is on the bird
SMALL = " up to a third"  # how the name of a metric ends that is of small regions alone

LOCATION = ("rank accuracy", "pointing", "mass", "lift")

CONTRASTS = {  # the parts that the paper and its readers name (4.1.2 to 4.1.4); throat and nape are among the others
    "bill, head and wing": ("beak", "crown", "forehead", "eye", "wing"),
    "tail and back": ("tail", "back"),
    "breast": ("breast",),
}
CLAIMS = {  # what the paper says of one map says nothing of the others
    ("decision", "contrast, bill, head and wing"): "higher",
    ("redundant", "contrast, tail and back"): "higher",
    ("total", "contrast, breast"): "lower",
}


def direction(metric: str, name: str = "decision") -> str:
    """Whether "higher" or "lower" speaks for the map of this name, or "none": what it should be is not known.

    Keep and remove curves are read as of a map that marks what matters; of the redundant map the opposite is asked.
    """
    what, _, measure = metric.removesuffix(SMALL).rpartition(", ")
    if what.startswith(("untouched", "percentile", "coverage")) or measure == "other":
        return "none"
    if what.startswith("contrast"):
        return CLAIMS.get((name, metric), "none")
    if what.startswith("keep"):
        return "lower" if measure == "loss" else "higher"
    if what.startswith("remove"):
        return "higher" if measure == "loss" else "lower"
    if what.startswith("area") or metric.partition(", ")[0] in LOCATION:
        return "higher"
    raise ValueError(f"the metric '{metric}' has no direction")


def location_measurements(
    heat: Tensor, regions: dict[str, Tensor], parts: dict[str, tuple[int, int]], seed: int
) -> dict[str, tuple[float, float]]:
    """Metric -> (value, chance) of one map [H, W] against the regions and parts of its image."""
    found = {}
    for name, region in regions.items():
        chance = float(region.double().mean())
        rank = rank_accuracy(heat, region, seed)
        found[f"rank accuracy, {name}"] = (rank, chance)
        if chance <= SMALL_REGION:
            found[f"rank accuracy, {name}{SMALL}"] = (rank, chance)
        found[f"pointing, {name}"] = (pointing_hit(heat, region, seed), chance)
        found[f"mass, {name}"] = (mass_share(heat, region), chance)
        found[f"lift, {name}"] = (mass_lift(heat, region), 1.0)
    for name, place in parts.items():
        found[f"percentile, {name}"] = (percentile(heat, place), 0.5)
        found[f"coverage, {name}"] = (coverage(heat, place, seed), round(TOP_SHARE * heat.numel()) / heat.numel())
    for name, group in CONTRASTS.items() if parts else ():
        found[f"contrast, {name}"] = (contrast(heat, parts, group), 0.0)
    return found


def contrast(heat: Tensor, parts: dict[str, tuple[int, int]], group: tuple[str, ...]) -> float:
    """Mean percentile of a map [H, W] at the visible parts of a group, minus the mean at all others; chance is 0.

    The paper's claims as numbers; the group names no sides. NaN where no part of it, or no other part, can be seen.
    """
    ranks = {name: percentile(heat, place) for name, place in parts.items()}
    inside = [rank for name, rank in ranks.items() if without_side(name) in group]
    outside = [rank for name, rank in ranks.items() if without_side(name) not in group]
    if not inside or not outside:
        return float("nan")
    return sum(inside) / len(inside) - sum(outside) / len(outside)


def without_side(part: str) -> str:
    """ "left eye" -> "eye"."""
    return part.removeprefix("left ").removeprefix("right ")
