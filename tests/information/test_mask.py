"""The mask module: its shape, its start, and the identity behind its order of operations."""

import math

import pytest
import torch
from torch.nn.functional import conv2d, interpolate

from milr.information.mask import MaskModule, blurred
from milr.information.statistics import Standardise


def stages() -> list[torch.Tensor]:
    return [torch.randn(3, 6, 8, 8), torch.randn(3, 10, 4, 4), torch.randn(3, 12, 2, 2)]


def module(initial: float = 0.9) -> MaskModule:
    plain = [Standardise(torch.randn(c), torch.rand(c) + 0.5) for c in (6, 10, 12)]
    return MaskModule(plain, channels=6, width=5, initial=initial)


def test_mask_has_the_local_features_shape_and_starts_near_its_initial_value() -> None:
    mask = module(0.9)(stages(), (8, 8))
    assert mask.shape == (3, 6, 8, 8)
    assert (mask - 0.9).abs().max() < 0.05


def test_convolving_each_stage_before_the_resize_equals_convolving_the_joined_features() -> None:
    mask, features = module(), stages()
    joined = torch.cat(
        [interpolate(read[0](s), (8, 8), mode="bilinear") for read, s in zip(mask.read, features, strict=True)], 1
    )
    weight = torch.cat([read[1].weight for read in mask.read], 1)
    expected = torch.sigmoid(mask.combine(conv2d(joined, weight, mask.read[0][1].bias)))
    assert torch.allclose(mask(features, (8, 8)), expected, atol=1e-5)


def test_blur_keeps_what_is_even_and_spreads_a_point() -> None:
    assert torch.allclose(blurred(torch.full((1, 2, 5, 5), 0.3), 1.0), torch.tensor(0.3))
    point = torch.zeros(1, 2, 11, 11)
    point[0, 1, 5, 5] = 1
    spread = blurred(point, 1.0)
    assert spread[0, 0].abs().max() == 0 and spread[0, 1].sum() == pytest.approx(1)
    assert spread[0, 1, 5, 4] / spread[0, 1, 5, 5] == pytest.approx(math.exp(-0.5))
