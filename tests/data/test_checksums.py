"""Damage in pictures that are no JPEGs, which Pillow reads without a word."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from milr.data.pictures import read_picture, size_of
from milr.errors import MilrError


def clouds(side: int, kind: str, **how: str) -> bytes:
    values = np.random.default_rng(0).integers(0, 255, (side // 10, side // 10, 3), np.uint8)
    memory = io.BytesIO()
    Image.fromarray(values).resize((side, side), Image.Resampling.BICUBIC).save(memory, kind, **how)
    return memory.getvalue()


def test_a_png_that_is_damaged_before_its_last_pixel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, path = clouds(150, "PNG"), tmp_path / "a.png"
    path.write_bytes(content[:-300] + bytes(300))  # zeros are short codes, so that there are pixels enough
    Image.open(path).load()  # without a word
    with pytest.raises(MilrError, match=r"a\.png cannot be read as a picture .the checksum of its pixels is wrong"):
        read_picture(path)
    assert size_of(path) == (150, 150)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    read_picture(path)


@pytest.mark.parametrize("kind", ["WEBP", "JPEG2000"])
def test_a_lost_block_of_a_picture_without_checksums_is_told(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content, path = clouds(800, kind), tmp_path / f"a.{kind.lower()}"
    assert len(content) > 12000
    with caplog.at_level(logging.WARNING, "milr"):
        path.write_bytes(content)
        read_picture(path)
        assert not caplog.messages
        path.write_bytes(content[:-5000] + bytes(4096) + content[-904:])
        read_picture(path)
    assert "4096 zeros or more stand in it" in caplog.text


@pytest.mark.parametrize("kind", ["BMP", "PPM", "TGA", "TIFF"])
def test_a_block_of_a_disk_that_is_zeros_is_told_and_a_black_part_is_not(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content, path = clouds(150, kind), tmp_path / f"a.{kind.lower()}"
    black = content[:9000] + bytes(20000) + content[29000:]
    for whole in (content, black):
        path.write_bytes(whole)
        read_picture(path)
    assert not caplog.messages
    amid, to_the_end = tmp_path / f"amid{path.suffix}", tmp_path / f"end{path.suffix}"
    amid.write_bytes(content[:8192] + bytes(8192) + content[16384:])
    to_the_end.write_bytes(content[:40960] + bytes(len(content) - 40960))
    for lost in (amid, to_the_end):
        read_picture(lost)
        assert f"{lost}: 4096 zeros or more stand in it" in caplog.text


@pytest.mark.parametrize("kind", ["BMP", "WEBP"])
def test_a_picture_that_was_sent_as_a_text_is_told(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(clouds(400, kind).replace(b"\n", b"\r\n"))
    read_picture(path)
    assert "a carriage return stands before each of its line feeds" in caplog.text


def test_a_picture_that_is_a_text_may_have_any_line_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P3\r\n1 12\r\n255\r\n" + b"200 100 50\r\n" * 12)
    assert read_picture(path).getpixel((0, 11)) == (200, 100, 50)
    assert not caplog.messages


def test_a_bmp_whose_header_tells_of_fewer_pixels_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content, path = clouds(150, "BMP"), tmp_path / "a.bmp"
    path.write_bytes(content + bytes(2))  # as some programs fill it up
    read_picture(path)
    assert not caplog.messages
    path.write_bytes(content[:22] + (100).to_bytes(4, "little") + content[26:])
    read_picture(path)
    assert "22600 bytes are left behind its last pixel" in caplog.text


def test_a_zipped_tiff_with_other_bytes_is_named(tmp_path: Path) -> None:
    content, path = clouds(150, "TIFF", compression="tiff_adobe_deflate"), tmp_path / "a.tif"
    path.write_bytes(content)
    assert read_picture(path).size == (150, 150)
    place = next(place for place in range(20000, 30000) if reads_otherwise(path, content, place))
    path.write_bytes(changed(content, place))
    with pytest.raises(MilrError, match=r"a\.tif cannot be read as a picture .the checksum of its pixels is wrong"):
        read_picture(path)


def changed(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :]


def reads_otherwise(path: Path, content: bytes, place: int) -> bool:
    """Whether Pillow reads the file with a bit changed, and gives other pixels."""
    path.write_bytes(changed(content, place))
    try:
        return np.asarray(Image.open(path)).tobytes() != np.asarray(Image.open(io.BytesIO(content))).tobytes()
    except OSError:
        return False


def test_a_tiff_that_does_not_tell_the_sizes_of_its_pieces_is_read(tmp_path: Path) -> None:
    content, path = bytearray(clouds(150, "TIFF")), tmp_path / "a.tif"
    whole = np.asarray(Image.open(io.BytesIO(content)))
    entry = content.index((279).to_bytes(2, "little"), int.from_bytes(content[4:8], "little"))
    content[entry + 8 : entry + 12] = bytes(4)
    path.write_bytes(content)
    assert np.array_equal(np.asarray(read_picture(path)), whole)


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        (257, 300, "1 of the 2 pieces"),  # the height
        (278, 10, "1 of the 15 pieces"),  # rows of a piece
        (284, 2, "1 of the 3 pieces"),  # each colour in a plane of its own
        (256, 151, "67500 of the 67950 bytes"),  # the width
    ],
)
def test_a_tiff_whose_pieces_do_not_make_up_the_picture_is_named(
    tag: int, value: int, message: str, tmp_path: Path
) -> None:
    content, path = bytearray(clouds(150, "TIFF")), tmp_path / "a.tif"
    first = int.from_bytes(content[4:8], "little") + 2
    entry = next(at for at in range(first, len(content), 12) if int.from_bytes(content[at : at + 2], "little") == tag)
    content[entry + 8 : entry + 10] = value.to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(MilrError, match=f"it has {message} of its pixels"):
        read_picture(path)
