"""Views of a picture: what the zoom takes, and what a mean over mirrored views does not depend on."""

from __future__ import annotations

import pytest
import torch
from resnets import network as small_resnet
from torch import nn

from milr.errors import MilrError
from milr.evaluation.views import extent, represent_views, zoomed


def test_the_zoom_takes_the_square_that_holds_the_activation() -> None:
    image = torch.zeros(1, 3, 32, 32)
    image[:, :, 16:, 16:] = 1  # the lower right quarter
    activation = torch.zeros(1, 8, 8)
    activation[:, 4:, 4:] = 1
    assert torch.equal(zoomed(image, activation), torch.ones(1, 3, 32, 32))


def test_the_square_stays_in_the_picture_and_is_no_smaller_than_half() -> None:
    image = torch.arange(32.0).expand(1, 3, 32, 32)  # each column its number
    activation = torch.zeros(1, 8, 8)
    activation[:, 0, 0] = 1
    assert zoomed(image, activation).max() <= 16


@pytest.mark.parametrize("strength", [torch.zeros(10), torch.ones(10)])
def test_without_a_middle_it_is_the_whole_profile(strength: torch.Tensor) -> None:
    start, end = extent(strength)
    assert start <= 0.1 and end >= 0.9


@pytest.mark.parametrize("zoom", [False, True])
def test_mirrored_pictures_have_the_embedding_of_the_pictures(zoom: bool) -> None:
    network, images = small_resnet(), torch.rand(3, 3, 64, 64)
    one = represent_views(network, [images], mirror=True, zoom=zoom)
    other = represent_views(network, [images.flip(3)], mirror=True, zoom=zoom)
    alone = represent_views(network, [images], mirror=False, zoom=zoom)
    assert torch.allclose(one, other, atol=1e-5)
    assert not torch.allclose(one, alone, atol=1e-3)


def test_one_view_is_the_embedding_at_length_one() -> None:
    network, images = small_resnet(), torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        expected = nn.functional.normalize(network.eval()(images), dim=1)
    assert torch.allclose(represent_views(network, images.split(2), mirror=False, zoom=False), expected, atol=1e-6)


def test_a_network_without_a_map_cannot_zoom() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    with pytest.raises(MilrError, match="no map"):
        represent_views(network, [torch.rand(2, 3, 16, 16)], mirror=False, zoom=True)
