"""Pictures of every colour mode are read; broken ones are named."""

import io
import struct
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from milr.data.pictures import load_pictures, read_mask, read_picture
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


def png(width: int, height: int) -> bytes:
    """A PNG that claims this size, and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (9_500, 9_400), (12_000, 12_000)])
def test_a_huge_picture_is_refused_by_its_size_before_it_is_decoded(width: int, height: int, tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(png(width, height))
    start = time.perf_counter()
    for read in (read_picture, read_mask):
        with pytest.raises(
            MilrError, match=r"huge\.png is too large \(.*pixels.*at most 89,000,000\): make it smaller"
        ):
            read(tmp_path / "huge.png")
    assert time.perf_counter() - start < 5


def test_the_limit_is_not_about_width_or_height(tmp_path: Path) -> None:
    Image.new("L", (60_000, 2)).save(tmp_path / "wide.png")
    assert read_picture(tmp_path / "wide.png").size == (60_000, 2)


@pytest.mark.parametrize("crop", ["none", "bbox"])
def test_a_picture_of_one_pixel(crop: str, tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (200, 10, 30)).save(tmp_path / "dot.png")
    pictures = load_pictures([Record(1, tmp_path / "dot.png", 1, "dot", Box(0, 0, 1, 1))], 16, crop)
    assert (pictures.images.new_tensor([200, 10, 30]) == pictures.images[0].flatten(1).T).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_and_not_cut_off(suffix: str, tmp_path: Path) -> None:
    values = np.array([[0, 257, 25_700, 65_535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
    assert np.array(read_picture(tmp_path / f"deep.{suffix}"))[0].tolist() == [[v] * 3 for v in (0, 1, 100, 255)]


def test_pixels_without_a_known_range_are_refused(tmp_path: Path) -> None:
    for name, values in (("whole", np.array([[0, 70_000]], np.int32)), ("float", np.array([[0.0, 1.0]], np.float32))):
        Image.fromarray(values).save(tmp_path / f"{name}.tif")
        with pytest.raises(MilrError, match=rf"{name}\.tif cannot be read as a picture .*no known range"):
            read_picture(tmp_path / f"{name}.tif")


def test_colours_of_print_come_out_as_on_a_screen(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "red.tif")
    assert np.array(read_picture(tmp_path / "red.tif"))[8, 8].tolist() == [255, 0, 0]


def test_a_palette_with_transparency_lies_on_white(tmp_path: Path) -> None:
    picture = Image.new("P", (3, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255, 0, 255, 0])
    picture.putdata([0, 1, 2])
    picture.save(tmp_path / "a.png", transparency=bytes([255, 0, 51]))  # opaque, gone, a fifth
    found = np.array(read_picture(tmp_path / "a.png"))[0].tolist()
    assert found == [[255, 0, 0], [255, 255, 255], [204, 255, 204]]


FILES = {}
for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"):
    memory = io.BytesIO()
    Image.effect_noise((24, 20), 80).convert("RGB").save(memory, kind)
    FILES[kind] = memory.getvalue()


@given(st.sampled_from(sorted(FILES)), st.floats(0, 1), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255))))
def test_a_damaged_picture_is_read_or_named_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, kind: str, share: float, changes: list[tuple[float, int]]
) -> None:
    content = bytearray(FILES[kind])
    for place, value in changes:
        content[int(place * len(content))] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[: int((0.5 + share) * len(content))])  # a third of them whole
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of some damage that it can live with
        try:
            assert read_picture(path).mode == "RGB"
        except MilrError as error:
            assert str(path) in str(error)
