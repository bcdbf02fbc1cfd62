"""The networks by source and name, and their first weights.

milr's own (`BACKBONES`) have modules layer1 to layer4 and avgpool, and no classifier; others': `sources.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.models.resnet import BasicBlock, ResNet

from milr.backbones.conv4 import Conv4
from milr.backbones.origins import Origin, Source
from milr.backbones.resnet12 import ResNet12
from milr.backbones.settings import NO_FILE, BackboneSettings
from milr.backbones.sources import SOURCES
from milr.backbones.weight_files import read_weight_file
from milr.backbones.weights import choose_weights, parts_of, problems
from milr.bars import moving
from milr.data.augmentation import IMAGENET, Normalisation
from milr.errors import MilrError
from milr.networks.freezing import frozen
from milr.networks.outputs import describe, entries
from milr.text import first_line

SAME = 1e-6  # of the largest number: what rows differ by that say nothing of their pictures


def headless(network: ResNet) -> nn.Module:
    """Without a classifier: the representation itself is what is compared."""
    network.fc = nn.Identity()
    return network


@dataclass(frozen=True)
class Backbone:
    """A row of milr's own: what makes the network with random weights, and torchvision's weights, if it has any."""

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


def own_pictures(name: str) -> tuple[int, Normalisation]:
    """Of milr's own networks: the size at which papers use them."""
    if name not in BACKBONES:
        raise MilrError(f"there is no backbone '{name}': choose one of {', '.join(BACKBONES)}")
    return (224 if BACKBONES[name].imagenet else 84), IMAGENET


def own_network(origin: Origin) -> nn.Module:
    """One of milr's own."""
    if origin.head == "keep":
        raise MilrError(f"backbone={origin.name} has no classifier to keep: backbone=torchvision has networks with one")
    return BACKBONES[origin.name].build()


ROWS = {"milr": Source(own_pictures, own_network, lambda origin: imagenet_weights(origin.name)), **SOURCES}


def origin_of(backbone: BackboneSettings, size: int = 0) -> Origin:
    """Where the settings' network comes from, with its own size (0), mean and std where they name none.

    MilrError for a name that the source does not have, a package that is not installed, a mean without its std.
    """
    size, normalisation = pictures_taken(backbone, size)
    config = ROWS[backbone.source].config(backbone.name)
    return Origin(backbone.name, backbone.source, size, normalisation, backbone.head, config)


def pictures_taken(backbone: BackboneSettings, size: int = 0) -> tuple[int, Normalisation]:
    """The size, mean and std of the settings' network's pictures: its own where they name none. Errors as above."""
    own_size, own = ROWS[backbone.source].pictures(backbone.name)
    mean, std = tuple(backbone.mean) or own.mean, tuple(backbone.std) or own.std
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise MilrError(
            f"backbone.mean={list(mean)} backbone.std={list(std)}: three numbers each, of red, green and blue, the "
            "latter above 0"
        )
    return size or own_size, Normalisation(mean, std)


def build_backbone(name: str, weights: str = "none", source: str = "milr", size: int = 0) -> nn.Module:
    """The network [K, 3, S, S] -> [K, D] of a source and a name: `build_network`, with the network's own facts."""
    return build_network(origin_of(BackboneSettings(name, source=source), size), weights)


def build_network(origin: Origin, weights: str = "none") -> nn.Module:
    """The network [K, 3, S, S] -> [K, D], with a classifier [K, classes] where that is kept.

    `weights`: "none" (drawn by torch's generator), "pretrained" (the source's own, downloaded once; also "imagenet"),
    or a file of them. MilrError for weights that do not exist or do not fit, a size or an output that cannot be.
    """
    network = untrained(origin)
    if weights in NO_FILE[1:]:
        load_weights(network, origin, pretrained(origin), f"backbone.weights={weights}")
    elif weights != "none":
        load_weights(network, origin, read_weight_file(Path(weights)), f"backbone.weights={weights}")
    if origin.source != "milr" or weights != "none":
        require_rows(network, origin, weights)
    return network


def untrained(origin: Origin) -> nn.Module:
    """The network as its source makes it. MilrError where that refuses the size."""
    try:
        return ROWS[origin.source].build(origin)
    except (AssertionError, RuntimeError, ValueError) as error:
        if origin.source in ("milr", "import"):  # a bug, of milr's or of the user's own function
            raise
        raise MilrError(
            f"{origin.source} does not make {origin.name} for dataset.size={origin.size}: {first_line(error)}"
        ) from error


def pretrained(origin: Origin) -> Mapping[str, Tensor]:
    """The source's own weights. MilrError where it has none, or where they cannot be fetched."""
    try:
        return ROWS[origin.source].pretrained(origin)
    except MilrError:
        raise
    except Exception as error:  # whatever the source's client raises
        raise MilrError(
            f"the pretrained weights of {origin.name} cannot be fetched from {origin.source} ({first_line(error)}): "
            "name a file with backbone.weights=, or none for random ones"
        ) from error


@torch.no_grad()
def require_rows(network: nn.Module, origin: Origin, weights: str) -> None:
    """MilrError unless two pictures of this size give two rows of numbers, and by given weights not the same."""
    images = torch.randn(2, 3, origin.size, origin.size, generator=torch.Generator().manual_seed(0))
    device = next(iter(network.parameters())).device
    try:
        with frozen(network):
            output = network(images.to(device))
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        raise MilrError(
            f"{origin.name} does not take pictures of {origin.size} px (dataset.size): {first_line(error)}"
        ) from error
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 2:
        what = f"a tensor of shape {list(output.shape)}" if isinstance(output, Tensor) else describe(output)
        hint = ""
        if entries(output):
            hint = "; of several outputs let a function return the network with one of them (backbone=import)"
        raise MilrError(
            f"{origin.name} gives {what} for two pictures: on the command line a network gives one tensor, an "
            f"embedding or logits [2, D]{hint}"
        )
    if weights != "none" and not bool(torch.isfinite(output).all()):
        raise MilrError(
            f"backbone.weights={weights}: {origin.name} gives nan or inf for pictures of noise: some weights are "
            "damaged, such as the variances of its normalisations"
        )
    if weights != "none" and (output[0] - output[1]).abs().max() <= SAME * output.abs().max():
        raise MilrError(
            f"backbone.weights={weights}: {origin.name} gives the same numbers whatever picture it sees: a part of the "
            "weights is lost, such as all scales of its normalisations"
        )


def imagenet_weights(name: str) -> dict[str, Tensor]:
    """torchvision's weights; MilrError for a network that has none, or if they cannot be downloaded."""
    weights = BACKBONES[name].imagenet
    if weights is None:
        there = ", ".join(key for key, row in BACKBONES.items() if row.imagenet)
        raise MilrError(f"backbone.weights=imagenet exists for {there}, not for {name}")
    try:
        return dict(weights.get_state_dict(progress=moving(sys.stderr)))
    except OSError as error:
        raise MilrError(
            f"the ImageNet weights of {name} cannot be downloaded ({error}): name a file with backbone.weights="
        ) from error
    except Exception as error:  # torch raises many kinds for a broken file
        raise MilrError(
            f"the ImageNet weights of {name} in {torch.hub.get_dir()}/checkpoints cannot be read "
            f"({type(error).__name__}): delete them there, and they are fetched again"
        ) from error


def load_weights(network: nn.Module, origin: Origin, content: Any, source: str) -> None:
    """Load the network's weights from what a file holds (`choose_weights`); half precision is widened.

    Errors: MilrError where they do not fit, with the backbone that they do fit, if there is one.
    """
    name = origin.name
    try:
        weights = fitting_weights(network, origin, content, source)
    except MilrError as error:
        own = [] if matches(name, content) else [other for other in BACKBONES if matches(other, content)]
        end = f"; it fits backbone={own[0]}" if own else ""
        raise MilrError(f"{error}{end}") from error
    state = network.state_dict()  # with the versions of its modules, which some ask for
    state.update(weights)
    network.load_state_dict(state)


def fitting_weights(network: nn.Module, origin: Origin, content: Any, source: str) -> dict[str, Tensor]:
    """The content's tensors for the network, as they stand, else as the source itself adapts them to its size."""
    row, wanted = ROWS[origin.source], network.state_dict()
    try:
        return choose_weights(wanted, content, origin.name, source, row.heads(origin, network))
    except MilrError:
        try:
            adapted = row.adapt(origin, network, content)
        except Exception:  # the source's own function, on what may be anything
            adapted = content
        if adapted is content:
            raise
        return choose_weights(wanted, adapted, origin.name, source, row.heads(origin, network))


def matches(name: str, content: Any) -> bool:
    """Whether a file's content is the weights of milr's own backbone `name`."""
    if name not in BACKBONES:
        return False
    with torch.device("meta"):
        wanted = BACKBONES[name].build().state_dict()
    return any(not problems(part, wanted) for part in parts_of(content, wanted))
