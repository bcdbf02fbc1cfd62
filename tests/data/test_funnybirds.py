"""FunnyBirds's download, as a tiny folder in its format: pictures, part maps, interventions, and its own test pictures."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from milr.data.catalogues import open_catalogue
from milr.data.funnybirds import COLOURS, read_funnybirds
from milr.data.records import BACKGROUND, BODY, FIRST_PART, FIRST_THING
from milr.data.settings import FunnyBirdsSettings
from milr.data.split import divided
from milr.errors import MilrError

PARTS = ("beak", "eye", "foot", "tail", "wing")


def save(path: Path, grey: int, size: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGBA", (size, size), (grey, grey, grey, 255)).save(path)


def save_part_map(path: Path) -> None:
    """A row of 12 pixels for each part's first colour, then the body and one thing of the background."""
    colours = np.zeros((12, 12, 4), np.uint8)
    colours[..., 3] = 255
    for row, part in enumerate(PARTS):
        colours[row, :, :3] = COLOURS[part][0]
        colours[row, 6:, :3] = COLOURS[part][-1]
    colours[5, :, :3] = (100, 100, 100)
    colours[6, :, :3] = (204, 204, 205)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, ten training pictures and two test pictures of each."""
    folder = tmp_path / "FunnyBirds"
    folder.mkdir()
    classes = [{"class_idx": index, "parts": dict.fromkeys(PARTS, index)} for index in range(2)]
    (folder / "classes.json").write_text(json.dumps(classes))
    (folder / "parts.json").write_text(json.dumps({part: [{"model": f"{part}01.glb"}] * 2 for part in PARTS}))
    for mode, each in (("train", 10), ("test", 2)):
        entries = [{"class_idx": index, "bg_objects": "4,0,"} for index in range(2) for _ in range(each)]
        (folder / f"dataset_{mode}.json").write_text(json.dumps(entries))
        for number, entry in enumerate(entries):
            place = f"{entry['class_idx']}/{number:06d}"
            save(folder / mode / f"{place}.png", 10 * number)
            if mode == "test":
                save_part_map(folder / "test_part_map" / f"{place}.png")
                for count in range(len(PARTS) + 1):
                    for kept in itertools.combinations(PARTS, count):
                        name = f"body_{'_'.join(sorted(kept))}.png"
                        save(folder / "test_interventions" / place / name, 100 + count)
                for thing in range(2):
                    save(folder / "test_interventions" / place / f"background_interventions/{thing}.png", 200 + thing)
    return folder


def test_the_download_is_read(root: Path) -> None:
    catalogue = read_funnybirds(root.parent)  # the folder with FunnyBirds in it, too
    assert len(catalogue.records) == 24 and len(catalogue.tests) == 4
    assert [*catalogue.class_names] == [1, 2]
    birds = catalogue.interventions
    assert birds is not None and birds.parts == PARTS
    test = next(record for record in catalogue.records if birds.covers(record))
    assert sum(birds.covers(record) for record in catalogue.records) == 4
    assert birds.looks(1) == ((0,) * 5,) and birds.things(test) == 2 and birds.look_of(test) == (0,) * 5
    owners = birds.owners(test)
    assert [*owners[:8, 0]] == [*range(FIRST_PART, FIRST_PART + 5), BODY, FIRST_THING + 1, BACKGROUND]
    assert (owners[:5, 0] == owners[:5, -1]).all()  # both eyes are one part
    assert birds.without(test).getpixel((0, 0)) == (0, 0, 0)
    assert birds.without(test, ["beak", "wing"]).getpixel((0, 0)) == (103,) * 3
    assert birds.without(test, PARTS).getpixel((0, 0)) == (100,) * 3
    assert birds.without(test, thing=1).getpixel((0, 0)) == (201,) * 3
    with pytest.raises(ValueError, match="no picture without parts and without a thing"):
        birds.without(test, ["beak"], 0)


def test_its_test_pictures_are_those_that_are_looked_at(root: Path) -> None:
    catalogue = open_catalogue(FunnyBirdsSettings(root=str(root)))
    parts = {name: divided(catalogue, name).records for name in ("train", "validation", "novel")}
    assert {record.image_id for record in parts["novel"]} == catalogue.tests
    assert [len(parts[name]) for name in ("train", "validation")] == [16, 4]


def test_what_is_missing_is_named(root: Path) -> None:
    (root / "test" / "1" / "000002.png").unlink()
    with pytest.raises(MilrError, match=r"lacks test/1/000002\.png \(1 of 24 pictures missing\)"):
        read_funnybirds(root)
    (root / "parts.json").write_text("{")
    with pytest.raises(MilrError, match=r"parts\.json is damaged"):
        read_funnybirds(root)
    with pytest.raises(MilrError, match="no FunnyBirds in"):
        read_funnybirds(root / "test")
