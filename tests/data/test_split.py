"""The class split by official id."""

from dataclasses import replace
from pathlib import Path

import pytest

from milr.data.records import Catalogue, Record
from milr.data.split import Split, of_split, require_episodes, split_classes, split_of
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


def test_a_split_of_ones_own_holds_the_classes_that_have_pictures() -> None:
    own = replace(catalogue([1, 2, 3, 4]), split=Split((1, 2), (3,), (4,)))
    assert split_of(own) == Split((1, 2), (3,), (4,)) and split_of(own.only([2, 4])) == Split((2,), (), (4,))
    assert [r.class_id for r in of_split(own, "train").records] == [1, 2]
    with pytest.raises(MilrError, match=r"train 1, validation 0, novel 1; by the folders\): add classes to its folder"):
        of_split(own.only([2, 4]), "validation")


def test_with_two_classes_the_split_is_named_as_the_cause() -> None:
    two = catalogue([1] * 20 + [2] * 20)
    with pytest.raises(MilrError) as error:
        require_episodes(two, "train", 5, 16)
    assert (
        "train: an episode needs 5 classes with 16 pictures, and there are 1: this split has 1 of the 2 classes, of "
        "20 to 20 pictures" in str(error.value)
    )
    assert "(classes by split: train 1, validation 1, novel 0; odd ids train, id % 4 = 2 validation, " in str(
        error.value
    )
    assert "lower" not in str(error.value)  # an episode has two classes at least
    require_episodes(two, "all", 2, 20)


def test_too_few_classes_or_pictures_of_a_split_are_told_with_what_would_do() -> None:
    birds = catalogue([1] * 9 + [3] * 9 + [5] * 3 + [2] * 9 + [6] * 2)
    require_episodes(birds, "train", 2, 9)
    with pytest.raises(MilrError, match=r"2 of 3 with as many: .*\(the 3 largest classes have 3 or more\), or the ep"):
        require_episodes(birds, "train", 3, 9)
    with pytest.raises(MilrError, match=r"1 of 2 with as many: .*\(the 2 largest classes have 2 or more\)$"):
        require_episodes(birds, "validation", 2, 9)
    with pytest.raises(
        MilrError, match=r"this split has 3 of the 5 classes, of 3 to 9 .*; or lower the episode's way to 2$"
    ):
        require_episodes(birds, "train", 4, 9)
