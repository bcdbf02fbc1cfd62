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


def clouds(side: int, kind: str) -> bytes:
    values = np.random.default_rng(0).integers(0, 255, (side // 10, side // 10, 3), np.uint8)
    memory = io.BytesIO()
    Image.fromarray(values).resize((side, side), Image.Resampling.BICUBIC).save(memory, kind)
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
