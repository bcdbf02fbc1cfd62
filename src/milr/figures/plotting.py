"""`Maps.plot`: a sheet of some images' maps, as a notebook shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from milr.errors import MilrError
from milr.explanation.dead_masks import warn_of
from milr.explanation.maps import Maps
from milr.figures.canvas import Shown
from milr.figures.columns import Column, literal
from milr.figures.figures import ROWS, figure
from milr.figures.settings import FigureSettings
from milr.figures.shown import drawn

SHEET = [row for row in ROWS if row.kind is None or row.mixed]


def plot(
    maps: Maps,
    images: Any,
    names: Sequence[str] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    note: str,
    **look: str,
) -> Shown:
    """As `Maps.plot` says."""
    how = FigureSettings(**look)
    if not len(maps):
        raise MilrError("there are no maps to plot: they are of no image")
    warn_of(maps.mask)
    if maps.total.ndim == 2:
        return plot_sequences(maps, names, note, how)
    columns = [Column(name=str(name)) for name in names] if names is not None else [Column()] * len(maps)
    if images is None:
        return figure(SHEET[1:], None, maps, columns, how, note)
    pictures, scaled = drawn(images, mean, std)
    return figure(SHEET, pictures, maps, columns, how, "; ".join(filter(None, (note, scaled))))


def plot_sequences(maps: Maps, words: Sequence[Any] | None, note: str, how: FigureSettings) -> Shown:
    """Strips [T] of each sequence; under each place its word: a list of them, or one list for each sequence."""
    drawing = figure(SHEET[1:], None, maps, [Column()] * len(maps), how, note)
    if words is None:
        return drawing
    each = [words] * len(maps) if all(isinstance(word, str) for word in words) else words
    length = maps.total.shape[1]
    if len(each) != len(maps) or any(len(own) != length for own in each):
        raise MilrError(f"names of sequences are {length} words, or a list of {length} for each of the {len(maps)}")
    lowest = drawing.axes[(len(SHEET) - 2) * len(maps) :]
    for axis, own in zip(lowest, each, strict=False):
        axis.set_xticks([place + 0.5 for place in range(length)], [literal(word) for word in own], rotation=90)
        axis.tick_params(labelsize=7)
    return drawing
