"""Augmentation: identities, a function of its arguments alone, and torchvision's jitter as the reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from milr.data import augmentation
from milr.data.augmentation import IMAGENET_MEAN, IMAGENET_STD, Augmentation, augment, colour_change, to_input

IMAGES = torch.randint(0, 256, (6, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
STILL = Augmentation(scale_min=1.0, flip=False, brightness=0, contrast=0, saturation=0, hue=0)
MEAN, STD = torch.tensor(IMAGENET_MEAN)[:, None, None], torch.tensor(IMAGENET_STD)[:, None, None]


def values(images: Tensor, settings: Augmentation) -> Tensor:
    """The augmented pictures from 0 to 255."""
    return (augment(images, settings, 0) * STD + MEAN) * 255


def test_same_seed_same_pictures_and_torchs_own_state_stays() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    once = augment(IMAGES, Augmentation(), "7:1")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(augment(IMAGES, Augmentation(), "7:1"), once)
    assert not torch.equal(augment(IMAGES, Augmentation(), "7:2"), once)


def test_each_picture_has_a_draw_of_its_own() -> None:
    same = IMAGES[:1].expand(8, -1, -1, -1)
    out = augment(same, Augmentation(), 0)
    assert out.dtype == torch.float32 and out.shape == same.shape
    assert len({tuple(picture.flatten().tolist()) for picture in out}) == 8


def test_pictures_that_follow_change_nothing() -> None:
    whole = augment(IMAGES, Augmentation(), 3)
    for count in range(1, 6):
        assert torch.allclose(augment(IMAGES[:count], Augmentation(), 3), whole[:count], atol=1e-5)


def test_without_room_for_chance_it_is_the_plain_input() -> None:
    assert torch.allclose(augment(IMAGES, STILL, 0), to_input(IMAGES), atol=1e-3)


def test_flips_alone_give_the_picture_or_its_mirror_image() -> None:
    many = IMAGES.repeat(10, 1, 1, 1)
    out = augment(many, Augmentation(scale_min=1.0, flip=True, brightness=0, contrast=0, saturation=0), 0)
    plain, mirrored = ((out - to_input(each)).abs().amax((1, 2, 3)) < 1e-3 for each in (many, many.flip(3)))
    assert (plain ^ mirrored).all() and 15 < int(mirrored.sum()) < 45


def test_a_crop_is_a_part_of_the_picture_enlarged() -> None:
    ramp = torch.arange(24, dtype=torch.uint8) * 10
    across, down = torch.meshgrid(ramp, ramp, indexing="xy")
    picture = torch.stack([across, down, torch.zeros_like(across)])[None].expand(200, -1, -1, -1)
    out = values(picture, Augmentation(scale_min=0.3, flip=False, brightness=0, contrast=0, saturation=0))
    width = (out[:, 0, 0, 12] - out[:, 0, 0, 11]) / 10  # a step of one pixel, in pixels of the original
    height = (out[:, 1, 12, 0] - out[:, 1, 11, 0]) / 10
    area = width * height
    assert 0.3 - 1e-3 <= area.min() < 0.35 and 0.95 < area.max() <= 1 + 1e-3
    assert area.mean() == pytest.approx(0.65, abs=0.05)
    assert (width / height).max() <= 4 / 3 + 1e-3 and (width / height).min() >= 3 / 4 - 1e-3
    assert out[:, 0].min() >= -1e-2 and out[:, 0].max() <= 230.1  # nothing from outside the picture


@pytest.mark.parametrize("factor", [0.7, 1.2])
def test_each_jitter_is_torchvisions_where_nothing_is_clipped(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    dull = IMAGES // 4 + 90
    expected = {
        "brightness": reference.adjust_brightness(dull / 255, factor),
        "contrast": reference.adjust_contrast(dull / 255, factor),
        "saturation": reference.adjust_saturation(dull / 255, factor),
    }
    for name, wanted in expected.items():
        far = abs(factor - 1)
        settings = Augmentation(**{**vars(STILL), name: far})
        ends = torch.full((len(dull), 9), float(factor > 1))  # every draw at that end of its range
        monkeypatch.setattr(torch, "rand", lambda *shape, ends=ends, **options: ends)
        assert torch.allclose(values(dull, settings) / 255, wanted, atol=1e-3), name


def test_hue_turns_colours_and_leaves_grey_and_luminance() -> None:
    draws = torch.rand(50, 4)
    colours, added = colour_change(draws, Augmentation(brightness=0, contrast=0, saturation=0, hue=0.5))
    luminance = torch.tensor(augmentation.YIQ[0])
    assert torch.allclose(colours @ torch.ones(3), torch.ones(50, 3), atol=1e-5)
    assert torch.allclose(luminance @ colours, luminance.expand(50, 3), atol=1e-5)
    assert added.abs().max() == 0
    back, _ = colour_change(1 - draws, Augmentation(brightness=0, contrast=0, saturation=0, hue=0.5))
    assert torch.allclose(back @ colours, torch.eye(3).expand(50, 3, 3), atol=1e-4)
    assert (colours - torch.eye(3)).abs().amax((1, 2)).max() > 0.5


def test_input_is_normalised_with_imagenets_statistics() -> None:
    assert torch.allclose(to_input(IMAGES) * STD + MEAN, IMAGES.float() / 255, atol=1e-6)
    assert IMAGES.dtype == torch.uint8
