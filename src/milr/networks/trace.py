"""What runs in one pass: which modules, in which order and inside which others, and the shapes of what they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from milr.networks.freezing import frozen
from milr.networks.inputs import Inputs, call
from milr.networks.layouts import CHANNELS_FIRST, CHANNELS_LAST
from milr.networks.outputs import describe, features_in
from milr.networks.wrappers import hookable, uncompiled

Shape = tuple[int, ...]


@dataclass(eq=False)
class Call:
    """One run of one module; `children` are the runs of other modules in it, in their order."""

    module: nn.Module
    input: Shape | None = None  # of its first argument; None: no tensor
    output: Shape | None = None  # of its features; None: no tensor
    description: str = ""  # of the output, for people
    seen: Tensor | None = None  # what `look` made of the features
    children: list[Call] = field(default_factory=list)

    def finished(self) -> Iterator[Call]:
        """All runs within this one and itself, in the order in which they end."""
        for child in self.children:
            yield from child.finished()
        yield self


def trace(
    network: nn.Module, images: Inputs, look: Callable[[Tensor], Tensor | None] | None = None
) -> tuple[Call, Exception | None]:
    """The run of the network over images, and what it raised, if it did: what ran before is in the trace then."""
    outside = Call(network)
    stack = [outside]

    def begin(module: nn.Module, inputs: Any) -> None:
        """A run begins, inside the one that began last."""
        shape = tuple(inputs[0].shape) if inputs and isinstance(inputs[0], Tensor) else None
        run = Call(module, shape)
        stack[-1].children.append(run)
        stack.append(run)

    def end(module: nn.Module, inputs: Any, output: Any) -> None:
        """The run that began last is over."""
        run, features = stack.pop(), features_in(output)
        run.output = tuple(features.shape) if features is not None else None
        run.description = describe(output)
        run.seen = look(features) if look and features is not None else None

    with torch.no_grad(), frozen(network), uncompiled(), ExitStack() as hooks:
        for module in hookable(network):
            hooks.enter_context(module.register_forward_pre_hook(begin, prepend=True))
            hooks.enter_context(module.register_forward_hook(end))
        try:
            call(network, images)
        except Exception as error:  # whatever a network raises for a picture that it cannot take
            return outside, error
    return outside, None


def layout_of(shape: Shape, taller: Shape | None, size: tuple[int, int]) -> str | None:
    """How a map of images of `size` (H, W) lies in a tensor of four dimensions; None: no map, or it cannot be inferred.

    `taller` is the shape of the same layer's output for an image of twice the height, None where that is not known:
    the places grow with it in one direction, the channels do not. (A tensor that grows in two is no map of the image:
    attention of every place to every other, say.)
    """
    if len(shape) != 4:
        return None
    fitting = [layout for layout in (CHANNELS_FIRST, CHANNELS_LAST) if _has_aspect(resolution(shape, layout), size)]
    if taller is not None and taller[1:] != shape[1:] and len(taller) == 4:
        fitting = [layout for layout in fitting if _grows(shape, taller, layout)]
    return fitting[0] if len(fitting) == 1 else None


def open_to_doubt(shape: Shape, taller: Shape | None) -> bool:
    """Whether what is no map by `layout_of` may be one: a taller image does not matter, or makes one side larger.

    (Of a map with other proportions than the image's, of a network that pools one side more than the other.)
    """
    if taller is None or taller[1:] == shape[1:]:
        return True
    return len(taller) == 4 and sum(_grows(shape, taller, layout) for layout in (CHANNELS_FIRST, CHANNELS_LAST)) == 1


def resolution(shape: Shape, layout: str) -> tuple[int, int]:
    """(H, W) of a map."""
    return (shape[2], shape[3]) if layout == CHANNELS_FIRST else (shape[1], shape[2])


def _has_aspect(places: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether these places cover an image of this size evenly."""
    (rows, columns), (height, width) = places, size
    if height == width:
        return rows == columns
    # Rounding by a place, or borders lost to convolutions without padding.
    return abs(rows * width - columns * height) <= max(height, width, 0.15 * rows * width)


def _grows(shape: Shape, taller: Shape, layout: str) -> bool:
    (rows, columns), (more_rows, same_columns) = resolution(shape, layout), resolution(taller, layout)
    channels = 1 if layout == CHANNELS_FIRST else 3
    return more_rows > rows and same_columns == columns and taller[channels] == shape[channels]
