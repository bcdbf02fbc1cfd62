"""Drawn birds without their parts: only what a part owns changes, and each family is told apart by what it says."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from milr.data.families import PLANTED, DrawnBirds
from milr.data.records import BODY, FIRST_PART, FIRST_THING, Record
from milr.data.settings import FAMILIES
from milr.data.species import PARTS
from milr.data.split import split_of
from milr.data.synthetic import NOTE, read_synthetic
from milr.errors import MilrError

OWNERS = range(FIRST_PART, FIRST_PART + len(PARTS))


def birds(family: str = "five", missing: float = 0.0, size: int = 64) -> DrawnBirds:
    return DrawnBirds(family, species=16, picture_size=size, seed=0, missing=missing)


def pixels(picture: Image.Image) -> npt.NDArray[np.int64]:
    return np.asarray(picture).astype(int)


def grown(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """By two pixels: who owns one is decided by majority where the picture is averaged, and a bill's tip is thin."""
    result = mask.copy()
    for down, right in itertools.product(range(-2, 3), range(-2, 3)):
        result |= np.roll(mask, (down, right), (0, 1))
    return result


@pytest.mark.parametrize("family", ["two", "five", "joint"])
def test_without_a_part_only_its_own_pixels_change(family: str) -> None:
    flock = birds(family, size=128)  # of smaller ones a twig has no pixel to itself
    for class_id, number in itertools.product((1, 2), (1, 2)):
        whole = flock.draw(class_id, number)
        for owner in (*OWNERS, *range(FIRST_THING, FIRST_THING + whole.things)):
            other = flock.draw(class_id, number, [owner])
            change = np.abs(pixels(whole.picture) - pixels(other.picture)).max(2)
            own = whole.owners == owner
            assert change[~grown(own)].max() == 0
            assert not (other.owners == owner).any() and other.things == whole.things
            if own.sum() > 8 and owner < FIRST_THING:
                assert change[own].mean() > 3  # what lies behind it is seen


def test_parts_and_body_tile_the_bird_and_nothing_left_out_is_the_bird() -> None:
    for number in range(1, 9):
        whole = birds().draw(1, number)
        bird = np.asarray(whole.segmentation) > 0
        assert ((whole.owners >= BODY) & (whole.owners < FIRST_THING) == bird).all()
        assert {*np.unique(whole.owners[bird])} >= {BODY, *OWNERS} - {FIRST_PART + 3, FIRST_PART + 4}  # before: leaves
        assert birds().draw(1, number, ()).picture.tobytes() == whole.picture.tobytes()


def test_removals_add_up() -> None:
    """The bird without two parts, where they do not touch, is each change in its place."""
    whole, wing, tail, both = (pixels(birds().draw(1, 1, out).picture) for out in ((), (4,), (5,), (4, 5)))
    assert (both - whole == (wing - whole) + (tail - whole)).all()


def test_only_pictures_of_training_classes_lack_parts() -> None:
    flock = birds(missing=1.0)
    lacking = {}
    for class_id in range(1, 9):
        stored, whole = (draw(class_id, 1).picture.tobytes() for draw in (flock.draw_stored, flock.draw))
        lacking[class_id] = stored != whole
    assert lacking == {class_id: class_id % 2 == 1 for class_id in range(1, 9)}
    half = birds(missing=0.5)
    count = sum(
        half.draw_stored(1, number).picture.tobytes() != half.draw(1, number).picture.tobytes()
        for number in range(1, 41)
    )
    assert 10 < count < 30


def test_species_of_five_parts_differ_in_two_and_none_is_in_two_splits() -> None:
    looks = [flock[0].look() for flock in DrawnBirds("five", 120, 64, 0).classes]
    assert len(looks) == 120 and all(None not in look for look in looks)
    for one, other in itertools.combinations(looks, 2):
        assert sum(a != b for a, b in zip(one, other, strict=True)) >= 2
    assert all(len({look[part] for look in looks}) >= 3 for part in range(len(PARTS)))
    with pytest.raises(MilrError, match="there are only"):
        _ = DrawnBirds("five", 4000, 64, 0).classes


def test_planted_families_have_the_same_classes_in_every_split(tmp_path: Path) -> None:
    for family in PLANTED:
        catalogue = read_synthetic(tmp_path / family, 4, 2, 32, 0, family)
        split, count = split_of(catalogue), len(PLANTED[family])
        assert [len(ids) for ids in (split.train, split.validation, split.novel)] == [count] * 3
        flock = catalogue.interventions
        assert flock is not None
        for ids in zip(split.train, split.validation, split.novel, strict=True):
            assert len({flock.looks(class_id) for class_id in ids}) == 1
        pictures = [record.path.read_bytes() for record in catalogue.records]
        assert len({*pictures}) == len(pictures)
    assert {*FAMILIES} == {"two", "five", *PLANTED}


def test_a_data_set_of_before_is_read_as_it_was(tmp_path: Path) -> None:
    small = {"species": 4, "images_per_species": 1, "picture_size": 32, "seed": 0}
    catalogue = read_synthetic(tmp_path / "birds", **small)
    assert json.loads((tmp_path / "birds" / NOTE).read_text()) == small | {"version": 1}
    with pytest.raises(MilrError, match="drawn with family two instead of five"):
        read_synthetic(tmp_path / "birds", **small, family="five")
    record, flock = catalogue.records[0], catalogue.interventions
    assert flock is not None and flock.covers(record)
    assert flock.without(record).tobytes() == Image.open(record.path).tobytes()
    assert flock.owners(record).shape == (32, 32) and flock.things(record) >= 1
    assert flock.without(record, ["head"]).tobytes() != flock.without(record, thing=0).tobytes()
    assert flock.look_of(record) == flock.looks(record.class_id)[0]
    assert isinstance(record, Record)
