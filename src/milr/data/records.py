"""What is known about each picture of a data set, before any pixel is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the original picture as it is seen (CUB's `x y width height`)."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Record:
    """One picture: where it lies, what it shows, and what its annotators marked.

    Box, parts and masks refer to the picture as it is seen: after the turn that its EXIF asks for, if it does.
    `parts` holds the visible parts only, name -> (x, y) in pixels of the original picture.
    `defining_mask` exists for drawn birds alone: the mask of the parts that define the species.
    """

    image_id: int
    path: Path
    class_id: int  # the official id, counted from 1
    class_name: str  # e.g. "012.Yellow_headed_Blackbird"
    box: Box | None = None
    parts: dict[str, tuple[float, float]] = field(default_factory=dict)
    segmentation: Path | None = None
    defining_mask: Path | None = None


@dataclass(frozen=True)
class Split:
    """Class ids of the three parts; no class is in two."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    novel: tuple[int, ...]


@dataclass(frozen=True)
class Catalogue:
    """The pictures of one data set, in the order of their image ids.

    `split` is the data set's own, where it has one. `notes` are lines for the user: what was left out, and how the
    folders were understood.
    """

    name: str
    root: Path
    records: tuple[Record, ...]
    part_names: tuple[str, ...] = ()
    split: Split | None = None
    notes: tuple[str, ...] = ()

    @property
    def class_names(self) -> dict[int, str]:
        """Class id -> class name, for the classes that have pictures, by id."""
        return {record.class_id: record.class_name for record in sorted(self.records, key=lambda r: r.class_id)}

    def only(self, class_ids: Iterable[int]) -> Catalogue:
        """The same data set with the pictures of these classes alone."""
        wanted = set(class_ids)
        return replace(self, records=tuple(r for r in self.records if r.class_id in wanted))
