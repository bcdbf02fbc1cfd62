"""Few-shot accuracy over many episodes, from representations computed once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from milr.data.episodes import Episode
from milr.networks.prototypes import Metric, logits, prototypes

CHUNK = 200  # episodes at once: bounds the memory


@torch.no_grad()
def episode_accuracies(
    representation: Tensor, episodes: Sequence[Episode], metric: Metric, mean: Tensor | None = None
) -> Tensor:
    """The share of right queries in each episode: representations [n, D], episodes indexing them -> [episodes].

    A query whose logits tie counts as right only if the first of the tied classes is its own, as `argmax` decides.
    """
    accuracies = []
    for start in range(0, len(episodes), CHUNK):
        part = episodes[start : start + CHUNK]
        support = torch.stack([episode.support for episode in part])  # [e, way, shot]
        query = torch.stack([episode.query for episode in part])  # [e, way, query]
        prototype = prototypes(representation[support], metric, mean)
        scores = logits(representation[query.flatten(1)], prototype, metric, mean)  # [e, way · query, way]
        labels = torch.arange(query.shape[1]).repeat_interleave(query.shape[2]).to(scores.device)
        accuracies.append((scores.argmax(2) == labels).float().mean(1))
    return torch.cat(accuracies)


def mean_and_interval(values: Tensor) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval (1.96 standard errors), of independent values [n]; n at least 2."""
    if values.numel() < 2:
        raise ValueError(f"an interval needs at least 2 values, not {values.numel()}")
    values = values.double()
    return values.mean().item(), 1.96 * values.std().item() / math.sqrt(values.numel())
