"""Which classes a network may learn from, which choose its settings, and which stay new to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, replace
from hashlib import sha256

from milr.data.records import Catalogue, Record, Split
from milr.errors import MilrError

# What people call the folders of a split, in small letters and without "meta" and "set".
SPLIT_NAMES = {
    "train": {"train", "training", "base"},
    "validation": {"val", "valid", "validation", "dev"},
    "novel": {"test", "testing", "novel"},
}


def split_named(name: str) -> str | None:
    """The split that a folder's name stands for: "Valid" and "meta_val" are both "validation"; None for any other."""
    word = name.lower().replace("-", "_").removeprefix("meta").removesuffix("set").strip("_")
    return next((split for split, names in SPLIT_NAMES.items() if word in names), None)


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


def split_of(catalogue: Catalogue) -> Split:
    """The split of the classes that have pictures: the data set's own, else by the ids."""
    there = catalogue.class_names
    split = catalogue.split or split_classes(there)
    return Split(*(tuple(i for i in ids if i in there) for ids in astuple(split)))


def counts_of(catalogue: Catalogue) -> str:
    """How many classes each part holds, and by what rule: what an error says about a part with too few."""
    counts = ", ".join(f"{part} {len(ids)}" for part, ids in vars(split_of(catalogue)).items())
    rule = "by the folders" if catalogue.split else "odd ids train, id % 4 = 2 validation, id % 4 = 0 novel"
    return f"classes by split: {counts}; {rule}"


def of_split(catalogue: Catalogue, name: str) -> Catalogue:
    """The pictures of one part: "train", "validation", "novel", or "all". MilrError if it holds no class."""
    if name == "all":
        return catalogue
    parts = vars(split_of(catalogue))
    if name not in parts:
        raise MilrError(f"there is no split '{name}': choose one of {', '.join([*parts, 'all'])}")
    if not parts[name]:
        raise MilrError(
            f"{catalogue.root} has no {name} class ({counts_of(catalogue)}): {more_classes(catalogue, name)}"
        )
    return catalogue.only(parts[name])


HELD_OUT = 0.2  # of each class's pictures that validate, and as many that are left for looking at


def divided(catalogue: Catalogue, name: str) -> Catalogue:
    """A part of each class's pictures: "train" (about 60 %), "validation" and "novel" (20 % each), or "all".

    For networks that know all classes, whose split would leave nothing to decide. The order is that of a fingerprint of
    each picture's class and file name, the same on every machine. Where the data set has test pictures of its own, they
    are "novel", and a fifth of the others validates. MilrError for a class of fewer than three pictures.
    """
    if name == "all":
        return catalogue
    parts: list[Record] = []
    for class_id, class_name in catalogue.class_names.items():
        own = [record for record in catalogue.records if record.class_id == class_id]
        if len(own) < 3:
            raise MilrError(
                f"{class_name} has {len(own)} pictures and needs 3 at least, one each for train, validation and novel: "
                "add pictures, or take the class out"
            )
        own.sort(key=lambda record: sha256(f"{class_name}/{record.path.name}".encode()).digest())
        tests = [record for record in own if record.image_id in catalogue.tests]
        own = [record for record in own if record.image_id not in catalogue.tests]
        held_out = max(1, round(HELD_OUT * len(own))) if own else 0
        if not tests:
            tests, own = own[:held_out], own[held_out:]
        ends = {"novel": tests, "validation": own[:held_out], "train": own[held_out:]}
        if name not in ends:
            raise MilrError(f"there is no part '{name}': choose one of {', '.join([*ends, 'all'])}")
        parts += ends[name]
    return replace(catalogue, records=tuple(sorted(parts, key=lambda record: record.image_id)))


def require_episodes(catalogue: Catalogue, name: str, way: int, pictures: int) -> None:
    """MilrError where a part has not `way` classes of `pictures` pictures: an episode could not be drawn of it.

    It names the split where that is the cause: more classes would be there without it.
    """
    counts = Counter(record.class_id for record in of_split(catalogue, name).records)
    enough = sum(count >= pictures for count in counts.values())
    if enough >= way:
        return
    needed = f"{name}: an episode needs {way} classes with {pictures} pictures, and there are {enough}"
    lower = f"the episode's way to {enough}" if enough > 1 else ""
    if len(counts) >= way:
        most = sorted(counts.values(), reverse=True)[way - 1]
        raise MilrError(
            f"{needed} of {len(counts)} with as many: lower its shot or query (the {way} largest "
            f"classes have {most} or more)" + (f", or {lower}" if lower else "")
        )
    there = f"{len(counts)} of the {len(catalogue.class_names)} classes"
    sizes = f"of {min(counts.values())} to {max(counts.values())} pictures"
    raise MilrError(
        f"{needed}: this split has {there}, {sizes} ({counts_of(catalogue)}): {more_classes(catalogue, name)}"
        + (f"; or lower {lower}" if lower else "")
    )


def more_classes(catalogue: Catalogue, name: str) -> str:
    """How a part comes to more classes."""
    where = " to its folder" if catalogue.split else ""
    every = "; dataset.split=all takes all of them" if name == "novel" else ""
    return f"add classes{where}{every}"
