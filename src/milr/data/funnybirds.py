"""FunnyBirds as it is downloaded (Hesse, Schaub-Meyer, Roth, ICCV 2023): rendered birds, part maps, interventions.

classes.json, parts.json             the variant of each part of each class; the variants
dataset_train.json, dataset_test.json  of each picture its class and the scene, the background's objects in it
train/, test/<class>/<number>.png    the pictures; parts are missing from half of those in train/
test_part_map/<class>/<number>.png   a colour for each part and each object
test_interventions/<class>/<number>/body_<parts that are there>.png, background_interventions/<object>.png
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from milr.data.access import readable
from milr.data.pictures import read_picture, size_of
from milr.data.records import BACKGROUND, BODY, FIRST_PART, FIRST_THING, Catalogue, Look, Record
from milr.errors import MilrError

COLOURS = {  # of the part maps; both eyes, wings and feet are one part
    "eye": ((255, 255, 253), (255, 255, 254)),
    "beak": ((255, 255, 0),),
    "foot": ((255, 0, 1), (255, 0, 2)),
    "wing": ((0, 255, 1), (0, 255, 2)),
    "tail": ((0, 0, 255),),
}
THING = 204  # object number n of the background is (204, 204, 204 + n)
NOTHING = (0, 0, 0)
FETCH = "unpack FunnyBirds.zip (https://github.com/visinf/funnybirds-framework) and name its folder with dataset.root="


@dataclass(frozen=True)
class RenderedBirds:
    """The interventions of the test pictures."""

    root: Path
    classes: Mapping[int, Look]  # by class id
    parts: tuple[str, ...]
    objects: Mapping[str, int]  # of each test picture's file name, how many things are in its background

    def covers(self, record: Record) -> bool:
        """Test pictures alone."""
        return record.path.parent.parent.name == "test"

    def looks(self, class_id: int) -> tuple[Look, ...]:
        """The one look of a class."""
        return (self.classes[class_id],)

    def look_of(self, record: Record) -> Look:
        """That of its class."""
        return self.classes[record.class_id]

    def things(self, record: Record) -> int:
        """The objects of the background."""
        return self.objects[record.path.name]

    def owners(self, record: Record) -> npt.NDArray[np.uint8]:
        """Who owns each pixel [H, W], by the colours of the part map; what has none of these is the bird's body.

        MilrError for a map of another size than the picture, or in which no part has a pixel.
        """
        path = self.root / "test_part_map" / record.path.parent.name / record.path.name
        colours = np.asarray(read_picture(path)).astype(int)
        if colours.shape[1::-1] != (size := size_of(record.path)):
            raise MilrError(
                f"{path} has {colours.shape[1]}x{colours.shape[0]} pixels and its picture {size[0]}x{size[1]}"
            )
        owners = np.full(colours.shape[:2], BODY, np.uint8)
        owners[(colours == NOTHING).all(2)] = BACKGROUND
        for number, part in enumerate(self.parts):
            for colour in COLOURS[part]:
                owners[(colours == colour).all(2)] = FIRST_PART + number
        if not (owners >= FIRST_PART).any():
            raise MilrError(
                f"{path} has no pixel in a part's colour: it is to be as it was, neither resized nor a JPEG"
            )
        thing = (colours[..., :2] == THING).all(2) & (colours[..., 2] >= THING)
        owners[thing] = FIRST_THING + colours[..., 2][thing] - THING
        return owners

    def without(self, record: Record, parts: Collection[str] = (), thing: int | None = None) -> Image.Image:
        """The picture rendered without these parts or without this thing. ValueError for both: there is none."""
        if parts and thing is not None:
            raise ValueError("FunnyBirds has no picture without parts and without a thing of the background")
        folder = self.root / "test_interventions" / record.path.parent.name / record.path.stem
        if thing is not None:
            return read_picture(folder / "background_interventions" / f"{thing}.png")
        if not parts:
            return read_picture(record.path)
        kept = sorted(set(self.parts) - set(parts))
        return read_picture(folder / f"body_{'_'.join(kept)}.png")


def read_funnybirds(root: Path) -> Catalogue:
    """The pictures under `root`, those of train/ first, if they are there; the test pictures are the catalogue's own.

    Class ids are one more than FunnyBirds's. MilrError for files that are missing or hold something else.
    """
    with readable(root):
        root = root if (root / "classes.json").is_file() else root / "FunnyBirds"
        if not (root / "classes.json").is_file():
            raise MilrError(f"no FunnyBirds in {root.parent}: {FETCH}")
        parts = tuple(read_json(root / "parts.json", dict))
        unknown = [part for part in parts if part not in COLOURS]
        if unknown or not parts:
            has = f"has a part {unknown[0]!r}" if unknown else "names no part"
            raise MilrError(f"{root / 'parts.json'} {has}: FunnyBirds has {', '.join(COLOURS)}")
        classes = read_classes(root / "classes.json", parts)
        records, objects = list[Record](), dict[str, int]()
        for mode in ("train", "test"):
            if mode == "test" or (root / "dataset_train.json").is_file():
                table = root / f"dataset_{mode}.json"
                for number, entry in enumerate(read_json(table, list)):
                    records.append(record_of(root, mode, number, entry, len(records) + 1))
                    if records[-1].class_id not in classes:
                        raise MilrError(f"{table}, entry {number}: its class_idx is not in classes.json: {FETCH}")
                    if mode == "test":
                        objects[records[-1].path.name] = len(numbers(entry.get("bg_objects", ""), table, number))
        require_files(root, records)
        tests = [record for record in records if record.path.parent.parent.name == "test"]
        notes = notes_of(root, tests, len(tests) == len(records))
    birds = RenderedBirds(root, classes, parts, objects)
    ids = frozenset(record.image_id for record in tests)
    return Catalogue("funnybirds", root, tuple(records), notes=notes, tests=ids, interventions=birds)


def notes_of(root: Path, tests: Sequence[Record], alone: bool) -> tuple[str, ...]:
    """What is missing, so that less can be measured, in a line each. alone: there are no training pictures."""
    notes = [f"{root} has no training pictures (dataset_train.json)"] * alone
    for folder, ending in (("test_part_map", ".png"), ("test_interventions", "")):
        there = {path for path in (root / folder).glob("*/*")}
        missing = [
            path
            for path in (root / folder / r.path.parent.name / (r.path.stem + ending) for r in tests)
            if path not in there
        ]
        if missing:
            notes.append(
                f"{len(missing)} of {len(tests)} test pictures have nothing in {folder}/, {missing[0]} first: `milr "
                "interventions` cannot look at them"
            )
    return tuple(notes)


def read_classes(path: Path, parts: Sequence[str]) -> dict[int, Look]:
    """Class id -> the variant of each part. MilrError for a class that is there twice or lacks a part."""
    classes: dict[int, Look] = {}
    for number, entry in enumerate(read_json(path, list)):
        index, variants = whole(entry, "class_idx", path, number), value(entry, "parts", path, number)
        if index + 1 in classes:
            raise MilrError(f"{path}, entry {number}: class_idx {index} is there already: {FETCH}")
        classes[index + 1] = tuple(whole(variants, part, path, number) for part in parts)
    return classes


def record_of(root: Path, mode: str, number: int, entry: Any, image_id: int) -> Record:
    """One picture of dataset_<mode>.json."""
    index = whole(entry, "class_idx", root / f"dataset_{mode}.json", number)
    path = root / mode / str(index) / f"{number:06d}.png"
    return Record(image_id, path, index + 1, f"{index + 1:03d}.Funny_Bird_{index}")


def numbers(given: object, path: Path, number: int) -> list[str]:
    """The numbers of a list such as "0,3,1,". MilrError for anything else."""
    words = [word.strip() for word in given.split(",") if word.strip()] if isinstance(given, str) else None
    if words is None or not all(word.isascii() and word.isdigit() for word in words):
        raise MilrError(f'{path}, entry {number}: bg_objects is {given!r}, not numbers as "0,3,1,": {FETCH}')
    return words


def read_json(path: Path, kind: type) -> Any:
    """A file's content, a list or a dict. MilrError where there is none, or it is damaged or of another kind."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise MilrError(f"{path} is missing: FunnyBirds is incomplete; {FETCH}") from None
    except (ValueError, RecursionError) as error:
        raise MilrError(f"{path} is damaged ({error}): {FETCH}") from None
    if not isinstance(content, kind):
        raise MilrError(
            f"{path} holds a {type(content).__name__} and no {kind.__name__}, as FunnyBirds's does: {FETCH}"
        )
    return content


def value(entry: Any, key: str, path: Path, number: int) -> Any:
    """An entry's value. MilrError where it has none."""
    if not isinstance(entry, dict) or key not in entry:
        raise MilrError(f"{path}, entry {number}: there is no {key}, as FunnyBirds's have: {FETCH}")
    return entry[key]


def whole(entry: Any, key: str, path: Path, number: int) -> int:
    """An entry's whole number from 0, which may be text. MilrError for anything else."""
    given = value(entry, key, path, number)
    if isinstance(given, bool) or not (str(given).isascii() and str(given).isdigit()):
        raise MilrError(f"{path}, entry {number}: {key} is {given!r}, no whole number from 0: {FETCH}")
    return int(given)


def require_files(root: Path, records: list[Record]) -> None:
    """MilrError if pictures are missing; one look at each folder, not at each file."""
    folders = {record.path.parent for record in records}
    there = {file for folder in folders if folder.is_dir() for file in folder.iterdir()}
    missing = [record.path for record in records if record.path not in there]
    if missing or not records:
        first = missing[0].relative_to(root) if missing else "a picture"
        raise MilrError(f"{root} lacks {first} ({len(missing)} of {len(records)} pictures missing): {FETCH}")
