"""Which dimensions of a layer's tensor are places: seen in a larger input or in changed patches, or as settings say."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from milr.networks.inputs import Inputs, count, main_tensor, mapped, with_main
from milr.networks.layouts import CHANNELS_FIRST, SEQUENCE, TOKENS, Layout
from milr.networks.sequences import sequence_layouts
from milr.networks.settings import LayerSettings
from milr.networks.shown_maps import shown_layouts
from milr.networks.tokens import Grid, Size, grids_of, token_layouts
from milr.networks.trace import Call, Shape, layout_of, open_to_doubt, resolution, trace

COLOURS = 4  # channels of a picture, at most
ATTENTION = (nn.Dropout, nn.Softmax)  # what may work on attention of places to places, which looks like a map


def find_layouts(network: nn.Module, images: Inputs, order: list[Call]) -> tuple[Size, dict[int, Layout]]:
    """(H, W) of the images, (1, T) of sequences; and the layouts of all runs that give maps, by their ids."""
    main, by_run = main_tensor(images), dict[int, Layout]()
    if main.ndim not in (2, 3, 4):
        return (1, main.shape[-1]), by_run
    size, larger, axis = larger_shapes(network, images)
    undecided: dict[int, Shape] = {}  # by their place in the order
    tokens: dict[int, Shape] = {}
    sequences: dict[int, Shape] = {}
    longer: dict[int, Shape | None] = {}
    for number, ((key, shape), run) in enumerate(zip(_shapes_by_run(order).items(), order, strict=True)):
        if not shape or shape[0] != count(images):
            continue
        if main.ndim < 4:
            if len(shape) == 3:
                sequences[number], longer[number] = shape, larger.get(key)
        elif len(shape) == 3:
            if shape[1] != shape[2] or not isinstance(run.module, ATTENTION):
                tokens[number] = shape
        elif kind := layout_of(shape, larger.get(key), size):
            by_run[id(run)] = Layout(kind, resolution(shape, kind))
        elif len(shape) == 4 and not isinstance(run.module, ATTENTION) and open_to_doubt(shape, larger.get(key)):
            undecided[number] = shape
    if undecided:
        shown = shown_layouts(network, images, undecided, size)
        by_run |= {id(order[number]): layout for number, layout in shown.items()}
    if sequences:
        layouts = sequence_layouts(network, images, sequences, longer, axis)
        by_run |= {id(order[number]): layout for number, layout in layouts.items()}
    if tokens:
        maps = [layout.grid for layout in by_run.values()]
        grids = {shape[1]: grids_of(shape[1], maps, size) for shape in tokens.values()}
        layouts = token_layouts(network, images, tokens, grids, size)
        by_run |= {id(order[number]): layout for number, layout in layouts.items()}
    return size, by_run


def larger_shapes(network: nn.Module, images: Inputs) -> tuple[Size, dict[tuple[int, int], Shape | None], int | None]:
    """(H, W) or (1, T) of the inputs, shapes by run for one of twice the height or length, and which axis that is.

    The network may take one size only: then there are those up to where it failed, and no axis.
    """
    main = main_tensor(images)
    if main.ndim == 4:
        axes = [height_axis(network, images)]
        size = (main.shape[axes[0]], main.shape[axes[0] + 1])
    else:
        size, axes = (1, main.shape[1]), list(range(1, main.ndim if isinstance(images, Tensor) else 2))
    larger, grown = Call(network), None
    for axis in axes:
        larger, error = trace(network, doubled(images, axis))
        if error is None:
            grown = axis
            size = size if main.ndim == 4 else (1, main.shape[axis])
            break
    return size, _shapes_by_run(larger.finished()), grown


def doubled(images: Inputs, axis: int) -> Inputs:
    """The first input at twice the size along an axis; of words the masks, positions and the like are so, too."""
    main = main_tensor(images)
    larger = with_main(images, torch.cat([main[:1]] * 2, axis))
    if main.ndim == 4 or axis > 1:
        return larger
    like = main.shape[1]
    return mapped(larger, lambda one: torch.cat([one] * 2, 1) if one.ndim > 1 and one.shape[1] == like else one)


def height_axis(network: nn.Module, images: Inputs) -> int:
    """Which axis is the height: 2 of images [K, 3, H, W], 1 of [K, H, W, 3].

    Of other channels than colours it is the side that can be larger: their number cannot.
    """
    _, first, _, last = main_tensor(images).shape
    usual = 1 if last <= COLOURS < first else 2
    if first <= COLOURS:
        return usual
    grows = [trace(network, doubled(images, axis))[1] is None for axis in (1, 3)]
    return {(True, False): 1, (False, True): 2}.get((grows[0], grows[1]), usual)


def given_layout(shape: Shape | None, choice: LayerSettings, maps: list[Size], size: Size) -> Layout | None:
    """The layout that is by_run by hand, for a layer of this shape, if there is one that it fits."""
    kind = choice.layout if choice.layout != "auto" else TOKENS if choice.grid else ""
    if not kind or shape is None or len(shape) not in (3, 4):
        return None
    prefix = max(choice.prefix, 0)
    if kind == SEQUENCE and len(shape) == 3:
        if len(choice.grid) == 2 and prefix + choice.grid[1] <= shape[1]:  # tokens behind the places are none either
            return Layout(SEQUENCE, (1, choice.grid[1]), prefix)
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
