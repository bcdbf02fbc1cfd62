"""Episodes: a few classes, a few supports and queries of each. Episode k is a function of (seed, k) and the labels."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from milr.errors import MilrError


@dataclass(frozen=True)
class Episode:
    """Indices into the label vector; row c of both belongs to `classes[c]`."""

    classes: tuple[int, ...]  # class ids
    support: Tensor  # int64 [way, shot]
    query: Tensor  # int64 [way, query]


def draw_episode(labels: Tensor, way: int, shot: int, query: int, seed: int | str, number: int) -> Episode:
    """Episode `number` of the sequence that `seed` names. MilrError where the labels [n] cannot give it."""
    return draw_episodes(labels, way, shot, query, seed, range(number, number + 1))[0]


def draw_episodes(labels: Tensor, way: int, shot: int, query: int, seed: int | str, numbers: range) -> list[Episode]:
    """The episodes of these numbers; every picture appears at most once in an episode."""
    ordered, order = labels.sort(stable=True)
    ids, counts = ordered.unique_consecutive(return_counts=True)
    parts = order.split(counts.tolist())
    members = {label: part.tolist() for label, part in zip(ids.tolist(), parts, strict=True)}
    large_enough = [label for label, indices in members.items() if len(indices) >= shot + query]
    if len(large_enough) < way:
        hint = "lower episode.way, shot or query"
        if len(members) < 2:
            hint = "there must be at least 2 classes"
        elif len(large_enough) < 2:
            hint = "lower episode.shot or query"
        raise MilrError(
            f"an episode needs {way} classes with {shot + query} pictures each (shot {shot} + query {query}); "
            f"{len(large_enough)} of {len(members)} classes have as many: {hint}"
        )
    classes, drawn = [], []
    for number in numbers:
        # Text as the seed: Python hashes it with SHA-512, the same on every machine.
        generator = random.Random(f"{seed}:{number}")
        classes.append(tuple(generator.sample(large_enough, way)))
        drawn.append([generator.sample(members[label], shot + query) for label in classes[-1]])
    # One array for all: a tensor of each episode's lists takes as long as the drawing.
    pictures = torch.from_numpy(np.array(drawn, dtype=np.int64).reshape(-1, way, shot + query))
    return [Episode(ids, indices[:, :shot], indices[:, shot:]) for ids, indices in zip(classes, pictures, strict=True)]
