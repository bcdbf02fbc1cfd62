"""Whether the tables of a CUB-200-2011 go together, and its pictures are there."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

from milr.data.records import Record
from milr.errors import MilrError
from milr.text import alike


class IncompleteError(MilrError):
    """Files of the data set are not there."""


def named(row: Any) -> str:
    """A row's id, or those of part_locs.txt, in words."""
    return "part {1} of image {0}".format(*row) if isinstance(row, tuple) else f"id {row}"


def require_rows(path: Path, rows: Collection[Any], wanted: Iterable[Any]) -> None:
    """MilrError naming the first id that has no row."""
    missing = sorted(key for key in wanted if key not in rows)
    if missing:
        raise IncompleteError(
            f"{path} has no row for {named(missing[0])} ({len(missing)} missing): the data set is incomplete"
        )


def require_distinct(path: Path, rows: dict[int, Any]) -> None:
    """MilrError naming the first value that stands under two ids."""
    first: dict[Any, int] = {}
    for key, value in rows.items():
        if first.setdefault(value, key) != key:
            raise MilrError(f"{path}: ids {first[value]} and {key} are both {value}: each needs one of its own")


def require_own_folders(path: Path, files: dict[int, str], labels: dict[int, int], names: dict[int, str]) -> None:
    """MilrError where pictures lie in a folder with the name of another class than theirs: a table is shifted."""
    ids = {name: key for key, name in names.items()}
    own = {key: ids.get(PurePosixPath(file).parent.name, labels[key]) for key, file in files.items()}
    if wrong := sorted(key for key, class_id in own.items() if class_id != labels[key]):
        raise MilrError(
            f"{path} says class {labels[wrong[0]]} of image {wrong[0]}, {files[wrong[0]]}, and classes.txt calls that "
            f"class {names[labels[wrong[0]]]} ({len(wrong)} of {len(files)} pictures lie in another class's folder): "
            "is one of the two shifted?"
        )


def require_pictures(root: Path, records: list[Record]) -> None:
    """MilrError if images.txt names pictures that are not there; one look at each class's folder, not at each file."""
    folders = {record.path.parent for record in records}
    there = {file for folder in folders if folder.is_dir() for file in folder.iterdir()}
    missing = [record for record in records if record.path not in there]
    if missing:
        first = missing[0].path.relative_to(root / "images")
        hint = (
            f"{root / 'images.txt'} names {first}, which is not there "
            f"({len(missing)} of {len(records)} pictures missing)"
        )
        if meant := written_otherwise(root, first):
            how = ", with its accents encoded as in the file's name" * (normalize("NFC", meant) == first.as_posix())
            raise MilrError(f"{hint}, but {meant} is: write it as it is called, from images/ on, with /{how}")
        raise IncompleteError(hint)


def written_otherwise(root: Path, file: Path) -> str:
    """The picture called as `file`, but for capitals, accents, quotes, backslashes or images/ in front; else empty."""
    parts = file.as_posix().strip("'\"").replace("\\", "/").removeprefix("images/").split("/")
    place = root / "images"
    for part in parts:
        names = [entry.name for entry in place.iterdir()] if place.is_dir() else []
        place /= next((name for name in names if alike(name) == alike(part)), part)
    return place.relative_to(root / "images").as_posix() if place.is_file() else ""
