"""The embedded data set: drawn birds in the layout of CUB-200-2011, with the parts that define each species known."""

from __future__ import annotations

import errno
import json
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from milr.data.access import readable
from milr.data.cub import read_cub
from milr.data.drawing import Drawing
from milr.data.families import DrawnBirds
from milr.data.records import Catalogue
from milr.errors import MilrError
from milr.files import naming

PART_NAMES = (  # CUB's, in CUB's order
    *("back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing", "nape"),
    *("right eye", "right leg", "right wing", "tail", "throat"),
)
NOTE = "synthetic.json"  # the settings with which the birds were drawn
VERSION = 1  # raised whenever the same settings would give other pictures
LATER = {"family": "two", "missing": 0.0}  # settings that notes of before lack, and what they meant
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # the disk's own errors, whatever the folder is called


def read_synthetic(
    root: Path,
    species: int,
    images_per_species: int,
    picture_size: int,
    seed: int,
    family: str = "two",
    missing: float = 0.0,
) -> Catalogue:
    """The drawn birds under `root`, drawn on first use. The pictures are a function of these numbers alone.

    MilrError if `root` holds birds drawn with other settings, or something else.
    """
    settings: dict[str, Any] = {"species": species, "images_per_species": images_per_species}
    settings |= {"picture_size": picture_size, "seed": seed, "version": VERSION}
    later: dict[str, Any] = {"family": family, "missing": missing}
    settings |= {key: value for key, value in later.items() if value != LATER[key]}
    birds = DrawnBirds(family, species, picture_size, seed, missing)
    note = root / NOTE
    with readable(root):
        absent = not root.exists()
    if absent:
        draw(root, settings, birds)
    try:
        with readable(note):
            saved = json.loads(note.read_bytes()) if note.is_file() else None
    except ValueError as error:
        raise MilrError(f"{note} is damaged ({error}): move {root} away, and the birds are drawn again") from error
    if not isinstance(saved, dict):
        raise MilrError(f"{root} exists and holds no drawn birds: name another folder with dataset.root=")
    if saved != settings:
        then, now = ({**LATER, **each} for each in (saved, settings))
        differing = ", ".join(
            f"{key} {then.get(key)} instead of {value}" for key, value in now.items() if then.get(key) != value
        )
        raise MilrError(
            f"{root} holds birds drawn with {differing}: name another folder with dataset.root=, or remove it"
        )
    catalogue = read_cub(root, "move {root} away, and the birds are drawn again")
    masks = root / "defining_parts"
    records = tuple(replace(r, defining_mask=masks / r.class_name / f"{r.path.stem}.png") for r in catalogue.records)
    return replace(catalogue, name="synthetic", records=records, split=birds.split, interventions=birds)


def draw(root: Path, settings: dict[str, Any], birds: DrawnBirds) -> None:
    """Draws everything into a folder beside `root` and renames it at the end: a half-made one is never used.

    MilrError where the folder cannot be made; OSError for a full disk.
    """
    if root.is_symlink():
        raise MilrError(f"{root} is a link that leads nowhere: take it away, or name another folder with dataset.root=")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent, ignore_cleanup_errors=True) as making:
            with naming(root):
                write_data_set(Path(making, "birds"), settings, birds)
            os.rename(Path(making, "birds"), root)
    except OSError as error:
        if (root / NOTE).is_file():
            return  # another run drew the same birds meanwhile
        if error.errno in FULL:
            raise
        raise MilrError(
            f"cannot draw birds into {root} ({error.strerror}): name another folder with dataset.root="
        ) from error


def write_data_set(root: Path, settings: dict[str, Any], birds: DrawnBirds) -> None:
    """Pictures, masks, and the files of CUB's index."""
    index = defaultdict(list, {"parts/parts.txt": [f"{number} {name}" for number, name in enumerate(PART_NAMES, 1)]})
    for class_id, looks in enumerate(birds.classes, 1):
        names = [f"{species.head.title()}_headed_{species.wing_bar.title()}_bar" for species in looks]
        name = f"{class_id:03d}.{'_or_'.join(names)}"
        index["classes.txt"].append(f"{class_id} {name}")
        for folder in ("images", "segmentations", "defining_parts"):
            (root / folder / name).mkdir(parents=True)
        for number in range(1, settings["images_per_species"] + 1):
            drawing = birds.draw_stored(class_id, number)
            stem = f"{name[4:]}_{number:04d}"
            save_drawing(drawing, root, name, stem)
            image_id = len(index["images.txt"]) + 1
            left, top, right, bottom = drawing.box
            index["images.txt"].append(f"{image_id} {name}/{stem}.png")
            index["image_class_labels.txt"].append(f"{image_id} {class_id}")
            index["train_test_split.txt"].append(f"{image_id} {number % 2}")
            index["bounding_boxes.txt"].append(f"{image_id} {left:.1f} {top:.1f} {right - left:.1f} {bottom - top:.1f}")
            for part_id, part in enumerate(PART_NAMES, 1):
                x, y = drawing.parts.get(part, (0.0, 0.0))
                visible = int(part in drawing.parts)
                index["parts/part_locs.txt"].append(f"{image_id} {part_id} {x:.1f} {y:.1f} {visible}")
    (root / "parts").mkdir()
    for file, lines in index.items():
        (root / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (root / NOTE).write_text(json.dumps(settings) + "\n", encoding="utf-8")


def save_drawing(drawing: Drawing, root: Path, class_name: str, stem: str) -> None:
    """Picture and masks, each in its folder."""
    files: dict[str, Image.Image] = {
        "images": drawing.picture,
        "segmentations": drawing.segmentation.convert("1"),
        "defining_parts": drawing.defining.convert("1"),
    }
    for folder, image in files.items():
        image.save(root / folder / class_name / f"{stem}.png", compress_level=1)
