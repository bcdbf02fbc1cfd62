"""Tables that lie beside a data set's pictures and say what it is about them that a network decides."""

from __future__ import annotations

import csv
import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from milr.data.records import Record
from milr.errors import MilrError
from milr.files import require_file

log = logging.getLogger(__name__)

TARGETS, PAIRS = "targets.csv", "pairs.csv"
OPPOSITE = re.compile(r"dif|dis|unlike|not[ _]|neg", re.IGNORECASE)  # of "the same": how such a column may begin
LARGEST = 1e18  # a value, whose square float32 holds


def table_beside(root: Path, given: str, name: str) -> Path | None:
    """The table that was given, or the one of this name in the data set's folder; None where there is none."""
    path = Path(given).expanduser() if given else root / name
    if given and not path.is_file():
        raise MilrError(f"decision.table={given}: there is no such file")
    return path if path.is_file() else None


def read_targets(path: Path, records: Sequence[Record], root: Path) -> tuple[list[str], Mapping[Path, list[float]]]:
    """The columns of a table (image, value, ...) and the values of each picture. MilrError for what it has not."""
    header, rows = rows_of(path)
    if len(header) < 2:
        raise MilrError(f"{path}: its first line names the columns: image, and one or more of values")
    if "" in header[1:] or len({*header[1:]}) < len(header) - 1:
        raise MilrError(f"{path}: its first line names the columns, each by a name of its own, and has {header}")
    files, values, other = by_name(records, root), dict[Path, list[float]](), ""
    for line, row in rows:
        if not (file := picture_of(row[0], files, path, line)):
            other = other or row[0]
            continue
        if file in values:
            raise MilrError(f"{path}, line {line}: {row[0]} has a line already")
        values[file] = [number(cell, path, line) for cell in row[1:]]
    require_all(path, values, records, other)
    return header[1:], values


def read_pairs(path: Path, records: Sequence[Record], root: Path) -> list[tuple[Path, Path, bool]]:
    """The pairs of a table (image, image, same 0|1) whose pictures are both among the records."""
    header, rows = rows_of(path)
    if len(header) != 3:
        raise MilrError(f"{path}: its first line names three columns, image, image, same; it has {len(header)}")
    if header[2] in ("0", "1"):
        raise MilrError(f"{path}: its first line is a pair: put one with the columns' names, image,image,same, above")
    if OPPOSITE.match(header[2]):
        raise MilrError(f"{path}: its third column is called {header[2]!r}: it is named same, with 1 for the same")
    files, known, unknown = by_name(records, root), dict[frozenset[Path], tuple[Path, Path, bool]](), list[str]()
    for line, (one, other, same) in rows:
        if same.strip() not in ("0", "1"):
            raise MilrError(f"{path}, line {line}: the third column is 1 (the same) or 0, not {same!r}")
        first, second = picture_of(one, files, path, line), picture_of(other, files, path, line)
        if not first or not second:
            unknown.append(other if first else one)
            continue
        pair = (first, second, same.strip() == "1")
        if first == second:
            if not pair[2]:
                raise MilrError(f"{path}, line {line}: {one} is said to be another than itself: its third column is 1")
            continue
        if known.setdefault(frozenset((first, second)), pair)[2] != pair[2]:
            raise MilrError(f"{path}, line {line}: {one} and {other} are the same by one line and different by another")
    if unknown:
        log.warning("%s: %d lines left out, whose pictures are not there (%s)", path, len(unknown), unknown[0])
    return [*known.values()]


def rows_of(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The first line, and the others with their numbers. MilrError for lines of another length."""
    require_file(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MilrError(f"{path} cannot be read as a table ({error}): it is a CSV file in UTF-8") from error
    if len(lines) < 2:
        raise MilrError(f"{path}: a first line with the columns' names and at least one more are needed")
    header = [name.strip() for name in lines[0][1]]
    if len(header) == 1 and (separator := next((each for each in (";", "\t", "|") if each in header[0]), None)):
        raise MilrError(f"{path}: its columns are parted by {separator!r}: save it with commas, and decimal points")
    for number, row in lines:
        if len(row) != len(header):
            raise MilrError(f"{path}, line {number}: {len(row)} columns, and {len(header)} in the first line")
    return header, iter(lines[1:])


def by_name(records: Sequence[Record], root: Path) -> dict[str, Path]:
    """Each picture under its path, whole or below the root or the folder `images` in it, and its bare name if no other
    has it."""
    names: dict[str, Path] = {}
    bare = Counter(record.path.name for record in records)
    for record in records:
        inside = record.path.relative_to(root) if record.path.is_relative_to(root) else record.path
        own = {inside.as_posix(), inside.as_posix().removeprefix("images/"), record.path.absolute().as_posix()}
        for name in own | ({record.path.name} if bare[record.path.name] == 1 else set()):
            names[name] = record.path
    return names


def picture_of(name: str, files: Mapping[str, Path], path: Path, line: int) -> Path | None:
    """The picture of this name; None for one that is not among the records, of another split for example."""
    if not name.strip():
        raise MilrError(f"{path}, line {line}: the image has no name")
    return files.get(Path(name.strip()).as_posix())


def number(cell: str, path: Path, line: int) -> float:
    """A finite number. MilrError for another, such as the 1_0 that Python would take."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not abs(value) < LARGEST or "_" in cell:
        raise MilrError(f"{path}, line {line}: {cell!r} is no finite number below {LARGEST:g}")
    return value


def require_all(path: Path, values: Mapping[Path, object], records: Sequence[Record], other: str) -> None:
    """MilrError where a picture has no line. other: a name in the table that is none of theirs, if there is one."""
    missing = [record.path for record in records if record.path not in values]
    if missing:
        hint = f", and names {other!r}, which is not called so or in another split" if other else ""
        raise MilrError(
            f"{path} says nothing of {len(missing)} of {len(records)} pictures, {missing[0]} among them{hint}"
        )
