"""Annotations at a map's resolution agree with the picture's own pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from milr.data.framing import frame
from milr.data.pictures import load_pictures
from milr.data.records import Box, Catalogue, Record
from milr.errors import MilrError
from milr.evaluation.regions import framing_of, parts_of, regions_of


def test_regions_of_drawn_birds(birds: Catalogue) -> None:
    for record in birds.records[:10]:
        framing = framing_of(record, "none", 64)
        regions = regions_of(record, framing, (64, 64))
        assert set(regions) == {"box", "bird", "defining", "other"}
        with Image.open(record.segmentation) as mask:  # type: ignore[arg-type]
            assert np.array_equal(regions["bird"].numpy(), np.array(mask.convert("L")) > 127)
        assert not (regions["bird"] & ~regions["box"]).any()
        assert torch.equal(regions["defining"] | regions["other"], regions["bird"])
        assert not (regions["defining"] & regions["other"]).any()


def test_places_of_parts_lie_on_the_bird_at_any_resolution(birds: Catalogue) -> None:
    hits = total = 0
    for record in birds.records:
        framing = framing_of(record, "none", 64)
        bird = regions_of(record, framing, (16, 16))["bird"]
        for row, column in parts_of(record, framing, (16, 16)).values():
            hits, total = hits + bool(bird[row, column]), total + 1
    assert hits / total > 0.7  # bill and legs are thinner than a place


def test_every_visible_part_has_its_place(birds: Catalogue) -> None:
    for record in birds.records:
        assert set(parts_of(record, framing_of(record, "none", 64), (8, 8))) <= set(record.parts)
    names = {name for r in birds.records for name in parts_of(r, framing_of(r, "none", 64), (8, 8))}
    assert {"left eye", "right eye", "tail"} <= names


def test_what_the_crop_cuts_away_is_not_there(birds: Catalogue) -> None:
    record = birds.records[0]
    framing = framing_of(record, "bbox", 64)
    assert regions_of(record, framing, (8, 8))["box"].all()


@pytest.mark.parametrize("crop", ["none", "bbox"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_box_parts_and_mask_lie_where_a_turned_picture_shows_them(orientation: int, crop: str, tmp_path: Path) -> None:
    """Marks refer to the picture as it is seen, whichever way its file holds it."""
    seen = Image.new("L", (48, 32))
    seen.paste(255, (24, 4, 36, 16))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how the file must hold it to be seen like that
    stored = seen.transpose(Image.Transpose(back[orientation])) if orientation > 1 else seen
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "bird.png", exif=exif)
    stored.save(tmp_path / "mask.png", exif=exif)
    record = Record(1, tmp_path / "bird.png", 1, "bird", Box(24, 4, 12, 12), {"eye": (25, 5)}, tmp_path / "mask.png")
    framing = framing_of(record, crop, 32)
    regions = regions_of(record, framing, (32, 32))
    bright = load_pictures([record], 32, crop).images[0, 0] > 127
    assert torch.equal(regions["bird"], bright)
    assert (regions["box"] == bright).float().mean() > 0.95 and bright.any()
    assert bright[parts_of(record, framing, (32, 32))["eye"]]


def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 9
    Image.new("L", (48, 32)).save(tmp_path / "bird.png", exif=exif)
    record = Record(1, tmp_path / "bird.png", 1, "bird", Box(24, 4, 12, 12))
    assert framing_of(record, "none", 32) == frame(48, 32, record.box, "none", 32)


def test_a_broken_mask_is_named(birds: Catalogue, tmp_path: Path) -> None:
    from dataclasses import replace

    (tmp_path / "mask.png").write_text("no mask")
    record = replace(birds.records[0], segmentation=tmp_path / "mask.png")
    with pytest.raises(MilrError, match=r"mask\.png cannot be read"):
        regions_of(record, framing_of(record, "none", 64), (8, 8))
