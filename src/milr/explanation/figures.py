"""The paper's figures 2 to 6: images, heatmaps and mixes of both, in one unit with a colour bar on every map."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate

from milr.errors import MilrError
from milr.explanation.maps import SUMMED, Maps
from milr.explanation.shown import drawn, frame_of

MIX = 0.55  # how much of a mixed picture is heatmap
DISPLAY_FACTOR = 4  # a map is drawn with this many pixels for each location and direction


@dataclass(frozen=True)
class Column:
    """What stands over one image in `save_figures`: its role, its name, and what the network decided. All may be empty.

    Attributes:
        role: what it is there for, as "support" or "query".
        name: the class or the picture, as the data set names it.
        predicted: the class that the network decided for.
        distances: to the prototypes, in the order of the supports, in the metric's own unit.

    Example:
        >>> import milr
        >>> milr.Column("query", "012.Yellow_headed_Blackbird", predicted="047.American_Goldfinch").title().splitlines()
        ['query', 'Yellow headed', 'Blackbird', 'predicted:', 'American', 'Goldfinch']
    """

    role: str = ""
    name: str = ""
    predicted: str | None = None
    distances: tuple[float, ...] | None = None  # to the prototypes, in the order of the supports

    def title(self) -> str:
        """Lines to write over the column."""
        lines = [*self.role.splitlines(), *textwrap.wrap(readable(self.name), 16)]
        if self.predicted is not None:
            predicted = "the same" if self.predicted == self.name else readable(self.predicted)
            lines += textwrap.wrap(f"predicted: {predicted}", 16)
        return literal("\n".join(lines))


@dataclass(frozen=True)
class SheetRow:
    """One row of the sheet and one figure of its own: `kind` None shows the images alone."""

    file: str
    title: str
    kind: str | None  # of `maps.KINDS`
    mixed: bool

    @property
    def colours(self) -> str:
        """The colour map's name; a signed kind gets a diverging one."""
        return colour_map(self.kind == "redundant")


ROWS = (
    SheetRow("figure2_images.png", "images", None, False),
    SheetRow("figure3_total.png", "total information", "total", False),
    SheetRow("figure4_total_mixed.png", "total information", "total", True),
    SheetRow("figure5_kept_mixed.png", "kept by the mask", "kept", True),
    SheetRow("figure6_redundant_mixed.png", "redundant", "redundant", True),
    SheetRow("figure5_decision_mixed.png", "decision-related\n(capacity)", "decision", True),
)


def readable(name: str) -> str:
    """A class name for people: "012.Yellow_headed_Blackbird" -> "Yellow headed Blackbird"."""
    number, _, rest = name.partition(".")
    return (rest if number.isdigit() and rest else name).replace("_", " ")


def literal(text: str) -> str:
    """The text as matplotlib must be given it: between two dollars it would read mathematics."""
    return text.replace("$", r"\$")


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


def colour_map(signed: bool, plain: str = "turbo") -> str:
    """The name of the colours of a map, or of a signed one, whose zero is white."""
    return "RdBu_r" if signed else plain


def colour_scale(values: Tensor, signed: bool, reach: float | None = None) -> Normalize:
    """A scale over these bits: from the 1st to the 99.5th percentile, or symmetric around 0 for a signed kind.

    Few extreme locations would flatten everything else; the colour bar's arrows say that values go on. With `reach`
    it goes from 0, or from minus that, to that.
    """
    if signed:
        reach = reach or reach_of(values)
        return TwoSlopeNorm(0.0, -reach, reach)
    if reach:
        return Normalize(0.0, reach)
    low, high = (float(v) for v in np.percentile(values.flatten().double().numpy(), [1, 99.5]))
    return Normalize(low, max(high, low + 1e-12))


def reach_of(values: Tensor) -> float:
    """The 99.5th percentile of the sizes of these bits."""
    return max(float(np.percentile(values.flatten().double().abs().numpy(), 99.5)), 1e-12)


class Shown(Figure):
    """A figure that a notebook shows, whether or not pyplot was ever imported there."""

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.savefig(file, dpi=80, format="png")
        return file.getvalue()


def figure(
    rows: Sequence[SheetRow],
    images: Any,
    maps: Maps,
    columns: Sequence[Column | str],
    scale: str = "kind",
    note: str = "",
) -> Shown:
    """Rows of pictures, one column an image: images [K, 3, H, W] as `drawn` takes them, with their maps.

    None draws maps alone. `scale` "kind": one colour scale for all maps of a kind; "image": one for each map, with a
    colour bar each. MilrError for images that cannot be drawn, or another number of them than of maps or columns.
    """
    titled = [Column(name=column) if isinstance(column, str) else column for column in columns]
    if images is None:
        require_one_each(maps=len(maps), columns=len(columns))
    else:
        images, scaled = drawn(images)
        note = "; ".join(filter(None, (note, scaled)))
        require_one_each(images=len(images), maps=len(maps), columns=len(columns))
    width, height = len(columns), len(rows)
    across = (maps.total if images is None else images).shape[-2:]
    tall = 1.45 * min(max(across[0] / across[1], 0.75), 3) + 0.1  # a row needs place for its title
    drawing = Shown(figsize=(1.45 * width + 1.6, tall * height + 1.35 + 0.3 * bool(note)), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots(height, width, squeeze=False)
    for r, row in enumerate(rows):
        _draw_row(drawing, list(axes[r]), row, images, maps, scale)
        axes[r, 0].set_ylabel(row.title + ("\nand image" if row.mixed and images is not None else ""), fontsize=9)
    for axis, column in zip(axes[0], titled, strict=True):
        wrong = column.predicted is not None and column.predicted != column.name
        axis.set_title(column.title(), fontsize=8, color="firebrick" if wrong else "black")
    for axis, column in zip(axes[-1], titled, strict=True):
        if column.distances is not None:
            axis.set_xlabel("distances\n" + _distances(column.distances), fontsize=7)
    if note:
        drawing.suptitle(textwrap.fill(note, max(40, 24 * width)), fontsize=9)
    return drawing


def pixels(drawing: Figure) -> npt.NDArray[np.uint8]:
    """A figure as a picture: uint8 [height, width, 3]."""
    canvas = FigureCanvasAgg(drawing)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _draw_row(drawing: Figure, axes: list[Axes], row: SheetRow, images: Tensor | None, maps: Maps, scale: str) -> None:
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    if images is not None and (row.kind is None or row.mixed):
        for axis, picture in zip(axes, images.permute(0, 2, 3, 1).numpy(), strict=True):
            axis.imshow(picture, extent=frame_of(images))
    if row.kind is None:
        return
    values: Tensor = getattr(maps, row.kind).cpu()
    sequence = values.ndim == 2  # [K, T]: a strip of T places, with nothing between two of them
    shown = values[:, None] if sequence else upsample(values, DISPLAY_FACTOR) * DISPLAY_FACTOR**2  # bits a location
    frame = frame_of(shown if images is None or sequence else images)
    signed = row.kind == "redundant"
    # The three of eq. 9 add up, so that they share the total's scale; the capacity has one of its own.
    totals = maps.total.cpu() if row.kind in SUMMED else None
    shared = colour_scale(values, signed, None if totals is None else reach_of(totals))
    for number, (axis, value, own) in enumerate(zip(axes, shown, values, strict=True)):
        norm = shared
        if scale == "image":
            norm = colour_scale(own, signed, None if totals is None else reach_of(totals[number]))
        alpha = MIX if row.mixed and images is not None else 1.0
        axis.imshow(value.numpy(), cmap=row.colours, norm=norm, alpha=alpha, extent=frame)
        if sequence:
            axis.set_aspect("auto")
        if scale == "image":
            _colour_bar(drawing, [axis], norm, row.colours, label="bits per location", horizontal=True)
    if scale != "image":
        _colour_bar(drawing, axes, shared, row.colours, label="bits per location")


def _colour_bar(
    drawing: Figure, axes: list[Axes], norm: Normalize, colours: str | Colormap, label: str, horizontal: bool = False
) -> None:
    bar = drawing.colorbar(
        ScalarMappable(norm, colours),
        ax=axes,
        extend="both",
        location="bottom" if horizontal else "right",
        fraction=0.08 if horizontal else 0.02,
        pad=0.01,
    )
    bar.ax.tick_params(labelsize=6)
    bar.set_label(label, fontsize=7)


def _distances(values: tuple[float, ...]) -> str:
    nearest = min(values)
    cells = [f"[{value:.3g}]" if value == nearest else f"{value:.3g}" for value in values]
    return "\n".join(" ".join(cells[i : i + 3]) for i in range(0, len(cells), 3))


def save_figures(
    folder: Path, images: Any, maps: Maps, columns: Sequence[Column | str], scale: str = "kind", note: str = ""
) -> dict[str, str]:
    """The paper's figures 2 to 6 and what the mask keeps: each row of the sheet as a PNG of its own, all as sheet.png.

    Total, kept and redundant information add up (eq. 9) and share one scale, in bits; the capacity has its own.

    Args:
        folder: an existing folder.
        images: [K, 3, H, W] or [K, H, W, 3] (or grey, with one channel), uint8 or floats; normalised ones are drawn
            from the least to the highest value of each, and the figure says so.
        maps: theirs, in bits a location.
        columns: what stands over each: text, or a `Column`.
        scale: "kind": one colour scale for all maps of a kind; "image": one for each map, with a colour bar each.
        note: a line over each figure.

    Returns:
        File name -> what it shows.

    Raises:
        MilrError: for images that cannot be drawn, or another number of them than of maps or columns.

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
    shows = {}
    for name, rows in [*((row.file, [row]) for row in ROWS), ("sheet.png", list(ROWS))]:
        figure(rows, images, maps, columns, scale, note).savefig(folder / name, dpi=110)
        shows[name] = "; ".join(row.title + (" mixed with the image" if row.mixed else "") for row in rows)
    return shows
