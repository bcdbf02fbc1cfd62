"""Which classes a network may learn from, which choose its settings, and which stay new to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from milr.data.records import Catalogue
from milr.errors import MilrError


@dataclass(frozen=True)
class Split:
    """Class ids of the three parts; no class is in two."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    novel: tuple[int, ...]


def split_classes(class_ids: Iterable[int]) -> Split:
    """The rule of "A Closer Look at Few-shot Classification" (Chen et al. 2019) on ids counted from 1.

    Odd ids train, id % 4 = 2 validation, id % 4 = 0 novel. A root that holds only some classes is split by the same
    rule, so that a class is in the same part wherever it appears.
    """
    ids = sorted(set(class_ids))
    return Split(
        train=tuple(i for i in ids if i % 2 == 1),
        validation=tuple(i for i in ids if i % 4 == 2),
        novel=tuple(i for i in ids if i % 4 == 0),
    )


def of_split(catalogue: Catalogue, name: str) -> Catalogue:
    """The pictures of one part: "train", "validation", "novel", or "all". MilrError if it holds no class."""
    if name == "all":
        return catalogue
    split = split_classes(catalogue.class_names)
    parts = {"train": split.train, "validation": split.validation, "novel": split.novel}
    if name not in parts:
        raise MilrError(f"there is no split '{name}': choose one of {', '.join([*parts, 'all'])}")
    if not parts[name]:
        counts = ", ".join(f"{part} {len(ids)}" for part, ids in parts.items())
        raise MilrError(
            f"{catalogue.root} has no {name} class (classes by split: {counts}); dataset.split=all takes all"
        )
    return catalogue.only(parts[name])
