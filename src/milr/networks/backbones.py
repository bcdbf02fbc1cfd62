"""The networks by name, and their first weights. Each has modules layer1 to layer4 and avgpool, and no classifier."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.resnet import BasicBlock, ResNet

from milr.errors import MilrError
from milr.networks.conv4 import Conv4
from milr.networks.resnet12 import ResNet12

BACKBONES = ("conv4", "resnet10", "resnet12", "resnet18", "resnet34", "resnet50")
IMAGENET = ("resnet18", "resnet34", "resnet50")


def build_backbone(name: str, weights: str = "none") -> nn.Module:
    """The network [K, 3, S, S] -> [K, D], D being 1600 (conv4 at 84 px), 512, 640 (resnet12) or 2048 (resnet50).

    `weights`: "none" (drawn by torch's generator), "imagenet" (torchvision's, downloaded once), or a file of them.
    MilrError for an unknown name, weights that do not exist for it, or a file that does not fit.
    """
    if name not in BACKBONES:
        raise MilrError(f"there is no backbone '{name}': choose one of {', '.join(BACKBONES)}")
    network = bare_network(name)
    if weights == "imagenet":
        load_weights(network, name, imagenet_weights(name), "torchvision's ImageNet weights")
    elif weights != "none":
        load_weights(network, name, read_weights(Path(weights)), weights)
    return network


def bare_network(name: str) -> nn.Module:
    """The network with random weights."""
    if name == "conv4":
        return Conv4()
    if name == "resnet12":
        return ResNet12()
    network = ResNet(BasicBlock, [1, 1, 1, 1]) if name == "resnet10" else getattr(models, name)()
    network.fc = nn.Identity()  # the representation itself is what is compared
    assert isinstance(network, nn.Module)
    return network


def imagenet_weights(name: str) -> dict[str, Tensor]:
    """torchvision's weights; MilrError for a network that has none, or if they cannot be downloaded."""
    if name not in IMAGENET:
        raise MilrError(f"backbone.weights=imagenet exists for {', '.join(IMAGENET)}, not for {name}")
    try:
        return dict(models.get_model_weights(name)["IMAGENET1K_V1"].get_state_dict(progress=True))
    except OSError as error:
        raise MilrError(
            f"the ImageNet weights of {name} cannot be downloaded ({error}): name a file with backbone.weights="
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that torch saved; nothing in it is executed."""
    if not path.is_file():
        raise MilrError(f"backbone.weights={path}: there is no such file (or one of: none, imagenet)")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken file
        raise MilrError(f"backbone.weights={path} cannot be read as weights ({type(error).__name__})") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise MilrError(f"backbone.weights={path} holds no plain dictionary of tensors (a network's state_dict)")
    return content


def load_weights(network: nn.Module, name: str, weights: dict[str, Tensor], source: str) -> None:
    """Loads strictly, but for the classifier `fc`, which this network has not; half precision is widened."""
    wanted = network.state_dict()
    given = {key: value for key, value in weights.items() if not key.startswith("fc.")}
    problems = {
        "missing": sorted(wanted.keys() - given.keys()),
        "unknown": sorted(given.keys() - wanted.keys()),
        "of another shape": sorted(k for k in wanted.keys() & given.keys() if wanted[k].shape != given[k].shape),
    }
    told = [f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in problems.items() if keys]
    if told:
        raise MilrError(f"{source} does not fit {name}: {'; '.join(told)}")
    network.load_state_dict({key: value.to(wanted[key].dtype) for key, value in given.items()})
