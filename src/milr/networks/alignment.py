"""Whether the places of a local layer are where they are in the image, seen in patches that are changed."""

from __future__ import annotations

import logging

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from milr.errors import MilrError
from milr.networks.inputs import Inputs
from milr.networks.passes import Passes
from milr.networks.tokens import Size, some_cells, span, with_changed_patches

log = logging.getLogger("milr")

CLEAR = 4  # times the median place must the most changed one change for it to say where a patch is
NEAR = 6  # of the map's side it may be away, or one place
SHIFT = 0.75  # of a place that all of them may be away in one direction
LOST = 1e-6  # of the largest change of all: a patch that no place sees
FEW = 4  # clear patches that a shift takes at least
SEEN = 0.8  # of the places must change less than those about a patch, by chance a half
SMALL = 16  # places of a map in which the neighbours are most of it


def holds_pictures(inputs: Tensor, image: Size, grid: Size) -> bool:
    """Whether the inputs are [K, C, H, W], or [K, H, W] of which a map of several rows is made that is no finer."""
    rows = 1 < grid[0] <= image[0] and grid[1] <= image[1]
    return inputs.ndim == 4 or (inputs.ndim == 3 and rows)


def check_places(pair: Passes, grid: Size, probes: Inputs, image: Size, by_hand: bool) -> bool:
    """Whether places about a changed patch of an image of this size change most; MilrError where others do.

    So it is if the network flips, turns, crops or pads its images, keeps tokens by windows or columns, or a layout or
    grid `by_hand` is wrong: the maps would be scrambled. A warning where all places change alike, which says nothing.
    """
    cells = some_cells(grid)
    local = pair.first_pass(with_changed_patches(probes, grid, cells, image)).local
    changes = changes_of(local)
    lost = int((changes.amax(1) <= LOST * changes.max()).sum())
    if lost == len(cells):  # a layer of another input's: nothing is known
        return False
    if lost > 1:
        raise MilrError(
            f"{lost} of {len(cells)} changed patches of an image change nothing in the local layer '{pair.local}': it "
            "sees a part of the image only (cropped?), so that its places are not where they are in the image; cut the "
            "images before they are given to the network"
        )
    usual = changes.median(1, keepdim=True).values
    clear = changes.amax(1) > CLEAR * usual[:, 0]
    away = centres_of(changes, usual, grid, by_hand) - middles(cells, grid, image).to(changes)
    far = (away.abs() > torch.tensor(grid).div(NEAR).clamp(min=1)).any(1)
    shifted = clear.sum() >= FEW and bool((common(away[clear]) > SHIFT).any())
    if int((clear & far).sum()) > len(cells) / 2 or shifted:
        raise MilrError(
            f"the places of the local layer '{pair.local}', read as {grid[0]} x {grid[1]}, are not where they are in "
            "the image: a changed patch changes others away from it (flipped, turned, shifted, cropped, padded, in "
            "windows or columns, or layout= and grid= are wrong); name another layer"
        )
    share = share_below(changes, cells, grid)
    if share < SEEN:
        log.warning(
            "of the places of the local layer '%s', read as %d x %d, those about a changed patch change more than "
            "%.0f %% of all, by chance 50 %%: nothing shows that they are places of the image, and not frequencies, or "
            "tokens in an order of their own, whose maps would be scrambled",
            *(pair.local, *grid, 100 * share),
        )
    return share >= SEEN


def changes_of(local: Tensor) -> Tensor:
    """How much places [n, places] change from the first to each other of local features [1 + n, C, ...], on the CPU."""
    changed = (local[1:] - local[:1]).float()
    changed /= changed.abs().max().clamp(min=1e-37)  # squares of what is small enough are 0
    return changed.norm(dim=1).flatten(1).cpu()


def common(away: Tensor) -> Tensor:
    """How far three quarters of patches [n, 2] are away in one direction, along each side; 0 where they disagree.

    So they do where attention changes the whole window that a patch is in, and its middle lies on any side of it.
    """
    low, high = away.quantile(torch.tensor([0.25, 0.75], dtype=torch.float32), dim=0)
    return torch.maximum(low, -high).clamp(min=0)


def middles(cells: list[Size], grid: Size, image: Size) -> Tensor:
    """Where the middles of the patches lie on the map [cells, 2], which whole pixels may move from the cells' own."""
    spans = [[span(*each) for each in zip(cell, image, grid, strict=True)] for cell in cells]
    pixels = torch.tensor([[start + width / 2 for start, width in row] for row in spans])
    return pixels / torch.tensor(image) * torch.tensor(grid) - 0.5


def centres_of(changes: Tensor, usual: Tensor, grid: Size, by_hand: bool) -> Tensor:
    """Row and column about which the places lie that each patch changes [cells, 2]."""
    weight = (changes - usual).clamp(min=0).square()  # its centre counts, since a large kernel spreads a patch
    if by_hand:  # of a wrong grid the centre may be right, between two places of one patch
        weight = (changes == changes.amax(1, keepdim=True)).float()
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-30)
    numbers = torch.arange(grid[0] * grid[1])
    return weight @ torch.stack([numbers // grid[1], numbers % grid[1]], 1).to(weight)


def share_below(changes: Tensor, cells: list[Size], grid: Size) -> float:
    """The share of places that change less than those about the patch, on average over the patches; 1 of one place."""
    if len(cells) < 2:
        return 1.0
    maps = changes.unflatten(1, grid)
    if maps[0].numel() > SMALL:
        maps = avg_pool2d(maps, 3, 1, 1, count_include_pad=False)
    own = torch.stack([maps[number, row, column] for number, (row, column) in enumerate(cells)])
    return float((maps < own[:, None, None]).float().sum((1, 2)).mean() / (maps[0].numel() - 1))
