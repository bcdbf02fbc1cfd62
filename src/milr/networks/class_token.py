"""Which token of the global layer is the class token: the one that the network's output comes from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from milr.networks.layouts import Layout
from milr.networks.probes import same

Change = Callable[[Tensor], Tensor]
Outputs = Callable[[Change], Tensor]


def class_token(output: Outputs, layout: Layout, rounding: torch.dtype) -> int | None:
    """The first token beside the places that the output depends on; None where there is none, or all count alike.

    `output` is the network's for two different images, with a function of the layer's tokens [2, T, C] in their place.
    A token counts if the output is not the same where the images have exchanged it. Where a token may change places
    with one of the grid, the network takes the mean of them all, or something like it.
    """
    seen: list[int] = []

    def untouched(tokens: Tensor) -> Tensor:
        """Notes how many tokens there are."""
        seen.append(tokens.shape[1])
        return tokens.clone()

    before = output(untouched)
    others = [*range(layout.prefix), *range(layout.places_end, seen[0])]
    if not others:
        return None
    read = [number for number in others if not torch.equal(output(exchanged([number])), before)]
    places = list(range(layout.prefix, layout.places_end))
    if not read:  # of nothing here at all: the output is another part's of the network, and the first is as good
        return None if not torch.equal(output(exchanged(places)), before) else others[0]
    return None if same(output(swapped(read[0], places[0])), before, rounding) else read[0]


def exchanged(numbers: list[int]) -> Change:
    """The tokens of these numbers, exchanged between the two images."""

    def change(tokens: Tensor) -> Tensor:
        """[2, T, C] with those of the other image."""
        changed = tokens.clone()
        changed[:, numbers] = tokens[:, numbers].flip(0)
        return changed

    return change


def swapped(one: int, other: int) -> Change:
    """Two tokens of each image in each other's place."""

    def change(tokens: Tensor) -> Tensor:
        """[K, T, C] with the two in each other's place."""
        changed = tokens.clone()
        changed[:, [one, other]] = tokens[:, [other, one]]
        return changed

    return change
