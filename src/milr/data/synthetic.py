"""The embedded data set: drawn birds in the layout of CUB-200-2011, with the parts that define each species known."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from PIL import Image

from milr.data.access import readable
from milr.data.cub import read_cub
from milr.data.drawing import BILLS, Drawing, Species, draw_bird
from milr.data.records import Catalogue
from milr.data.shapes import PALETTE
from milr.errors import MilrError

PART_NAMES = (  # CUB's, in CUB's order
    *("back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing", "nape"),
    *("right eye", "right leg", "right wing", "tail", "throat"),
)
VERSION = 1  # raised whenever the same settings would give other pictures


def read_synthetic(root: Path, species: int, images_per_species: int, picture_size: int, seed: int) -> Catalogue:
    """The drawn birds under `root`, drawn on first use. The pictures are a function of these numbers alone.

    MilrError if `root` holds birds drawn with other settings, or something else.
    """
    settings = {
        "species": species,
        "images_per_species": images_per_species,
        "picture_size": picture_size,
        "seed": seed,
        "version": VERSION,
    }
    note = root / "synthetic.json"
    with readable(root):
        missing = not root.exists()
    if missing:
        draw(root, settings)
    with readable(note):
        if not note.is_file():
            raise MilrError(f"{root} exists and holds no drawn birds: name another folder with dataset.root=")
        found = read_note(note)
    if found != settings:
        differing = ", ".join(
            f"{key} {found.get(key)} instead of {value}" for key, value in settings.items() if found.get(key) != value
        )
        raise MilrError(
            f"{root} holds birds drawn with {differing}: name another folder with dataset.root=, or remove it"
        )
    catalogue = read_cub(root, "move {root} away, and the birds are drawn again")
    masks = root / "defining_parts"
    records = tuple(replace(r, defining_mask=masks / r.class_name / f"{r.path.stem}.png") for r in catalogue.records)
    return replace(catalogue, name="synthetic", records=records)


def draw(root: Path, settings: dict[str, int]) -> None:
    """As `draw_data_set`. MilrError where the folder cannot be made; OSError for a full disk."""
    if root.is_symlink():
        raise MilrError(f"{root} is a link that leads nowhere: take it away, or name another folder with dataset.root=")
    try:
        draw_data_set(root, settings)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise MilrError(
            f"cannot draw birds into {root} ({error.strerror}): name another folder with dataset.root="
        ) from error


def read_note(path: Path) -> dict[str, object]:
    """The settings with which the birds were drawn. MilrError for another content."""
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise MilrError(
            f"{path} is damaged ({error}): move {path.parent} away, and the birds are drawn again"
        ) from error
    return found if isinstance(found, dict) else {}


def all_species(count: int, seed: int) -> list[Species]:
    """`count` species, any two of which differ in at least two of head, bill, bill's shape and wing bar.

    So no single part tells all of them apart. MilrError if there are not that many.
    """
    possible = list(itertools.product(PALETTE, PALETTE, BILLS, PALETTE))
    random.Random(f"species:{seed}").shuffle(possible)
    chosen: list[Species] = []
    for traits in possible:
        if len(chosen) == count:
            break
        if all(sum(a != b for a, b in zip(traits, other.traits(), strict=True)) >= 2 for other in chosen):
            chosen.append(Species(*traits))
    if len(chosen) < count:
        raise MilrError(f"dataset.species={count}: there are only {len(chosen)} species that differ in two parts each")
    return chosen


def draw_data_set(root: Path, settings: dict[str, int]) -> None:
    """Draws everything into a folder beside `root` and renames it at the end: a half-made one is never used."""
    root.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        _write_data_set(making, settings)
        making.chmod(0o755)
        os.rename(making, root)
    except BaseException as error:
        shutil.rmtree(making, ignore_errors=True)
        if isinstance(error, OSError) and (root / "synthetic.json").is_file():
            return  # another run drew the same birds meanwhile
        raise


def _write_data_set(root: Path, settings: dict[str, int]) -> None:
    seed, count = settings["seed"], settings["images_per_species"]
    classes, images, labels, split, boxes, places = ([] for _ in range(6))  # type: ignore[var-annotated]
    for class_id, species in enumerate(all_species(settings["species"], seed), 1):
        name = f"{class_id:03d}.{species.head.title()}_headed_{species.wing_bar.title()}_bar"
        classes.append(f"{class_id} {name}")
        for folder in ("images", "segmentations", "defining_parts"):
            (root / folder / name).mkdir(parents=True)
        for number in range(1, count + 1):
            drawing = draw_bird(species, random.Random(f"{seed}:{class_id}:{number}"), settings["picture_size"])
            stem = f"{name[4:]}_{number:04d}"
            save_drawing(drawing, root, name, stem)
            image_id = len(images) + 1
            left, top, right, bottom = drawing.box
            images.append(f"{image_id} {name}/{stem}.png")
            labels.append(f"{image_id} {class_id}")
            split.append(f"{image_id} {number % 2}")
            boxes.append(f"{image_id} {left:.1f} {top:.1f} {right - left:.1f} {bottom - top:.1f}")
            for part_id, part in enumerate(PART_NAMES, 1):
                x, y = drawing.parts.get(part, (0.0, 0.0))
                places.append(f"{image_id} {part_id} {x:.1f} {y:.1f} {int(part in drawing.parts)}")
    (root / "parts").mkdir()
    write_lines(root / "classes.txt", classes)
    write_lines(root / "images.txt", images)
    write_lines(root / "image_class_labels.txt", labels)
    write_lines(root / "train_test_split.txt", split)
    write_lines(root / "bounding_boxes.txt", boxes)
    write_lines(root / "parts" / "parts.txt", [f"{number} {name}" for number, name in enumerate(PART_NAMES, 1)])
    write_lines(root / "parts" / "part_locs.txt", places)
    (root / "synthetic.json").write_text(json.dumps(settings) + "\n", encoding="utf-8")


def save_drawing(drawing: Drawing, root: Path, class_name: str, stem: str) -> None:
    """Picture and masks, each in its folder."""
    files: dict[str, Image.Image] = {
        "images": drawing.picture,
        "segmentations": drawing.segmentation.convert("1"),
        "defining_parts": drawing.defining.convert("1"),
    }
    for folder, image in files.items():
        image.save(root / folder / class_name / f"{stem}.png", compress_level=1)


def write_lines(path: Path, lines: list[str]) -> None:
    """One line each."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
