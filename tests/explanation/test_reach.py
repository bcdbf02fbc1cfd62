"""Fits on networks through which no gradient, or not all of it, reaches the local features."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import milr
from milr.errors import MilrError


class Two(nn.Module):
    """Two layers with something between them, or both within a checkpoint."""

    def __init__(self, between: Callable[[Tensor], Tensor], reentrant: bool | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.between, self.reentrant, self.stem = between, reentrant, nn.Conv2d(3, 8, 4, 4)
        self.layer1, self.layer2, self.fc = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 2, 1), nn.Linear(8, 4)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def body(self, features: Tensor) -> Tensor:
        return self.layer2(self.between(self.layer1(features))).tanh()

    def forward(self, images: Tensor) -> Tensor:
        if self.reentrant is None:
            features = self.body(self.stem(images))
        else:
            features = checkpoint(self.body, self.stem(images), use_reentrant=self.reentrant)
        return self.fc(self.pool(features).flatten(1))


def fitted(network: nn.Module, local: str = "layer1") -> milr.MILR:
    data = torch.utils.data.TensorDataset(torch.randn(24, 3, 32, 32), torch.arange(24) % 4)
    short = milr.FitSettings(steps=1, critic=milr.CriticSettings(steps=2))
    explainer = milr.MILR(network, local, "pool")
    return explainer.fit(torch.utils.data.DataLoader(data, 8), settings=short, progress=False)


@pytest.mark.parametrize("between", [torch.round, lambda x: (x > 0).float() + 0 * x])
def test_a_gradient_of_zero_is_refused(between: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(MilrError, match="depends on the layer 'layer1', and its gradient to it is zero everywhere"):
        fitted(Two(between))


def test_channels_without_a_gradient_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    fitted(Two(lambda given: torch.cat([given[:, :3].detach(), given[:, 3:]], 1)))
    assert "depends on 3 of the 8 channels of 'layer1' without a gradient" in caplog.text


def test_channels_that_do_not_count_are_not(caplog: pytest.LogCaptureFixture) -> None:
    fitted(Two(lambda given: torch.cat([0 * given[:, :3], given[:, 3:].relu()], 1)))
    assert "without a gradient" not in caplog.text


def test_a_representation_without_a_gradient_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    network = Two(torch.relu)
    network.register_forward_hook(lambda module, inputs, output: output + module.kept)
    network.stem.register_forward_hook(
        lambda module, inputs, output: setattr(network, "kept", output.mean((2, 3))[:, :4])
    )
    network.pool.register_forward_hook(lambda module, inputs, output: output.detach())
    with caplog.at_level(logging.WARNING, logger="milr"):
        fitted(network, "stem")
    assert "z, 'pool', has no gradient to the layer 'stem': alpha does nothing" in caplog.text


@pytest.mark.filterwarnings("ignore:None of the inputs")
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_around_the_local_layer_is_refused(reentrant: bool) -> None:
    with pytest.raises(MilrError, match="turn checkpointing off|within a reentrant checkpoint"):
        fitted(Two(torch.relu, reentrant))
    assert fitted(Two(torch.relu, reentrant), "stem").fitted  # one above it is no matter


@pytest.mark.filterwarnings("ignore:None of the inputs")
def test_a_mask_is_not_refined_through_a_reentrant_checkpoint() -> None:
    with pytest.raises(MilrError, match="turn checkpointing off"):
        fitted(Two(torch.relu, True), "stem").maps(torch.randn(2, 3, 32, 32), refine=1)


def test_numbers_that_are_changed_in_place_and_needed_are_told() -> None:
    line = (
        r"'fitted\(Two\(lambda given: given.relu\(\).mul_\(2\)\)\)' \(.*test_reach.py, line \d+\) is changed in place"
    )
    with pytest.raises(MilrError, match="backward pass to the layer .layer1. fails, .*the result of Relu in " + line):
        fitted(Two(lambda given: given.relu().mul_(2)))
    with pytest.raises(MilrError, match=r"the result of Sigmoid in 'return self.layer2\(.*changed in place"):
        fitted(Two(nn.Sequential(nn.Sigmoid(), nn.ReLU(inplace=True))))
