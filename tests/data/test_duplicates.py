from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from milr.data.duplicates import thumbnail, twins


def clouds(seed: int, width: int = 320, height: int = 240, dots: int = 9) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 255, (dots, dots, 3), np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def saved(picture: Image.Image, kind: str, **how: object) -> Image.Image:
    memory = io.BytesIO()
    picture.save(memory, kind, **how)
    return Image.open(memory).convert("RGB")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [(320, 240), (240, 180), (640, 480)])
def test_a_picture_that_was_saved_anew_or_in_another_size_is_the_same(kind: str, size: tuple[int, int]) -> None:
    pictures = [
        clouds(0),
        clouds(1),
        saved(clouds(0).resize(size), kind),
        clouds(2),
        saved(clouds(1), kind, quality=75),
    ]
    assert twins([thumbnail(picture) for picture in pictures]) == [(2, 0), (4, 1)]


def test_pictures_that_are_hardly_different_are_two() -> None:
    one = clouds(0)
    two = one.copy()
    two.paste(Image.new("RGB", (60, 60), "red"), (20, 20))
    flat = [Image.new("RGB", (50, 50), (level, 0, 0)) for level in range(5)]
    assert (
        twins([thumbnail(picture) for picture in (one, two, *flat, one.transpose(Image.Transpose.FLIP_TOP_BOTTOM))])
        == []
    )
    assert twins([]) == []


def test_the_first_of_many_is_named_however_many_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milr.data.duplicates.AT_ONCE", 3)
    small = [thumbnail(clouds(seed)) for seed in (0, 1, 2, 3, 1, 0, 4, 1)]
    assert twins(small) == [(4, 1), (5, 0), (7, 1)]
