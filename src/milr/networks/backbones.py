"""The networks by name, and their first weights. Each has modules layer1 to layer4 and avgpool, and no classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.models.resnet import BasicBlock, ResNet

from milr.errors import MilrError
from milr.networks.conv4 import Conv4
from milr.networks.resnet12 import ResNet12
from milr.networks.weight_files import read_weight_file
from milr.networks.weights import choose_weights, parts_of, problems


def headless(network: ResNet) -> nn.Module:
    """Without a classifier: the representation itself is what is compared."""
    network.fc = nn.Identity()
    return network


@dataclass(frozen=True)
class Backbone:
    """A row of the table: what makes the network with random weights, and torchvision's weights, if it has any."""

    build: Callable[[], nn.Module]
    imagenet: WeightsEnum | None = None


BACKBONES = {
    "conv4": Backbone(Conv4),
    "resnet10": Backbone(lambda: headless(ResNet(BasicBlock, [1, 1, 1, 1]))),
    "resnet12": Backbone(ResNet12),
    "resnet18": Backbone(lambda: headless(models.resnet18()), models.ResNet18_Weights.IMAGENET1K_V1),
    "resnet34": Backbone(lambda: headless(models.resnet34()), models.ResNet34_Weights.IMAGENET1K_V1),
    "resnet50": Backbone(lambda: headless(models.resnet50()), models.ResNet50_Weights.IMAGENET1K_V1),
}


def build_backbone(name: str, weights: str = "none") -> nn.Module:
    """The network [K, 3, S, S] -> [K, D], D being 1600 (conv4 at 84 px), 512, 640 (resnet12) or 2048 (resnet50).

    `weights`: "none" (drawn by torch's generator), "imagenet" (torchvision's, downloaded once), or a file of them.
    MilrError for an unknown name, weights that do not exist for it, or a file that does not fit.
    """
    if name not in BACKBONES:
        raise MilrError(f"there is no backbone '{name}': choose one of {', '.join(BACKBONES)}")
    network = BACKBONES[name].build()
    if weights == "imagenet":
        load_weights(network, name, imagenet_weights(name), "torchvision's ImageNet weights")
    elif weights != "none":
        load_weights(network, name, read_weight_file(Path(weights)), f"backbone.weights={weights}")
    return network


def imagenet_weights(name: str) -> dict[str, Tensor]:
    """torchvision's weights; MilrError for a network that has none, or if they cannot be downloaded."""
    weights = BACKBONES[name].imagenet
    if weights is None:
        there = ", ".join(key for key, row in BACKBONES.items() if row.imagenet)
        raise MilrError(f"backbone.weights=imagenet exists for {there}, not for {name}")
    try:
        return dict(weights.get_state_dict(progress=True))
    except OSError as error:
        raise MilrError(
            f"the ImageNet weights of {name} cannot be downloaded ({error}): name a file with backbone.weights="
        ) from error
    except Exception as error:  # torch raises many kinds for a broken file
        raise MilrError(
            f"the ImageNet weights of {name} in {torch.hub.get_dir()}/checkpoints cannot be read "
            f"({type(error).__name__}): delete them there, and they are fetched again"
        ) from error


def load_weights(network: nn.Module, name: str, content: Any, source: str) -> None:
    """Load the network's weights from what a file holds (`choose_weights`); half precision is widened.

    Errors: MilrError where they do not fit, with the backbone that they do fit, if there is one.
    """
    try:
        network.load_state_dict(choose_weights(network.state_dict(), content, name, source))
    except MilrError as error:
        others = [] if matches(name, content) else [other for other in BACKBONES if matches(other, content)]
        end = f"; it fits backbone={others[0]}" if others else ""
        raise MilrError(f"{error}{end}") from error


def matches(name: str, content: Any) -> bool:
    """Whether a file's content is the weights of the backbone `name`."""
    with torch.device("meta"):
        wanted = BACKBONES[name].build().state_dict()
    return any(not problems(part, wanted) for part in parts_of(content, wanted))
