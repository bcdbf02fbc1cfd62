"""Which tokens [K, T, C] are places of a picture: the grid by the patch embedding, the order by changed patches.

T alone does not tell. Tokens of a class and registers stand before or behind the grid, and some networks keep the grid
by windows. So one patch at a time is changed in a picture of noise: the token of that patch must change more than most.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor, nn

from milr.networks.inputs import Inputs, main_tensor, with_main
from milr.networks.layouts import TOKENS, Layout
from milr.networks.trace import Call, Shape, trace

EXTRA = 16  # tokens of a class and registers, at most
PATCHES = 8  # that are changed, one at a time
CLEAR = 0.8  # of all tokens must change less than a changed patch's own, on average over the patches

BESIDE = 2  # times as much as its own token may another near it change by a patch that lies over two
IN_ORDER = 0.85  # of the patches

Size = tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """What is known of the tokens of one number T."""

    size: Size
    prefixes: tuple[int, ...]  # the likelier first


def grids_of(count: int, maps: Iterable[Size], image: Size) -> list[Grid]:
    """Grids that T tokens may have: a map's that came before (the patch embedding's), else of the image's shape."""
    sizes = [size for size in dict.fromkeys(maps) if size[0] * size[1] > 1]
    fitting = [size for size in sizes if 0 <= count - size[0] * size[1] <= _most_extra(size)]
    if not fitting:
        shaped = [size for extra in range(EXTRA + 1) for size in _of_shape(count - extra, image)]
        fitting = [size for size in shaped if count - size[0] * size[1] <= _most_extra(size)]
    return [Grid(size, tuple(range(count - size[0] * size[1], -1, -1))) for size in fitting]


def _most_extra(size: Size) -> int:
    return min(EXTRA, max(1, size[0] * size[1] // 2))


def _of_shape(places: int, image: Size) -> list[Size]:
    """The grid of so many places in the proportions of the image, if there is one."""
    rows = round((max(places, 0) * image[0] / image[1]) ** 0.5)
    if rows < 2 or places % rows:
        return []
    size = rows, places // rows
    return [size] if size[1] > 1 and size[0] * image[1] == size[1] * image[0] else []


def token_layouts(
    network: nn.Module, inputs: Inputs, runs: dict[int, Shape], grids: dict[int, list[Grid]], image: Size
) -> dict[int, Layout]:
    """Layouts of runs by their place in the trace, of those whose tokens are a grid in the order of its rows.

    `runs` has the shape [K, T, C] of each such run, `grids` what the tokens of a number T may be.
    """
    candidates = [grid for some in grids.values() for grid in some]
    if not candidates:
        return {}
    finest = max((grid.size for grid in candidates), key=lambda size: size[0] * size[1])
    cells = some_cells(finest)
    seen = _changes(network, with_changed_patches(inputs, finest, cells, image))
    clearest: dict[int, tuple[float, Layout]] = {}
    for number, shape in runs.items():
        changes = seen.get(number)
        if changes is None or changes.shape != (len(cells), shape[1]):
            continue
        for grid in grids.get(shape[1], ()):
            own = same_places(cells, finest, grid.size)
            for prefix in grid.prefixes:
                numbers = torch.tensor([prefix + place for place in own])
                clear = clearness(changes, numbers) if _in_order(changes, numbers) else 0.0
                if clear >= CLEAR and clear > clearest.get(number, (0.0,))[0]:
                    clearest[number] = clear, Layout(TOKENS, grid.size, prefix)
    return {number: layout for number, (_, layout) in clearest.items()}


def some_cells(size: Size) -> list[Size]:
    """Some places of a grid, spread over it: one in each of as many strips of rows, and of columns, at uneven steps.

    Places at even steps would all be at rest where a network exchanges places within windows.
    """
    count = min(PATCHES, size[0] * size[1])
    draw = Random(0)
    order = draw.sample(range(count), count)

    def inside(strip: int, side: int) -> int:
        """A place of a strip, along one side."""
        return int((strip + draw.random()) / count * side)

    return list(dict.fromkeys((inside(row, size[0]), inside(column, size[1])) for row, column in enumerate(order)))


def same_places(cells: list[Size], fine: Size, size: Size) -> list[int]:
    """The numbers of the places of a coarser grid that the centres of a fine one's cells lie in."""
    rows = [(2 * row + 1) * size[0] // (2 * fine[0]) for row, _ in cells]
    columns = [(2 * column + 1) * size[1] // (2 * fine[1]) for _, column in cells]
    return [row * size[1] + column for row, column in zip(rows, columns, strict=True)]


def with_changed_patches(inputs: Inputs, size: Size, cells: list[Size], image: Size) -> Inputs:
    """The first picture of noise as it is, and with one patch of the second in it, for each of the cells."""
    pictures = main_tensor(inputs)
    rows, columns = axes_of(pictures, image)
    changed = pictures[:1].repeat(1 + len(cells), *[1] * (pictures.ndim - 1))
    for number, cell in enumerate(cells, 1):
        here, there = changed[number], pictures[1]
        for axis, length, parts, index in zip((rows, columns), image, size, cell, strict=True):
            start, width = span(index, length, parts)
            here, there = here.narrow(axis - 1, start, width), there.narrow(axis - 1, start, width)
        here.copy_(there)
    return with_main(inputs, changed)


def span(index: int, length: int, parts: int) -> Size:
    """The first pixel and the width of a part of a side of the image."""
    start = index * length // parts
    return start, max(1, (index + 1) * length // parts - start)


def axes_of(pictures: Tensor, image: Size) -> Size:
    """The dimensions of height and width in images of this size."""
    return (2, 3) if tuple(pictures.shape[2:4]) == image else (1, 2)


def _changes(network: nn.Module, inputs: Inputs) -> dict[int, Tensor]:
    """How far each token of each run is from what it was, for each changed patch: [patches, T]."""

    def look(features: Tensor) -> Tensor | None:
        """How far each token is from the first image's; nothing where there are no tokens."""
        if features.ndim != 3 or not features.is_floating_point():
            return None
        return (features[1:] - features[:1]).float().norm(dim=2).cpu()

    root, _ = trace(network, inputs, look)
    runs: list[Call] = list(root.finished())
    return {number: run.seen for number, run in enumerate(runs) if run.seen is not None}


def clearness(changes: Tensor, own: Tensor) -> float:
    """The share of tokens that change less than a patch's own one [n], on average over n patches: changes [n, T]."""
    values = changes.gather(1, own[:, None])
    return float((changes < values).float().mean() * changes.shape[1] / (changes.shape[1] - 1))


def _in_order(changes: Tensor, own: Tensor) -> bool:
    """Whether no token a little before or behind a patch's own changes far more, for most patches.

    So it is where another token stands in the midst of the grid, or one at the end of each of its rows: some patches
    are read at their own tokens then, all others beside them.
    """
    right = 0
    for change, token in zip(changes, own.tolist(), strict=True):
        around = change[max(0, token - EXTRA) : token + EXTRA + 1]
        right += bool(change[token] * BESIDE >= around.max())
    return right >= IN_ORDER * len(own)
