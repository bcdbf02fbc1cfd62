"""Which dimensions of a layer's tensor are places: seen in a larger input or in changed patches, or as settings say."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from milr.networks.inputs import Inputs, count, main_tensor, with_main
from milr.networks.layouts import CHANNELS_FIRST, SEQUENCE, TOKENS, Layout
from milr.networks.settings import LayerSettings
from milr.networks.tokens import Grid, Size, grids_of, token_layouts
from milr.networks.trace import Call, Shape, layout_of, resolution, trace

ATTENTION = (nn.Dropout, nn.Softmax)  # what may work on attention of places to places, which looks like a map


def find_layouts(network: nn.Module, images: Inputs, order: list[Call]) -> tuple[Size, dict[int, Layout]]:
    """(H, W) of the images, (1, T) of sequences; and the layouts of all runs that give maps, by their ids."""
    size, larger = larger_shapes(network, images)
    found: dict[int, Layout] = {}
    tokens: dict[int, Shape] = {}  # by their place in the order
    if main_tensor(images).ndim not in (2, 3, 4):
        return size, found
    for number, ((key, shape), run) in enumerate(zip(_shapes_by_run(order).items(), order, strict=True)):
        if not shape or shape[0] != count(images):
            continue
        if size[0] == 1:
            if layout := sequence_of(shape, larger.get(key), size[1]):
                found[id(run)] = layout
        elif len(shape) == 3:
            if shape[1] != shape[2] or not isinstance(run.module, ATTENTION):
                tokens[number] = shape
        elif kind := layout_of(shape, larger.get(key), size):
            found[id(run)] = Layout(kind, resolution(shape, kind))
    if tokens:
        maps = [layout.grid for layout in found.values()]
        grids = {shape[1]: grids_of(shape[1], maps, size) for shape in tokens.values()}
        layouts = token_layouts(network, images, tokens, grids, size)
        found |= {id(order[number]): layout for number, layout in layouts.items()}
    return size, found


def larger_shapes(network: nn.Module, images: Inputs) -> tuple[Size, dict[tuple[int, int], Shape | None]]:
    """(H, W) or (1, T) of the inputs, and shapes by run for one of twice the height or length.

    The network may take one size only: then there are those up to where it failed.
    """
    main = main_tensor(images)
    if main.ndim == 4:
        size = image_size(main.shape)
        axes = [list(main.shape).index(size[0], 1)]
    else:
        size = (1, main.shape[1])
        axes = list(range(1, main.ndim)) if isinstance(images, Tensor) else []  # masks have the length, too
    larger = Call(network)
    for axis in axes:
        larger, error = trace(network, with_main(images, torch.cat([main[:1]] * 2, axis)))
        if error is None and main.ndim < 4:
            size = (1, main.shape[axis])
            break
    return size, _shapes_by_run(larger.finished())


def sequence_of(shape: Shape, longer: Shape | None, length: int) -> Layout | None:
    """How [K, T, C] or [K, C, T] holds the places of a sequence of this length.

    `longer` is the shape of the same layer's output for a longer sequence, None where that is not known.
    """
    if len(shape) != 3:
        return None
    if longer is not None and len(longer) == 3 and longer[1:] != shape[1:]:
        grows = [axis for axis in (1, 2) if longer[axis] > shape[axis]]
    else:
        grows = [axis for axis in (1, 2) if shape[axis] == length]
    if len(grows) != 1:
        return None
    return Layout(SEQUENCE, (1, shape[1])) if grows == [1] else Layout(CHANNELS_FIRST, (1, shape[2]))


def image_size(shape: Shape) -> tuple[int, int]:
    """(H, W) of images [K, 3, H, W], or [K, H, W, 3]."""
    _, first, second, third = shape
    return (first, second) if third <= 4 < first else (second, third)


def given_layout(shape: Shape | None, choice: LayerSettings, maps: list[Size], size: Size) -> Layout | None:
    """The layout that is chosen by hand, for a layer of this shape, if there is one that it fits."""
    kind = choice.layout if choice.layout != "auto" else TOKENS if choice.grid else ""
    if not kind or shape is None or len(shape) not in (3, 4):
        return None
    prefix = max(choice.prefix, 0)
    if kind == SEQUENCE and len(shape) == 3:
        return Layout(SEQUENCE, (1, shape[1] - prefix), prefix) if prefix < shape[1] else None
    if kind == TOKENS and len(shape) == 3:
        given = [Grid((choice.grid[0], choice.grid[1]), ())] if len(choice.grid) == 2 else []
        for grid in given or grids_of(shape[1], maps, size):
            spare = shape[1] - grid.size[0] * grid.size[1]
            if spare >= 0 and choice.prefix <= spare:
                return Layout(TOKENS, grid.size, choice.prefix if choice.prefix >= 0 else spare)
    if kind in (TOKENS, SEQUENCE) or (len(shape) == 3 and kind != CHANNELS_FIRST):
        return None
    return Layout(kind, (1, shape[2]) if len(shape) == 3 else resolution(shape, kind))


def _shapes_by_run(order: Iterable[Call]) -> dict[tuple[int, int], Shape | None]:
    """Output shapes by module and the number of its run, in the order in which the runs end."""
    shapes: dict[tuple[int, int], Shape | None] = {}
    counts: dict[int, int] = {}
    for call in order:
        number = counts[id(call.module)] = counts.get(id(call.module), 0) + 1
        shapes[id(call.module), number] = call.output
    return shapes
