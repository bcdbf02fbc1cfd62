"""What the network decides, and of which pictures. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from milr.fields import setting


@dataclass
class DecisionSettings:
    """What is explained."""

    name: str = setting(
        "prototypes",
        "prototypes (of episodes) | classes | labels (several at once) | regression | pairs (which pictures are alike)",
        choices=("prototypes", "classes", "labels", "regression", "pairs"),
    )
    head: str = setting(
        "own",
        "of classes, labels and regression: own (the network's output is the answer) | linear (a layer fitted to its "
        "embeddings)",
        choices=("own", "linear"),
    )
    classes: str = setting(
        "train",
        "of the same: train | all, the classes whose pictures are taken; of each 60 % to fit to, 20 % to validate, and "
        "20 % are the split novel",
        choices=("train", "all"),
    )
    table: str = setting(
        "",
        "a CSV file: image and values of labels and regression; image, image and same (0 or 1) of pairs; empty: "
        "targets.csv or pairs.csv in the data set's folder, without which pairs come from the classes",
    )
    images: int = setting(48, "pictures of a batch, but for prototypes", low=2)
    each: int = setting(4, "of pairs from the classes: pictures of each class in a batch", low=2)
    kind: str = setting("infonce", "of pairs: infonce | triplet", choices=("infonce", "triplet"))
    temperature: float = setting(0.1, "of pairs: the cosines are divided by it", low=1e-6)
