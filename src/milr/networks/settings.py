"""The settings of a network, of how it compares pictures, and of its training. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from milr.errors import MilrError
from milr.fields import check, nearest, setting

AS_EPISODE = {1: "an episode needs at least 2 classes, and 0 means as many as in episode.way"}


SOURCES = ("timm", "torchvision", "transformers", "import")  # of networks that are not milr's own
NO_FILE = ("none", "pretrained", "imagenet")  # words for weights; imagenet: what pretrained was called


@dataclass
class BackboneSettings:
    name: str = setting(
        "conv4",
        "the network, as its source calls it; transformers: a folder or a hub's name; import: package.module:function",
    )
    weights: str = setting(
        "none", "none: random, or as an imported function gives them | pretrained: the source's own | a file of weights"
    )
    source: str = setting("milr", "whose network it is", choices=("milr", *SOURCES))
    head: str = setting(
        "drop",
        "drop: without its classifier, the output is the embedding | keep: the output is its logits",
        choices=("drop", "keep"),
    )
    mean: list[float] = setting([], "of each channel of pictures from 0 to 1; []: the network's own, else ImageNet's")
    std: list[float] = setting([], "the same, the standard deviation")


@dataclass
class LayerSettings:
    """The layer pair, and how its tensors are read where their shapes leave it open. Empty and -1: as it shows itself.

    Example:
        >>> import milr
        >>> milr.LayerSettings(local="blocks.3", z="norm", read="cls").prefix
        -1
    """

    local: str = setting("", "the layer whose places are explained, a name of the module tree; empty: a first guess")
    z: str = setting("", "a later layer that is the representation; empty: the last pooled embedding")
    read: str = setting(
        "auto",
        "what of that layer is z: auto (the class token; of other tokens the mean; of maps all) | flatten (all) | pool "
        "(the mean over places) | cls (the class token)",
        choices=("auto", "flatten", "pool", "cls"),
    )
    layout: str = setting(
        "auto",
        "how the layers' tensors hold places: channels_first [K, C, H, W] | channels_last [K, H, W, C] | tokens "
        "[K, T, C] of a grid | sequence [K, T, C] of words or times",
        choices=("auto", "channels_first", "channels_last", "tokens", "sequence"),
    )
    prefix: int = setting(-1, "tokens before the grid: of the class, registers; -1: what the grid leaves", low=-1)
    grid: list[int] = setting([], "rows and columns of the tokens; []: as the patch embedding gives")
    output: str = setting("", "of a network that gives a tuple or a dict: the number or the name of its output")
    call: int = setting(-1, "which run of layers that run more than once, from 0; -1: they run once", low=-1)


def layer_settings(layers: LayerSettings | None, **given: Any) -> LayerSettings:
    """The settings from `layers` and single fields, which count before it. MilrError for fields that there are not."""
    names = [each.name for each in fields(LayerSettings)]
    if unknown := [name for name in given if name not in names]:
        near = nearest(unknown[0], names)
        raise MilrError(f"there is no argument {unknown[0]}={near}: of the layers there are {', '.join(names)}")
    chosen = {name: value for name, value in given.items() if value not in ("", None)}
    if "output" in chosen:
        chosen["output"] = str(chosen["output"])  # the number of an output is no less than its name
    if "grid" in chosen:
        chosen["grid"] = list(chosen["grid"])
    settings = replace(layers or LayerSettings(), **chosen)
    check(settings)
    return settings


@dataclass
class MetricSettings:
    """How queries are compared with prototypes."""

    distance: str = setting(
        "euclidean", "euclidean: minus the squared distance | cosine", choices=("euclidean", "cosine")
    )
    temperature: float = setting(1.0, "the logits are divided by it", low=1e-6)
    centre: bool = setting(False, "subtract the mean representation of the training images first")


@dataclass
class TrainSettings:
    """The section `train` as far as the training itself takes it."""

    episodes: int = setting(
        2000, "of all processes together; 0: keep the weights as they are, and save the network", low=0
    )
    way: int = setting(
        0, "classes in a training episode, more than in a tested one helps; 0: episode.way", low=0, never=AS_EPISODE
    )
    query: int = setting(0, "queries of each class in a training episode; 0: episode.query", low=0)
    rotate: bool = setting(False, "let every picture of an episode be a support once")
    episodes_per_step: int = setting(1, "episodes of each process whose gradients make one optimiser step", low=1)
    validate_every: int = setting(100, "steps between validations", low=1)
    optimizer: str = setting("adam", "adam | adamw | sgd (momentum 0.9)", choices=("adam", "adamw", "sgd"))
    learning_rate: float = setting(1e-3, "at its highest", low=0)
    weight_decay: float = setting(0.0, "of the optimizer", low=0)
    schedule: str = setting(
        "cosine",
        "cosine: down to zero | step: halved at each fifth of the steps | constant",
        choices=("cosine", "step", "constant"),
    )
    warmup: int = setting(0, "steps over which the learning rate rises from zero", low=0)
    interpolate: bool = setting(
        False, "at the end try weights between the first and the trained ones too, and keep what validates best"
    )
    precision: str = setting("float32", "float32 | bfloat16: of the forward pass", choices=("float32", "bfloat16"))
    freeze: list[str] = setting([], "beginnings of the names of modules that stay as they are: [conv1,layer1]")
    batch_norm: str = setting(
        "train",
        "train: statistics of the process's batch | eval: those that the weights came with, unchanged",
        choices=("train", "eval"),
    )
    winograd: bool = setting(
        True,
        "on a CPU, in float32: 3x3 convolutions with fewer products, rounded otherwise: 1.3 to 1.4 times as fast",
    )
    compile: bool = setting(
        False, "let torch.compile make the training's passes: minutes at the start, for a long one on a GPU"
    )


@dataclass
class Training(TrainSettings):
    """How a network is trained."""

    shot: int = setting(1, "supports of each class", low=1)
    seed: int = setting(0, "of the episodes and of the changes of their pictures", low=0)
