"""Pictures of every colour mode are read; broken ones are named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from milr.data.pictures import load_pictures, read_picture
from milr.data.records import Box, Record
from milr.errors import MilrError


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGB", "1"])
def test_every_colour_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (20, 10), (255, 255, 255)).convert(mode).save(path)
    picture = read_picture(path)
    assert picture.mode == "RGB" and picture.size == (20, 10)
    assert np.array(picture).min() > 250


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_become_white(mode: str, tmp_path: Path) -> None:
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 4, 8))
    if mode == "P":
        picture.convert("P").save(tmp_path / "a.png", transparency=0)
        flat = np.array(read_picture(tmp_path / "a.png"))
        assert flat.max() == 255  # index 0, black, is the transparent one
        return
    picture.convert(mode).save(tmp_path / "a.png")
    values = np.array(read_picture(tmp_path / "a.png"))
    assert values[:, :4].max() == 0 and values[:, 4:].min() == 255


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    picture = Image.new("RGB", (20, 10))
    picture.paste((255, 0, 0), (0, 0, 20, 2))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture.save(tmp_path / "a.png", exif=exif)
    turned = read_picture(tmp_path / "a.png")
    assert turned.size == (10, 20)
    assert np.array(turned)[:, -1, 0].min() == 255  # the red top edge is the right one now


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    Image.effect_noise((64, 64), 80).convert("RGB").save(whole)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(whole.read_bytes()[:900])
    with pytest.raises(MilrError, match=r"broken\.jpg cannot be read"):
        read_picture(broken)
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(MilrError, match=r"text\.jpg cannot be read"):
        read_picture(tmp_path / "text.jpg")
    with pytest.raises(MilrError, match="there is no picture"):
        read_picture(tmp_path / "absent.jpg")


def test_pictures_are_framed_and_keep_their_order_and_labels(tmp_path: Path) -> None:
    records = []
    for number, colour in enumerate([(255, 0, 0), (0, 255, 0)], 1):
        picture = Image.new("RGB", (30, 20), (9, 9, 9))
        picture.paste(colour, (10, 5, 20, 15))
        picture.save(tmp_path / f"{number}.png")
        records.append(Record(number, tmp_path / f"{number}.png", 7 - number, "a class", Box(10, 5, 10, 10)))
    pictures = load_pictures(records, 12, "bbox")
    assert pictures.images.shape == (2, 3, 12, 12) and pictures.labels.tolist() == [6, 5]
    assert pictures.images[0, 0].min() > 200 and pictures.images[0, 1].max() < 60
    assert pictures.images[1, 1].min() > 200 and pictures.records == tuple(records)
