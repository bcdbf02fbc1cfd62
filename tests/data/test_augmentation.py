"""Augmentation: a function of pictures, settings and seed."""

import torch

from milr.data.augmentation import IMAGENET_MEAN, IMAGENET_STD, Augmentation, augment, to_input

IMAGES = torch.randint(0, 256, (4, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


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
    assert out.dtype == torch.uint8 and out.shape == same.shape
    assert len({tuple(picture.flatten().tolist()) for picture in out}) == 8


def test_flips_alone_give_the_picture_or_its_mirror_image() -> None:
    still = Augmentation(scale_min=1.0, flip=True, brightness=0, contrast=0, saturation=0)
    flat = torch.zeros(40, 3, 24, 24, dtype=torch.uint8)
    flat[..., :12] = 200  # bright on the left
    left = augment(flat, still, 0)[:, 0, 12, 0] == 200
    assert 8 < int(left.sum()) < 32


def test_input_is_normalised_with_imagenets_statistics() -> None:
    mean, std = torch.tensor(IMAGENET_MEAN)[:, None, None], torch.tensor(IMAGENET_STD)[:, None, None]
    assert torch.allclose(to_input(IMAGES) * std + mean, IMAGES.float() / 255, atol=1e-6)
