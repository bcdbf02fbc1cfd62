"""The paper's figures 2 to 6: images, heatmaps and mixes of both, in one unit with a colour bar on every map."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate

from milr.errors import MilrError
from milr.explanation.maps import SUMMED, Maps
from milr.figures.canvas import Shown, canvas, headline, letters, write
from milr.figures.columns import Column
from milr.figures.layout import sheet_layout
from milr.figures.palette import WRONG, beyond, colour_map, colour_scale, reach_of
from milr.figures.settings import FigureSettings, check_figure
from milr.figures.shown import drawn, frame_of, grey

MIX = 0.55  # how much of a mixed picture is heatmap
DISPLAY_FACTOR = 4  # a map is drawn with this many pixels for each location and direction


@dataclass(frozen=True)
class SheetRow:
    """One row of the sheet and one figure of its own: `kind` None shows the images alone."""

    file: str  # without its ending
    title: str
    kind: str | None  # of `maps.KINDS`
    mixed: bool

    @property
    def signed(self) -> bool:
        """Whether its map has values below 0."""
        return self.kind == "redundant"


ROWS = (
    SheetRow("figure2_images", "images", None, False),
    SheetRow("figure3_total", "total information", "total", False),
    SheetRow("figure4_total_mixed", "total information", "total", True),
    SheetRow("figure5_kept_mixed", "kept by the mask", "kept", True),
    SheetRow("figure6_redundant_mixed", "redundant", "redundant", True),
    SheetRow("figure5_decision_mixed", "decision-related (capacity)", "decision", True),
)


def require_one_each(**counts: int) -> None:
    """MilrError unless there are as many of one as of the other."""
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise MilrError(f"{listed}: there must be one of each for every image")


def upsample(maps: Tensor, factor: int) -> Tensor:
    """Bits per location [K, H, W] -> bits per pixel [K, f·H, f·W]: the sum of every map stays what it was.

    Bilinear weights to a whole multiple of the size add up to f² for every location, so dividing by f² conserves bits.
    """
    size = (maps.shape[1] * factor, maps.shape[2] * factor)
    return interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0] / factor**2


def figure(
    rows: Sequence[SheetRow],
    images: Any,
    maps: Maps,
    columns: Sequence[Column | str],
    how: FigureSettings | None = None,
    note: str = "",
) -> Shown:
    """Rows of pictures, one column an image: images [K, 3, H, W] as `drawn` takes them, with their maps.

    None draws maps alone. MilrError for images that cannot be drawn, another number of them than of maps or columns,
    and more of them than fit the width.
    """
    how = check_figure(how)
    titled = [Column(name=column) if isinstance(column, str) else column for column in columns]
    if images is None:
        require_one_each(maps=len(maps), columns=len(columns))
    else:
        images, scaled = drawn(images)
        note = "; ".join(filter(None, (note, scaled)))
        require_one_each(images=len(images), maps=len(maps), columns=len(columns))
    shape = (maps.total if images is None else images).shape[-2:]
    layout = sheet_layout(len(rows), titled, shape, how, bool(note))
    text = layout.text
    drawing = canvas(layout.width, layout.height)
    grid = drawing.add_gridspec(len(rows), len(columns) + 1, width_ratios=[*[1] * len(columns), layout.bars])
    axes = [[drawing.add_subplot(grid[r, c]) for c in range(len(columns))] for r in range(len(rows))]
    for r, row in enumerate(rows):
        drawn_row = _draw_row(drawing, axes[r], row, images, maps, how, text)
        if drawn_row and how.scale != "image":
            beside_row = drawing.add_subplot(grid[r, -1])
            _colour_bar(drawing, *drawn_row, colour_map(row.signed, how.colours), text, cax=beside_row)
        title = textwrap.fill(row.title, max(letters(layout.row - 0.1, 9 * text), 11))
        rest = "\nand image" if row.mixed and images is not None else ""
        axes[r][0].set_ylabel(title + rest, fontsize=9 * text)
    for column, own in zip(titled, zip(*axes, strict=True), strict=True):
        _label_column(own, column, layout.picture, text)
    if note:
        headline(drawing, note, 9 * text)
    return drawing


def _label_column(axes: Sequence[Axes], column: Column, inches: float, text: float) -> None:
    """A column's title and distances; a wrong decision has a cross, bold letters and a frame around each picture."""
    weight = "bold" if column.wrong else "normal"
    axes[0].set_title(column.title(letters(inches, 8 * text)), fontsize=8 * text, weight=weight)
    if column.distances is not None:
        size = max(6.5 * text, 5)
        words = column.distance_lines(letters(inches, size) - 2)
        axes[-1].set_xlabel(words, fontsize=size, loc="left", multialignment="left")
    if column.wrong:
        for axis in axes:
            axis.spines[:].set(color=WRONG, linewidth=3 * text)


def _draw_row(
    drawing: Figure,
    axes: Sequence[Axes],
    row: SheetRow,
    images: Tensor | None,
    maps: Maps,
    how: FigureSettings,
    text: float,
) -> tuple[Tensor, Normalize] | None:
    """Draws it; returns its maps and their scale. Under a map a picture is grey: colour then says bits alone."""
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    if images is not None and (row.kind is None or row.mixed):
        pictures = grey(images) if row.mixed else images
        for axis, picture in zip(axes, pictures.permute(0, 2, 3, 1).numpy(), strict=True):
            axis.imshow(picture, extent=frame_of(images))
    if row.kind is None:
        return None
    values: Tensor = getattr(maps, row.kind).cpu()
    sequence = values.ndim == 2  # [K, T]: a strip of T places, with nothing between two of them
    shown = values[:, None] if sequence else upsample(values, DISPLAY_FACTOR) * DISPLAY_FACTOR**2  # bits a location
    frame = frame_of(shown if images is None or sequence else images)
    colours = colour_map(row.signed, how.colours)
    # The three of eq. 9 add up, so that they share the total's scale; the capacity has one of its own.
    totals = maps.total.cpu() if row.kind in SUMMED else None
    shared = colour_scale(values, row.signed, None if totals is None else reach_of(totals))
    for number, (axis, value, own) in enumerate(zip(axes, shown, values, strict=True)):
        norm = shared
        if how.scale == "image":
            norm = colour_scale(own, row.signed, None if totals is None else reach_of(totals[number]))
        alpha = MIX if row.mixed and images is not None else 1.0
        axis.imshow(value.numpy(), cmap=colours, norm=norm, alpha=alpha, extent=frame)
        if sequence:
            axis.set_aspect("auto")
        if how.scale == "image":
            _colour_bar(drawing, value, norm, colours, text, ax=axis, location="bottom", fraction=0.08, pad=0.01)
    return shown, shared


def _colour_bar(drawing: Figure, shown: Tensor, norm: Normalize, colours: str, text: float, **where: Any) -> None:
    """The scale, with an arrow at each end that a shown value lies beyond."""
    bar = drawing.colorbar(ScalarMappable(norm, colours), extend=beyond(shown, norm), **where)
    bar.ax.tick_params(labelsize=max(6 * text, 5))
    bar.set_label("bits per location", fontsize=7 * text)


def save_figures(
    folder: Path,
    images: Any,
    maps: Maps,
    columns: Sequence[Column | str],
    how: FigureSettings | None = None,
    note: str = "",
) -> dict[str, str]:
    """The paper's figures 2 to 6 and what the mask keeps: each row of the sheet as a file of its own, all as the sheet.

    Total, kept and redundant information add up (eq. 9) and share one scale, in bits; the capacity has its own.

    Args:
        folder: an existing folder.
        images: [K, 3, H, W] or [K, H, W, 3] (or grey, with one channel), uint8 or floats; normalised ones are drawn
            from the least to the highest value of each, and the figure says so.
        maps: theirs, in bits a location.
        columns: what stands over each: text, or a `Column`.
        how: colours, scale, format and width.
        note: a line over each figure.

    Returns:
        File name -> what it shows.

    Raises:
        MilrError: for images that cannot be drawn, another number of them than of maps or columns, and more of them
            than fit the width.

    Example:
        >>> import milr, tempfile, torch
        >>> from pathlib import Path
        >>> bits = torch.rand(1, 8, 8)
        >>> maps = milr.Maps(bits, bits, bits, decision=bits, mask=bits, output=torch.zeros(1, 4), cap=6.0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     shows = milr.save_figures(Path(folder), torch.rand(1, 3, 32, 32), maps, ["Wren"])
        >>> shows["figure4_total_mixed.png"]
        'total information mixed with the image'
    """
    how, shows = check_figure(how), {}
    for file, rows in [*((row.file, [row]) for row in ROWS), ("sheet", list(ROWS))]:
        name = f"{file}.{how.format}"
        write(figure(rows, images, maps, columns, how, note), folder / name)
        shows[name] = "; ".join(row.title + (" mixed with the image" if row.mixed else "") for row in rows)
    return shows
