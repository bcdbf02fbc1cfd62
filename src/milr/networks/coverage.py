"""Warnings where a map, drawn over the whole image, shows places beside where they are: stretched, or moved."""

from __future__ import annotations

import logging
from itertools import pairwise

import torch

from milr.networks.alignment import NEAR, SEEN, centres_of, middles, share_below
from milr.networks.inputs import Inputs, count, join, main_tensor, take, with_main
from milr.networks.passes import Passes
from milr.networks.tokens import Size, axes_of, some_cells, span, with_changed_patches

log = logging.getLogger("milr")

STRETCHED = 0.9  # of a place that those at the border may be away in opposite directions
FEWEST = 6  # places of a side that show it
PAIRS = (1 / 8, 1 / 4, 3 / 8)  # of a side, from either end, are the strips of a pair
APART = 3  # places at least
FAINT = 0.1  # of the largest change of a row: where all rows change more, nothing shows where a strip is


def warn_of_stretch(pair: Passes, grid: Size, probes: Inputs, image: Size) -> None:
    """A warning where the map covers more or less than the image, about the same middle, over which it is drawn."""
    shares = [share_covered(pair, grid, probes, image, side) for side in (0, 1)]
    away = [abs(1 / share - 1) * (places - 1) / 2 for share, places in zip(shares, grid, strict=True)]
    if max(away) > STRETCHED:
        log.warning(
            "the map of the local layer '%s', read as %d x %d, covers about %.0f %% of the image's height and %.0f %% "
            "of its width (convolutions without padding, or a network that cuts, pads or scales its images). Drawn "
            "over the whole image, its places are right in the middle and about %.1f places off at the border",
            *(pair.local, *grid, *(100 * share for share in shares), max(away)),
        )


def share_covered(pair: Passes, grid: Size, probes: Inputs, image: Size, side: int) -> float:
    """The share of the image's height (side 0) or width that the map covers; 1 if nothing tells.

    Pairs of strips across the image must agree: attention in windows moves each to the middle of its window.
    """
    places, pictures = grid[side], main_tensor(probes)
    ends = [(int(places * share), places - 1 - int(places * share)) for share in PAIRS]
    numbers = [number for one, other in ends if other - one >= APART for number in (one, other)]
    if places < FEWEST:
        return 1.0
    strips = [span(number, image[side], places) for number in numbers]
    changed = pictures[:1].repeat(1 + len(strips), *[1] * (pictures.ndim - 1))
    axis = axes_of(pictures, image)[side] - 1
    for own, strip in zip(changed[1:], strips, strict=True):
        own.narrow(axis, *strip).copy_(pictures[1].narrow(axis, *strip))
    local = pair.first_pass(with_main(probes, changed)).local
    rows = (local[1:] - local[:1]).float().norm(dim=1).mean(2 - side).cpu()  # [strips, places]
    most = rows.amax(1, keepdim=True)
    shown = (most > 0)[:, 0]  # a cut may take a strip away
    if not shown.any() or not (rows.amin(1) < FAINT * most[:, 0])[shown].all():
        return 1.0
    weight = (rows - most / 2).clamp(min=0)  # of a large kernel's skirts the border cuts one off
    centres = (weight / weight.sum(1, keepdim=True)) @ torch.arange(places).to(weight)
    seen = (centres[1::2] - centres[::2]).clamp(min=1 / places)
    wanted = torch.tensor([(other[0] - one[0]) * places / image[side] for one, other in pairwise(strips)][::2])
    shares = (wanted / seen)[shown[::2] & shown[1::2]]
    agreed = len(shares) and ((shares < 1).all() or (shares > 1).all())
    return float(shares.median()) if agreed else 1.0


def warn_of_motion(pair: Passes, grid: Size, example: Inputs, probes: Inputs, image: Size) -> None:
    """A warning where in images like the example's, and not in noise, places are elsewhere than in the image.

    So it is if the network moves its images by what they show, as a spatial transformer does.
    """
    cells = some_cells(grid)
    rows = torch.arange(len(cells)) % count(example)
    pictures = [take(example, row[None]) for row in rows]
    noise = take(probes, slice(1, 2))
    pairs = [
        with_changed_patches(join([own, noise]), grid, [cell], image) for own, cell in zip(pictures, cells, strict=True)
    ]
    local = pair.first_pass(join(pairs)).local
    changes = (local[1::2] - local[::2]).float().norm(dim=1).flatten(1).cpu()
    away = centres_of(changes, changes.median(1, keepdim=True).values, grid, False) - middles(cells, grid, image)
    far = (away.abs() > torch.tensor(grid).div(NEAR).clamp(min=1)).any(1)
    if int(far.sum()) > len(cells) / 2 or share_below(changes, cells, grid) < SEEN:
        log.warning(
            "in images like the example's a changed patch changes places of the local layer '%s', read as %d x %d, "
            "that are not about it, and in noise it does not: does the network move or cut its images by what they "
            "show (a spatial transformer)? Maps would show where things are after that, and not in the image",
            *(pair.local, *grid),
        )
