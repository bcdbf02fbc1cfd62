"""Text for people: aligned tables, the first of many names, the first line of a message."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Rows as lines of columns, two blanks apart, flush left, or flush right where the column's number is in `right`.

    A row may be shorter than the longest: its last cell, a message, then runs on across the other columns.
    """
    columns = max(map(len, rows), default=0)
    whole = [row if len(row) == columns else row[:-1] for row in rows]
    widths = [max((len(row[column]) for row in whole if column < len(row)), default=0) for column in range(columns)]
    lines = []
    for row, cells in zip(rows, whole, strict=True):
        padded = [f"{cell:{'>' if n in right else '<'}{widths[n]}}" for n, cell in enumerate(cells)]
        lines.append("  ".join([*padded, *row[len(cells) :]]).rstrip())
    return lines


def first_few(names: Iterable[object], shown: int = 3) -> str:
    """The first names, and dots where there are more."""
    words = [str(name) for name in names]
    return ", ".join(words[:shown]) + (", ..." if len(words) > shown else "")


def first_line(message: object) -> str:
    """The first line of a message that says something; nothing where none does."""
    return next((line.strip() for line in str(message).splitlines() if line.strip()), "")
