"""A warning where places of a map are exchanged within its parts, or a few only, which `alignment` does not see."""

from __future__ import annotations

import logging

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from milr.networks.alignment import CLEAR, changes_of, middles
from milr.networks.inputs import Inputs
from milr.networks.passes import Passes
from milr.networks.tokens import Size, some_cells, with_changed_patches

log = logging.getLogger("milr")

FEWEST = 4  # places of a side: fewer do not show it
ALIKE = 0.8  # the median likeness, 0 to 1, of what patches beside each other change: a layer of four channels has 0.89
TIGHT = 1.0  # places: the largest spread of what a patch changes with which its middle tells where it lies
ELSEWHERE = 1.5  # places: the largest distance of that middle from the patch's own


def warn_of_exchange(pair: Passes, grid: Size, probes: Inputs, image: Size) -> bool:
    """Whether patches beside each other do not change places beside each other, or some others than their own.

    The log says so. Attention in windows, large kernels and maps that cover another part than the image do not.
    """
    if min(grid) < FEWEST:
        return False
    cells = some_cells(grid)
    steps = [[1 if 2 * place < side else -1 for place, side in zip(cell, grid, strict=True)] for cell in cells]
    beside = [(row + down, column + right) for (row, column), (down, right) in zip(cells, steps, strict=True)]
    changes = changes_of(pair.first_pass(with_changed_patches(probes, grid, cells + beside, image)).local)
    usual = changes.median(1, keepdim=True).values
    clear = changes.amax(1) > CLEAR * usual[:, 0]
    maps = (changes - usual).clamp(min=0).unflatten(1, grid)
    own, other = clear.split(len(cells))
    blurred = avg_pool2d(maps, 3, 1, 1)  # where units are silent there are holes
    pairs = [(blurred[n], blurred[len(cells) + n], steps[n]) for n in (own & other).nonzero()[:, 0].tolist()]
    apart = bool(pairs) and float(torch.tensor([likeness(*each) for each in pairs]).median()) < ALIKE
    moved = int(elsewhere(maps[: len(cells)][own].square(), middles(cells, grid, image)[own]).sum())
    if apart or moved:
        what = "patches beside each other" if apart else f"{moved} of {len(cells)} patches"
        log.warning(
            "%s of an image that are changed do not change places of the local layer '%s', read as %d x %d, that are "
            "where they are: places are exchanged within parts of the map, or some of them moved. Maps would be "
            "scrambled there; name an earlier layer",
            *(what, pair.local, *grid),
        )
    return apart or moved > 0


def likeness(one: Tensor, other: Tensor, step: list[int]) -> float:
    """How alike two maps [H, W] are, from 0 to 1, one of them moved by a step or, as in a window, as they are."""
    moved = one.roll(step, (0, 1))
    for axis, direction in enumerate(step):
        moved.select(axis, 0 if direction > 0 else -1).zero_()
    dots = [(each * other).sum() / (each.norm() * other.norm()).clamp(min=1e-30) for each in (moved, one)]
    return float(max(dots))


def elsewhere(weight: Tensor, wanted: Tensor) -> Tensor:
    """Which patches change few places close together that are elsewhere, by no stretch of the map.

    weight: [n, H, W], how much each place counts; wanted: [n, 2], the places in which the middles of the patches lie.
    """
    weight, wanted = weight.double(), wanted.double()  # which no autocast rounds
    weight = weight / weight.sum((1, 2), keepdim=True).clamp(min=1e-30)
    are_elsewhere = torch.zeros(len(weight), dtype=torch.bool)
    for side in (0, 1):
        along, places = weight.sum(2 - side), torch.arange(weight.shape[1 + side]).to(weight)
        centres = along @ places
        tight = (along @ places.square() - centres.square()).clamp(min=0).sqrt() <= TIGHT
        away, line = centres - wanted[:, side], torch.stack([torch.ones_like(centres), centres], 1)
        off = torch.minimum(away.abs(), (away - line @ (torch.linalg.pinv(line) @ away)).abs())
        are_elsewhere |= tight & (off > ELSEWHERE)
    return are_elsewhere
