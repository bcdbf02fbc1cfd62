"""Episodes of a prototypical network as batches for the fit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from milr.data.augmentation import augment, to_device, to_input
from milr.data.episodes import Episode, draw_episode
from milr.data.pictures import Pictures
from milr.data.settings import Augmentation
from milr.explanation.decisions import Batch
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
        prototype = prototypes(output[:supports].view(way, shot, -1), metric, centre)
        return logits(output[supports:], prototype, metric, centre), labels.to(output.device)

    return decide


def episode_images(pictures: Pictures, episode: Episode) -> Tensor:
    """An episode's pictures in the order of `episode_decision`: uint8 [way·shot + way·query, 3, S, S]."""
    return pictures.chosen(torch.cat([episode.support.flatten(), episode.query.flatten()]))


class EpisodeBatches:
    """The batch of step k is episode k of these pictures, augmented: a function of (seed, k) alone, as `fit` takes it.

    Args:
        pictures: images uint8 [n, 3, S, S] with their class numbers [n].
        shape: way, shot, query.
        metric: how queries are compared with the prototypes.
        centre: the training images' mean representation [E], for a metric that subtracts it.
        augmentation: how far the pictures may be changed; None: not at all.
        seed: of the episodes and the changes.
        device: where the batches are to lie.

    Raises:
        MilrError: at a step, if there are fewer classes or pictures than an episode takes.

    Example:
        >>> import milr, torch
        >>> from milr.data.pictures import Pictures
        >>> from milr.networks.settings import MetricSettings
        >>> images = torch.randint(256, (20, 3, 32, 32), dtype=torch.uint8)
        >>> pictures = Pictures(images, torch.arange(20) % 4, records=())
        >>> cpu = torch.device("cpu")
        >>> batches = milr.EpisodeBatches(pictures, (3, 1, 2), MetricSettings(), None, None, seed=0, device=cpu)
        >>> batches(1).images.shape  # 3 supports and 6 queries, normalised
        torch.Size([9, 3, 32, 32])
    """

    def __init__(
        self,
        pictures: Pictures,
        shape: tuple[int, int, int],  # way, shot, query
        metric: MetricSettings,
        centre: Tensor | None,
        augmentation: Augmentation | None,
        seed: int,
        device: torch.device,
    ) -> None:
        self.pictures, self.shape, self.augmentation = pictures, shape, augmentation
        self.decide = episode_decision(*shape, metric, centre)
        self.seed, self.device = seed, device

    def __call__(self, step: int) -> Batch:
        episode = draw_episode(self.pictures.labels, *self.shape, seed=self.seed, number=step)
        images = to_device(episode_images(self.pictures, episode), self.device)
        how = self.pictures.normalisation
        if self.augmentation:
            return Batch(augment(images, self.augmentation, f"{self.seed}:{step}", how), self.decide)
        return Batch(to_input(images, normalisation=how), self.decide)


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
