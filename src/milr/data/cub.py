"""The official layout of CUB-200-2011 (Wah, Branson, Welinder, Perona, Belongie 2011)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from milr.data.records import Box, Catalogue, Record
from milr.errors import MilrError

Value = TypeVar("Value")


def read_cub(root: Path) -> Catalogue:
    """Reads the index under `root` (the folder with images.txt, or its parent): boxes, parts, segmentations if there.

    `classes.txt` may list more classes than there are pictures of. MilrError naming file and line for anything missing,
    doubled or malformed, and for an index line whose picture is not there.
    """
    root = find_root(root)
    names = read_rows(root / "classes.txt", lambda words: words[0])
    files = read_rows(root / "images.txt", lambda words: " ".join(words))
    labels = read_rows(root / "image_class_labels.txt", lambda words: int(words[0]))
    boxes = read_rows(root / "bounding_boxes.txt", read_box)
    part_names, parts = read_parts(root / "parts")
    require_rows(root / "image_class_labels.txt", labels, files)
    require_rows(root / "bounding_boxes.txt", boxes, files)
    require_rows(root / "classes.txt", names, set(labels.values()))
    masks = next(
        (folder for folder in (root / "segmentations", root.parent / "segmentations") if folder.is_dir()), None
    )
    records = []
    for image_id, file in sorted(files.items()):
        mask = masks / Path(file).with_suffix(".png") if masks else None
        record = Record(
            image_id=image_id,
            path=root / "images" / file,
            class_id=labels[image_id],
            class_name=names[labels[image_id]],
            box=boxes[image_id],
            parts=parts.get(image_id, {}),
            segmentation=mask if mask and mask.is_file() else None,
        )
        records.append(record)
    require_pictures(root, records)
    return Catalogue("cub", root, tuple(records), part_names)


def find_root(root: Path) -> Path:
    """The folder with images.txt: `root` itself or CUB_200_2011 in it."""
    for folder in (root, root / "CUB_200_2011"):
        if (folder / "images.txt").is_file():
            return folder
    raise MilrError(
        f"no CUB-200-2011 in {root}: images.txt is missing; name its folder with dataset.root=, or fetch it "
        "with `milr data dataset=cub`"
    )


def read_rows(path: Path, value: Callable[[list[str]], Value]) -> dict[int, Value]:
    """Lines "<id> <value ...>" as id -> value; a BOM, CRLF and blank lines are tolerated."""
    if not path.is_file():
        raise MilrError(f"{path} is missing: the data set is incomplete; `milr data dataset=cub` fetches it")
    rows: dict[int, Value] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        words = line.split()
        try:
            key, content = int(words[0]), value(words[1:])
        except (ValueError, IndexError) as error:
            raise MilrError(f"{path}:{number}: cannot read '{line.strip()}' ({error})") from error
        if key in rows:
            raise MilrError(f"{path}:{number}: the id {key} appears twice")
        rows[key] = content
    return rows


def read_box(words: list[str]) -> Box:
    """A box from "x y width height"."""
    left, top, width, height = (float(word) for word in words)
    return Box(left, top, width, height)


def read_parts(folder: Path) -> tuple[tuple[str, ...], dict[int, dict[str, tuple[float, float]]]]:
    """Part names, and image id -> the visible parts' places; nothing where the data set has no parts."""
    if not (folder / "part_locs.txt").is_file():
        return (), {}
    names = read_rows(folder / "parts.txt", lambda words: " ".join(words))
    places: dict[int, dict[str, tuple[float, float]]] = defaultdict(dict)
    path = folder / "part_locs.txt"
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            image_id, part = int(words[0]), names[int(words[1])]
            x, y, visible = float(words[2]), float(words[3]), int(words[4])
        except (ValueError, IndexError, KeyError) as error:
            raise MilrError(f"{path}:{number}: cannot read '{line.strip()}' ({error})") from error
        if visible:
            places[image_id][part] = (x, y)
    return tuple(names[key] for key in sorted(names)), dict(places)


def require_rows(path: Path, rows: dict[int, Value], wanted: dict[int, str] | set[int]) -> None:
    """MilrError naming the first id that has no row."""
    missing = sorted(key for key in wanted if key not in rows)
    if missing:
        raise MilrError(f"{path} has no row for id {missing[0]} ({len(missing)} missing): the data set is incomplete")


def require_pictures(root: Path, records: list[Record]) -> None:
    """MilrError if images.txt names pictures that are not there; one look at each class's folder, not at each file."""
    there: dict[Path, set[str]] = {}
    missing = []
    for record in records:
        folder = record.path.parent
        if folder not in there:
            there[folder] = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        if record.path.name not in there[folder]:
            missing.append(record)
    if missing:
        first = missing[0]
        raise MilrError(
            f"{root / 'images.txt'} names {first.path.relative_to(root / 'images')}, which is not there "
            f"({len(missing)} of {len(records)} pictures missing): fetch the data set again"
        )
