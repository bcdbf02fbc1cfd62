"""Whether what is marked on pictures lies on them: boxes in another form, parts and masks of another size."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from milr.data.records import Box, Record
from milr.errors import MilrError

log = logging.getLogger("milr")

SPARE = 0.02  # of a side, and a pixel, that marks may reach beyond it: annotators round
BOX, PART = "the box reaches beyond the picture, or has no pixel in it", "a visible part lies outside the picture"
APART = "a visible part lies outside the box"
EDGE, BESIDE = "the mask covers most of the picture's edge", "most of the mask lies outside the box"
SIZE = "are they of pictures of this size, boxes as x, y, width, height in pixels?"
OWN = "do both belong to this picture, with x before y?"
MEANT = {APART: OWN, EDGE: "is it the background's, and not the bird's?", BESIDE: OWN}  # else SIZE

BESIDE_BOX = 0.1  # of a box's side, and a pixel, that parts may lie beside it
HALF = 128  # of a mask's 255: from here on a pixel is the bird's


def faults_of(record: Record, width: int, height: int) -> list[str]:
    """What of the marks of a picture of this size does not lie on it."""
    most = (width + 1 + SPARE * width, height + 1 + SPARE * height)
    least = (width - most[0], height - most[1])
    faults = []
    if (box := record.box) is not None:
        right, bottom = box.left + box.width, box.top + box.height
        beyond = box.left < least[0] or box.top < least[1] or right > most[0] or bottom > most[1]
        small = min(min(right, width) - max(box.left, 0), min(bottom, height) - max(box.top, 0)) < 1 - 1e-6
        faults += [BOX] * (beyond or small)
    outside = any(not (least[0] <= x <= most[0] and least[1] <= y <= most[1]) for x, y in record.parts.values())
    apart = box is not None and any(not is_near(box, x, y) for x, y in record.parts.values())
    return faults + [PART] * outside + [APART] * apart


def is_near(box: Box, x: float, y: float) -> bool:
    """Whether a point lies in a box, or hardly beside it."""
    across, down = BESIDE_BOX * box.width + 1, BESIDE_BOX * box.height + 1
    return -across <= x - box.left <= box.width + across and -down <= y - box.top <= box.height + down


def faults_of_mask(mask: Image.Image, box: Box | None) -> list[str]:
    """What speaks against a mask's being the bird's of this picture."""
    bird = np.asarray(mask) >= HALF
    edge = np.concatenate([bird[0], bird[-1], bird[:, 0], bird[:, -1]])
    faults = [EDGE] * bool(edge.mean() > 0.5)
    if box is None or not bird.any():
        return faults
    left, top = round(max(box.left, 0)), round(max(box.top, 0))
    inside = bird[top : round(box.top + box.height), left : round(box.left + box.width)].sum()
    return faults + [BESIDE] * bool(inside < 0.5 * bird.sum())


@dataclass
class Faults:
    """Pictures whose marks do not lie on them, counted; `warn` warns of them."""

    pictures_of: dict[str, list[str]] = field(default_factory=dict)  # what is wrong -> pictures
    sizes: list[tuple[int, int]] = field(default_factory=list)  # of the pictures so far, as they are seen

    def check(self, record: Record, size: tuple[int, int]) -> None:
        """Checks one picture, by its size as it is seen."""
        self.sizes.append(size)
        self.add(record, faults_of(record, *size))

    def add(self, record: Record, faults: Iterable[str]) -> None:
        """Count faults of the picture that was seen last."""
        width, height = self.sizes[-1]
        for fault in faults:
            self.pictures_of.setdefault(fault, []).append(f"{record.path} of {width}x{height} pixels")

    def warn(self) -> None:
        """A warning for each kind of fault."""
        for fault, pictures in self.pictures_of.items():
            seen = len(self.sizes)
            meant = MEANT.get(fault, SIZE)
            log.warning("of %d of %d pictures %s, %s first: %s", len(pictures), seen, fault, pictures[0], meant)


def warn_of_faults(records: Iterable[Record], sizes: Iterable[tuple[int, int]]) -> None:
    """The same warnings for pictures whose sizes are known."""
    faults = Faults()
    for record, size in zip(records, sizes, strict=True):
        faults.check(record, size)
    faults.warn()


def require_usable(mask: Image.Image, record: Record, size: tuple[int, int]) -> None:
    """MilrError for a mask of another size than its picture, which would be cut elsewhere, or one too faint to hold
    anything."""
    if mask.size != size:
        raise MilrError(
            f"the mask of {record.path} has {mask.width}x{mask.height} pixels and the picture {size[0]}x{size[1]}: "
            "bring it to the picture's size"
        )
    if 0 < (most := int(np.asarray(mask).max())) < HALF:
        raise MilrError(
            f"the mask of {record.path} has no value above {most}, and the bird's begin at {HALF}: save it with 255 "
            "for the bird and 0 for the rest"
        )
