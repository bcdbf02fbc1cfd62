"""Pictures of every colour mode are read; broken ones are named."""

import io
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from disks import deny
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile, TiffImagePlugin, features

from milr.backbones.weight_files import read_weight_file
from milr.data.endings import readable_endings
from milr.data.pictures import load_pictures, read_mask, read_picture, size_of
from milr.data.records import Box, Record
from milr.data.tables import rows_of
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


def png(width: int, height: int, bits: int = 8, colour: int = 2, row: bytes | None = None, *extra: bytes) -> bytes:
    """A PNG that claims this size, and holds next to nothing, or one row. extra: chunks before the pixels."""
    pixels = b"" if row is None else b"\0" + row
    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)), *extra]
    chunks += [chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def words(*values: int) -> bytes:
    """16 bits each."""
    return struct.pack(f">{len(values)}H", *values)


GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # PNG's numbers


@pytest.mark.parametrize(
    ("bits", "colour", "row", "key", "expected"),
    [
        (8, GREY_ALPHA, bytes([0, 0, 156, 255]), None, [255, 156]),
        (16, GREY_ALPHA, words(0, 0, 156 * 257, 65535), None, [255, 156]),
        (8, GREY, bytes([0, 1, 156]), words(0), [255, 1, 156]),
        (16, GREY, words(0, 257, 156 * 257), words(0), [255, 1, 156]),
        (16, GREY, words(0, 257, 156 * 257), words(156 * 257), [0, 1, 255]),
        (8, RGB, bytes([9, 9, 9, 10, 10, 10]), words(9, 9, 9), [255, 10]),
        (16, RGB, words(*[9 * 257] * 3, *[10 * 257] * 3), words(*[9 * 257] * 3), [255, 10]),
        (16, RGB, words(200, 200, 200, 65535, 65535, 0), words(200, 200, 200), [255, 255]),
        (8, RGBA, bytes([100, 100, 100, 51]), None, [224]),
        (16, RGBA, words(*[100 * 257] * 3, 51 * 257), None, [224]),
        (1, GREY, bytes([0b01000000]), words(0), [255, 255]),
        (1, GREY, bytes([0b01000000]), words(1), [0, 255]),
        (2, GREY, bytes([0b00011011]), words(1), [0, 255, 170, 255]),
        (4, GREY, bytes([0x3A]), words(3), [255, 170]),
    ],
)
def test_a_transparent_picture_of_any_depth_is_its_8_bit_twin(
    bits: int, colour: int, row: bytes, key: bytes | None, expected: list[int], tmp_path: Path
) -> None:
    extra = [] if key is None else [chunk(b"tRNS", key)]
    (tmp_path / "a.png").write_bytes(png(len(expected), 1, bits, colour, row, *extra))
    found = np.array(read_picture(tmp_path / "a.png"))[0, :, 0].astype(int)
    assert np.abs(found - expected).max() <= 1 and (found[np.array(expected) == 255] == 255).all()


PIXELS = 8 + 2 + 10 * 12 + 4  # where they begin: after the header and a folder of ten tags


def tiff(bits: int, photometric: int, pixels: bytes, width: int, sample_format: int = 1) -> bytes:
    """A TIFF of one grey row. photometric: 0 means that 0 is white."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, photometric), (273, PIXELS), (277, 1), (278, 1)]
    tags += [(279, len(pixels)), (339, sample_format)]
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    start = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)
    assert len(start) == PIXELS
    return start + pixels


@pytest.mark.parametrize(
    ("bits", "photometric", "pixels", "expected"),
    [
        (16, 1, struct.pack("<HH", 0, 156 * 257), [0, 156]),
        (16, 0, struct.pack("<HH", 0, 156 * 257), [255, 99]),
        (8, 0, bytes([0, 156]), [255, 99]),
        (12, 1, bytes([0x80, 0x0F, 0xFF]), [128, 255]),
    ],
)
def test_grey_scans_have_their_own_range_and_white(
    bits: int, photometric: int, pixels: bytes, expected: list[int], tmp_path: Path
) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(bits, photometric, pixels, 2))
    assert np.array(read_picture(tmp_path / "a.tif"))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("bits", [16, 32])
def test_signed_or_long_numbers_have_no_known_range_however_small(bits: int, tmp_path: Path) -> None:
    pixels = struct.pack("<hh" if bits == 16 else "<ii", 0, 200)
    (tmp_path / "a.tif").write_bytes(tiff(bits, 1, pixels, 2, sample_format=2))
    with pytest.raises(MilrError, match=r"a\.tif cannot be read as a picture .*no known range"):
        read_picture(tmp_path / "a.tif")


def test_a_deep_mask_is_scaled(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(3, 1, 16, GREY, words(0, 257, 65535)))
    assert np.array(read_mask(tmp_path / "a.png"))[0].tolist() == [0, 1, 255]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>404", "it is a web page"),
        (b"\n<html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"", "it is empty"),
        (b"no picture at all", "no kind that Pillow knows here"),
    ],
)
def test_what_is_no_picture_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(MilrError, match=rf"a\.jpg cannot be read as a picture \(.*{message}"):
        read_picture(tmp_path / "a.jpg")


def test_an_iphones_picture_under_another_name_is_named_with_its_plugin(tmp_path: Path) -> None:
    if ".heic" in readable_endings():
        pytest.skip("pillow-heif is installed")
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(MilrError, match=r"a\.jpg .*it is HEIC.*pip install pillow-heif"):
        read_picture(tmp_path / "a.jpg")


def test_a_picture_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    deny(tmp_path / "a.png", monkeypatch)
    with pytest.raises(MilrError, match=r"no permission to read the picture .*a\.png"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (9_500, 9_400), (12_000, 12_000)])
def test_a_huge_picture_is_refused_by_its_size_before_it_is_decoded(
    width: int, height: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "huge.png").write_bytes(png(width, height))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda picture: pytest.fail("decoded"))
    for read in (read_picture, read_mask):
        with pytest.raises(
            MilrError, match=r"huge\.png is too large \(.*pixels.*at most 89,000,000\): make it smaller"
        ):
            read(tmp_path / "huge.png")


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


@pytest.mark.parametrize("read", [read_picture, read_mask])
def test_a_palette_that_is_cut_or_lost_is_named(read: Callable[[Path], object], tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0\0\2")) + chunk(b"IEND", b"")
    for colours in (0, 2, 3):
        palette = chunk(b"PLTE", bytes(3 * colours)) if colours else b""
        path = tmp_path / f"{colours}.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + pixels)
        if colours == 3:
            read(path)
            continue
        with pytest.raises(MilrError, match=f"its palette has {colours} colours, and a pixel has number 2"):
            read(path)


@pytest.mark.parametrize("kind", ["gif", "png", "tif", "webp"])
def test_of_several_pictures_in_a_file_it_is_said_that_the_first_is_taken(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milr.data.pictures.WARNED", set[str]())
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    first.save(tmp_path / f"one.{kind}")
    read_picture(tmp_path / f"one.{kind}")
    assert not caplog.messages
    first.save(tmp_path / f"a.{kind}", save_all=True, append_images=[second])
    assert read_picture(tmp_path / f"a.{kind}").getpixel((4, 4))[0] > 200  # type: ignore[index]
    assert caplog.messages == [f"{tmp_path / f'a.{kind}'}: it has 2 pictures in it, and the first is taken"]


def in_planes(values: np.ndarray) -> bytes:
    """A TIFF [H, W, C] of 16 bits, each colour in a plane of its own, as tools of microscopes write it."""
    height, width, colours = values.shape
    tags = {256: width, 257: height, 258: (16,) * colours, 259: 1, 262: 2, 277: colours, 278: height, 284: 2}
    planes = [values[..., colour].astype("<u2").tobytes() for colour in range(colours)]
    header = b""
    for _ in range(2):  # the planes begin where the header ends
        directory, memory = TiffImagePlugin.ImageFileDirectory_v2(), io.BytesIO()
        places = tuple(len(header) + len(planes[0]) * colour for colour in range(colours))
        for tag, value in {**tags, 273: places, 279: (len(planes[0]),) * colours}.items():
            directory[tag] = value
        directory.save(memory)
        header = memory.getvalue()
    return header + b"".join(planes)


def test_colours_of_sixteen_bits_in_planes_are_refused_and_not_mixed_up(tmp_path: Path) -> None:
    """Pillow takes every byte of them for a value."""
    values = np.arange(6 * 8 * 3).reshape(6, 8, 3) * 400
    (tmp_path / "planes.tif").write_bytes(in_planes(values))
    with pytest.raises(MilrError, match=r"planes\.tif cannot be read as a picture \(its colours have more than 8 bits"):
        read_picture(tmp_path / "planes.tif")


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_by_the_header_is_that_of_the_picture_as_it_is_seen(
    orientation: int, ending: str, tmp_path: Path
) -> None:
    """Pillow turns the size of a TIFF when it is opened, that of the others when they are turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"bird.{ending}"
    Image.new("RGB", (40, 24)).save(path, exif=exif)
    assert size_of(path) == read_picture(path).size == ((24, 40) if orientation > 4 else (40, 24))


FILES = {}
for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", *(["AVIF"] if features.check("avif") else [])):
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


@pytest.mark.skipif("AVIF" not in FILES, reason="this Pillow reads no AVIF")
def test_an_avif_that_is_damaged_is_named(tmp_path: Path) -> None:
    """Its reader raises RuntimeError."""
    content = bytearray(FILES["AVIF"])
    start = content.find(b"mdat") + 4
    content[start : start + 8] = bytes(8)
    (tmp_path / "bird.avif").write_bytes(content)
    with pytest.raises(MilrError, match=r"bird\.avif cannot be read as a picture"):
        read_picture(tmp_path / "bird.avif")


def test_what_pillow_warns_of_is_a_line_with_the_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (8, 6)).save(tmp_path / name, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    with caplog.at_level(logging.WARNING, "milr"):
        assert [read_picture(tmp_path / name).size for name in ("a.jpg", "b.jpg")] == [(8, 6)] * 2
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'a.jpg'}: Corrupt EXIF data.  Expecting to read 2 bytes but only got 0."
    ]


@pytest.mark.parametrize("read", [read_picture, read_mask, read_weight_file, rows_of])
def test_what_is_no_file_is_refused_before_it_is_opened(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, what in (("pipe", "a pipe"), ("folder", "a folder"), ("/dev/null", "a device")):
        with pytest.raises(MilrError, match=f"{tmp_path / name} is {what}"):
            read(tmp_path / name)
