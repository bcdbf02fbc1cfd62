"""Which token of the global layer is z: the class token, or the word of a row, that the network's output comes from."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from milr.networks.layouts import Layout
from milr.networks.probes import same

log = logging.getLogger("milr")

Change = Callable[[Tensor], Tensor]
Outputs = Callable[[Change], Tensor]


def class_token(output: Outputs, layout: Layout, rounding: torch.dtype, name: str) -> int | None:
    """The first token beside the places that the output depends on; None where there is none, or all count alike.

    `output` is the network's for two different images, with a function of the layer's tokens [2, T, C] in their place.
    A token counts if the output is not the same where the images have exchanged it. Where a token may change places
    with one of the grid, the network takes the mean of them all, or something like it. A warning where an output of one
    vector depends on others beside that token.
    """
    seen: list[int] = []
    before = output(counting(seen))
    others = [*range(layout.prefix), *range(layout.places_end, seen[0])]
    if not others:
        return None
    read = [number for number in others if not torch.equal(output(exchanged([number])), before)]
    places = list(range(layout.prefix, layout.places_end))
    if not read:  # of nothing here at all: the output is another part's of the network, and the first is as good
        return None if not torch.equal(output(exchanged(places)), before) else others[0]
    if same(output(swapped(read[0], places[0])), before, rounding):
        return None
    rest = [number for number in range(seen[0]) if number != read[0]]
    if before.ndim == 2 and not same(output(exchanged(rest)), before, rounding):
        log.warning(
            "the network's output depends on other tokens of '%s' than token %d, too, which alone is z (a distillation "
            "token, the mean of the places?): make z of all that it reads by a function, as "
            "read=lambda tokens: tokens[:, :2].flatten(1)",
            *(name, read[0]),
        )
    return read[0]


def fixed_word(output: Outputs, rounding: torch.dtype, name: str) -> int | None:
    """The word that the output of every sequence comes from; None where it comes from several.

    A warning for one that may be another in other sequences: the last before their padding.
    """
    read, words = words_read(output, rounding)
    word = read[0] if len(set(read)) == 1 else None
    if read and read not in ([0, 0], [words - 1] * 2):
        log.warning(
            "of two sequences the network reads word %d and %d of '%s' (from 0), neither the first nor the last, as "
            "one that looks for the end before the padding; z is %s in all: give sequences of one length, or name "
            "what goes into the layer that reads the word, z=<its name>.input",
            *(*read, name, "the mean" if word is None else f"word {word}"),
        )
    return word


def words_read(output: Outputs, rounding: torch.dtype) -> tuple[list[int], int]:
    """Of each of the two images the one of its words that the output comes from, nothing where it is not one alone;
    and how many words there are.

    `output` is as for `class_token`, of tokens [2, T, C]. The word is looked for by halves.
    """

    def changes(numbers: Tensor) -> Tensor:
        """Whether each image's output is another one where these words [2, T] are exchanged between the two."""
        now = output(lambda tokens: torch.where(numbers.to(tokens.device)[..., None], tokens.flip(0), tokens))
        return torch.tensor([not same(one, two, rounding) for one, two in zip(before, now, strict=True)])

    seen: list[int] = []
    before = output(counting(seen))
    words, numbers = seen[0], torch.arange(seen[0])
    low, high = torch.zeros(2, 1, dtype=torch.long), torch.full((2, 1), words)
    while bool((high - low > 1).any()):
        middle = (low + high + 1) // 2
        below = changes((numbers >= low) & (numbers < middle))[:, None]
        low, high = torch.where(below, low, middle).clamp(max=words - 1), torch.where(below, middle, high)
    alone = numbers == low
    one = changes(alone) & ~changes(~alone)
    return low[:, 0].tolist() if bool(one.all()) else [], words


def warn_of_padding(output: Outputs, word: int | None, layout: Layout, rounding: torch.dtype, name: str) -> None:
    """A warning where the outputs of some of a batch's sequences come from other words than z: those that are padded.

    The probes are of one length. `output` is as for `class_token`, of tokens [K, T, C]; word: the one that is z, None:
    the mean of all.
    """
    seen: list[Tensor] = []

    def untouched(tokens: Tensor) -> Tensor:
        """[K, T, C], a copy, which is noted."""
        seen.append(tokens.clone())
        return tokens.clone()

    before = output(untouched)
    given = seen[0]
    numbers, others = torch.arange(given.shape[1], device=given.device)[:, None], given.roll(1, 0)

    def changes(these: Tensor) -> Tensor:
        """Whether each output is another one where these words [T, 1] are those of the sequence before."""
        now = output(lambda tokens: torch.where(these, others, tokens))
        return torch.tensor([not same(one, two, rounding) for one, two in zip(before, now, strict=True)])

    if word is None:
        ends = [numbers == end for end in (layout.prefix, layout.places_end - 1)]
        differ = [((given != others) & end).flatten(1).any(1).cpu() for end in ends]
        padded = torch.stack([there & ~changes(end) for there, end in zip(differ, ends, strict=True)]).any(0)
        read = "does not depend on their first or last word"
    else:
        padded, read = changes(numbers != word), "comes from others of their words"
    if padded.any():
        log.warning(
            "of %d of %d sequences the network's output %s of '%s', as of padded ones, and z is %s of each: %sgive "
            "sequences of one length, or name what goes into the layer that reads the words, z=<its name>.input",
            *(int(padded.sum()), len(padded), read, name, "the mean of all" if word is None else f"word {word}"),
            "" if word is None else "pad on the other side, ",
        )


def counting(seen: list[int]) -> Change:
    """The tokens as they are; how many there are is noted."""

    def untouched(tokens: Tensor) -> Tensor:
        """[K, T, C], a copy."""
        seen.append(tokens.shape[1])
        return tokens.clone()

    return untouched


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
