"""A planted world of scenes with symbols that reach the representation through noisy channels of known capacity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from milr.checks.worlds import GRID, PATCH, PLACES, Pooled, World, convolution, tiled

CELLS = 8  # black or white, of each place of the scenes: 2 columns of 4, each 2 pixels wide and 1 high
# The cells and the bits of each.
SYMBOLS = ((1, 0.25), (1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0), (4, 3.0), (6, 4.0), (8, 5.0), (8, 6.0), (6, 6.0))


@dataclass(frozen=True)
class Symbol:
    """A symbol, and the noisy channel that it reaches z through."""

    place: int
    partner: int  # the place that its noise is drawn at
    cells: int  # b, as many as coordinates of z
    bits: float
    error: float  # eps
    first: int  # of its coordinates of z

    @property
    def coordinates(self) -> range:
        """Of z."""
        return range(self.first, self.first + self.cells)


def drawn_symbols() -> World:
    """Scenes of black and white cells, in which symbols at ten places reach z through a noisy channel.

    Each place shows 8 cells, each black or white. A symbol is the first b cells s of its place, uniform. It has a
    partner elsewhere, whose first b cells e are turned with probability eps each, and z holds the products r = s e of
    black = -1 and white = 1: a binary symmetric channel. Its information is b (1 - H(eps)) bits (Cover and Thomas,
    section 7.1.4), from 0.25 to 6; where eps = 0 the partner's cells are all white. All others are uniform and reach
    nothing.

    The partner tells nothing: for any e, r = s e is uniform since s is uniform and independent of e, so that p(r | e) =
    p(r) and I(e; r) = 0, and the other coordinates of z are independent of both. Only with s at hand would it tell.
    """
    symbols = placed_symbols()
    truth = torch.zeros(PLACES, dtype=torch.double)
    black = torch.full((PLACES, CELLS), 0.5)  # the probability of each cell
    for symbol in symbols:
        truth[symbol.place] = symbol.bits
        black[symbol.partner, : symbol.cells] = symbol.error
    network = symbol_network(symbols).eval()
    pictures, single = partial(scenes, black), partial(single_bits, symbols)
    return World("drawn symbols", network, truth.view(GRID, GRID), pictures, single)


def placed_symbols() -> list[Symbol]:
    """SYMBOLS, each at a place of its own, with a partner of its own."""
    places = torch.randperm(PLACES, generator=torch.Generator().manual_seed(0)).tolist()
    symbols: list[Symbol] = []
    for number, (cells, wanted) in enumerate(SYMBOLS):
        place, partner = places[2 * number : 2 * number + 2]
        first = sum(symbol.cells for symbol in symbols)
        symbols.append(Symbol(place, partner, cells, wanted, error_of(wanted / cells), first))
    return symbols


def scenes(black: Tensor, count: int, seed: int) -> Tensor:
    """[count, 3, 32, 32] of a seed, from each cell's probability to be black [64, 8]."""
    draw = torch.rand(count, PLACES, CELLS, generator=torch.Generator().manual_seed(seed))
    cells = 1 - 2 * (draw < black).float()
    pixels = cells.view(count, PLACES, 1, PATCH, 2).repeat_interleave(2, dim=4)
    return tiled(pixels.expand(-1, -1, 3, -1, -1))


def single_bits(symbols: Sequence[Symbol], reading: str, local: Tensor, representation: Tensor) -> Tensor:
    """What a reading gives for each picture by the true densities, in bits [K, 8, 8]."""
    result = torch.zeros(len(local), PLACES, dtype=torch.double)
    for symbol in symbols:
        arrived = local[:, symbol.place, : symbol.cells] * representation[:, list(symbol.coordinates)] > 0
        odds = torch.where(arrived, 1 - symbol.error, max(symbol.error, 1e-30)).double()
        result[:, symbol.place] = (2 * odds).log2().sum(1) if reading == "sample" else symbol.bits
    return result.view(-1, GRID, GRID)


def symbol_network(symbols: Sequence[Symbol]) -> Pooled:
    """z holds the products s e of numbers -1 and 1 as |s + e| - 1, and |t| as relu(t) + relu(-t)."""
    dimension = sum(symbol.cells for symbol in symbols)
    sums, ends = torch.zeros(dimension, CELLS, PLACES), -torch.ones(dimension)
    for symbol in symbols:
        for cell, coordinate in enumerate(symbol.coordinates):
            sums[coordinate, cell, [symbol.place, symbol.partner]] = 1
    sums = sums.view(dimension, CELLS, GRID, GRID)
    eye = torch.eye(dimension)[:, :, None, None]
    upper = nn.Sequential(
        convolution(torch.cat([sums, -sums])), nn.ReLU(), convolution(torch.cat([eye, eye], dim=1), bias=ends)
    )
    return Pooled(convolution(cell_means(), stride=PATCH), upper)


def cell_means() -> Tensor:
    """The weight [8, 3, 4, 4] of a convolution that gives each cell's mean over its pixels and colours."""
    weight = torch.zeros(CELLS, 3, PATCH, PATCH)
    for cell in range(CELLS):
        row, column = divmod(cell, 2)
        weight[cell, :, row, 2 * column : 2 * column + 2] = 1 / 6
    return weight


def error_of(capacity: float) -> float:
    """The eps of a binary symmetric channel of this capacity, 1 - H(eps) bits, from 0 to 1: to 1e-12."""
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = (low + high) / 2
        entropy = -middle * math.log2(middle) - (1 - middle) * math.log2(1 - middle)
        low, high = (low, middle) if 1 - entropy < capacity else (middle, high)
    return 0.0 if capacity >= 1 else (low + high) / 2
