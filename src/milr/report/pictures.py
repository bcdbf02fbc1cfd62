"""What `milr visualize` wrote, as a page holds it: pictures as JPEG, maps as 16-bit numbers, both in base64."""

from __future__ import annotations

import base64
import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from milr.decisions.answers import DECISIONS, Answer
from milr.evaluation.similarity import rank_correlation
from milr.figures.columns import readable
from milr.figures.palette import colour_scale, reach_of
from milr.report.reading import read_rows

KINDS = ("total", "decision", "redundant")
SIGNED = "redundant"
STEPS = 65535  # of a number of 16 bits
QUALITY = 88  # of a JPEG
LARGEST = 320  # pixels of its longer side

Array = npt.NDArray[Any]
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
    predicted: str
    right: bool | None  # None: there is no decision about it, or none that is right or wrong
    answers: Sequence[Answer]  # what speaks for the decision first
    bits: Mapping[str, float]  # mean bits a place of each kind, and of what the mask keeps
    cap: float
    saturation: float
    disagreement: float  # 1 - rank correlation of the total and the decision map

    @property
    def nearest(self) -> str:
        """The answer that is given, where it has a name."""
        return self.predicted or (self.answers[0].answer if self.answers else "")


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


@dataclass(frozen=True)
class Read:
    """One picture with its maps [H, W], before they are encoded."""

    key: tuple[str, int, str]  # scene, number in it, file: the same of two runs that drew the same
    image: Array  # uint8 [3, height, width]
    name: str
    role: str
    predicted: str
    maps: Mapping[str, Array]
    kept: Array
    cap: float
    answers: Sequence[Answer] = ()


def read_pictures(folder: Path) -> list[Read]:
    """The pictures of a run of `milr visualize`."""
    return [read for path in sorted(folder.glob("*/maps.npz")) for read in read_scene(path.parent)]


def read_scene(folder: Path) -> list[Read]:
    """The pictures of one episode or batch."""
    with np.load(folder / "maps.npz") as file:
        arrays = {name: file[name] for name in ("images", "files", "kept", "cap", *KINDS)}
    with (folder / "maps.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    answers: dict[int, list[Answer]] = {}
    for answer in read_rows(folder / DECISIONS, Answer):
        answers.setdefault(answer.image, []).append(answer)
    return [
        Read(
            (folder.name, number, str(arrays["files"][number])),
            arrays["images"][number],
            row["name"],
            row["role"],
            row["predicted"],
            {kind: arrays[kind][number] for kind in KINDS},
            arrays["kept"][number],
            float(arrays["cap"]),
            answers.get(number, ()),
        )
        for number, row in enumerate(rows)
    ]


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
    against = bool(read.answers) and read.answers[0].quantity != "logit"  # a distance: the least is given
    answers = sorted(read.answers, key=lambda answer: answer.value if against else -answer.value)
    means = {kind: float(read.maps[kind].mean()) for kind in KINDS}
    scales = scales_of([read])
    return Strip(
        run,
        [heat_of(kind, read.maps[kind], scales[kind]) for kind in KINDS],
        readable(read.predicted),
        rightness(read),
        answers,
        {**means, "kept": float(read.kept.mean())},
        read.cap,
        means["total"] / read.cap,
        1 - float(rank_correlation(total, decision)),
    )


def rightness(read: Read) -> bool | None:
    """Whether the decision is right, by its score or, in runs without one, by its name."""
    if read.answers:
        score = read.answers[0].score
        return bool(score) if score in (0, 1) else None
    return read.predicted == read.name if read.predicted else None


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
    reaches = {kind: reach_of(values["decision" if kind == "decision" else "total"]) for kind in KINDS}
    norms = {kind: colour_scale(values[kind], kind == SIGNED, reaches[kind]) for kind in KINDS}
    return {kind: (float(norm.vmin or 0), float(norm.vmax or 0)) for kind, norm in norms.items()}
