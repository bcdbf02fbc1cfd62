"""Tables beside a data set's pictures, and its pictures divided within their classes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from milr.data.records import Catalogue, Record
from milr.data.split import divided
from milr.data.tables import read_pairs, read_targets, table_beside
from milr.errors import MilrError

ROOT = Path("birds")
RECORDS = tuple(
    Record(number, ROOT / "images" / f"{number % 2}" / f"{number}.jpg", number % 2 + 1, f"class {number % 2}")
    for number in range(40)
)


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_each_class_is_divided_the_same_way_whatever_else_there_is() -> None:
    catalogue = Catalogue("folder", ROOT, RECORDS)
    parts = {name: divided(catalogue, name).records for name in ("train", "validation", "novel")}
    assert {name: Counter(record.class_id for record in part) for name, part in parts.items()} == {
        "train": {1: 12, 2: 12},
        "validation": {1: 4, 2: 4},
        "novel": {1: 4, 2: 4},
    }
    assert sorted(record.image_id for part in parts.values() for record in part) == list(range(40))
    alone = divided(catalogue.only([1]), "novel").records
    assert alone == tuple(record for record in parts["novel"] if record.class_id == 1)
    with pytest.raises(MilrError, match="class 0 has 1 pictures and needs 3 at least"):
        divided(Catalogue("folder", ROOT, RECORDS[:2]), "train")


def test_targets_are_read_by_any_of_a_pictures_names(tmp_path: Path) -> None:
    whole = RECORDS[1].path.absolute()
    path = written(tmp_path, f"image,size,age\n0.jpg,1,2\n{whole},3,4.5\nimages/0/2.jpg,5,6\nelsewhere.jpg,7,8\n")
    columns, values = read_targets(path, RECORDS[:3], ROOT)
    assert read_targets(written(tmp_path, "image,size\n1/1.jpg,3\n"), RECORDS[1:2], ROOT)[1] == {RECORDS[1].path: [3]}
    assert columns == ["size", "age"]
    assert read_targets(written(tmp_path, ", size \n0.jpg,1\n"), RECORDS[:1], ROOT)[0] == ["size"]
    assert values == {RECORDS[0].path: [1, 2], RECORDS[1].path: [3, 4.5], RECORDS[2].path: [5, 6]}


def test_pairs_of_other_pictures_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, "image,image,same\n0.jpg,1.jpg,1\n0.jpg,2.jpg,0\n0.jpg,39.jpg,0\n")
    assert read_pairs(path, RECORDS[:3], ROOT) == [
        (RECORDS[0].path, RECORDS[1].path, True),
        (RECORDS[0].path, RECORDS[2].path, False),
    ]
    assert "1 lines left out, whose pictures are not there (39.jpg)" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,size\n0.jpg,1\n", "says nothing of 1 of 2 pictures, .*1.jpg among them"),
        ("image,size\n0.jpg,big\n", "line 2: 'big' is no finite number"),
        ("image,size\n0.jpg\n", "line 2: 1 columns, and 2 in the first"),
        ("image\n0.jpg\n", "names the columns: image, and one or more"),
        ("image;size\n0.jpg;1,5\n", "its columns are parted by ';': save it with commas, and decimal points"),
        ("", "at least one more are needed"),
        ("image,size\n0.jpg,1\n\n0.jpg,2\n", "line 4: 0.jpg has a line already"),
        ("image,size\n ,1\n", "line 2: the image has no name"),
        ("image,size,size\n0.jpg,1,2\n1.jpg,1,2\n", "each by a name of its own, and has .'image', 'size', 'size'"),
        ("image, ,size\n0.jpg,1,2\n1.jpg,1,2\n", "each by a name of its own"),
        ("image,size\n0.jpg,1_0\n1.jpg,2\n", "line 2: '1_0' is no finite number"),
        ("image,size\n0.jpg,1e39\n1.jpg,2\n", "line 2: '1e39' is no finite number"),
        ("image,size\n0\\\\0.jpg,1\n1.jpg,2\n", r"nothing of 1 of 2 .*, and names '0.*0\.jpg', which is not called so"),
    ],
)
def test_a_table_that_says_something_else_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        read_targets(written(tmp_path, text), RECORDS[:2], ROOT)


def test_pairs_are_the_same_or_not(tmp_path: Path) -> None:
    with pytest.raises(MilrError, match="line 2: the third column is 1 .* not 'yes'"):
        read_pairs(written(tmp_path, "image,image,same\n0.jpg,1.jpg,yes\n"), RECORDS, ROOT)
    with pytest.raises(MilrError, match="line 3: 1.jpg and 0.jpg are the same by one line and different"):
        read_pairs(written(tmp_path, "image,image,same\n0.jpg,1.jpg,1\n1.jpg,0.jpg,0\n"), RECORDS, ROOT)
    with pytest.raises(MilrError, match="third column is called 'different': it is named same"):
        read_pairs(written(tmp_path, "image,image,different\n0.jpg,1.jpg,1\n"), RECORDS, ROOT)
    with pytest.raises(MilrError, match="three columns"):
        read_pairs(written(tmp_path, "image,same\n0.jpg,1\n"), RECORDS, ROOT)
    with pytest.raises(MilrError, match="its first line is a pair: put one with the columns' names"):
        read_pairs(written(tmp_path, "0.jpg,1.jpg,1\n1.jpg,2.jpg,0\n"), RECORDS, ROOT)
    with pytest.raises(MilrError, match="line 2: 0.jpg is said to be another than itself"):
        read_pairs(written(tmp_path, "image,image,same\n0.jpg,0.jpg,0\n"), RECORDS, ROOT)
    assert not read_pairs(written(tmp_path, "image,image,same\n0.jpg,0.jpg,1\n"), RECORDS, ROOT)
    assert table_beside(tmp_path, "", "pairs.csv") is None
    with pytest.raises(MilrError, match="there is no such file"):
        table_beside(tmp_path, "nowhere.csv", "pairs.csv")
