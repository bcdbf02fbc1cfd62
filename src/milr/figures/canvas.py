"""Figures that need no display: made, given a headline that fits, and written with their fonts inside."""

from __future__ import annotations

import logging
import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from milr.errors import MilrError

log = logging.getLogger("milr")

BOXED: set[str] = set()  # characters that were named in this process
INCHES = {"column": 3.35, "page": 7.0}  # one column of a page of two, and both
SCREEN_DPI, PRINT_DPI = 110, 300
SMALLEST = 0.35  # inches of a picture that still shows something
EM = 0.55  # the width of a usual character, in its size
WRITING: dict[Any, Any] = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.hashsalt": "milr",
}  # whole fonts; the same bytes each time
UNDATED: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


class Shown(Figure):
    """A figure that a notebook shows, whether or not pyplot was ever imported there."""

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.savefig(file, dpi=80, format="png")
        return file.getvalue()


def canvas(width: float, height: float) -> Shown:
    """A figure of so many inches."""
    drawing = Shown(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawing)
    return drawing


def headline(drawing: Figure, text: str, size: float) -> None:
    """The text over a figure, in lines that end before its edges."""
    room = letters(drawing.get_figwidth() - 0.2, size)
    drawing.suptitle("\n".join(textwrap.fill(line, room) for line in text.splitlines()), fontsize=size)


def letters(inches: float, size: float) -> int:
    """How many characters of this size, in points, stand side by side on so many inches."""
    return max(4, int(inches * 72 / (EM * size)))


def write(drawing: Figure, file: Path | IO[bytes], format: str = "") -> None:
    """Writes a figure as its file's ending says, or as `format` does. A PDF holds its fonts, an SVG their outlines.

    What is as wide as on paper gets paper's resolution.
    """
    format = format or Path(str(file)).suffix[1:].lower()
    dpi = PRINT_DPI if drawing.get_figwidth() in INCHES.values() else SCREEN_DPI
    with matplotlib.rc_context(WRITING), missing_letters():
        drawing.savefig(file, dpi=dpi, format=format, metadata=UNDATED.get(format))


@contextmanager
def missing_letters() -> Iterator[None]:
    """What the figures' font has no letter for is logged in a line, once; other warnings are given on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "Glyph ")
        yield
    missing = {chr(int(letter[1])): one for one in caught if (letter := re.match(r"Glyph (\d+) ", str(one.message)))}
    for one in caught:
        if one not in missing.values():
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if new := sorted(missing.keys() - BOXED):
        BOXED.update(new)
        log.warning("the figures' font has no %s: they are drawn as boxes, the tables have them", " ".join(new))


def picture_inches(width: str, pictures: int, beside: float) -> float:
    """The width of each of so many pictures side by side, on a figure of this width with `beside` inches of labels.

    MilrError where they do not fit.
    """
    if width == "screen":
        return 1.45
    each = (INCHES[width] - beside) / pictures
    if each < SMALLEST:
        most = int((INCHES[width] - beside) / SMALLEST)
        raise MilrError(
            f"{pictures} pictures side by side do not fit width={width} ({INCHES[width]:g} inches): draw at most "
            f"{most}, or set width={'page or ' if width == 'column' else ''}screen"
        )
    return each


def pixels(drawing: Figure) -> npt.NDArray[np.uint8]:
    """A figure as a picture: uint8 [height, width, 3]."""
    agg = FigureCanvasAgg(drawing)
    agg.draw()
    return np.array(agg.buffer_rgba())[..., :3]
