"""Everything that is written of one set of explained images: figures, arrays, a table."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from milr.explanation.maps import Maps
from milr.figures.columns import Column
from milr.figures.figures import require_one_each, save_figures
from milr.figures.settings import FigureSettings
from milr.figures.shown import drawn


def export(
    folder: Path,
    images: Tensor,
    maps: Maps,
    columns: Sequence[Column],
    files: Sequence[str],
    how: FigureSettings | None = None,
    note: str = "",
) -> dict[str, str]:
    """All that is written of one set of explained images: the figures of `save_figures`, maps.npz and maps.csv.

    They are written beside `folder` and moved there at the end: it gets all of them or, should the disk be full, none.

    Args:
        folder: made if it is not there; its parent must be.
        images: [K, 3, H, W], as `save_figures` takes them.
        maps: theirs. maps.npz holds them [K, H, W], maps.csv their sums and means (`Maps.rows`), all in bits.
        columns: what stands over each image.
        files: the images' names in maps.npz and maps.csv.
        how: as in `save_figures`.
        note: a line over each figure.

    Returns:
        File name -> what it shows.

    Raises:
        MilrError: for images that cannot be drawn, or another number of them than of maps, columns or files.

    Example:
        >>> import milr, tempfile, torch
        >>> from pathlib import Path
        >>> bits, columns = torch.rand(1, 8, 8), [milr.Column("image", "Wren")]
        >>> maps = milr.Maps(bits, bits, bits, decision=bits, mask=bits, output=torch.zeros(1, 4), cap=6.0)
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     folder = Path(parent) / "wren"
        ...     shows = milr.export(folder, torch.rand(1, 3, 32, 32), maps, columns, ["wren.jpg"], note="a test")
        ...     sorted(shows) == sorted(file.name for file in folder.iterdir())
        True
    """
    images, scaled = drawn(images)
    note = "; ".join(filter(None, (note, scaled)))
    require_one_each(images=len(images), maps=len(maps.total), columns=len(columns), files=len(files))
    making = folder.with_name(f".{folder.name}.part")
    making.mkdir(exist_ok=True)
    try:
        shows = save_figures(making, images, maps, columns, how, note)
        save_maps(making / "maps.npz", images, maps, [column.name for column in columns], files)
        save_table(making / "maps.csv", maps, columns, files)
        folder.mkdir(exist_ok=True)
        for file in making.iterdir():
            file.replace(folder / file.name)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return shows | {"maps.npz": "all maps in bits, images, labels, file names", "maps.csv": "one row an image, in bits"}


def save_maps(path: Path, images: Tensor, maps: Maps, labels: Sequence[str], files: Sequence[str]) -> None:
    """`Maps.arrays`, all in bits (mask: 0 to 1), with images, labels and file names."""
    named: dict[str, Any] = {"images": images.cpu().numpy(), "labels": np.array(labels), "files": np.array(files)}
    np.savez_compressed(path, **maps.arrays(), **named)


def save_table(path: Path, maps: Maps, columns: Sequence[Column], files: Sequence[str]) -> None:
    """One row an image: what it is, what it is taken for untouched and through the mask, and `Maps.rows`."""
    rows: list[dict[str, Any]] = [
        {
            "file": file,
            "role": column.role,
            "name": column.name,
            "predicted": column.predicted,
            "masked_predicted": column.masked,
            "masked_right": column.masked_right,
            "masked_share": column.masked_share,
            **row,
        }
        for file, column, row in zip(files, columns, maps.rows(), strict=True)
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
