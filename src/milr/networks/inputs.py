"""What a network is called with: a tensor, a dict of tensors (keyword arguments) or a tuple of them (arguments)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from milr.default_device import on_the_users
from milr.errors import MilrError

log = logging.getLogger("milr")

Inputs = Tensor | dict[str, Tensor] | tuple[Tensor, ...]

BESIDE = ("mask", "type", "position", "length")  # in names of what says something about words or pictures
PICTURES = ("pixel_values", "images", "image", "input_ids", "input_values", "x")  # names of what the places are of


def mapped(inputs: Inputs, function: Callable[[Tensor], Tensor]) -> Inputs:
    """The same with a function of each tensor in its place."""
    if isinstance(inputs, Tensor):
        return function(inputs)
    if isinstance(inputs, dict):
        return {name: function(tensor) for name, tensor in inputs.items()}
    return tuple(function(tensor) for tensor in inputs)


def tensors_of(inputs: Inputs) -> dict[str, Tensor]:
    """The tensors by name; arguments by their number, a tensor alone without a name."""
    if isinstance(inputs, Tensor):
        return {"": inputs}
    return dict(inputs) if isinstance(inputs, dict) else {str(number): one for number, one in enumerate(inputs)}


def main_name(inputs: Inputs) -> str:
    """The name of the tensor whose places are explained: the picture, or the words."""
    tensors = tensors_of(inputs)
    pictures = pictures_in(inputs)
    places = [name for name, tensor in tensors.items() if tensor.ndim > 1 and tensor.dtype != torch.bool]
    places = [name for name in places if not any(word in name for word in BESIDE)] or list(tensors)
    return next((name for name in (*PICTURES, *pictures) if name in tensors), places[0])


def pictures_in(inputs: Inputs) -> list[str]:
    """The names of the tensors that may be pictures."""
    return [name for name, one in tensors_of(inputs).items() if one.ndim == 4 and one.is_floating_point()]


def warn_of_pictures(inputs: Inputs) -> None:
    """A warning where there are several pictures, of which the first is explained by its place alone."""
    pictures = pictures_in(inputs)
    if len(pictures) > 1 and main_name(inputs) == pictures[0] and pictures[0] not in PICTURES:
        log.warning(
            "the network is called with several pictures, %s: the places of '%s' are explained; %s if that is meant",
            *(", ".join(pictures), pictures[0]),
            "put another first in the dict" if isinstance(inputs, dict) else "give a dict of them with another first",
        )


def main_tensor(inputs: Inputs) -> Tensor:
    """The tensor whose places are explained."""
    return tensors_of(inputs)[main_name(inputs)]


def with_main(inputs: Inputs, tensor: Tensor) -> Inputs:
    """The same with another tensor whose places are explained; the others' first rows, repeated as often as needed."""
    name = main_name(inputs)
    others = take(inputs, torch.zeros(len(tensor), dtype=torch.long))
    if isinstance(others, Tensor):
        return tensor
    if isinstance(others, dict):
        return {**others, name: tensor}
    return tuple(tensor if str(number) == name else one for number, one in enumerate(others))


def count(inputs: Inputs) -> int:
    """How many images, or rows, there are."""
    return len(inputs) if isinstance(inputs, Tensor) else len(next(iter(tensors_of(inputs).values())))


def take(inputs: Inputs, rows: slice | Tensor) -> Inputs:
    """Some rows of each tensor."""
    return mapped(inputs, lambda tensor: tensor[rows if isinstance(rows, slice) else rows.to(tensor.device)])


def split(inputs: Inputs, size: int) -> list[Inputs]:
    """Batches of at most so many rows. MilrError for a size that is none."""
    if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
        raise MilrError(f"batch_size={size!r}: a whole number, at least 1")
    return [take(inputs, slice(start, start + int(size))) for start in range(0, count(inputs), int(size))]


def join(parts: Sequence[Inputs]) -> Inputs:
    """Batches as one."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat([part for part in parts if isinstance(part, Tensor)])
    named = [tensors_of(part) for part in parts]
    joined = {name: torch.cat([part[name] for part in named]) for name in named[0]}
    return joined if isinstance(first, dict) else tuple(joined.values())


def call(network: nn.Module, inputs: Inputs) -> Any:
    """What the network gives for copies of these: it may work on its input in place."""
    inputs = mapped(inputs, torch.clone)
    with on_the_users():
        if isinstance(inputs, Tensor):
            return network(inputs)
        return network(**inputs) if isinstance(inputs, dict) else network(*inputs)


def written(inputs: Inputs) -> str:
    """For an error message: "images [2, 3, 48, 48], torch.float32, cpu", "input_ids [2, 8] torch.int64, ..."."""
    if isinstance(inputs, Tensor):
        return f"images {list(inputs.shape)}, {inputs.dtype}, {inputs.device}"
    return ", ".join(f"{name} {list(one.shape)} {one.dtype}" for name, one in tensors_of(inputs).items())


def checked_example(example: Any, known: bool) -> Inputs:
    """The example as a network is called with it; MilrError for what is no batch of images, or of other inputs.

    `known`: whether a layout is given, so that a tensor of three dimensions is rows of words or times, no image alone.
    """
    if isinstance(example, Tensor):
        if example.ndim == 3 and example.shape[0] in (1, 3) and not known:
            raise MilrError(
                f"example is one image {list(example.shape)}, not a batch: pass example[None] (of sequences "
                "[K, T, C] say layout='sequence', of [K, C, T] layout='channels_first')"
            )
        if example.ndim < 2 or not example.numel():
            raise MilrError(f"example is {list(example.shape)}: pass a batch of one or more images [K, 3, H, W]")
        parts: Inputs = example
    elif isinstance(example, Mapping | tuple | list) and example:
        parts = {str(key): one for key, one in example.items()} if isinstance(example, Mapping) else tuple(example)
    else:
        raise MilrError(f"example is a {type(example).__name__}, not a tensor [K, 3, H, W]")
    for name, one in tensors_of(parts).items():
        if not isinstance(one, Tensor):
            raise MilrError(
                f"example holds a {type(one).__name__} ('{name}'): give what the network is called with as tensors, a "
                "dict of them for keyword arguments, a tuple of them for several"
            )
        if one.ndim == 0 or len(one) != count(parts) or not one.numel():
            raise MilrError(f"example holds '{name}' {list(one.shape)}: each of its tensors needs a row for each image")
        if one.is_floating_point() and not one.isfinite().all():
            raise MilrError("example holds nan or inf")
    return parts
