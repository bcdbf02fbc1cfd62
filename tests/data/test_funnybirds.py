"""FunnyBirds's download, as a tiny folder in its format: pictures, part maps, interventions, its own test pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from funny import PARTS, make_funnybirds
from PIL import Image

from milr.data.catalogues import open_catalogue
from milr.data.funnybirds import read_funnybirds
from milr.data.records import BACKGROUND, BODY, FIRST_PART, FIRST_THING
from milr.data.settings import FunnyBirdsSettings
from milr.data.split import divided
from milr.errors import MilrError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_funnybirds(tmp_path / "FunnyBirds")


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


def every(**values: Any) -> Callable[[list[dict[str, Any]]], object]:
    """Each entry of a table with these values."""
    return lambda entries: [{**entry, **values} for entry in entries]


@pytest.mark.parametrize(
    ("file", "spoil", "words"),
    [
        ("classes.json", lambda content: None, "holds a NoneType and no list"),
        ("classes.json", lambda content: {"classes": content}, "holds a dict and no list"),
        ("classes.json", lambda content: content[:1], r"dataset_train\.json, entry 10: .* not in classes\.json"),
        ("classes.json", every(class_idx=0), "entry 1: class_idx 0 is there already"),
        ("classes.json", every(class_idx=0.5), r"entry 0: class_idx is 0\.5, no whole number"),
        ("classes.json", every(parts={"beak": 1}), "entry 0: there is no eye"),
        ("classes.json", every(parts=dict.fromkeys(PARTS)), "entry 0: beak is None, no whole number"),
        ("parts.json", lambda content: {}, "names no part"),
        ("parts.json", list, "holds a list and no dict"),
        ("dataset_test.json", every(class_idx="one"), "entry 0: class_idx is 'one', no whole number"),
        ("dataset_test.json", every(bg_objects=None), "entry 0: bg_objects is None, not numbers"),
        ("dataset_test.json", lambda content: 5, "holds a int and no list"),
    ],
)
def test_tables_of_another_form_are_named_with_their_entry(
    root: Path, file: str, spoil: Callable[[Any], object], words: str
) -> None:
    (root / file).write_text(json.dumps(spoil(json.loads((root / file).read_text()))))
    with pytest.raises(MilrError, match=words):
        read_funnybirds(root)


@pytest.mark.parametrize(
    ("part_map", "words"),
    [
        (Image.new("RGB", (12, 12), (100, 90, 80)), "no pixel in a part's colour"),
        (Image.new("RGB", (20, 24), (255, 255, 0)), "has 20x24 pixels and its picture 12x12"),
    ],
)
def test_a_part_map_that_is_none_is_refused(root: Path, part_map: Image.Image, words: str) -> None:
    part_map.save(root / "test_part_map" / "0" / "000000.png")
    catalogue = read_funnybirds(root)
    assert catalogue.interventions
    test = next(record for record in catalogue.records if catalogue.interventions.covers(record))
    with pytest.raises(MilrError, match=words):
        catalogue.interventions.owners(test)


def test_interventions_that_are_missing_are_a_note(root: Path) -> None:
    assert not read_funnybirds(root).notes
    (root / "test_part_map" / "1" / "000002.png").unlink()
    (note,) = read_funnybirds(root).notes
    assert "1 of 4 test pictures have nothing in test_part_map/" in note
