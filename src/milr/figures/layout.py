"""How large a sheet of pictures in rows and columns is, and each part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from milr.figures.canvas import INCHES, picture_inches
from milr.figures.columns import Column
from milr.figures.settings import FigureSettings


@dataclass(frozen=True)
class Layout:
    """The sizes of a sheet, in inches where nothing else is said.

    Attributes:
        width, height: of the figure.
        picture: the width of each picture.
        row: the height of each row, without a colour bar under it.
        bars: the width of the colour bars beside the rows, as a share of a picture's.
        text: the size of letters; 1 on a screen.
    """

    width: float
    height: float
    picture: float
    row: float
    bars: float
    text: float


def sheet_layout(
    rows: int, columns: Sequence[Column], shape: Sequence[int], how: FigureSettings, has_note: bool
) -> Layout:
    """The layout of so many rows of pictures of one shape (height, width). MilrError where they do not fit."""
    screen = how.width == "screen"
    beside, text = (1.6, 1.0) if screen else (1.05, 0.75)  # beside: labels and colour bars
    picture = picture_inches(how.width, len(columns), beside)
    tall = max(picture * min(max(shape[0] / shape[1], 0.75), 3), 0.85 * text) + 0.1  # a row needs place for its title
    lines = max((column.title().count("\n") for column in columns), default=0)
    lines += max((len(column.distances) + 1 for column in columns if column.distances), default=0)
    below = 0.35 * text * (how.scale == "image")  # a colour bar under each map
    height = (tall + below) * rows + text * (0.5 + 0.14 * lines + 0.3 * has_note)
    width = INCHES.get(how.width, picture * len(columns) + beside)
    return Layout(width, height, picture, tall, 0.06 * 1.45 / picture, text)
