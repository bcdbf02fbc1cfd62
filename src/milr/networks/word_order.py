"""Whether the places of a layer of a sequence are in the order of the words or times that the network is given."""

from __future__ import annotations

import logging
from itertools import pairwise

import torch

from milr.networks.alignment import CLEAR, NEAR, centres_of, changes_of
from milr.networks.inputs import Inputs, main_tensor, with_main
from milr.networks.passes import Passes

log = logging.getLogger("milr")

SPANS = 6  # of the input that are changed, one at a time
FEWEST = 6  # places, of fewer nothing is said


def warn_of_order(pair: Passes, places: int, probes: Inputs) -> None:
    """A warning where words or times that are changed change other places of the local layer than those about them.

    So it is where a network reads its input backwards or in an order of its own.
    """
    main = main_tensor(probes)
    if places < FEWEST or main.ndim not in (2, 3):
        return
    sides = [axis for axis in range(1, main.ndim) if main.shape[axis] >= FEWEST]
    shares = [share for share in (away_by(pair, places, probes, axis) for axis in sides) if share is not None]
    if shares and min(shares) > 0.5:  # along each side that may be the time
        log.warning(
            "the places of the local layer '%s', read as a row of %d, are not in the order of what the network is "
            "given: a changed part of it changes places away from it (read backwards, sorted, or a grid in a row: say "
            "layout=tokens and grid=)",
            *(pair.local, places),
        )


def away_by(pair: Passes, places: int, probes: Inputs, axis: int) -> float | None:
    """The share of changed spans along one side of the input that change places away from them; None: none is clear."""
    main = main_tensor(probes)
    length = main.shape[axis]
    edges = torch.linspace(0, length, SPANS + 1, device="cpu").round().long().tolist()
    rows = main[:1].repeat(SPANS + 1, *[1] * (main.ndim - 1))
    for number, (start, end) in enumerate(pairwise(edges), 1):
        rows[number].narrow(axis - 1, start, end - start).copy_(main[1].narrow(axis - 1, start, end - start))
    changes = changes_of(pair.first_pass(with_main(probes, rows)).local)
    usual = changes.median(1, keepdim=True).values
    clear = changes.amax(1) > CLEAR * usual[:, 0]
    if clear.sum() < SPANS / 2:
        return None
    middle = centres_of(changes, usual, (1, places), by_hand=False)[:, 1] + 0.5  # from the left edge
    wanted = torch.tensor([(start + end) / 2 for start, end in pairwise(edges)]) / length * places
    far = (middle - wanted).abs() > max(places / NEAR, 1)
    return float(far[clear].float().mean())
