"""Framing: points, boxes and masks end where the picture's own pixels end."""

import numpy as np
import pytest
from PIL import Image

from milr.data.framing import frame
from milr.data.records import Box
from milr.errors import MilrError


def marked(width: int, height: int, box: Box) -> Image.Image:
    """A black picture with a white box in it."""
    picture = Image.new("RGB", (width, height))
    right, bottom = int(box.left + box.width), int(box.top + box.height)
    picture.paste((255, 255, 255), (int(box.left), int(box.top), right, bottom))
    return picture


@pytest.mark.parametrize("crop", ["none", "bbox"])
@pytest.mark.parametrize(("width", "height"), [(200, 120), (90, 210), (100, 100)])
def test_box_mask_and_point_go_where_the_pixels_go(crop: str, width: int, height: int) -> None:
    bird, mark = Box(30, 40, 50, 60), Box(48, 56, 16, 20)
    framing = frame(width, height, bird, crop, 64)
    bright = np.array(framing.picture(marked(width, height, mark)))[..., 0] > 127
    rows, columns = np.nonzero(bright)
    found = framing.box(mark)
    assert found is not None
    assert abs(columns.min() - found.left) <= 1 and abs(columns.max() + 1 - found.left - found.width) <= 1
    assert abs(rows.min() - found.top) <= 1 and abs(rows.max() + 1 - found.top - found.height) <= 1
    mask = np.array(framing.mask(marked(width, height, mark).convert("L"))) > 127
    assert np.array_equal(mask, bright)
    spot = framing.point(mark.left + mark.width / 2, mark.top + mark.height / 2)
    assert spot is not None and bright[int(spot[1]), int(spot[0])]


def test_whole_pictures_keep_their_proportions_and_boxes_do_not() -> None:
    whole, cut = frame(200, 100, None, "none", 50), frame(200, 100, Box(20, 30, 80, 40), "bbox", 50)
    assert (whole.left, whole.top, whole.right, whole.bottom) == (50, 0, 150, 100)
    assert (cut.left, cut.top, cut.right, cut.bottom) == (20, 30, 100, 70)
    assert cut.box(Box(20, 30, 80, 40)) == Box(0, 0, 50, 50)


def test_what_lies_outside_is_gone_and_what_sticks_out_is_clipped() -> None:
    framing = frame(200, 100, None, "none", 50)
    assert framing.point(10, 50) is None and framing.box(Box(0, 0, 40, 100)) is None
    assert framing.box(Box(40, 0, 60, 100)) == Box(0, 0, 25, 50)


def test_a_box_is_clipped_to_its_picture() -> None:
    framing = frame(100, 80, Box(-10, 60, 50, 50), "bbox", 32)
    assert (framing.left, framing.top, framing.right, framing.bottom) == (0, 60, 40, 80)


@pytest.mark.parametrize(
    ("box", "crop", "message"),
    [
        (None, "bbox", "needs boxes"),
        (Box(300, 10, 20, 20), "bbox", "outside its picture"),
        (None, "circle", "none or bbox"),
    ],
)
def test_framings_that_cannot_be_are_refused(box: Box | None, crop: str, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        frame(100, 80, box, crop, 32)
