"""Streamed statistics and whitening equal what the whole data gives."""

import copy
import math

import pytest
import torch
from torch import nn
from toy import pictures, prepared, trained_network

from milr.information.bottleneck import capacity
from milr.information.statistics import ChannelStatistics, Standardise, floored
from milr.information.whitening import fit_whitening


def test_streamed_statistics_equal_those_of_all_at_once() -> None:
    features = 5 + 3 * torch.randn(30, 4, 6, 6)
    stream = ChannelStatistics()
    for part in features.split([7, 13, 10]):
        stream.add(part)
    standardise = stream.standardise()
    assert torch.allclose(standardise.mean, features.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(standardise.std, features.std((0, 2, 3), correction=0), atol=1e-5)


def test_no_features_no_statistics() -> None:
    with pytest.raises(ValueError, match="no features"):
        ChannelStatistics().standardise()


@pytest.mark.parametrize(("images", "size"), [(200, 20), (15, 40)])
def test_whitened_representation_has_mean_zero_and_covariance_one(images: int, size: int) -> None:
    z = torch.randn(images, size) @ torch.randn(size, size) + 7
    whitened = fit_whitening(z, share=1.0)(z)
    assert whitened.mean(0).abs().max() < 1e-3
    assert torch.allclose(whitened.T.cov(), torch.eye(whitened.shape[1]), atol=1e-3)
    assert whitened.shape[1] == min(size, images - 1)


def test_whitening_keeps_the_share_of_variance_that_was_asked_for() -> None:
    z = torch.randn(500, 10) * torch.tensor([10.0, 5.0, 2.0, 1, 1, 1, 1, 1, 1, 1])
    whitening = fit_whitening(z, share=0.9)
    assert whitening.share >= 0.9 and whitening.projection.shape[1] == 2  # (100 + 25) of 136
    assert fit_whitening(z, share=0.5).projection.shape[1] == 1


@pytest.mark.parametrize(("z", "share"), [(torch.randn(5, 3), 0.0), (torch.randn(1, 3), 0.9), (torch.ones(5, 3), 0.9)])
def test_whitening_refuses_what_cannot_be_whitened(z: torch.Tensor, share: float) -> None:
    with pytest.raises(ValueError):
        fit_whitening(z, share)


@pytest.mark.parametrize("scale", [1.0, 1e-7, 1e6])
def test_the_std_of_a_channel_that_hardly_moves_is_a_tenth_of_the_layers_usual_one_at_any_scale(scale: float) -> None:
    std = torch.tensor([8e-6, 0.0, *torch.linspace(1, 2, 9).tolist()])  # ten that move: the usual one is their eighth
    found = Standardise(torch.zeros(11), scale * std).std / scale
    assert torch.allclose(found, std.clamp(min=0.175), rtol=1e-5)


@pytest.mark.parametrize(
    ("std", "floor"),
    [
        ([1.0, 1, 1, 1e6], 0.1),  # one far out does not make the others small
        ([1.0, 1, 1e6], 0.1),
        ([0.0] * 60 + [1, 1, 1, 1], 0.1),  # most are dead
        ([8e-6] * 3 + [1, 1], 0.1),  # most are near-dead
        ([8e-6, 1.0], 0.1),
        ([0.0, 0.0], 1.0),  # nothing ever moved: there is no scale
    ],
)
def test_the_floor_knows_the_live_channels_from_the_others(std: list[float], floor: float) -> None:
    assert floored(torch.tensor(std)).tolist() == pytest.approx([max(value, floor) for value in std])


def test_a_constant_channel_has_no_spread_however_large_it_is_and_an_offset_swallows_none() -> None:
    features = torch.randn(40, 3, 5, 5)
    features[:, 1] = 3000.1
    features[:, 2] = 3000 + (features[:, 2] > 0).float() / 64
    stream = ChannelStatistics()
    for part in features.split(8):
        stream.add(part)
    assert stream.squares[1] == 0
    spread = (stream.squares / stream.count - (stream.total / stream.count).square()).sqrt()
    assert spread[2].item() == pytest.approx(features[:, 2].double().std(correction=0).item(), rel=1e-9)
    assert torch.allclose(stream.standardise().mean, features.mean((0, 2, 3)), rtol=1e-5)


def with_near_dead_channel(images: torch.Tensor) -> nn.Module:
    """The toy network whose channel 5 of layer1 fires at one place of all these images, by 1e-3."""
    network = copy.deepcopy(trained_network())
    norm = network.layer1[1]
    with torch.no_grad():
        norm.bias[5] -= norm(network.layer1[0](images))[:, 5].max() - 1e-3
    return network


@pytest.mark.parametrize("dead", [False, True])
def test_a_channel_that_fires_only_on_a_new_image_gives_bits_like_any_other(dead: bool) -> None:
    images = pictures(64, seed=0)[0]
    network = with_near_dead_channel(images)
    if dead:
        with torch.no_grad():
            network.layer1[1].bias[5] -= 1e-3
    explainer = prepared(network=network)
    new = 2 * pictures(4, seed=7)[0]
    with torch.no_grad():
        local, seen = network.layer1(new), network.layer1(images)
    own = seen.double().std((0, 2, 3), correction=0)
    assert (own[5] == 0) if dead else (own[5] < 1e-5)
    assert local[:, 5].max() > own.median()  # it fires as others do
    maps, mask = explainer.maps(new), explainer.settings.mask.initial
    floor = 0.1 * torch.sort(own[own > 0]).values[int(0.75 * (int((own > 0).sum()) - 1) + 0.25)]
    surprise = (mask * local[:, 5] / floor).square() / 2 / math.log(2)  # what this channel adds to the usual
    assert maps.decision.max() < 1.1 * surprise.max() + 200
    others = [channel for channel in range(16) if channel != 5]
    usual = own.clamp(min=floor)[others].float()
    rest = capacity(torch.tensor(mask), (local - seen.mean((0, 2, 3), keepdim=True))[:, others] / usual[:, None, None])
    silent = -math.log(1 - mask) + ((1 - mask) ** 2 - 1) / 2
    expected = (rest + silent) / math.log(2) + surprise
    assert torch.allclose(maps.decision, expected.float(), rtol=0.1)  # the mask is 0.9 but for its first weights


def test_a_layer_scaled_by_a_factor_gives_the_same_maps() -> None:
    network = copy.deepcopy(trained_network())
    small = nn.Sequential(network.layer1, Times(1e-7))
    network.layer1, network.layer2 = small, nn.Sequential(Times(1e7), network.layer2)
    images = pictures(4, seed=7)[0]
    first, second = prepared().maps(images), prepared(network=network).maps(images)
    for kind in ("total", "decision", "redundant"):
        assert torch.allclose(getattr(first, kind), getattr(second, kind), rtol=1e-3, atol=1e-4), kind


class Times(nn.Module):
    """Multiplies by a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.factor * features
