"""The annotations of a picture at a map's resolution, framed as the picture itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from milr.data.framing import Framing, frame
from milr.data.marks import MEANT, faults_of_mask, require_usable
from milr.data.pictures import read_mask, size_of, warn_once
from milr.data.records import Record

Marks = tuple[dict[str, Tensor], dict[str, tuple[int, int]]]  # `regions_of` and `parts_of` a picture


def marks_of(record: Record, crop: str, size: int, shape: tuple[int, int]) -> Marks:
    """Everything that is marked on a picture which was cut so, at a map's resolution; its files are read once."""
    framing = framing_of(record, crop, size)
    return regions_of(record, framing, shape), parts_of(record, framing, shape)


def framing_of(record: Record, crop: str, size: int) -> Framing:
    """How this picture was cut; reads its header only."""
    return frame(*size_of(record.path), record.box, crop, size)


def regions_of(record: Record, framing: Framing, shape: tuple[int, int]) -> dict[str, Tensor]:
    """Name -> bool [H, W]: "box", "bird" (segmentation), "defining" and "other" parts (drawn birds); those there are.

    A place belongs to a region if at least half of its pixels do. A region may be empty after the cut. MilrError for a
    mask of another size than its picture, or with nothing in it that counts; a warning for one of something else.
    """
    regions: dict[str, Tensor] = {}
    if record.box is not None:
        pixels = torch.zeros(framing.size, framing.size)
        box = framing.box(record.box)
        if box is not None:
            rows = slice(round(box.top), round(box.top + box.height))
            pixels[rows, round(box.left) : round(box.left + box.width)] = 1
        regions["box"] = _at(pixels, shape)
    if record.segmentation is not None:
        regions["bird"] = _at(_mask(record.segmentation, record, framing), shape)
    if record.defining_mask is not None:
        regions["defining"] = _at(_mask(record.defining_mask, record, framing), shape)
        regions["other"] = regions["bird"] & ~regions["defining"]
    return regions


def parts_of(record: Record, framing: Framing, shape: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Visible part -> (row, column) of the place it lies in; both sides of a pair count where both can be seen."""
    places = {}
    for name, point in record.parts.items():
        spot = framing.point(*point)
        if spot is not None:
            places[name] = (int(spot[1] / framing.size * shape[0]), int(spot[0] / framing.size * shape[1]))
    return places


def _mask(file: Path, record: Record, framing: Framing) -> Tensor:
    mask = read_mask(file)
    require_usable(mask, record, size_of(record.path))
    for fault in faults_of_mask(mask, record.box) if file == record.segmentation else []:
        warn_once(file, f"{fault}: {MEANT[fault]}")
    return torch.from_numpy(np.array(framing.mask(mask))).float() / 255


def _at(pixels: Tensor, shape: tuple[int, int]) -> Tensor:
    return adaptive_avg_pool2d(pixels[None, None], shape)[0, 0] >= 0.5
