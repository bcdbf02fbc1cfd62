"""Which network, and its weights. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from milr.fields import setting

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
