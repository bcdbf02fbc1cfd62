"""Whether what is marked on pictures lies on them: boxes in another form, parts and masks of another size."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from PIL import Image

from milr.data.records import Record
from milr.errors import MilrError

log = logging.getLogger("milr")

SPARE = 0.02  # of a side, and a pixel, that marks may reach beyond it: annotators round
BOX, PART = "the box reaches beyond the picture, or has no pixel in it", "a visible part lies outside the picture"
MEANT = "are they of pictures of this size, boxes as x, y, width, height in pixels?"


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
    return faults + [PART] * outside


@dataclass
class Faults:
    """Pictures whose marks do not lie on them, counted; `warn` warns of them."""

    found: dict[str, list[str]] = field(default_factory=dict)  # what is wrong -> pictures
    sizes: list[tuple[int, int]] = field(default_factory=list)  # of the pictures so far, as they are seen

    def add(self, record: Record, size: tuple[int, int]) -> None:
        """Checks one picture, by its size as it is seen."""
        self.sizes.append(size)
        for fault in faults_of(record, *size):
            self.found.setdefault(fault, []).append(f"{record.path} of {size[0]}x{size[1]} pixels")

    def warn(self) -> None:
        """A warning for each kind of fault."""
        for fault, pictures in self.found.items():
            seen = len(self.sizes)
            log.warning("of %d of %d pictures %s, %s first: %s", len(pictures), seen, fault, pictures[0], MEANT)


def warn_of_faults(records: Iterable[Record], sizes: Iterable[tuple[int, int]]) -> None:
    """The same warnings for pictures whose sizes are known."""
    faults = Faults()
    for record, size in zip(records, sizes, strict=True):
        faults.add(record, size)
    faults.warn()


def require_size(mask: Image.Image, record: Record, size: tuple[int, int]) -> None:
    """MilrError for a segmentation of another size than its picture: it would be cut elsewhere."""
    if mask.size != size:
        raise MilrError(
            f"the mask of {record.path} has {mask.width}x{mask.height} pixels and the picture {size[0]}x{size[1]}: "
            "bring it to the picture's size"
        )
