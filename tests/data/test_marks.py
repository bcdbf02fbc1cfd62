"""Boxes, parts and masks that do not lie on their pictures are warned of, and never used in another place."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from milr.data.cache import cached_pictures
from milr.data.marks import BOX, PART, faults_of
from milr.data.pictures import load_pictures, read_mask
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
    record = Record(1, Path("a.png"), 1, "a", box, {"beak": (99.5, 3.0)})
    assert faults_of(record, 100, 50) == faults
    assert faults_of(replace(record, parts={"beak": (3.0, 99.5)}), 100, 50) == [*faults, PART]


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
