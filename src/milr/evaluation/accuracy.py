"""Few-shot accuracy over many episodes, from representations computed once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from milr.data.episodes import Episode
from milr.networks.prototypes import centred_and_scaled, logits, prototypes
from milr.networks.settings import MetricSettings

CHUNK = 200  # episodes at once: bounds the memory
MOST_PAIRS = 64_000_000  # products of representations kept at most: 256 MB


@torch.no_grad()
def episode_accuracies(
    representation: Tensor, episodes: Sequence[Episode], metric: MetricSettings, mean: Tensor | None = None
) -> Tensor:
    """The share of right queries in each episode: representations [n, D], episodes indexing them -> [episodes].

    A query whose logits tie counts as right only if the first of the tied classes is its own, as `argmax` decides.
    """
    # Pictures come again from episode to episode: with all products known, an episode is a look into a table.
    scaled = centred_and_scaled(representation, metric, mean)
    if metric.distance == "euclidean":  # products of what lies around 0: an offset that all share moves no distance
        scaled = scaled - scaled.mean(0)
    products = scaled @ scaled.T if len(scaled) ** 2 <= MOST_PAIRS else None
    accuracies = []
    for start in range(0, len(episodes), CHUNK):
        part = episodes[start : start + CHUNK]
        support = torch.stack([episode.support for episode in part]).to(scaled.device)  # [e, way, shot]
        query = torch.stack([episode.query for episode in part]).to(scaled.device)  # [e, way, query]
        if products is None:
            prototype = prototypes(representation[support], metric, mean)
            scores = logits(representation[query.flatten(1)], prototype, metric, mean)  # [e, way · query, way]
        else:
            scores = scores_from_products(products, support, query.flatten(1), metric)
        labels = torch.arange(query.shape[1], device=scores.device).repeat_interleave(query.shape[2])
        accuracies.append((scores.argmax(2) == labels).float().mean(1))
    return torch.cat(accuracies)


def scores_from_products(products: Tensor, support: Tensor, query: Tensor, metric: MetricSettings) -> Tensor:
    """What orders the classes of each query as `logits` does: [e, Q, way].

    products: of all scaled representations [n, n]; support [e, way, shot] and query [e, Q] index them. A prototype's
    product with a query is the mean of its supports', and its square the mean over pairs of them; the query's own
    square and the temperature are the same for every class.
    """
    with_prototype = products[query[:, :, None, None], support[:, None]].mean(-1)
    square = products[support[..., :, None], support[..., None, :]].mean((-1, -2))[:, None]  # [e, 1, way]
    if metric.distance == "cosine":
        return with_prototype / square.sqrt().clamp_min(1e-12)
    return 2 * with_prototype - square


def mean_and_interval(values: Tensor) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval (1.96 standard errors), of independent values [n]; n at least 2."""
    if values.numel() < 2:
        raise ValueError(f"an interval needs at least 2 values, not {values.numel()}")
    values = values.double()
    return values.mean().item(), 1.96 * values.std().item() / math.sqrt(values.numel())
