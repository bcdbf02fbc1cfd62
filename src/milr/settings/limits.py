"""Which values of the settings make sense. Types are the schema's part; this is the rest."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from milr.command.help import group_options
from milr.data.settings import DATASETS
from milr.errors import MilrError
from milr.settings.paths import MAY_BE_EMPTY, PATHS
from milr.settings.values import leaves, nearest

SPLITS = ("train", "validation", "novel", "all")

CHOICES: dict[str, tuple[str, ...]] = {
    "device": ("auto", "cpu", "cuda"),
    "logger": ("none", "tensorboard"),
    "dataset.crop": ("none", "bbox"),
    "dataset.split": SPLITS,
    "metric.distance": ("euclidean", "cosine"),
    "train.optimizer": ("adam", "adamw", "sgd"),
    "train.schedule": ("cosine", "step", "constant"),
    "train.precision": ("float32", "bfloat16"),
    "precision": ("float32", "bfloat16"),
    "train.batch_norm": ("train", "eval"),
    "milr.redundancy": ("representation", "occluded"),
    "mask.fill": ("noise", "zero"),
    "bottleneck.kind": ("capacity", "variational"),
    "bottleneck.fit": ("likelihood", "objective"),
    "scale": ("kind", "image"),
}

# key -> smallest and largest sensible value
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "dataset.size": (16, 1024),
    "dataset.species": (4, 1000),
    "dataset.images_per_species": (1, 10_000),
    "dataset.picture_size": (16, 1024),
    "dataset.seed": (0, 2**32 - 1),
    "episode.way": (2, math.inf),
    "episode.shot": (1, math.inf),
    "episode.query": (1, math.inf),
    "metric.temperature": (1e-6, math.inf),
    "augmentation.scale_min": (0.01, 1),
    "augmentation.brightness": (0, 1),
    "augmentation.contrast": (0, 1),
    "augmentation.saturation": (0, 1),
    "augmentation.hue": (0, 0.5),
    "train.episodes": (0, math.inf),
    "train.way": (0, math.inf),
    "train.query": (0, math.inf),
    "train.log_every": (1, math.inf),
    "train.save_every": (1, math.inf),
    "train.episodes_per_step": (1, math.inf),
    "train.validate_every": (1, math.inf),
    "train.validation_episodes": (1, math.inf),
    "train.learning_rate": (0, math.inf),
    "train.weight_decay": (0, math.inf),
    "train.warmup": (0, math.inf),
    "test.episodes": (2, math.inf),
    "test.batch_size": (1, math.inf),
    "milr.alpha": (0, math.inf),
    "milr.beta": (0, math.inf),
    "milr.way": (0, math.inf),
    "milr.query": (0, math.inf),
    "milr.steps": (1, math.inf),
    "milr.learning_rate": (0, math.inf),
    "milr.validate_every": (1, math.inf),
    "milr.validation_episodes": (1, math.inf),
    "milr.beta_warmup": (0, 1),
    "milr.patience": (0, math.inf),
    "milr.log_every": (1, math.inf),
    "milr.save_every": (1, math.inf),
    "infomax.width": (0, math.inf),
    "infomax.dimension": (1, math.inf),
    "infomax.bank_size": (1, math.inf),
    "infomax.queue_size": (0, math.inf),
    "mask.width": (1, math.inf),
    "mask.blur": (0, 100),
    "mask.initial": (0.001, 0.999),
    "bottleneck.width": (1, math.inf),
    "bottleneck.whitening_share": (0.01, 1),
    "visualize.episodes": (1, math.inf),
    "visualize.queries": (1, math.inf),
    "evaluate.episodes": (1, math.inf),
    "evaluate.sheet_rows": (1, 30),
    "sanity.images": (2, math.inf),
    "sanity.seeds": (2, 100),
    "sanity.steps": (0, math.inf),
    "sanity.estimator_steps": (1, math.inf),
}


def check_limits(settings: Any) -> None:
    """Raise MilrError, naming the key, for the first value that is outside what makes sense."""
    for key, value in leaves(settings):
        for entry in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(entry, float) and not math.isfinite(entry):
                raise MilrError(f"{key}={value}: the value must be a finite number")
            if isinstance(value, list) and isinstance(entry, (list, dict)):
                raise MilrError(f"{key}={value}: a list within the list")
        if key in CHOICES and value not in CHOICES[key]:
            raise MilrError(
                f"{key}={value}: choose one of {', '.join(CHOICES[key])}{nearest(str(value), CHOICES[key])}"
            )
        if key in ("train.way", "milr.way") and value == 1:
            raise MilrError(f"{key}=1: an episode needs at least 2 classes, and 0 means as many as in episode.way")
        if key in RANGES:
            smallest, largest = RANGES[key]
            if not smallest <= value <= largest:  # NaN too
                bound = f"at least {smallest:g}" if largest == math.inf else f"from {smallest:g} to {largest:g}"
                raise MilrError(f"{key}={value}: the value must be {bound}")


def check_paths(settings: Any) -> None:
    """Raise MilrError, naming the key, where a path is empty: it would be the folder that one happens to be in."""
    for key, value in leaves(settings):
        if key in PATHS and key not in MAY_BE_EMPTY and value == "":
            raise MilrError(f"{key}= is empty: give {key}=<path>")
        if key == "images" and "" in value:
            raise MilrError(f"images={value}: one of the paths is empty")


def check_names(settings: Any) -> None:
    """Raise MilrError for a data set or a backbone that is none, for another data set's keys under a name, and for
    other layers than the two."""
    for name, layer in getattr(settings, "layers", {}).items():
        if name not in ("local", "global"):
            raise MilrError(f"layers.{name}: there are two layers, layers.local and layers.global")
        if not layer:
            raise MilrError(f"layers.{name}= is empty: give the layer's name in the network")
    for group in ("dataset", "backbone"):
        section = getattr(settings, group, None)
        options = [name for name in group_options(group) if group != "dataset" or name in DATASETS]
        if section is None:
            continue
        if section.name not in options:
            near = nearest(section.name, options)
            raise MilrError(f"{group}.name={section.name}: choose one of {', '.join(options)}{near}")
        if group == "dataset" and {key for key, _ in leaves(section)} != {
            field.name for field in fields(DATASETS[section.name])
        }:
            raise MilrError(
                f"dataset.name={section.name} with the keys of another data set: choose it with dataset={section.name}"
            )
