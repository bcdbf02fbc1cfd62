"""Pictures with their maps as a page holds them: the pictures as JPEG, maps as 16-bit numbers, both in base64."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from milr.decisions.answers import Answer, Masked
from milr.evaluation.similarity import rank_correlation
from milr.explanation.maps import KINDS, SUMMED
from milr.figures.columns import readable
from milr.figures.palette import colour_scale, reach_of
from milr.report.drawn import Array, Read

SIGNED = "redundant"
STEPS = 65535  # of a number of 16 bits
QUALITY = 88  # of a JPEG
LARGEST = 320  # pixels of its longer side

Scale = tuple[float, float]  # from, to


@dataclass(frozen=True)
class Heat:
    """One map of one picture, in bits a place."""

    kind: str
    data: str  # base64 of uint16, little end first, row by row: low + value / STEPS * (high - low)
    low: float
    high: float
    shape: tuple[int, int]  # rows and columns
    scale: Scale  # of its colours, where each picture has its own
    mean: float
    highest: tuple[int, int]  # the place with the most bits, counted from 1


@dataclass(frozen=True)
class Strip:
    """What one run says of one picture."""

    run: str
    heats: Sequence[Heat]
    predicted: str  # the answer that is given, where it has a name
    right: bool | None  # None: there is no decision about it, or none that is right or wrong
    answers: Sequence[Answer]  # what speaks for the decision first
    bits: Mapping[str, float]  # mean bits a place of each kind
    cap: float
    saturation: float
    disagreement: float  # 1 - rank correlation of the total and the decision map
    masked: Masked | None  # what it is taken for through the mask, where the run tells
    survives: bool  # whether that is the answer of the untouched network


@dataclass(frozen=True)
class Card:
    """One picture with what each run says of it."""

    picture: str  # a data URL
    size: tuple[int, int]  # width and height
    file: str
    name: str
    role: str
    scene: str
    strips: Sequence[Strip]


def cards_of(runs: Mapping[str, Sequence[Read]]) -> list[Card]:
    """The pictures of all runs (name -> its pictures), each once, in the order of their first run."""
    pictures: dict[tuple[str, int, str], Read] = {}
    strips: dict[tuple[str, int, str], list[Strip]] = {}
    for run, reads in runs.items():
        for read in reads:
            pictures.setdefault(read.key, read)
            strips.setdefault(read.key, []).append(strip_of(run, read))
    return [card_of(read, strips[key]) for key, read in pictures.items()]


def card_of(read: Read, strips: Sequence[Strip]) -> Card:
    """A picture with its strips."""
    scene, _, file = read.key
    image = Image.fromarray(np.ascontiguousarray(read.image.transpose(1, 2, 0)))
    image.thumbnail((LARGEST, LARGEST))
    return Card(jpeg(image), image.size, Path(file).name, readable(read.name), read.role, scene, strips)


def jpeg(image: Image.Image) -> str:
    """A picture as a data URL."""
    file = BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def strip_of(run: str, read: Read) -> Strip:
    """What a run says of a picture."""
    total, decision = (torch.from_numpy(read.maps[kind])[None] for kind in ("total", "decision"))
    means = {kind: float(read.maps[kind].mean()) for kind in KINDS}
    scales = scales_of([read])
    return Strip(
        run,
        [heat_of(kind, read.maps[kind], scales[kind]) for kind in KINDS],
        readable(read.given),
        read.right,
        read.ranked,
        means,
        read.cap,
        means["total"] / read.cap,
        1 - float(rank_correlation(total, decision)),
        read.masked,
        read.masked is not None and read.masked.answer == read.given,
    )


def heat_of(kind: str, values: Array, scale: Scale) -> Heat:
    """A map [H, W], encoded: each value is off by at most half a step of its range."""
    low, high = float(values.min()), float(values.max())
    steps = np.rint((values.astype(np.float64) - low) / max(high - low, 1e-12) * STEPS).astype("<u2")
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    data, shape = base64.b64encode(steps.tobytes()).decode(), (values.shape[0], values.shape[1])
    return Heat(kind, data, low, high, shape, scale, float(values.mean()), (int(row) + 1, int(column) + 1))


def scales_of(reads: Iterable[Read]) -> dict[str, Scale]:
    """The colours' scale of each kind over all these pictures.

    What adds up (eq. 9) has one reach, as on the sheets of `milr visualize`; the capacity, never below 0, its own.
    """
    reads = list(reads)
    values = {kind: torch.cat([torch.from_numpy(read.maps[kind]).flatten() for read in reads]) for kind in KINDS}
    reaches = {kind: reach_of(values["total" if kind in SUMMED else kind]) for kind in KINDS}
    norms = {kind: colour_scale(values[kind], kind == SIGNED, reaches[kind]) for kind in KINDS}
    return {kind: (float(norm.vmin or 0), float(norm.vmax or 0)) for kind, norm in norms.items()}
