"""Boxes, parts and masks that do not lie on their pictures are warned of, and never used in another place."""

import logging
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from milr.data.cache import cached_pictures
from milr.data.marks import APART, BESIDE, BOX, EDGE, PART, faults_of, faults_of_mask
from milr.data.pictures import WARNED, load_pictures, read_mask
from milr.data.records import Box, Catalogue, Record
from milr.errors import MilrError
from milr.evaluation.regions import framing_of, regions_of
from milr.stages.data import check_pictures


@pytest.mark.parametrize(
    ("box", "faults"),
    [
        (Box(0, 0, 100, 50), []),
        (Box(-0.5, 1, 101, 50), []),  # annotators round
        (Box(40, 20, 90, 45), [BOX]),  # x1 y1 x2 y2
        (Box(0.4, 0.4, 0.5, 0.5), [BOX]),  # shares of the picture
        (Box(200, 200, 30, 30), [BOX]),
        (Box(-10, 5, 50, 30), [BOX]),
    ],
)
def test_a_box_that_does_not_lie_on_its_picture_is_a_fault(box: Box, faults: list[str]) -> None:
    record = Record(1, Path("a.png"), 1, "a", box)

    def without_apart(parts: dict[str, tuple[float, float]]) -> list[str]:
        return [fault for fault in faults_of(replace(record, parts=parts), 100, 50) if fault != APART]

    assert without_apart({"beak": (99.5, 3.0)}) == faults
    assert without_apart({"beak": (3.0, 99.5)}) == [*faults, PART]


def test_faults_are_counted_where_pictures_are_read_and_by_milr_data(
    birds: Catalogue, caplog: pytest.LogCaptureFixture
) -> None:
    records = birds.records[:4]
    wrong = [replace(record, box=Box(40, 40, 600, 600)) for record in records[:2]]
    load_pictures(records, 16, "none")
    assert not caplog.records
    for read in (lambda some: load_pictures(some, 16, "bbox"), check_pictures):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "milr"):
            read([*wrong, *records[2:]])
        assert f"of 2 of 4 pictures {BOX}, {records[0].path}" in caplog.text


def test_boxes_of_other_pictures_or_with_x_and_y_exchanged_are_warned_of(
    birds: Catalogue, caplog: pytest.LogCaptureFixture
) -> None:
    records = birds.records
    wrong = [replace(record, box=other.box) for record, other in pairwise(records)]
    boxes = [record.box for record in records if record.box]
    turned = [Box(box.top, box.left, box.height, box.width) for box in boxes]
    exchanged = [replace(record, box=box) for record, box in zip(records, turned, strict=True)]
    for spoiled in (wrong, exchanged):
        caplog.clear()
        load_pictures(spoiled, 16, "none")
        assert APART in caplog.text and "do both belong to this picture" in caplog.text


def test_a_mask_of_the_background_or_beside_the_box_is_warned_of(
    birds: Catalogue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = birds.records[0]
    assert record.segmentation and record.box
    mask = read_mask(record.segmentation)
    assert faults_of_mask(mask, record.box) == [] == faults_of_mask(ImageOps.invert(mask), None)[1:]
    assert BESIDE in faults_of_mask(mask, Box(0, 0, 3, 3))
    ImageOps.invert(mask).save(tmp_path / "inverted.png")
    inverted = replace(record, segmentation=tmp_path / "inverted.png")
    for use in (
        lambda: check_pictures([inverted]),
        lambda: regions_of(inverted, framing_of(inverted, "none", 32), (8, 8)),
    ):
        caplog.clear()
        WARNED.clear()
        use()
        assert f"{EDGE}" in caplog.text and "is it the background's" in caplog.text


def test_a_mask_of_zeros_and_ones_is_refused_and_no_empty_region(birds: Catalogue, tmp_path: Path) -> None:
    record = birds.records[0]
    assert record.segmentation
    read_mask(record.segmentation).point(lambda value: value // 255).save(tmp_path / "mask.png")
    faint = replace(record, segmentation=tmp_path / "mask.png")
    with pytest.raises(MilrError, match=r"no value above 1, and the bird's begin at 128: save it with 255"):
        regions_of(faint, framing_of(faint, "none", 32), (8, 8))
    with pytest.raises(MilrError, match="no value above 1"):
        check_pictures([faint])


def test_a_mask_of_another_size_is_refused(birds: Catalogue, tmp_path: Path) -> None:
    record = birds.records[0]
    assert record.segmentation
    Image.Image.resize(read_mask(record.segmentation), (32, 20)).save(tmp_path / "mask.png")
    other = replace(record, segmentation=tmp_path / "mask.png")
    with pytest.raises(MilrError, match=r"the mask of .* has 32x20 pixels and the picture"):
        regions_of(other, framing_of(other, "none", 32), (8, 8))
    with pytest.raises(MilrError, match=r"1 of 1 pictures cannot be read, or their masks not used: .*32x20"):
        check_pictures([other])


def test_of_kept_pictures_faults_are_told_in_every_run(
    birds: Catalogue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = [*birds.records[:4]]
    cached_pictures(records, 16, "none", tmp_path)
    assert not caplog.records
    wrong = [replace(records[0], parts={"beak": (6000.0, 3.0)}), *records[1:]]  # of the same file of kept pictures
    for _ in range(2):
        caplog.clear()
        cached_pictures(wrong, 16, "none", tmp_path)
        assert f"of 1 of 4 pictures {PART}, {records[0].path}" in caplog.text
    assert len(list(tmp_path.glob("*.npy"))) == 1
