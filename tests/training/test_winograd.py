"""Convolutions with fewer products give what torch's give, forward and backward, and stand aside where they must."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from milr.backbones.backbones import build_backbone
from milr.training import winograd
from milr.training.winograd import CHANNELS as WIDE
from milr.training.winograd import Convolution, FewerProducts, convolve, fits, tiling


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (3, 3), (6, 6), (7, 5), (11, 11), (21, 21), (8, 13)])
def test_it_is_the_convolution_and_has_its_gradients(height: int, width: int) -> None:
    images, weight = drawn(2, 3, height, width).requires_grad_(), drawn(4, 3, 3, 3).requires_grad_()
    above = drawn(2, 4, height, width)
    expected = conv2d(images, weight, padding=1)
    found = Convolution.apply(images, weight)
    assert torch.allclose(found, expected, atol=1e-11)
    for one, other in zip(
        torch.autograd.grad(found, (images, weight), above),
        torch.autograd.grad(expected, (images, weight), above),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-11)


def test_every_edge_of_a_tile_is_chosen_somewhere() -> None:
    assert {tiling(side, side)[0] for side in (2, 3, 11)} == set(winograd.EDGES)


def test_it_rounds_little_in_single_precision() -> None:
    """The error's standard deviation, as a share of the result's own, is about ten units of the last place."""
    for side in (3, 6, 11, 21):
        images, weight = drawn(8, 64, side, side), drawn(64, 64, 3, 3)
        expected = conv2d(images, weight, padding=1)
        error = convolve(images.float(), weight.float())[0] - expected
        assert error.std() / expected.std() < 3e-6


def test_it_takes_images_in_any_order_of_memory() -> None:
    images, weight = drawn(2, 64, 6, 6), drawn(64, 64, 3, 3)
    other = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(convolve(images, weight)[0], convolve(other, weight)[0])


def test_a_bias_is_added() -> None:
    layer, images = nn.Conv2d(WIDE, WIDE, 3, padding=1), drawn(1, WIDE, 5, 5, dtype=torch.float32)
    with FewerProducts():
        found = layer(images)
    assert torch.allclose(found, layer(images), atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(WIDE, WIDE, 3, padding=1, stride=2), (1, WIDE, 9, 9)),
        (nn.Conv2d(WIDE, WIDE, 3), (1, WIDE, 9, 9)),
        (nn.Conv2d(WIDE, WIDE, 3, padding=1, dilation=2), (1, WIDE, 9, 9)),
        (nn.Conv2d(2 * WIDE, WIDE, 3, padding=1, groups=2), (1, 2 * WIDE, 9, 9)),
        (nn.Conv2d(WIDE, WIDE, 1), (1, WIDE, 9, 9)),
        (nn.Conv2d(WIDE, WIDE, 5, padding=1), (1, WIDE, 9, 9)),
        (nn.Conv2d(WIDE, 8, 3, padding=1), (1, WIDE, 9, 9)),
        (nn.Conv2d(8, WIDE, 3, padding=1), (1, 8, 9, 9)),
        (nn.Conv2d(WIDE, WIDE, 3, padding="same"), (1, WIDE, 9, 9)),
        (nn.Conv2d(WIDE, WIDE, 3, padding=1), (WIDE, 9, 9)),
    ],
)
def test_what_does_not_fit_is_left_to_torch(
    layer: nn.Conv2d, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = drawn(*shape, dtype=torch.float32)
    monkeypatch.setattr(winograd, "convolve", None)  # whoever calls it fails
    with FewerProducts():
        found = layer(images)
    assert torch.equal(found, layer(images))


@pytest.mark.parametrize("frozen", ["images", "weight"])
def test_what_is_frozen_gets_no_gradient_and_the_other_its_own(frozen: str) -> None:
    images, weight = drawn(2, 3, 6, 6), drawn(4, 3, 3, 3)
    free = weight if frozen == "images" else images
    free.requires_grad_()
    (found,) = torch.autograd.grad(Convolution.apply(images, weight).square().sum(), free)
    (expected,) = torch.autograd.grad(conv2d(images, weight, padding=1).square().sum(), free)
    assert torch.allclose(found, expected, atol=1e-10)


def test_a_networks_own_convolutions_fit_but_not_its_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def watched(*arguments: object, **named: object) -> bool:
        seen.append(fits(*arguments, **named))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(winograd, "fits", watched)
    network, images = build_backbone("resnet18").eval(), drawn(2, 3, 64, 64, dtype=torch.float32)
    with FewerProducts():
        found = network(images)
    assert (sum(seen), len(seen)) == (9, 20)  # layer2 to layer4, without what halves the size and the shortcuts
    assert torch.allclose(found, network(images), atol=1e-4)
