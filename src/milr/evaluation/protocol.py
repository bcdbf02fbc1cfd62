"""The part-based protocol of FunnyBirds (Hesse, Schaub-Meyer, Roth, ICCV 2023) on tables of parts: formulas alone.

A map's importance of a part is its sum over the part's area; a part is important at a threshold where this is more than
that share of the whole map's sum.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from milr.data.records import Look
from milr.evaluation.removals import Removed
from milr.evaluation.similarity import rank_correlation

THRESHOLDS = torch.linspace(0.01, 0.5, 80, dtype=torch.float64)  # as their code has them
IRRELEVANT = 0.05  # of the logit: what a part or thing may change it without being relevant
CHECKS = ("synthetic data check", "preservation", "deletion", "distractibility")


def part_sums(heat: Tensor, areas: Tensor) -> Tensor:
    """A map's sum [n] over each area: heat [S, S], areas bool [n, S, S]."""
    return (heat.double() * areas).sum((1, 2))


def checks(case: Removed, sums: Tensor, total: float) -> dict[str, Tensor]:
    """The four parts of completeness at each of THRESHOLDS [N], 0 to 1, higher is better; NaN where one is not asked.

    sums: of the map over parts and things [P + T]; total: over the whole picture. The controlled synthetic data check,
    of rightly decided pictures: the share of a sufficient set's parts that is important, of the best set. Preservation:
    the decision stays without the other parts. Deletion: it changes without the important ones. Distractibility: the
    share of irrelevant parts and things that is not important.
    """
    count = len(case.look)
    important = sums > THRESHOLDS[:, None] * total  # [N, P + T]
    bits = 2 ** torch.arange(count)
    answers = case.logits.argmax(1)
    gone = (important[:, :count] * bits).sum(1)
    kept = answers[(1 << count) - 1 - gone] == case.explained
    lost = answers[gone] != case.explained
    shares = [important[:, sorted(parts)].double().mean(1) for parts in case.sufficient] if case.right else []
    idle = irrelevant(case)
    marked = important[:, idle].double().mean(1) if idle.any() else torch.full((len(THRESHOLDS),), torch.nan)
    return {
        "synthetic data check": torch.stack(shares).amax(0) if shares else torch.full((len(THRESHOLDS),), torch.nan),
        "preservation": kept.double(),
        "deletion": lost.double(),
        "distractibility": 1 - marked,
    }


def irrelevant(case: Removed) -> Tensor:
    """The parts and things without which the logit hardly changes, or rises: bool [P + T]."""
    drops, score = case.drops(), case.logits[0, case.explained]
    return (drops.abs() < IRRELEVANT * score.abs()) | (drops < 0)


def relevant_things(case: Removed) -> list[float]:
    """For each thing of the background 1 where the decision rests on it, else 0: one minus background independence."""
    return (~irrelevant(case)[len(case.look) :]).double().tolist()


def correctness(sums: Tensor, drops: Sequence[float] | Tensor) -> float:
    """Single deletion: Spearman's correlation of the parts' importance and drop [P], from 0 to 1; unrelated ones get
    0.5. NaN where either is the same for all."""
    value = rank_correlation(sums[None], torch.as_tensor(drops, dtype=torch.float64)[None])
    return 0.5 + 0.5 * float(value)


@dataclass(frozen=True)
class Contrast:
    """Two classes that each share other parts with the class of a picture."""

    classes: tuple[int, int]
    shared: tuple[frozenset[int], frozenset[int]]

    @property
    def sets(self) -> list[int]:
        """The numbers of the whole bird and of the birds without what is shared with the one and the other class."""
        return [0, *(sum(1 << part for part in parts) for parts in self.shared)]


def contrast_of(look: Look, looks: Mapping[int, Sequence[Look]], seed: int | str) -> Contrast | None:
    """Two classes, drawn by the seed, that share two parts of five with this look, not the same ones; None: there are
    none. Of looks with other numbers of telling parts, half of them. A class of several looks is in no pair."""
    telling = [part for part, fixed in enumerate(look) if fixed is not None]
    shared = {
        key: frozenset(part for part in telling if own[0][part] == look[part])
        for key, own in looks.items()
        if len(own) == 1
    }
    half = [key for key, parts in shared.items() if 0 < len(parts) == len(telling) // 2]
    random.Random(seed).shuffle(half)
    pairs = ((one, other) for number, one in enumerate(half) for other in half[number + 1 :])
    for one, other in pairs:
        if not shared[one] & shared[other]:
            return Contrast((one, other), (shared[one], shared[other]))
    return None


def contrast_holds(logits: Tensor, answers: tuple[int, int]) -> bool:
    """Whether the network itself takes the parts for what they are: logits [3, classes] of the whole bird, and without
    what is shared with the one and the other class. A class must lose more by its own parts than by the other's."""
    own = [logits[1 + number] - logits[0] for number in range(2)]
    return all(bool(own[n][answers[n]] < own[1 - n][answers[n]]) for n in range(2))


def contrastivity(contrast: Contrast, sums: tuple[Tensor, Tensor]) -> float:
    """Target sensitivity: the share of the two classes for which the map [P] for a class marks what is shared with it
    more than the map for the other class does. Maps that know no class get 0, random ones 0.5."""
    hits = []
    for number, parts in enumerate(contrast.shared):
        own, other = (sums[place][sorted(parts)].sum() for place in (number, 1 - number))
        hits.append(float(own > other))
    return sum(hits) / 2
