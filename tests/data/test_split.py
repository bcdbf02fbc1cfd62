"""The class split by official id."""

from pathlib import Path

import pytest

from milr.data.records import Catalogue, Record
from milr.data.split import of_split, split_classes
from milr.errors import MilrError


def catalogue(ids: list[int]) -> Catalogue:
    return Catalogue("cub", Path("root"), tuple(Record(i, Path(f"{i}.jpg"), i, f"{i:03d}.Bird") for i in ids))


def test_the_closer_look_rule_on_all_200_classes() -> None:
    split = split_classes(range(1, 201))
    assert (len(split.train), len(split.validation), len(split.novel)) == (100, 50, 50)
    assert split.train[:3] == (1, 3, 5) and split.validation[:3] == (2, 6, 10) and split.novel[:3] == (4, 8, 12)
    assert sorted(split.train + split.validation + split.novel) == list(range(1, 201))


def test_a_class_is_in_the_same_part_whichever_others_are_there() -> None:
    whole = split_classes(range(1, 201))
    some = split_classes([4, 13, 42, 186])
    assert set(some.novel) <= set(whole.novel) and some.train == (13,) and some.validation == (42, 186)


def test_parts_of_a_catalogue() -> None:
    birds = catalogue([1, 2, 3, 4])
    assert [r.class_id for r in of_split(birds, "train").records] == [1, 3]
    assert of_split(birds, "all") is birds
    assert of_split(birds, "novel").class_names == {4: "004.Bird"}


def test_an_empty_or_unknown_part_is_told() -> None:
    with pytest.raises(MilrError, match="no novel class .*train 2, validation 0, novel 0"):
        of_split(catalogue([1, 3]), "novel")
    with pytest.raises(MilrError, match="no split 'test'"):
        of_split(catalogue([1]), "test")
