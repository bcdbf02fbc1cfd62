"""Maps as people handle them: some of them, another size, figures, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from milr.errors import MilrError
from milr.explanation.maps import KINDS, Maps
from milr.figures.shown import SCALED
from milr.figures.slider import MOST, ranks


def maps(*shape: int) -> Maps:
    kept, redundant, decision, mask = torch.rand(4, *shape)
    total = kept + redundant
    readings = {"sample": {"total": total, "kept": kept, "redundant": redundant}}
    return Maps(total, kept, redundant, decision, mask, torch.randn(shape[0], 3), cap=5.0, readings=readings)


def same(one: Maps, other: Maps) -> bool:
    return all(torch.equal(getattr(one, kind), getattr(other, kind)) for kind in (*KINDS, "mask", "output"))


def test_some_images_are_chosen_by_number_slice_list_and_mask() -> None:
    whole = maps(4, 5, 7)
    chosen = torch.tensor([False, True, False, True])
    assert same(whole[chosen], whole[1::2]) and same(whole[chosen], whole[[1, 3]])
    assert same(whole[-1], whole[3:]) and whole[-1].total.shape == (1, 5, 7)
    assert torch.equal(whole[2].readings["sample"]["kept"], whole.kept[2:3])
    assert same(whole[torch.tensor(2)], whole[2]) and same(whole[range(1, 4, 2)], whole[chosen.numpy()])
    assert torch.equal(whole[::-1].total, whole.total.flip(0)) and len(whole[[]]) == 0
    assert len(whole) == len(list(whole)) == 4
    for outside in (4, [4], chosen[:2]):
        with pytest.raises(IndexError):
            whole[outside]
    for wrong in (1.0, "total", None, torch.zeros(2, 2)):
        with pytest.raises(MilrError, match="maps\\["):
            whole[wrong]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda maps: maps.upsample(1.5), "cannot be brought to the size 1.5"),
        (lambda maps: maps.to("gpu"), "the maps cannot go to 'gpu'"),
        (lambda maps: maps[[]].plot(), "no maps to plot"),
        (lambda maps: maps.plot((torch.rand(2, 3, 8, 8), torch.rand(2))), "images to draw must be one tensor"),
    ],
)
def test_what_cannot_be_done_with_maps_is_said(use: Any, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        use(maps(2, 5, 7))


def test_it_says_shapes_and_means_instead_of_tensors() -> None:
    flat = torch.full((2, 5, 7), 0.25)
    text = repr(Maps(flat, flat, flat, 4 * flat, flat, torch.zeros(2, 3), cap=6.02))
    means = "total 0.25, kept 0.25, redundant 0.25, decision 1; mask 0.25, cap 6.02"
    assert text == f"Maps of 2 images, 5 x 7, mean bits a location: {means}"


def test_upsampling_keeps_the_values_and_not_the_sum() -> None:
    flat = torch.full((2, 5, 7), 0.25)
    larger = Maps(flat, flat, flat, flat, flat, torch.zeros(2, 3), cap=6.0).upsample((20, 28))
    assert larger.total.shape == larger.mask.shape == (2, 20, 28) and torch.allclose(larger.total, flat[0, 0, 0])
    assert larger.output.shape == (2, 3)
    assert maps(2, 9).upsample(18).total.shape == (2, 18)
    with pytest.raises(MilrError, match=r"maps \[2, 5, 7\] cannot be brought to the size \(3,\)"):
        maps(2, 5, 7).upsample((3,))


def test_a_figure_is_shown_by_a_notebook() -> None:
    drawing = maps(2, 6, 6).plot(torch.randn(2, 3, 24, 24), names=["a_cat", "7"])
    assert isinstance(drawing, Figure) and drawing._repr_png_()[:4] == b"\x89PNG"
    assert [axis.get_title() for axis in drawing.axes[:2]] == ["a cat", "7"]
    assert "".join(SCALED.split()) == "".join(drawing.get_suptitle().split())
    with pytest.raises(MilrError, match="3 images, 2 maps, 2 columns"):
        maps(2, 6, 6).plot(torch.rand(3, 3, 24, 24))


@pytest.mark.parametrize("images", [torch.rand(2, 3, 20, 40), torch.rand(2, 20, 40, 3).numpy(), None])
def test_pictures_and_grids_that_are_not_square_keep_their_aspect(images: object) -> None:
    drawing = maps(2, 5, 10).plot(images)
    extent = (0, 40, 20, 0)  # of the pictures, or of a map drawn alone
    shown = [image for axis in drawing.axes for image in axis.images]
    assert {tuple(image.get_extent()) for image in shown} == {extent}
    assert {axis.get_aspect() for axis in drawing.axes if axis.images} == {1.0}


def test_a_sequence_is_a_strip_with_its_words() -> None:
    drawing = maps(2, 3).plot(names=["a", "b", "$c"])
    assert [text.get_text() for text in drawing.axes[6].get_xticklabels()] == ["a", "b", r"\$c"]
    assert tuple(drawing.axes[0].images[0].get_extent()) == (0, 3, 1, 0)
    with pytest.raises(MilrError, match="names of sequences are 3 words"):
        maps(2, 3).plot(names=["a", "b"])


def test_maps_go_into_arrays_or_pictures(tmp_path: Path) -> None:
    whole = maps(2, 6, 6)
    whole.save(tmp_path / "maps.npz")
    with np.load(tmp_path / "maps.npz") as stored:
        assert np.array_equal(stored["redundant"], whole.redundant.numpy()) and float(stored["cap"]) == 5.0
        assert np.array_equal(stored["kept_sample"], whole.kept.numpy())
    whole.save(tmp_path / "maps.png", torch.rand(2, 3, 24, 24), names=["a", "b"])
    with Image.open(tmp_path / "maps.png") as picture:
        assert picture.width > 100
    with pytest.raises(MilrError, match="maps.bmp.*choose an ending among .npz, .png"):
        whole.save(tmp_path / "maps.bmp")
    with pytest.raises(MilrError, match="there is no folder"):
        whole.save(tmp_path / "missing" / "maps.npz")


@pytest.mark.parametrize("size", [(4, 5), (10,)])
def test_a_notebook_shows_maps_with_a_slider(size: tuple[int, ...]) -> None:
    whole = maps(9, *size)
    html = whole._repr_html_()
    ElementTree.fromstring(html)  # well formed
    assert html.count("<figure") == 4 * MOST and "1 more images" in html and 'type="range"' in html
    assert whole[[]]._repr_html_() is None


def test_pictures_stand_beside_their_maps_under_names_that_are_no_code() -> None:
    html = maps(2, 4, 4).show(torch.rand(2, 3, 8, 8), names=["<b>", "a & b"]).html
    assert html.count("<figure") == 2 * 5 and "&lt;b&gt;" in html and "<b>" not in html
    with pytest.raises(MilrError, match="3 images, 2 maps"):
        maps(2, 4, 4).show(torch.rand(3, 3, 8, 8))
    with pytest.raises(MilrError, match="colours=red: choose one of"):
        maps(2, 4, 4).show(colours="red")


@pytest.mark.parametrize("percent", [1, 20, 50, 99, 100])
def test_the_slider_covers_all_but_the_share_that_is_kept(percent: int) -> None:
    """As the browser computes it: alpha = 255 (1 - s) + 1 - 255 red."""
    heat = torch.randn(10, 10)
    red = ranks(heat) / 255
    alpha = np.clip(255 * (1 - percent / 100) + 1 - 255 * red, 0, 1)
    kept = torch.from_numpy(alpha < 0.5)
    assert int(kept.sum()) == pytest.approx(percent, abs=1)
    assert heat[kept].min() >= heat[~kept].max() if percent < 100 else kept.all()
