"""The tensor among what a module or a network gives: a tensor, a tuple, a dict, a ModelOutput of transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from milr.errors import MilrError
from milr.text import first_line

OutputChoice = str | Callable[[Any], Tensor]

AS_FLOATS = "give a function that makes one tensor of floats of it, such as output=lambda out: out"
USUAL = ("logits", "pooler_output", "image_embeds", "text_embeds")  # looked for in this order


def describe(output: Any) -> str:
    """What a module gave, for an error message: "a tensor [2, 64, 24, 24]", "a tuple (tensor [2, 8, 4], None)"."""
    if isinstance(output, Tensor):
        return "a nested tensor" if output.is_nested else f"a tensor {list(output.shape)}"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} ({', '.join(describe(entry).removeprefix('a ') for entry in output)})"
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with {', '.join(map(str, output))}"
    return "None" if output is None else f"a {type(output).__name__}"


def entries(output: Any) -> dict[Any, Any]:
    """What a tuple, a dict or a dataclass holds by number or name; nothing for anything else."""
    if isinstance(output, tuple) and hasattr(output, "_asdict"):  # a NamedTuple
        return dict(output._asdict())
    if isinstance(output, (tuple, list)):
        return dict(enumerate(output))
    if isinstance(output, Mapping):
        return dict(output)
    if is_dataclass(output) and not isinstance(output, type):
        return {each.name: getattr(output, each.name) for each in fields(output)}
    return {}


def features_in(output: Any) -> Tensor | None:
    """The features that a layer gives: its tensor, or the first entry of a tuple, the first tensor of a dict."""
    if isinstance(output, Tensor):
        return None if output.is_nested else output
    if isinstance(output, (tuple, list)):
        return output[0] if output and isinstance(output[0], Tensor) else None
    return next((value for value in entries(output).values() if isinstance(value, Tensor)), None)


def with_features(output: Any, features: Tensor) -> Any:
    """What the layer gave, with other features in the place of `features_in`."""
    if isinstance(output, Tensor):
        return features
    if isinstance(output, (tuple, list)):
        rest = (features, *output[1:])
        return type(output)(*rest) if hasattr(output, "_fields") else type(output)(rest)
    first = next(name for name, value in entries(output).items() if isinstance(value, Tensor))
    if not isinstance(output, Mapping):
        return replace(output, **{first: features})
    changed = {**output, first: features}
    return changed if type(output) is dict else type(output)(**changed)


def choose(output: Any, rows: int) -> str:
    """Which entry of a tuple or a dict is taken where none is named.

    One with a row for each image: of a usual name, else the first [K, E], else the smallest (of maps the deepest), of
    floats if there are any, and no mask. MilrError if there is none.
    """
    held = {name: value for name, value in entries(output).items() if isinstance(value, Tensor)}
    fitting = [name for name, value in held.items() if value.ndim and len(value) == rows]
    smallest = sorted(fitting, key=lambda name: (not _answers(name, held[name]), held[name].numel()))
    for name in (*USUAL, *vectors_in(output, rows), *smallest):
        if name in fitting:
            return str(name)
    raise MilrError(
        f"the network gives {describe(output)}, in which no tensor has a row for each of {rows} images: give "
        "a function that makes one of it, output=..."
    )


def vectors_in(output: Any, rows: int) -> list[Any]:
    """Which entries hold a vector of floats for each image, by number or name."""
    held = {name: value for name, value in entries(output).items() if isinstance(value, Tensor)}
    return [name for name, one in held.items() if one.ndim == 2 and len(one) == rows and _answers(name, one)]


def _answers(name: Any, value: Tensor) -> bool:
    """Whether an entry may be what the network answers: floats, and no mask of what was seen."""
    return (value.is_floating_point() or value.is_complex()) and "mask" not in str(name)


def pick(output: Any, choice: OutputChoice) -> Tensor:
    """The network's output: a tensor as it is, of a tuple or a dict the entry of this name or number, or f(output).

    One number for each image, [K], becomes [K, 1]. MilrError if it is no tensor, one number for all images, or of
    numbers that are no floats of one dense tensor.
    """
    tensor = _picked(output, choice)
    if tensor.is_nested or tensor.layout != torch.strided:
        raise MilrError(
            f"the network gives a {'nested' if tensor.is_nested else 'sparse'} tensor: {AS_FLOATS}.to_dense()"
        )
    if tensor.is_complex():
        raise MilrError(f"the network gives complex numbers {list(tensor.shape)}: {AS_FLOATS}.abs()")
    if tensor.ndim == 0:
        raise MilrError(
            f"the network gives one number for all images, {describe(output)}: it must give a row for each image"
        )
    return tensor[:, None] if tensor.ndim == 1 else tensor


def called(name: str, function: Callable[[Any], Any], given: Any) -> Any:
    """What a function of the user's makes of what a layer or the network gives; MilrError where it fails."""
    try:
        return function(given)
    except Exception as error:  # whatever it raises
        what = f"{type(error).__name__}: {first_line(error) or 'no message'}"
        raise MilrError(f"the function {name} fails on {describe(given)}: {what}") from error


def _picked(output: Any, choice: OutputChoice) -> Tensor:
    if callable(choice):
        made = called("output", choice, output)
        if not isinstance(made, Tensor):
            raise MilrError(f"the function output gives {describe(made)}, not a tensor [K, E]")
        return made
    if isinstance(output, Tensor):
        return output
    held = {str(name): value for name, value in entries(output).items()}
    tensor = held.get(choice)
    if tensor is None and choice.isdecimal() and int(choice) < len(held):
        tensor = list(held.values())[int(choice)]
    if not isinstance(tensor, Tensor):
        raise MilrError(f"the network gives {describe(output)}: output='{choice}' is no tensor in it")
    return tensor
