"""What `milr visualize` wrote, read back: pictures with their maps and what was decided about them."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milr.decisions.answers import DECISIONS, Answer, Masked
from milr.errors import MilrError
from milr.explanation.maps import KINDS
from milr.report.reading import read_rows

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Read:
    """One picture with its maps [H, W], before they are encoded."""

    key: tuple[str, int, str]  # scene, number in it, file: the same of two runs that drew the same
    image: Array  # uint8 [3, height, width]
    name: str
    role: str
    predicted: str
    maps: Mapping[str, Array]  # of KINDS
    cap: float
    answers: Sequence[Answer] = ()
    masked: Masked | None = None  # None: nothing is decided about it, or the run is of before this was written

    @property
    def given(self) -> str:
        """The answer that is given, where there is one."""
        return self.predicted or (self.ranked[0].answer if self.answers else "")

    @property
    def ranked(self) -> list[Answer]:
        """What speaks for the decision first."""
        against = bool(self.answers) and self.answers[0].quantity != "logit"  # a distance: the least is given
        return sorted(self.answers, key=lambda answer: answer.value if against else -answer.value)

    @property
    def right(self) -> bool | None:
        """Whether the decision is right, by its score or, in runs without one, by its name; None: neither."""
        if self.answers:
            score = self.answers[0].score
            return bool(score) if score in (0, 1) else None
        return self.predicted == self.name if self.predicted else None


def read_pictures(folder: Path) -> list[Read]:
    """The pictures of a run of `milr visualize`. MilrError where its files are gone, damaged, or of other pictures."""
    scenes = [path.parent for path in sorted(folder.glob("*/maps.npz"))]
    if not scenes:
        raise MilrError(f"{folder} holds no maps any more: `milr rerun {folder}` draws them again")
    reads = []
    for scene in scenes:
        try:
            reads += read_scene(scene)
        except (OSError, EOFError, ValueError, LookupError, zipfile.BadZipFile, zlib.error, csv.Error) as error:
            raise MilrError(
                f"the maps in {scene} cannot be read ({error}): `milr rerun {folder}` draws them again"
            ) from error
    return reads


def read_scene(folder: Path) -> list[Read]:
    """The pictures of one episode or batch."""
    with np.load(folder / "maps.npz") as file:
        arrays = {name: file[name] for name in ("images", "files", "cap", *KINDS)}
    with (folder / "maps.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    if len(rows) != len(arrays["images"]):
        raise ValueError(f"maps.csv has {len(rows)} rows, and maps.npz {len(arrays['images'])} pictures")
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
            float(arrays["cap"]),
            answers.get(number, ()),
            masked_of(row),
        )
        for number, row in enumerate(rows)
    ]


def masked_of(row: Mapping[str, str]) -> Masked | None:
    """What a picture is taken for through the mask, by its row of maps.csv."""
    if not (answer := row.get("masked_predicted")):
        return None
    return Masked(answer, row["masked_right"] == "True", float(row["masked_share"]))
