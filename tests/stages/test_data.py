"""`milr data` and the descriptions of data sets, on folders of a few small pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from milr import cli
from milr.console import console
from milr.data.catalogues import catalogue_sha256, data_entry, few, open_catalogue, open_split, split_entry
from milr.data.folder import read_folder
from milr.data.loading import load_splits
from milr.data.records import Catalogue
from milr.data.settings import CubSettings, FolderSettings, SyntheticSettings
from milr.errors import MilrError

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four classes of two pictures: two to train on, one to validate, one novel."""
    root = tmp_path / "pictures"
    for number, name in enumerate("abcd"):
        (root / name).mkdir(parents=True)
        for index in range(2):
            Image.new("RGB", (20 + number, 30), (40 * number, 0, 90 * index)).save(root / name / f"{index}.png")
    return root


def settings(root: Path, crop: str = "none", split: str = "novel") -> FolderSettings:
    return FolderSettings("folder", str(root), crop, 16, split)


def test_the_data_stage_says_what_it_found_and_makes_no_run(
    pictures: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures.parent)
    assert cli.main(["data", "dataset=folder", "dataset.root=pictures"]) == 0
    text = capsys.readouterr().out
    for words in ("8 pictures of 4 classes", "train: 2 classes, 4 pictures (a, c)", "novel: 1 classes, 2 pictures (d)"):
        assert words in text
    assert "with boxes: 0 of 8" in text and "sizes from 20x30 to 23x30" in text
    assert [path.name for path in pictures.parent.iterdir()] == ["pictures"]


def test_the_data_stage_names_pictures_that_cannot_be_read(pictures: Path, capsys: Capture) -> None:
    broken = pictures / "b" / "1.png"
    broken.write_bytes(broken.read_bytes()[:40])
    assert cli.main(["data", "dataset=folder", f"dataset.root={pictures}"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert f"1 of 8 pictures cannot be read, or their masks not used: {broken}" in line


def test_the_data_stage_draws_birds(tmp_path: Path, capsys: Capture) -> None:
    drawing = ["dataset.species=4", "dataset.images_per_species=1", "dataset.picture_size=32"]
    assert cli.main(["data", f"dataset.root={tmp_path / 'birds'}", *drawing]) == 0
    assert "with segmentations: 4 of 4" in capsys.readouterr().out


def test_a_missing_data_set_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["data", "dataset=folder", f"dataset.root={tmp_path / 'absent'}"]) == 2
    assert "absent" in capsys.readouterr().err


def test_the_fingerprint_does_not_depend_on_the_place_but_on_the_contents(pictures: Path) -> None:
    before = catalogue_sha256(read_folder(pictures))
    moved = pictures.rename(pictures.parent / "moved")
    assert catalogue_sha256(read_folder(moved)) == before
    Image.new("RGB", (64, 64)).save(moved / "a" / "0.png")
    assert catalogue_sha256(read_folder(moved)) != before
    (moved / "a").rename(moved / "e")
    assert catalogue_sha256(read_folder(moved)) != before


def test_the_manifests_entries(pictures: Path) -> None:
    catalogue = open_catalogue(settings(pictures))
    entry = data_entry(settings(pictures), catalogue)
    assert (entry["name"], entry["crop"], entry["size"], entry["images"], entry["classes"]) == (
        "folder", "none", 16, 8, 4
    )  # fmt: skip
    assert split_entry(catalogue) == {"train": ["a", "c"], "validation": ["b"], "novel": ["d"]}


def test_splits_are_loaded_whole(pictures: Path) -> None:
    catalogue, parts = load_splits(settings(pictures), None)
    assert {split: part.images.shape[0] for split, part in parts.items()} == {"train": 4, "validation": 2, "novel": 2}
    assert sorted(key for part in parts.values() for key in part.labels.tolist()) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert len(open_split(settings(pictures, split="all")).records) == len(catalogue.records) == 8


def test_crop_to_boxes_needs_boxes(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(MilrError, match="not every picture .* has a box; take dataset.crop=none"):
        open_catalogue(settings(pictures, crop="bbox"))
    birds = SyntheticSettings("synthetic", str(tmp_path / "birds"), "bbox", 16, "all", 4, 1, 32, 0)
    assert all(record.box is not None for record in open_catalogue(birds).records)


def test_what_is_left_out_is_named_by_the_data_stage_and_by_a_run(pictures: Path, capsys: Capture) -> None:
    for name in ("a/1.svg", "b/2.svg", "b/list.txt"):
        (pictures / name).write_text("no picture")
    line = "left out: 2 file(s) of .svg, which Pillow does not read here (convert them to PNG or JPEG), 1 file(s) that"
    assert cli.main(["data", "dataset=folder", f"dataset.root={pictures}"]) == 0
    text = capsys.readouterr().out
    assert line in text and "all 8 pictures can be read" in text
    with console():
        load_splits(settings(pictures), None)
    assert line in capsys.readouterr().out


def test_two_classes_are_refused_before_a_picture_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for name in "ab":
        (tmp_path / "two" / name).mkdir(parents=True)
        for index in range(20):
            (tmp_path / "two" / name / f"{index}.png").touch()  # no picture: it is never opened
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train-protonet", "dataset=folder", "dataset.root=two", "backbone=conv4"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert (
        "this split has 1 of the 2 classes, of 20 to 20 pictures (classes by split: train 1, validation 1, novel 0; odd"
        in line
    )
    assert "lower" not in line


def test_a_tree_of_splits_is_split_by_its_folders(tmp_path: Path) -> None:
    for number, name in enumerate(("train/x", "train/y", "val/z", "test/w")):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (20, 20), (50 * number, 0, 0)).save(tmp_path / name / "1.png")
    catalogue, parts = load_splits(settings(tmp_path), None)
    assert split_entry(catalogue) == {"train": ["x", "y"], "validation": ["z"], "novel": ["w"]}
    assert {split: part.labels.tolist() for split, part in parts.items()} == {
        "train": [2, 3], "validation": [4], "novel": [1]
    }  # fmt: skip
    assert parts["novel"].images.unique().tolist() == [0, 150]
    assert split_entry(few(catalogue, 1, 1)) == {"train": ["x"], "validation": ["z"], "novel": ["w"]}


@pytest.mark.parametrize("download", [True, False])
def test_a_partial_cub_is_not_told_to_repeat_the_command(
    birds: Catalogue, tmp_path: Path, capsys: Capture, download: bool
) -> None:
    root = Path(shutil.copytree(birds.root, tmp_path / "cub"))
    (root / "image_class_labels.txt").unlink()
    words = ["data", "dataset=cub", f"dataset.root={root}", f"data.download={download}", "data.segmentations=true"]
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(words) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert "image_class_labels.txt is missing: the data set is incomplete; move" in line
    assert line.endswith(
        f"move {root} away, and `milr data dataset=cub dataset.root={root}` downloads the official one whole"
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_boxes_are_needed_for_a_crop_alone(birds: Catalogue, tmp_path: Path) -> None:
    root = Path(shutil.copytree(birds.root, tmp_path / "cub"))
    (root / "bounding_boxes.txt").unlink()
    assert len(open_catalogue(CubSettings("cub", str(root), "none", 16, "all")).records) == 96
    with pytest.raises(MilrError, match="dataset.crop=bbox: not every picture .* has a box; take dataset.crop=none"):
        open_catalogue(CubSettings("cub", str(root), "bbox", 16, "all"))


def test_the_data_stage_warns_of_pictures_that_are_there_twice(pictures: Path, capsys: Capture) -> None:
    for number, path in enumerate(sorted(pictures.glob("*/*.png"))):
        Image.new("RGB", (20, 30), (number, 0, 0)).save(path)
    command = ["data", "dataset=folder", f"dataset.root={pictures}", "dataset.size=16"]
    assert cli.main(command) == 0
    told = capsys.readouterr()
    assert "show the same" not in told.out + told.err
    shutil.copy(pictures / "a" / "0.png", pictures / "b" / "copy.png")
    (pictures / "c" / "link.png").symlink_to(pictures / "c" / "1.png")
    assert cli.main(command) == 0
    told = capsys.readouterr()
    assert (
        "2 of 10 pictures show the same as another, or nearly (1 of them as one of another class, 1 of"
        in told.out + told.err
    )
    assert f"{pictures / 'b' / 'copy.png'} and {pictures / 'a' / '0.png'} first" in told.out + told.err
    assert "first: what is measured was trained on" in told.out + told.err
