"""A tiny folder in the format of FunnyBirds's download."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
from PIL import Image

from milr.data.funnybirds import COLOURS

PARTS = ("beak", "eye", "foot", "tail", "wing")


def save(path: Path, grey: int, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGBA", (size, size), (grey, grey, grey, 255)).save(path)


def save_part_map(path: Path, size: int) -> None:
    """A row of twelfths for each part's colours, then the body and one thing of the background."""
    colours = np.zeros((12, 12, 4), np.uint8)
    colours[..., 3] = 255
    for row, part in enumerate(PARTS):
        colours[row, :, :3] = COLOURS[part][0]
        colours[row, 6:, :3] = COLOURS[part][-1]
    colours[5, :, :3] = (100, 100, 100)
    colours[6, :, :3] = (204, 204, 205)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours).resize((size, size), Image.Resampling.NEAREST).save(path)


def make_funnybirds(folder: Path, size: int = 12, train: int = 10, test: int = 2) -> Path:
    """Two classes without a common part, so many training and test pictures of each, with all interventions."""
    folder.mkdir()
    classes = [{"class_idx": index, "parts": dict.fromkeys(PARTS, index)} for index in range(2)]
    (folder / "classes.json").write_text(json.dumps(classes))
    (folder / "parts.json").write_text(json.dumps({part: [{"model": f"{part}01.glb"}] * 2 for part in PARTS}))
    for mode, each in (("train", train), ("test", test)):
        entries = [{"class_idx": index, "bg_objects": "4,0,"} for index in range(2) for _ in range(each)]
        (folder / f"dataset_{mode}.json").write_text(json.dumps(entries))
        for number, entry in enumerate(entries):
            place = f"{entry['class_idx']}/{number:06d}"
            save(folder / mode / f"{place}.png", 10 * number, size)
            if mode == "test":
                save_part_map(folder / "test_part_map" / f"{place}.png", size)
                for count in range(len(PARTS) + 1):
                    for kept in itertools.combinations(PARTS, count):
                        name = f"body_{'_'.join(sorted(kept))}.png"
                        save(folder / "test_interventions" / place / name, 100 + count, size)
                for thing in range(2):
                    name = f"background_interventions/{thing}.png"
                    save(folder / "test_interventions" / place / name, 200 + thing, size)
    return folder
