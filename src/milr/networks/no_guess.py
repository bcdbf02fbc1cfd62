"""What is said of a network of which no layer can be guessed: what it does that none shows itself."""

from __future__ import annotations

import torch

from milr.errors import MilrError
from milr.networks.inputs import main_tensor
from milr.networks.inspection import NOT_AGAIN, Inspection
from milr.networks.paths import Paths
from milr.networks.probes import random_network


def no_guess(layers: Inspection, paths: Paths, what: str) -> MilrError:
    """The error where nothing can be taken for `what`, local or z."""
    if not paths.repeats():
        return random_network(layers.network, layers.images, torch.float32)
    why = _of_volumes(layers) or _of_several_each(layers) or _of_a_cache(layers) or _of_own_maps(layers)
    return MilrError(
        f"no layer of the network could be guessed as {what}{why}: name one, {what}=... (milr.layers(network, "
        "example) lists them)"
    )


def _of_volumes(layers: Inspection) -> str:
    """What is said of a network of videos or volumes, whose layers give [K, C, T, H, W]."""
    volumes = any(run.output is not None and len(run.output) == 5 for run in layers.order)
    return " (its layers give [C, T, H, W], and milr explains places of images and of sequences)" * volumes


def _of_several_each(layers: Inspection) -> str:
    """What is said of a network that makes several pictures or rows of each and runs them as one batch, or the reverse.

    Of a tensor whose second dimension counts the images the first is words or times.
    """
    shapes = [run.output for run in layers.order if run.output and len(run.output) in (3, 4)]
    sizes = [shape[0] for shape in shapes if shape[1] != layers.count]
    made = next((size for size in sizes if size != layers.count and size % layers.count in (0, size)), 0)
    if not made:
        return ""
    what = "as of crops, flips or channels of each: give the network that it runs on one of them"
    if made < layers.count:
        what = "one part of the batch after the other: let it run on all of it"
    return f" (its layers give {made} row{'s' * (made > 1)} for {layers.count} of what it is given, {what})"


def _of_a_cache(layers: Inspection) -> str:
    """What is said of a network whose layers do not run for images that it has seen."""
    gone = [name for name, module in layers.modules.items() if id(module) in layers.gone]
    return f" (its layer '{gone[-1]}' {NOT_AGAIN})" if gone else ""


def _of_own_maps(layers: Inspection) -> str:
    """What is said of a network that makes maps of what it is given as rows: spectrograms, flattened pictures."""
    maps = main_tensor(layers.images).ndim < 4 and any(len(run.output or ()) == 4 for run in layers.order)
    return " (its layers give maps: say layout='channels_first' or 'channels_last' of the one that you name)" * maps
