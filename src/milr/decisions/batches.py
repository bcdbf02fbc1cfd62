"""A prototypical network's own decision about an episode."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from milr.decisions.decisions import Batch
from milr.networks.prototypes import logits, prototypes
from milr.networks.settings import MetricSettings


def episode_decision(
    way: int, shot: int, query: int, metric: MetricSettings, centre: Tensor | None
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A prototypical network's own decision, as `Batch` takes it (Snell et al. 2017; paper, section 4.1).

    Args:
        way: classes.
        shot: supports of each.
        query: queries of each.
        metric: how queries are compared with the prototypes.
        centre: the training images' mean representation [E], for a metric that subtracts it.

    Returns:
        A function of outputs [way·shot + way·query, E], supports first, class by class: logits [way·query, way] of the
        queries, and their labels [way·query].

    Example:
        >>> import milr, torch
        >>> from milr.networks.settings import MetricSettings
        >>> decide = milr.episode_decision(way=3, shot=1, query=2, metric=MetricSettings(), centre=None)
        >>> logits, labels = decide(torch.eye(3)[[0, 1, 2, 0, 0, 1, 1, 2, 2]])  # queries that are their supports
        >>> logits.shape, labels.tolist(), logits.argmax(1).tolist()
        (torch.Size([6, 3]), [0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2])
    """
    supports = way * shot
    labels = torch.arange(way).repeat_interleave(query)

    def decide(output: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [Q, way] and labels of the queries."""
        prototype = prototypes(output[:supports].view(way, shot, -1), metric, centre)
        return logits(output[supports:], prototype, metric, centre), labels.to(output.device)

    return decide


def queries_of_first(
    way: int, shot: int, metric: MetricSettings, centre: Tensor | None
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The same of an episode whose queries, any number of them, are all of the first class."""

    def decide(output: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the queries, all of the first class."""
        supports, queries = output[: way * shot], output[way * shot :]
        scores = logits(queries, prototypes(supports.view(way, shot, -1), metric, centre), metric, centre)
        return scores, torch.zeros(len(queries), dtype=torch.long, device=output.device)

    return decide


def permute_supports(batch: Batch, way: int, shot: int, seed: int) -> Batch:
    """The same episode with its supports under wrong labels: class c's stand where another class's should.

    Every class gets another one's, the classes turned by a number drawn from the seed.
    """
    turn = int(torch.randint(1, way, (), generator=torch.Generator().manual_seed(seed)))
    order = torch.arange(way * shot).view(way, shot).roll(turn, 0).flatten()
    images = torch.cat([batch.images[order.to(batch.images.device)], batch.images[way * shot :]])
    return Batch(images, batch.decide, batch.modules)


def query_distances(
    output: Tensor, shape: tuple[int, int, int], metric: MetricSettings, centre: Tensor | None
) -> Tensor:
    """Each query's distance to each prototype [way·query, way]: squared Euclidean, or 1 - cosine."""
    scores, _ = episode_decision(*shape, metric, centre)(output)
    return (1 if metric.distance == "cosine" else 0) - scores * metric.temperature
