"""The official layout of CUB-200-2011 (Wah, Branson, Welinder, Perona, Belongie 2011)."""

from __future__ import annotations

import codecs
import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from milr.data.access import readable
from milr.data.cub_checks import (
    IncompleteError,
    named,
    require_distinct,
    require_own_folders,
    require_pictures,
    require_rows,
)
from milr.data.records import Box, Catalogue, Record
from milr.errors import MilrError
from milr.text import one_line

BOXES = "bounding_boxes.txt"
MOST = 2**62  # of ids, which become whole numbers of 64 bits
LONGEST = 90  # characters of a line that are shown

Value = TypeVar("Value")
Places = dict[str, tuple[float, float]]  # part -> (x, y)


FETCH = "move {root} away, and `milr data dataset=cub dataset.root={root}` downloads the official one whole"


def read_cub(root: Path, remedy: str = FETCH) -> Catalogue:
    """Reads the index under `root` (the folder with images.txt, or its parent): boxes, parts, segmentations if there.

    `classes.txt` may list more classes than there are pictures of; what has no file (boxes, parts) stands in the
    catalogue's notes. remedy: how a data set that is incomplete can be completed.

    MilrError naming file and line for anything missing, doubled or malformed, for an index line whose picture is not
    there, and for what cannot be read.
    """
    with readable(root):
        try:
            return read_index(find_root(root))
        except IncompleteError as error:
            raise MilrError(f"{error}; {remedy.format(root=root)}") from error


def read_index(root: Path) -> Catalogue:
    """The catalogue of the folder with images.txt."""
    names = read_rows(root / "classes.txt", str)
    files = read_rows(root / "images.txt", read_file)
    labels = read_rows(root / "image_class_labels.txt", read_id)
    boxes = read_rows(root / BOXES, read_box) if (root / BOXES).exists() else None
    parts = read_parts(root / "parts", files)
    require_rows(root / "image_class_labels.txt", labels, files)
    if boxes is not None:
        require_rows(root / BOXES, boxes, files)
    require_rows(root / "images.txt", files, labels.keys() | (boxes or {}).keys())
    require_rows(root / "classes.txt", names, set(labels.values()))
    require_distinct(root / "images.txt", {key: PurePosixPath(file) for key, file in files.items()})
    require_distinct(root / "classes.txt", names)
    require_own_folders(root / "image_class_labels.txt", files, labels, names)
    masks = find_masks(root)
    records = []
    for image_id, file in sorted(files.items()):
        mask = masks / Path(file).with_suffix(".png") if masks else None
        record = Record(
            image_id=image_id,
            path=root / "images" / file,
            class_id=labels[image_id],
            class_name=names[labels[image_id]],
            box=boxes[image_id] if boxes else None,
            parts=parts.get(image_id, {}),
            segmentation=mask if mask and mask.is_file() else None,
        )
        records.append(record)
    if not records:
        raise MilrError(f"{root / 'images.txt'} names no picture")
    require_pictures(root, records)
    return Catalogue("cub", root, tuple(records), notes=notes_of(root, records))


def notes_of(root: Path, records: Sequence[Record]) -> tuple[str, ...]:
    """What is missing, so that less can be measured, in a line each."""
    notes = [] if (root / BOXES).exists() else [f"{root / BOXES} is missing: no picture has a box"]
    parts = [root / "parts" / name for name in ("parts.txt", "part_locs.txt")]
    if sum(path.is_file() for path in parts) == 1:
        missing = next(path for path in parts if not path.is_file())
        notes.append(f"{missing} is missing: no picture has parts")
    masks, bare = find_masks(root), [record for record in records if record.segmentation is None]
    if masks and bare:
        first = f"{Path(bare[0].path.parent.name) / bare[0].path.stem}.png"
        notes.append(f"{len(bare)} of {len(records)} pictures have no mask in {masks}, {first} first")
    return tuple(notes)


def find_root(root: Path) -> Path:
    """The folder with images.txt: `root` itself, CUB_200_2011 in it, or the one whose images/ it is.

    MilrError that names the folder where the index lies a little elsewhere, else IncompleteError.
    """
    inner = root / "CUB_200_2011"
    above = [root.parent] if root.name == "images" else []
    for folder in (root, inner, inner / inner.name, *above):
        if (folder / "images.txt").is_file():
            return folder
    near = [parent for parent in root.parents[:2] if (parent / "images.txt").is_file()] if root.is_dir() else []
    near += [path.parent for pattern in ("*", "*/*") for path in sorted(root.glob(f"{pattern}/images.txt"))]
    if near:
        raise MilrError(f"no CUB-200-2011 in {root}, but images.txt lies in {near[0]}: take dataset.root={near[0]}")
    if not root.exists():
        raise MilrError(
            f"no CUB-200-2011 in {root}, which is not there: name the folder with images.txt with dataset.root=, or "
            f"fetch it with `milr data dataset=cub dataset.root={root}`"
        )
    raise IncompleteError(f"no CUB-200-2011 in {root}: images.txt is missing")


def find_masks(root: Path) -> Path | None:
    """The folder of the segmentations: in the root or, as its archive unpacks, beside it."""
    return next((path for path in (root / "segmentations", root.parent / "segmentations") if path.is_dir()), None)


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line) of every line that is not blank; a byte order mark and Windows' line ends do not matter.

    Only line feeds end a line: a name may hold any other character. MilrError for bytes that are no UTF-8.
    """
    if not path.is_file():
        raise IncompleteError(f"{path} is missing: the data set is incomplete")
    for number, line in enumerate(path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        try:
            text = line.decode().strip(" \t\r")
        except UnicodeDecodeError as error:
            raise MilrError(f"{path}:{number}: no UTF-8 ({error.reason}): save the file as UTF-8") from error
        if text:
            yield number, text


def read_rows(path: Path, value: Callable[[str], Value], ids: int = 1) -> dict[Any, Value]:
    """Lines "<id> <value>" as id -> value; with more `ids` in a line, (id, ...) -> value.

    MilrError naming file and line for one that is malformed or doubled.
    """
    rows: dict[Any, Value] = {}
    for number, line in read_lines(path):
        try:
            *words, text = re.split("[ \t]+", line, maxsplit=ids)
            if len(words) < ids:
                raise ValueError("a value is missing")
            key, content = tuple(map(read_id, words)), value(text)
        except ValueError as error:
            shown = one_line(line, LONGEST)
            raise MilrError(f"{path}:{number}: cannot read '{shown}' ({one_line(error, LONGEST)})") from error
        row = key if ids > 1 else key[0]
        if row in rows:
            raise MilrError(f"{path}:{number}: {named(row)} appears twice")
        rows[row] = content
    return rows


def read_id(word: str) -> int:
    """A whole number from 1. ValueError for anything else, such as the 1_0 and ٣ that Python would take."""
    if not (word.isascii() and word.isdigit() and len(word) < 4300 and 0 < int(word) <= MOST):  # digits that int takes
        raise ValueError(f"'{word}' is no whole number from 1")
    return int(word)


def read_number(word: str) -> float:
    """A finite number. ValueError for anything else, such as nan, inf and 1_0."""
    if not math.isfinite(float(word)) or "_" in word:
        raise ValueError(f"'{word}' is no number")
    return float(word)


def read_file(text: str) -> str:
    """A picture's path below images/. ValueError for one that leads elsewhere."""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in text:
        raise ValueError("a path below images/ is needed")
    return text


def read_box(text: str) -> Box:
    """A box from "x y width height". ValueError for another count of numbers, or a box without area."""
    left, top, width, height = map(read_number, text.split())
    if width <= 0 or height <= 0:
        raise ValueError("the box has no area")
    return Box(left, top, width, height)


def read_place(text: str) -> tuple[float, float] | None:
    """Where a part lies, from "x y visible"; None if it is not visible. ValueError for anything else."""
    x, y, visible = map(read_number, text.split())
    if visible not in (0, 1):
        raise ValueError("the last number, visible, is 0 or 1")
    return (x, y) if visible else None


def read_parts(folder: Path, images: Collection[int]) -> dict[int, Places]:
    """Image id -> the visible parts' places; nothing where the data set has no parts.

    MilrError for a line that is malformed or doubled, and for an image of `images` that lacks a part's row.
    """
    path = folder / "part_locs.txt"
    if not (path.is_file() and (folder / "parts.txt").is_file()):
        return {}
    names = dict(sorted(read_rows(folder / "parts.txt", str).items()))
    require_distinct(folder / "parts.txt", names)
    rows = read_rows(path, read_place, ids=2)
    require_rows(folder / "parts.txt", names, {part for _, part in rows})
    require_rows(path, rows, ((image, part) for image in images for part in names))
    places: dict[int, Places] = defaultdict(dict)
    for (image, part), place in rows.items():
        if place:
            places[image][names[part]] = place
    return places
