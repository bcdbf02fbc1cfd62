"""`mask_only`: does a map write its picture's class into its own shape, beside what it is to show?

A mask that is learned for all pictures at once can pass the answer on instead of what gives it (Jethani et al. 2021,
"Have We Learned to Explain? How Interpretability Methods Can Learn to Encode Predictions in their Interpretations",
arXiv 2103.01890). A classifier that sees the mask alone then knows the class. So it does where the mask follows a shape
that is the species' own: beside it stand what random shapes of the same values, the object's outline, and maps that
follow the picture tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from milr.bars import bar
from milr.baselines.methods import Methods
from milr.checks.random_shapes import random_twins
from milr.checks.sanity import SanityRow
from milr.checks.shape_reader import FOLDS, hits, map_features
from milr.data.augmentation import to_device, to_input
from milr.data.pictures import Pictures
from milr.decisions.decision_kinds import classify
from milr.decisions.decisions import Batch, Decision
from milr.decisions.inputs import own_modes
from milr.errors import MilrError
from milr.evaluation.intervals import bootstrap
from milr.evaluation.regions import framing_of, regions_of
from milr.explanation.dataset_decisions import DatasetDecision, class_numbers, outputs
from milr.explanation.milr import MILR
from milr.networks.prototypes import logits, prototypes

FOLLOWING = ("activation", "edges")  # controls that follow the picture, and were not fitted to its class
CHANNELS = "mask, by channel"
AT_ONCE = 32  # pictures
OUTLINES = ("box", "bird", "defining")
AS_IT_IS, RANDOM, WRITTEN = "as it is", "random shape", "one random shape a class"


def mask_only_rows(
    methods: Methods,
    decision: DatasetDecision,
    pictures: Sequence[Pictures],
    crop: str,
    seed: int,
    device: torch.device,
) -> list[SanityRow]:
    """The table: what each map of pictures of known classes tells of their class. MilrError for too few pictures."""
    known = enough_of_each(joined(pictures))
    labels = known.labels.unique(return_inverse=True)[1]
    maps = maps_of(methods, known, decision_of(decision, methods, known, labels, device), seed, device)
    return accuracy_rows(maps, outlines(known, crop, maps["mask"].shape[1:]), labels, seed)


def joined(pictures: Sequence[Pictures]) -> Pictures:
    """The pictures of several parts."""
    images, labels = (torch.cat([getattr(part, what) for part in pictures]) for what in ("images", "labels"))
    records = tuple(record for part in pictures for record in part.records)
    return Pictures(images, labels, records, pictures[0].normalisation)


def enough_of_each(pictures: Pictures) -> Pictures:
    """Those of classes with a picture for each fold."""
    ids, counts = pictures.labels.unique(return_counts=True)
    kept = torch.isin(pictures.labels, ids[counts >= FOLDS]).nonzero().flatten()
    if int((counts >= FOLDS).sum()) < 2:
        raise MilrError(
            f"sanity.checks=mask_only needs 2 classes of {FOLDS} pictures or more, to classify their masks, and of "
            f"the {len(ids)} classes that the network knows {int((counts >= FOLDS).sum())} have as many: leave it out"
        )
    records = tuple(pictures.records[index] for index in kept.tolist())
    return Pictures(pictures.chosen(kept), pictures.labels[kept], records, pictures.normalisation)


def decision_of(
    decision: DatasetDecision, methods: Methods, pictures: Pictures, labels: Tensor, device: torch.device
) -> Callable[[Tensor], Decision]:
    """What baselines explain of pictures [k], numbers: their class among all of them.

    Prototypes are those of all pictures, since an episode has no more than a few classes.
    """
    if decision.section.name == "classes":
        numbers = class_numbers(decision, pictures.records)
        return lambda chosen: classify(numbers[chosen], decision.head)
    metric, mean = decision.network.metric, decision.network.mean
    given = outputs(methods.explainer, pictures, device)
    each = torch.stack([prototypes(given[labels == label], metric, mean) for label in range(int(labels.max()) + 1)])
    return lambda chosen: lambda output: (logits(output, each, metric, mean), labels[chosen].to(output.device))


def maps_of(
    methods: Methods,
    pictures: Pictures,
    decision: Callable[[Tensor], Decision],
    seed: int,
    device: torch.device,
) -> dict[str, Tensor]:
    """Name -> [n, H, W] of all pictures: the mask, the decision map, the baselines', and the controls to hold beside.

    And how far the mask is open in each channel [n, channels], whatever the place.
    """
    parts: dict[str, list[Tensor]] = {}
    batches = torch.arange(len(pictures.labels)).split(AT_ONCE)
    for number, chosen in enumerate(bar(batches, desc="masks", unit="batch")):
        images = to_input(to_device(pictures.chosen(chosen), device), normalisation=pictures.normalisation)
        made = methods.maps(Batch(images, decision(chosen)), seed + number)
        mask = mask_of(methods.explainer, images)
        made |= {"mask": mask.mean(1), CHANNELS: mask.mean((2, 3))}
        for name in ("mask", CHANNELS, "decision", *methods.baselines, *FOLLOWING):
            parts.setdefault(name, []).append(made[name])
    return {name: torch.cat(maps) for name, maps in parts.items()}


def mask_of(explainer: MILR, images: Tensor) -> Tensor:
    """The mask itself [K, channels, H, W] on the CPU."""
    with own_modes(explainer.layers, gradients=False):
        modules = explainer.ready().eval()
        return modules.mask(explainer.layers.first_pass(images).stages, explainer.layers.grid).cpu()


def outlines(pictures: Pictures, crop: str, shape: Sequence[int]) -> dict[str, Tensor]:
    """Name -> [n, H, W], 1 within what is marked, of the kinds of regions that every picture has."""
    size, (height, width) = pictures.images.shape[-1], shape
    regions = [regions_of(record, framing_of(record, crop, size), (height, width)) for record in pictures.records]
    there = [name for name in OUTLINES if all(name in each for each in regions)]
    return {f"outline: {name}": torch.stack([each[name].float() for each in regions]) for name in there}


def accuracy_rows(
    maps: Mapping[str, Tensor], outlines: Mapping[str, Tensor], labels: Tensor, seed: int
) -> list[SanityRow]:
    """The accuracy of each map [n, H, W], of its twins of random shapes, and the difference; of outlines the first.

    The mask with one random shape for each class is what the classifier would tell if the label were written.
    """
    rows = [row_of("chance", "", "accuracy", torch.full((len(labels),), 1 / (int(labels.max()) + 1)))]
    for name, own in maps.items():
        if name == CHANNELS:
            rows.append(row_of(AS_IT_IS, name, "accuracy", hits(own, labels, seed)))
            continue
        right = hits(map_features(own), labels, seed)
        by_chance = hits(map_features(random_twins(own, range(len(own)), seed)), labels, seed)
        rows.append(row_of(AS_IT_IS, name, "accuracy", right))
        rows.append(row_of(RANDOM, name, "accuracy", by_chance))
        wanted = "" if name in FOLLOWING else "at most 0.05"
        rows.append(row_of(f"{AS_IT_IS} - {RANDOM}", name, "accuracy", right - by_chance, wanted))
    written = random_twins(maps["mask"], labels.tolist(), seed)
    rows.append(row_of(WRITTEN, "mask", "accuracy", hits(map_features(written), labels, seed), "well over the rest"))
    return rows + [
        row_of(AS_IT_IS, name, "accuracy", hits(map_features(own), labels, seed)) for name, own in outlines.items()
    ]


def row_of(variant: str, map: str, measure: str, values: Tensor, wanted: str = "") -> SanityRow:
    """The mean over pictures [n] with its interval."""
    mean, low, high = bootstrap(values.tolist(), [0] * len(values))
    return SanityRow("mask_only", variant, map, measure, mean, low, high, len(values), wanted)
