"""JPEGs whose bytes are damaged between whole ends: named, and good ones are read as ever."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from milr.data.jpegs import pixels_of
from milr.data.pictures import read_mask, read_picture
from milr.errors import MilrError

Damage = Callable[[bytes], bytes]


def jpeg(width: int = 96, height: int = 80, mode: str = "RGB", **how: Any) -> bytes:
    """Clouds of noise."""
    values = np.random.default_rng(0).integers(0, 255, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    picture = Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    memory = io.BytesIO()
    picture.save(memory, "JPEG", **{"quality": 92, **how})
    return memory.getvalue()


def replaced(start: float, new: Damage) -> Damage:
    """What makes other bytes of a JPEG's pixels, from a share of them on."""

    def damage(content: bytes) -> bytes:
        pixels = pixels_of(content)
        assert pixels is not None
        first, end = pixels.start, pixels.end
        place = first + int(start * (end - first))
        bytes_there = new(content[first:end])
        return content[:place] + bytes_there + content[place + len(bytes_there) :]

    return damage


@pytest.mark.parametrize(
    "how",
    [
        *({}, {"optimize": True}, {"subsampling": 0}, {"quality": 5}, {"progressive": True}, {"mode": "L"}),
        *({"mode": "CMYK"}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 2}, {"width": 1, "height": 1}),
        *({"width": 3, "height": 200}, {"width": 17}),
    ],
)
@pytest.mark.parametrize("behind", [b"", bytes(300), b"\xff\xd8\xff\xe0 and a smaller picture \xff\xd9"])
def test_good_ones_are_read_to_the_bit_and_without_a_word(
    how: dict[str, Any], behind: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(**how) + behind)
    with caplog.at_level(logging.WARNING, "milr"):
        found = np.asarray(read_picture(tmp_path / "a.jpg"))
    assert not caplog.messages and (found == np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB"))).all()


def test_bytes_that_a_camera_leaves_behind_the_last_pixel_are_no_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = jpeg()
    (tmp_path / "a.jpg").write_bytes(content[:-2] + bytes(8) + content[-2:])
    read_picture(tmp_path / "a.jpg")
    assert not caplog.messages


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2] + b"\xff\xd9",
        lambda content: content[: len(content) // 2] + content[2 * len(content) // 3 :],
    ],
)
def test_lost_bytes_within_are_named_and_not_drawn_grey(damage: Damage, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(damage(jpeg(quality=75)))
    Image.open(tmp_path / "a.jpg").load()  # without a word
    for read in (read_picture, read_mask):
        with pytest.raises(MilrError, match=r"a\.jpg cannot be read as a picture .its bytes end before its last pixel"):
            read(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("how", "damage", "message"),
    [
        ({}, replaced(0.4, lambda pixels: pixels[: len(pixels) // 5]), "16 bytes or more are left behind"),
        (
            {"restart_marker_rows": 1},
            replaced(0.5, lambda pixels: b"nothing " * (len(pixels) // 50)),
            "markers between its pixels are out of order",
        ),
    ],
)
def test_every_picture_whose_bytes_do_not_end_with_it_is_told(
    how: dict[str, Any], damage: Damage, message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a.jpg", "b.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(damage(jpeg(**how)))
    for name in [*names, *names]:
        read_picture(tmp_path / name)
    assert [text.partition(": ")[0] for text in caplog.messages] == [str(tmp_path / name) for name in names]
    assert all(message in text and "look at it" in text for text in caplog.messages)


@pytest.mark.parametrize("how", [{}, {"quality": 75}, {"quality": 100, "optimize": True}, {"mode": "L"}])
@pytest.mark.parametrize("start", [0.0, 0.3, 0.6, 0.9])
def test_zeros_amid_the_pixels_are_named(how: dict[str, Any], start: float, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(replaced(start, lambda pixels: bytes(80))(jpeg(**how)))
    with pytest.raises(MilrError, match=r"a\.jpg cannot be read as a picture .zeros stand where some of its pixels"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("how", [{}, {"quality": 100}, {"subsampling": 0}, {"mode": "L"}, {"restart_marker_rows": 1}])
def test_a_picture_of_one_colour_may_have_zeros(how: dict[str, Any], tmp_path: Path) -> None:
    memory = io.BytesIO()
    how = {"optimize": True, **how}
    Image.new(how.pop("mode", "RGB"), (900, 900), "white").save(memory, "JPEG", **how)
    assert bytes(64) in memory.getvalue() or "restart_marker_rows" in how
    (tmp_path / "a.jpg").write_bytes(memory.getvalue())
    assert np.asarray(read_picture(tmp_path / "a.jpg")).min() == 255


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("scans", range(1, 10))
def test_lost_scans_are_told(scans: int, subsampling: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = jpeg(progressive=True, subsampling=subsampling)
    starts = [mark.start() for mark in re.finditer(b"\xff\xda", content)]
    assert len(starts) == 10
    (tmp_path / "a.jpg").write_bytes(content[: starts[scans]] + b"\xff\xd9")
    read_picture(tmp_path / "a.jpg")
    assert "a.jpg: one or more of its scans are missing" in caplog.text


@pytest.mark.parametrize("size", [64, 4096])
def test_zeros_in_one_of_several_scans_are_told(size: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content, path = jpeg(1200, 900, progressive=True), tmp_path / "a.jpg"
    path.write_bytes(content)
    read_picture(path)
    assert not caplog.messages
    scan = 2 + content.index(b"\xff\xda", content.index(b"\xff\xda") + 2)  # the second: numbers of the brightness
    path.write_bytes(content[: scan + 200] + bytes(size) + content[scan + 200 + size :])
    read_picture(path)
    assert "zeros stand where some of its pixels were" in caplog.text


@pytest.mark.parametrize("progressive", [False, True])
def test_one_that_was_sent_as_a_text_is_named(progressive: bool, tmp_path: Path) -> None:
    content = jpeg(400, 300, progressive=progressive)
    (tmp_path / "a.jpg").write_bytes(content.replace(b"\n", b"\r\n"))
    with pytest.raises(MilrError, match=r"a\.jpg .* it was sent as a text"):
        read_picture(tmp_path / "a.jpg")


def test_notes_with_such_lines_are_no_picture_that_was_sent_as_a_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notes = b"<x:xmpmeta>" + b"a line\r\n" * 20 + b"</x:xmpmeta>"
    ways: dict[str, dict[str, Any]] = {"jpg": {"xmp": notes}, "webp": {"xmp": notes}, "tif": {"tiffinfo": {700: notes}}}
    for kind, how in ways.items():
        Image.new("RGB", (64, 64), "red").save(tmp_path / f"a.{kind}", **how)
        assert b"a line\r\n" in (tmp_path / f"a.{kind}").read_bytes()
        read_picture(tmp_path / f"a.{kind}")
    assert not caplog.messages


def test_who_wants_truncated_pictures_gets_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    (tmp_path / "a.jpg").write_bytes(jpeg()[:2000])
    assert read_picture(tmp_path / "a.jpg").size == (96, 80)
