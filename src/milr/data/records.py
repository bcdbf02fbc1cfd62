"""What is known about each picture of a data set, before any pixel is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

BACKGROUND, BODY, FIRST_PART, FIRST_THING = 0, 1, 2, 64  # who owns a pixel: nobody, the rest of the bird, parts, things

Look = tuple[Any, ...]  # of each part what a species fixes of it, alike where parts look alike; None: nothing


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


class Interventions(Protocol):
    """A data set's pictures with parts of the bird, or one thing of the background, taken away."""

    @property
    def parts(self) -> tuple[str, ...]:
        """What can be taken away of every bird; its pixels are owned by FIRST_PART + its place here."""

    def covers(self, record: Record) -> bool:
        """Whether this picture can be had without its parts."""

    def looks(self, class_id: int) -> tuple[Look, ...]:
        """How birds of a class may look: most classes have one look."""

    def look_of(self, record: Record) -> Look:
        """How the bird of this picture looks, a part for each of `parts`."""

    def things(self, record: Record) -> int:
        """How many things of the background can be taken away."""

    def owners(self, record: Record) -> npt.NDArray[np.uint8]:
        """Who owns each pixel of the whole picture [H, W]; thing number n owns FIRST_THING + n."""

    def without(self, record: Record, parts: Collection[str] = (), thing: int | None = None) -> Image.Image:
        """The whole picture, the same but for these parts, and for this thing."""


@dataclass(frozen=True)
class Split:
    """Class ids of the three parts; no class is in two."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    novel: tuple[int, ...]


@dataclass(frozen=True)
class Catalogue:
    """The pictures of one data set, in the order of their image ids.

    `split` is the data set's own, where it has one, and `tests` its own test pictures of classes that are all known.
    `notes` are lines for the user: what was left out, and how the folders were understood.
    """

    name: str
    root: Path
    records: tuple[Record, ...]
    split: Split | None = None
    notes: tuple[str, ...] = ()
    tests: frozenset[int] = frozenset()  # image ids
    interventions: Interventions | None = None

    @property
    def class_names(self) -> dict[int, str]:
        """Class id -> class name, for the classes that have pictures, by id."""
        return {record.class_id: record.class_name for record in sorted(self.records, key=lambda r: r.class_id)}

    def only(self, class_ids: Iterable[int]) -> Catalogue:
        """The same data set with the pictures of these classes alone."""
        wanted = set(class_ids)
        return replace(self, records=tuple(r for r in self.records if r.class_id in wanted))
