"""Everything that is written of one set of explained images: figures, arrays, a table."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from milr.explanation.figures import Column, displayable, require_one_each, save_figures
from milr.explanation.maps import Maps


def export(
    folder: Path, images: Tensor, maps: Maps, columns: Sequence[Column], files: Sequence[str], scale: str, note: str
) -> dict[str, str]:
    """Figures, maps.npz and maps.csv of images [K, 3, H, W] as `displayable` takes them; file name -> what it shows.

    They are written beside `folder` and moved there at the end: it gets all of them or, should the disk be full, none.
    MilrError for images that cannot be drawn, or another number of them than of maps, columns or files.
    """
    images = displayable(images)
    require_one_each(images=len(images), maps=len(maps.total), columns=len(columns), files=len(files))
    making = folder.with_name(f".{folder.name}.part")
    making.mkdir(exist_ok=True)
    try:
        shows = save_figures(making, images, maps, columns, scale, note)
        save_maps(making / "maps.npz", images, maps, [column.species for column in columns], files)
        save_table(making / "maps.csv", maps, columns, files)
        folder.mkdir(exist_ok=True)
        for file in making.iterdir():
            file.replace(folder / file.name)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return shows | {"maps.npz": "all maps in bits, images, labels, file names", "maps.csv": "one row an image, in bits"}


def save_maps(path: Path, images: Tensor, maps: Maps, labels: Sequence[str], files: Sequence[str]) -> None:
    """total, decision, redundant, mask [K, H, W] in bits (mask: 0 to 1), the cap, images, labels and file names."""
    arrays = {kind: getattr(maps, kind).cpu().numpy() for kind in ("total", "decision", "redundant", "mask")}
    np.savez_compressed(
        path, **arrays, images=images.cpu().numpy(), labels=np.array(labels), files=np.array(files), cap=maps.cap
    )


def save_table(path: Path, maps: Maps, columns: Sequence[Column], files: Sequence[str]) -> None:
    """One row an image: what it is, and `Maps.rows`."""
    rows = [
        {"file": file, "role": column.role, "species": column.species, "predicted": column.predicted or "", **row}
        for file, column, row in zip(files, columns, maps.rows(), strict=True)
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
