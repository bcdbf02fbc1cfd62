"""Joins two folders in the layout of CUB-200-2011: all pictures of the first, the training species of the second.

A network that is to know birds at several scales is trained on whole photographs and on cropped ones; validation and
novel species stay those of the first folder. Pictures are links, ids of the second are moved past those of the first.

    python scripts/join_cub.py WHOLE/CUB_200_2011 CROPS/CUB_200_2011 JOINED/CUB_200_2011
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from milr.data.split import split_classes

LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt", "parts/part_locs.txt")
COPIED = ("classes.txt", "parts/parts.txt")


def rows(path: Path) -> list[tuple[int, str]]:
    """The lines of a list: a picture's id, and what follows."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(int(number), rest) for number, rest in (line.split(" ", 1) for line in lines if line)]


def add(root: Path, joined: Path, offset: int, mark: str, wanted: Callable[[int], bool]) -> int:
    """Links the pictures of the wanted species and appends their lines; returns the highest id so far."""
    species = {number: int(label) for number, label in rows(root / "image_class_labels.txt")}
    chosen = {number for number, label in species.items() if wanted(label)}
    for name in LISTS:
        lines = []
        for number, rest in rows(root / name):
            if number not in chosen:
                continue
            if name == "images.txt":
                folder, _, file = rest.rpartition("/")
                link = joined / "images" / folder / (mark + file)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to((root / "images" / rest).resolve())
                rest = f"{folder}/{mark}{file}"
            lines.append(f"{number + offset} {rest}\n")
        with (joined / name).open("a", encoding="utf-8") as file_of:
            file_of.writelines(lines)
    return offset + max(species)


def main(whole: Path, crops: Path, joined: Path) -> None:
    """Writes the joined folder, which must not be there yet."""
    (joined / "parts").mkdir(parents=True)
    for name in COPIED:
        (joined / name).write_bytes((whole / name).read_bytes())
    highest = add(whole, joined, 0, "", lambda _: True)
    training = split_classes({int(label) for _, label in rows(crops / "image_class_labels.txt")}).train
    add(crops, joined, highest, "crop_", lambda label: label in training)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
