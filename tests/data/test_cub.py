"""The official layout: read as it is, tolerant of harmless differences, clear about the rest."""

import shutil
from pathlib import Path

import pytest

from milr.data.cub import read_cub
from milr.data.framing import frame
from milr.data.records import Catalogue
from milr.data.split import split_classes
from milr.errors import MilrError


@pytest.fixture
def root(birds: Catalogue, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(birds.root, tmp_path / "cub"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_everything_in_the_index_is_read(birds: Catalogue) -> None:
    catalogue = read_cub(birds.root)
    assert len(catalogue.records) == 96 and len(catalogue.class_names) == 12 and len(catalogue.part_names) == 15
    record = catalogue.records[10]
    assert record.image_id == 11 and record.class_id == 2 and record.class_name.startswith("002.")
    assert record.box is not None and record.path.is_file() and record.segmentation is not None
    assert {"crown", "beak", "tail"} <= set(record.parts) | {"tail"}


def test_the_folder_above_the_index_may_be_named(root: Path) -> None:
    root.rename(root.parent / "CUB_200_2011")
    assert len(read_cub(root.parent).records) == 96


def test_parts_and_segmentations_may_be_absent(root: Path) -> None:
    shutil.rmtree(root / "parts")
    shutil.rmtree(root / "segmentations")
    record = read_cub(root).records[0]
    assert record.parts == {} and record.segmentation is None


def test_invisible_parts_are_left_out(birds: Catalogue) -> None:
    for record in read_cub(birds.root).records:
        assert not {"left eye", "right eye"} <= set(record.parts)


def test_line_ends_byte_order_marks_and_blank_lines_do_not_matter(root: Path) -> None:
    before = read_cub(root)
    for name in ("images.txt", "classes.txt", "bounding_boxes.txt", "image_class_labels.txt", "parts/part_locs.txt"):
        text = (root / name).read_text()
        (root / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    assert read_cub(root) == before


def test_a_missing_picture_is_named(root: Path) -> None:
    read_cub(root).records[5].path.unlink()
    with pytest.raises(MilrError, match=r"images\.txt names .*_0006\.png, which is not there \(1 of 96"):
        read_cub(root)


@pytest.mark.parametrize("name", ["classes.txt", "image_class_labels.txt", "bounding_boxes.txt"])
def test_a_missing_file_is_named(root: Path, name: str) -> None:
    (root / name).unlink()
    with pytest.raises(MilrError, match=rf"{name} is missing"):
        read_cub(root)


def test_a_folder_without_the_data_set_is_told_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MilrError, match="milr data dataset=cub"):
        read_cub(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("image_class_labels.txt", "\n3 1\n", "\n3 one\n", r"image_class_labels\.txt:3: cannot read '3 one'"),
        ("image_class_labels.txt", "\n3 1\n", "\n2 1\n", r"image_class_labels\.txt:3: the id 2 appears twice"),
        ("image_class_labels.txt", "\n3 1\n", "\n", r"image_class_labels\.txt has no row for id 3 \(1 missing\)"),
        ("image_class_labels.txt", "\n3 1\n", "\n3 77\n", r"classes\.txt has no row for id 77"),
        ("bounding_boxes.txt", "\n2 ", "\n2 x ", r"bounding_boxes\.txt:2: cannot read"),
        ("parts/part_locs.txt", "1 1 ", "1 99 ", r"part_locs\.txt:1: cannot read"),
    ],
)
def test_a_spoiled_line_is_named(root: Path, name: str, old: str, new: str, message: str) -> None:
    edit(root / name, old, new)
    with pytest.raises(MilrError, match=message):
        read_cub(root)


def test_the_photographs_at_hand(shared: Path) -> None:
    crops = read_cub(shared / "cub-crops")
    split = split_classes(crops.class_names)
    assert len(crops.records) == 4487 and len(crops.class_names) == 76
    assert (len(split.train), len(split.validation), len(split.novel)) == (33, 22, 21)
    frames = read_cub(shared / "cub-frames")
    assert len(frames.records) == 370 and not set(frames.class_names) & set(crops.class_names)


def test_parts_of_the_photographs_lie_in_their_boxes(shared: Path) -> None:
    inside = total = 0
    for record in read_cub(shared / "cub-frames").records:
        assert record.box is not None
        right, bottom = record.box.left + record.box.width, record.box.top + record.box.height
        framing = frame(int(right) + 1, int(bottom) + 1, record.box, "bbox", 100)
        total += len(record.parts)
        inside += sum(framing.point(*place) is not None for place in record.parts.values())
    assert inside / total > 0.98
