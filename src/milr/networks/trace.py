"""What runs in one pass: which modules, in which order and inside which others, and the shapes of what they give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from milr.networks.freezing import frozen
from milr.networks.wrappers import uncompiled

Shape = tuple[int, ...]

CHANNELS_FIRST, CHANNELS_LAST = "channels_first", "channels_last"  # [K, C, H, W] and [K, H, W, C]


@dataclass
class Call:
    """One run of one module; `children` are the runs of other modules in it, in their order."""

    module: nn.Module
    output: Shape | None = None  # None: no tensor
    description: str = ""  # of the output, for people
    children: list[Call] = field(default_factory=list)

    def finished(self) -> Iterator[Call]:
        """All runs within this one and itself, in the order in which they end."""
        for child in self.children:
            yield from child.finished()
        yield self


def trace(network: nn.Module, images: Tensor) -> tuple[Call, Exception | None]:
    """The run of the network over images, and what it raised, if it did: what ran before is in the trace then."""
    outside = Call(network)
    stack = [outside]

    def begin(module: nn.Module, inputs: Any) -> None:
        """A run begins, inside the one that began last."""
        call = Call(module)
        stack[-1].children.append(call)
        stack.append(call)

    def end(module: nn.Module, inputs: Any, output: Any) -> None:
        """The run that began last is over."""
        call = stack.pop()
        call.output = tuple(output.shape) if isinstance(output, Tensor) else None
        call.description = describe(output)

    with torch.no_grad(), frozen(network), uncompiled(), ExitStack() as hooks:
        for module in network.modules():
            hooks.enter_context(module.register_forward_pre_hook(begin, prepend=True))
            hooks.enter_context(module.register_forward_hook(end))
        try:
            network(images)
        except Exception as error:  # whatever a network raises for a picture that it cannot take
            return outside, error
    return outside, None


def describe(output: Any) -> str:
    """What a module gave, for an error message: "a tensor [2, 64, 24, 24]", "a tuple (tensor [2, 8, 4], None)"."""
    if isinstance(output, Tensor):
        return f"a tensor {list(output.shape)}"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} ({', '.join(describe(entry).removeprefix('a ') for entry in output)})"
    if isinstance(output, dict):
        return f"a {type(output).__name__} with {', '.join(map(str, output))}"
    return "None" if output is None else f"a {type(output).__name__}"


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


def readout_calls(root: Call, places: dict[int, tuple[int, int]], size: tuple[int, int]) -> list[Call]:
    """The last run at each resolution, at any depth: of the layers whose features the mask reads by default.

    `places` has (H, W) of every run that gives a map, by its id; `size` is that of the images. Runs in a row at one
    resolution are a group. One of single layers alone (a stem) counts only where no group has a block, and one without
    parameters (pooling before the classifier) not at all.
    """
    groups: list[list[Call]] = []
    for call in _blocks(root, places, size):
        if groups and _alike(places[id(groups[-1][-1])], places[id(call)]):
            groups[-1].append(call)
        else:
            groups.append([call])
    counts = Counter(id(call.module) for call in root.finished())
    learned = [group for group in groups if any(next(call.module.parameters(), None) is not None for call in group)]
    composite = [[call for call in group if call.children] for group in learned]
    chosen = []
    for group in composite if any(composite) else learned:
        once = [call for call in group if counts[id(call.module)] == 1]
        chosen += once[-1:]
    return chosen


def _blocks(call: Call, places: dict[int, tuple[int, int]], before: tuple[int, int]) -> list[Call]:
    """The runs that give maps, a block as one: what has only the resolutions of its input and its output within."""
    inner: list[Call] = []
    for child in call.children:
        inner += _blocks(child, places, places[id(inner[-1])] if inner else before)
    own = places.get(id(call))
    if own and all(_alike(places[id(each)], before) or _alike(places[id(each)], own) for each in inner):
        return [call]
    return inner


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two resolutions differ by less than pooling makes: convolutions may take some places at the edge."""
    return max(one[0], other[0]) < 1.5 * min(one[0], other[0])
