"""A ResNet-18 without its classifier, a VGG-11 with a small one, noise for them, and a layer pair by its names."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.models.vgg import cfgs, make_layers

from milr.networks.layers import LayerPair
from milr.networks.settings import LayerSettings


def network() -> nn.Module:
    """The same weights each time."""
    torch.manual_seed(0)
    model = resnet18()
    model.fc = nn.Identity()
    return model


def vgg() -> nn.Module:
    """The classifier of torchvision's has 400 MB of weights."""
    model = nn.Sequential()
    model.add_module("features", make_layers(cfgs["A"], batch_norm=False))
    model.add_module("avgpool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flat", nn.Flatten())
    layers = (nn.Linear(512, 64), nn.ReLU(True), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(True), nn.Linear(64, 10))
    model.add_module("classifier", nn.Sequential(*layers))
    return model


def images(count: int = 3) -> Tensor:
    """[count, 3, 48, 48], the same each time."""
    return torch.randn(count, 3, 48, 48, generator=torch.Generator().manual_seed(1))


def pair_of(network: nn.Module, local: str, z: str, example: Any, layout: str = "auto", **others: Any) -> LayerPair:
    """A layer pair; `others` are LayerPair's."""
    return LayerPair(network, example, LayerSettings(local=local, z=z, layout=layout), **others)
