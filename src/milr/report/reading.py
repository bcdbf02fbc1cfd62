"""CSV files of dataclasses, read back as these."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from milr.errors import MilrError
from milr.evaluation.metrics import Metric

Row = TypeVar("Row")

READ: Mapping[Any, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: lambda cell: cell == "True",
    float | None: lambda cell: float(cell) if cell else None,
}


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """What `write_csv` wrote; nothing where there is no such file. MilrError for a table of another version.

    Columns that came later have defaults, so that a table of before them can be read.
    """
    if not path.is_file():
        return []
    types = get_type_hints(kind)
    own = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    later = {field.name for field in fields(kind) if field.default is not MISSING}  # type: ignore[arg-type]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                kind(**{name: value_of(cells, name, types) for name in own if name in cells or name not in later})
                for cells in csv.DictReader(file)
            ]
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise MilrError(f"{path} is of another version of milr ({error}): make it anew") from error


def value_of(cells: Mapping[str, str], name: str, types: Mapping[str, Any]) -> Any:
    """One field; a metric's own fields are columns of their own, those of later versions where they are there."""
    if types[name] is not Metric:
        return READ[types[name]](cells[name])
    own = get_type_hints(Metric)
    return Metric(**{key: READ[own[key]](cells[key]) for key in own if key in cells or key == "kind"})
