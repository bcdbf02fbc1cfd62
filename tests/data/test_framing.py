"""Framing: points, boxes and masks end where the picture's own pixels end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from milr.data.framing import Framing, frame
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


SIDES = st.integers(1, 400)
SHARES = st.floats(0, 1)
CROPS = st.sampled_from(["none", "bbox"])


def box_in(width: int, height: int, shares: tuple[float, float, float, float]) -> Box:
    """A box of one pixel or more in a picture, from four numbers of 0 to 1."""
    wide, high = 1 + shares[2] * (width - 1), 1 + shares[3] * (height - 1)
    return Box(shares[0] * (width - wide), shares[1] * (height - high), wide, high)


@given(SIDES, SIDES, st.tuples(SHARES, SHARES, SHARES, SHARES), SHARES, SHARES, CROPS)
def test_points_of_a_box_are_in_it_after_any_cut(
    width: int, height: int, shares: tuple[float, float, float, float], across: float, down: float, crop: str
) -> None:
    box = box_in(width, height, shares)
    framing = frame(width, height, box, crop, 64)
    spot = framing.point(box.left + across * box.width, box.top + down * box.height)
    cut = framing.box(box)
    if cut is not None:
        assert cut.left >= 0 and cut.top >= 0 and cut.left + cut.width <= 64.001 and cut.top + cut.height <= 64.001
    if crop == "bbox":
        assert cut is not None and (cut.left, cut.top) == (0, 0)
        assert (cut.width, cut.height) == pytest.approx((64, 64))
    if spot is not None:
        assert 0 <= spot[0] < 64 and 0 <= spot[1] < 64
        assert cut is not None or min(box.width * across, box.height * down) < 1e-6
    if spot is not None and cut is not None:
        assert cut.left - 1e-3 <= spot[0] <= cut.left + cut.width + 1e-3
        assert cut.top - 1e-3 <= spot[1] <= cut.top + cut.height + 1e-3


@given(SIDES, SIDES, st.tuples(SHARES, SHARES, SHARES, SHARES), SHARES, SHARES, CROPS)
def test_a_mirrored_picture_has_its_box_and_points_mirrored(
    width: int, height: int, shares: tuple[float, float, float, float], across: float, down: float, crop: str
) -> None:
    box = box_in(width, height, shares)
    x, y = across * width, down * height
    plain = frame(width, height, box, crop, 64)
    other = frame(width, height, Box(width - box.left - box.width, box.top, box.width, box.height), crop, 64)
    one, two = plain.point(x, y), other.point(width - x, y)
    if one is None or two is None:  # outside of the cut; at its edge itself one of the two may be
        return
    assert two == pytest.approx((64 - one[0], one[1]), abs=1e-3)


@given(st.integers(2, 40), st.integers(2, 40), st.tuples(SHARES, SHARES, SHARES, SHARES), CROPS)
def test_the_cut_of_a_mirrored_picture_is_the_mirrored_cut(
    width: int, height: int, shares: tuple[float, float, float, float], crop: str
) -> None:
    box = box_in(width, height, shares)
    picture = Image.effect_noise((width, height), 90).convert("RGB")
    plain = frame(width, height, box, crop, 16).picture(picture)
    mirrored = Box(width - box.left - box.width, box.top, box.width, box.height)
    other = frame(width, height, mirrored, crop, 16).picture(ImageOps.mirror(picture))
    difference = np.array(plain).astype(int) - np.array(ImageOps.mirror(other)).astype(int)
    assert np.abs(difference).max() <= 2  # rounding


@given(SIDES, SIDES, st.tuples(*[st.floats(-500, 500)] * 2), st.tuples(*[st.floats(-500, 900)] * 2))
def test_any_box_gives_a_cut_inside_the_picture_or_a_refusal(
    width: int, height: int, corner: tuple[float, float], sides: tuple[float, float]
) -> None:
    try:
        found: Framing = frame(width, height, Box(*corner, *sides), "bbox", 16)
    except MilrError as error:
        assert "outside its picture" in str(error)
    else:
        assert 0 <= found.left < found.right <= width and 0 <= found.top < found.bottom <= height
