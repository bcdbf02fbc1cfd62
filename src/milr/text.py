"""Text for people: aligned tables, the first of many names, the first line of a message."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from unicodedata import normalize

CONTROLS = {number: repr(chr(number))[1:-1] for number in (*range(32), 127, 0x85, 0x2028, 0x2029)}  # and line ends


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


def one_line(text: object, longest: int = 0) -> str:
    """A text in one line, whatever it quotes: control characters and ends of lines as their escapes.

    longest: characters, from which on it is cut; 0: never.
    """
    line = str(text).translate(CONTROLS)
    return f"{line[: longest - 3]}..." if 0 < longest < len(line) else line


def alike(name: str) -> str:
    """What names have in common that differ in capitals, in blanks at their ends, or in how accents are encoded."""
    return normalize("NFC", name).casefold().strip()
