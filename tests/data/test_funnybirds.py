"""FunnyBirds's download, as a tiny folder in its format: pictures, part maps, interventions, its own test pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from funny import PARTS, make_funnybirds

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
