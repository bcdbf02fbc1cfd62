"""Pictures with colour profiles: their colours come out as on a screen, and sRGB's stay to the bit."""

from __future__ import annotations

import io
import itertools
import logging
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from milr.data.pictures import read_mask, read_picture

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# By this one the red of a picture is blue and its blue red.
EXCHANGED = SRGB.replace(b"rXYZ", b"....").replace(b"bXYZ", b"rXYZ").replace(b"....", b"bXYZ")
D50 = struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)


def profile(space: bytes, connection: bytes, **tags: bytes) -> bytes:
    """An ICC profile of version 2."""
    start, entries, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        entries += name.encode() + struct.pack(">II", start + len(data), len(content))
        data += content
    header = struct.pack(">I4xI", start + len(data), 0x02100000) + b"mntr" + space + connection
    header = (header.ljust(36, b"\0") + b"acsp").ljust(68, b"\0") + D50
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + data


LINEAR_GREY = profile(b"GRAY", b"XYZ ", kTRC=b"curv" + struct.pack(">IIH", 0, 1, 256), wtpt=b"XYZ \0\0\0\0" + D50)
STEPS = bytes(range(256))
INKS = itertools.product((0, 1), repeat=4)  # the brightness of a print: cyan takes half of it, black all
LIGHT = b"".join(bytes([255 * (1 - black) * (2 - cyan) // 2, 128, 128]) for cyan, _, _, black in INKS)
IDENTITY = struct.pack(">9i", *(65536 * (place % 4 == 0) for place in range(9)))
PRINT = profile(
    b"CMYK", b"Lab ", A2B0=b"mft1\0\0\0\0\x04\x03\x02\0" + IDENTITY + 4 * STEPS + LIGHT + 3 * STEPS
)  # fmt: skip


def read(picture: Image.Image, path: Path, profile: bytes | None = None) -> np.ndarray:
    """The picture, saved with a profile and read again."""
    picture.save(path, icc_profile=profile)
    return np.asarray(read_picture(path)).astype(int)


@pytest.mark.parametrize(("mode", "name"), [("RGB", "a.png"), ("P", "a.png"), ("RGB", "a.tif"), ("RGBA", "a.webp")])
def test_colours_are_those_of_the_profile(mode: str, name: str, tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8), (255, 0, 0)).convert(mode)
    keywords = {"lossless": True} if name.endswith("webp") else {}
    picture.save(tmp_path / name, icc_profile=EXCHANGED, **keywords)
    assert np.abs(np.asarray(read_picture(tmp_path / name))[4, 4] - np.array([0, 0, 255])).max() <= 2


def test_a_transparent_picture_has_the_colours_of_its_profile_on_white(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (2, 1), (250, 0, 0, 255))
    picture.putpixel((1, 0), (250, 0, 0, 0))
    found = read(picture, tmp_path / "a.png", EXCHANGED)[0]
    assert found[1].tolist() == [255, 255, 255] and np.abs(found[0] - [0, 0, 250]).max() <= 2


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1"])
def test_with_a_profile_of_srgb_or_none_the_bytes_stay(mode: str, tmp_path: Path) -> None:
    picture = Image.effect_noise((32, 32), 90).convert("RGB").convert(mode)
    plain = read(picture, tmp_path / "a.png")
    assert (read(picture, tmp_path / "b.png", SRGB) == plain).all()


@pytest.mark.parametrize("mode", ["L", "I;16", "LA"])
def test_a_grey_scan_of_linear_light_is_as_bright_as_on_a_screen(mode: str, tmp_path: Path) -> None:
    values = np.full((4, 4), 128 * 257, np.uint16)
    picture = Image.fromarray(values) if mode == "I;16" else Image.new("L", (4, 4), 128).convert(mode)
    assert np.abs(read(picture, tmp_path / "a.png", LINEAR_GREY) - 188).max() <= 1
    assert np.abs(np.asarray(read_mask(tmp_path / "a.png")) - 128.0).max() <= 1  # a mask has no colours


def test_a_print_has_the_colours_of_its_inks(tmp_path: Path) -> None:
    light = [read(Image.new("CMYK", (16, 16), inks), tmp_path / "a.jpg", PRINT)[8, 8] for inks in
             ((0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 0, 255))]  # fmt: skip
    assert light[0].min() > 250 and light[2].min() > 250 and light[3].max() < 5  # this magenta is without a colour
    assert np.abs(light[1] - 119).max() <= 2  # half as bright as eyes see it


@pytest.mark.parametrize("content", [b"no profile", LINEAR_GREY, EXCHANGED[:300]])
def test_a_profile_that_cannot_be_used_is_told_and_left_out(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milr.data.pictures.WARNED", set())
    picture = Image.new("RGB", (8, 8), (250, 10, 0))
    with caplog.at_level(logging.WARNING, "milr"):
        assert (read(picture, tmp_path / "a.png", content)[4, 4] == (250, 10, 0)).all()
    assert "a.png: its colour profile cannot be used" in caplog.text


def test_a_turned_picture_keeps_its_profile(tmp_path: Path) -> None:
    exif, memory = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.new("RGB", (16, 8), (250, 0, 0)).save(memory, "JPEG", exif=exif, icc_profile=EXCHANGED, quality=95)
    (tmp_path / "a.jpg").write_bytes(memory.getvalue())
    found = read_picture(tmp_path / "a.jpg")
    assert found.size == (8, 16) and np.asarray(found)[8, 4, 2] > 240
